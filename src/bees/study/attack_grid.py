"""A grid of attacks: which attacks, defences, fractions and partitions are set against one another.

A grid is a TOML file, such as the packaged ``default``, whose comments say what each key means. Each cell is a whole
scenario; all of them are built and checked before the first one runs, so that a grid of days does not end in a refusal.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, partial
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from bees.contract.library import hash_code, is_contract_file, load_contract_code
from bees.core.errors import GridError, ScenarioError, ScenarioFileError, did_you_mean
from bees.scenario import Scenario
from bees.scenario_checks import check_any, conflicts
from bees.scenario_file import load_scenario, preset_names
from bees.scenario_table import Table, leaves, merge, shown
from bees.study.attack_axes import (
    Choice,
    attack_of,
    axis_of,
    check_part,
    defence_of,
    fraction_of,
    list_of,
    partition_of,
    refuse_twins,
    seed_of,
)
from bees.study.attack_grid_file import Document, grid_names, open_grid

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["Cell", "Choice", "Grid", "cells_of", "grid_names", "load_grid"]

REQUIRED = ("base", "blocks", "seeds", "fractions", "heterogeneity", "attacks", "defences")
OPTIONAL = ("changes", "core_seconds_per_block")
CELL_LIMIT = 100_000
"""Years of computation; a grid with more is a mistake."""

CONTRACT_KNOBS = ("ledger.contract", "ledger.deploy_contract")
"""Knobs that may name a file, whose code can change while its name stays."""

AXES = {
    "seed": "seeds",
    "attack.name": "attacks",
    "attack.fraction": "fractions",
    "ledger.contract": "defences",
    "ledger.top_m": "defences",
    "learning.partition": "heterogeneity",
}
"""Knobs that each cell sets, and the key of the grid that says how."""


@dataclass(frozen=True)
class Grid:
    """A grid, each of whose entries is valid alone.

    Attributes:
        name: of the packaged grid, or the file's without its ending.
        source: to name in refusals.
        base: what all cells have in common.
        seeds: of each cell.
        fractions: of the devices that attack.
        heterogeneity: how samples are split among the devices.
        attacks: what attackers do.
        defences: contracts, and how many updates they look at.
        core_seconds_per_block: what a block takes one core of the machine that the packaged grids were measured on.
    """

    name: str
    source: str
    base: Scenario
    seeds: tuple[Choice, ...]
    fractions: tuple[Choice, ...]
    heterogeneity: tuple[Choice, ...]
    attacks: tuple[Choice, ...]
    defences: tuple[Choice, ...]
    core_seconds_per_block: float | None


@dataclass(frozen=True)
class Cell:
    """One scenario of a grid.

    Attributes:
        attack: label; ``none`` where nobody attacks.
        defence: label.
        fraction: of the devices that attack.
        heterogeneity: label.
        scenario: what is run.
    """

    attack: str
    defence: str
    fraction: float
    heterogeneity: str
    scenario: Scenario

    @cached_property
    def knobs(self) -> dict[str, Any]:
        """The knobs that differ from their defaults: the key of the cell, which new knobs leave as it is.

        A contract of one's own is there with the hash of its code as well: built anew, it is another rule.
        """
        changed = {key: value for key, value in leaves(msgspec.to_builtins(self.scenario)) if _DEFAULTS[key] != value}
        paths = {key: str(changed.get(key, "")) for key in CONTRACT_KNOBS}
        own = {key: path for key, path in paths.items() if is_contract_file(path)}
        return changed | {f"{key} code": hash_code(load_contract_code(path)) for key, path in own.items()}

    @property
    def own_contract(self) -> str | None:
        """Hash of the code of the contract that a run begins with, as this cell was built; None for a packaged one."""
        return self.knobs.get("ledger.contract code")


_DEFAULTS = dict(leaves(msgspec.to_builtins(Scenario())))
_NOBODY = Choice("none", "fractions", {"attack": {"name": "none"}})


def load_grid(name_or_path: str, overrides: Sequence[str] = ()) -> Grid:
    """Load a packaged grid or a TOML file.

    Args:
        name_or_path: a packaged grid's name, or else the path of a file.
        overrides: ``key=value`` changes to the scenario of every cell.

    Raises:
        GridError: names the file, the key and the value, and suggests the fix.
        ScenarioError: the base, or a change to it, is none.
    """
    document = open_grid(name_or_path)
    table, source = document.table, document.source
    _check_keys(table, source)
    base = _base(document, overrides)
    grid = Grid(
        name=document.name,
        source=source,
        base=base,
        seeds=axis_of(table, "seeds", source, seed_of),
        fractions=axis_of(table, "fractions", source, fraction_of),
        heterogeneity=axis_of(table, "heterogeneity", source, partition_of),
        attacks=axis_of(table, "attacks", source, attack_of),
        defences=axis_of(table, "defences", source, partial(defence_of, base.topology.devices)),
        core_seconds_per_block=_seconds(table, source),
    )
    for choices in (grid.seeds, grid.fractions, grid.heterogeneity, grid.attacks, grid.defences):
        refuse_twins(choices, source)
    return grid


def cells_of(grid: Grid) -> list[Cell]:
    """All cells, each checked, in the order in which they are run.

    Seeds are the outer loop, so that a grid that is stopped has everything with the first seeds. Where nobody attacks,
    one cell stands for all attacks.

    Raises:
        GridError: a cell contradicts itself, is there twice, or there are far too many.
    """
    _refuse_crowd(grid)
    base, cells = msgspec.to_builtins(grid.base), list[Cell]()
    known: dict[tuple[tuple[str, Any], ...], tuple[Choice, ...]] = {}
    for seed, (split, fraction, attack, defence) in product(grid.seeds, _combinations(grid)):
        table = base
        # The fraction last but one: an attack may be tried with nobody who attacks.
        for choice in (split, attack, fraction, defence, seed):
            table = merge(table, choice.table)
        cell = Cell(attack.label, defence.label, float(fraction.label), split.label, msgspec.convert(table, Scenario))
        if seed is grid.seeds[0]:
            _check_cell(cell, grid, (split, fraction, attack, defence))
        key = tuple(cell.knobs.items())
        if key in known:
            places = " and ".join(" x ".join(c.place for c in choices) for choices in (known[key], (attack, defence)))
            raise GridError(grid.source, f"is the same cell twice, from {places}: remove one", *_cell_name(cell))
        known[key] = (attack, defence)
        cells.append(cell)
    return cells


def _combinations(grid: Grid) -> Iterator[tuple[Choice, Choice, Choice, Choice]]:
    for split, fraction in product(grid.heterogeneity, grid.fractions):
        attacks = grid.attacks if float(fraction.label) else (_NOBODY,)
        # At a fraction of 0 the knob keeps its default, for nobody asks it.
        share = fraction if float(fraction.label) else Choice(fraction.label, fraction.place, {})
        yield from ((split, share, attack, defence) for attack, defence in product(attacks, grid.defences))


def _check_cell(cell: Cell, grid: Grid, choices: tuple[Choice, ...]) -> None:
    for conflict in conflicts(cell.scenario):
        keys = (conflict.key, *conflict.others)
        places = [choice.place for choice in choices if any(key in dict(leaves(choice.table)) for key in keys)]
        at = f" (in {', '.join(places)})" if places else ""
        raise GridError(grid.source, f"{conflict.problem}{at}", conflict.key, conflict.value)


def _cell_name(cell: Cell) -> tuple[str, str]:
    return "cell", f"{cell.attack} x {cell.defence}, fraction {cell.fraction:g}, {cell.heterogeneity}"


def _refuse_crowd(grid: Grid) -> None:
    per_seed = len(grid.heterogeneity) * len(grid.fractions) * len(grid.attacks) * len(grid.defences)
    if (count := per_seed * len(grid.seeds)) > CELL_LIMIT:
        raise GridError(grid.source, f"has {count:,} cells; {CELL_LIMIT:,} are the most: shorten its lists")


def _check_keys(table: Table, source: str) -> None:
    for key, value in table.items():
        if key not in (*REQUIRED, *OPTIONAL):
            hint = did_you_mean(key, (*REQUIRED, *OPTIONAL))
            raise GridError(source, f"no such key in a grid: {hint}", str(shown(key)), shown(value))
    for key in REQUIRED:
        if key not in table:
            raise GridError(source, f"the key {key!r} is missing; `bees attack --show` prints a grid to begin with")


def _base(document: Document, overrides: Sequence[str]) -> Scenario:
    name, source = document.table["base"], document.source
    if not isinstance(name, str):
        raise GridError(source, "must be the name of a preset, or a path, in quotes", "base", shown(name))
    own = _changes(document.table.get("changes", []), source)
    for where, change in ((GridError(source, "", "changes"), own), (ScenarioError("--set", "", ""), overrides)):
        for key in (text.partition("=")[0].strip() for text in change):
            if key in AXES:
                where.problem, where.value = f"each cell sets this knob: change {AXES[key]} in the grid", shown(key)
                raise where
    path = name if name in preset_names() or document.folder is None else str(Path(document.folder) / name)
    blocks: Table = {"blocks": document.table["blocks"]}
    check_part(blocks, source, "blocks", "blocks")
    try:
        load_scenario(path)
    except ScenarioFileError as error:
        raise GridError(source, error.problem, "base", shown(name)) from None
    changes = [f"blocks={blocks['blocks']}", *own]
    try:
        load_scenario(path, changes)
    except ScenarioError as error:
        told = f"{error.key} = {error.value!r}: {error.problem}" if error.key else error.problem
        raise GridError(source, told, "changes", shown(own)) from None
    return check_any(load_scenario(path, [*changes, *overrides]), source)


def _changes(value: object, source: str) -> list[str]:
    changes = list_of(value)
    if changes is None or not all(isinstance(text, str) for text in changes):
        raise GridError(source, 'must be a list of "key=value" in quotes', "changes", shown(value))
    return [str(text) for text in changes]


def _seconds(table: Table, source: str) -> float | None:
    value = table.get("core_seconds_per_block")
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
        raise GridError(source, "must be a number of seconds greater than 0", "core_seconds_per_block", shown(value))
    return float(value)
