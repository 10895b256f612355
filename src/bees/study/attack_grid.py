"""A grid of attacks: which attacks, defences, fractions and partitions are set against one another.

A grid is a TOML file, such as the packaged ``default``, whose comments say what each key means. Each cell is a whole
scenario; all of them are built and checked before the first one runs, so that a grid of days does not end in a refusal.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import msgspec

from bees.core.errors import GridError, ScenarioError, ScenarioFileError, did_you_mean
from bees.scenario import Scenario
from bees.scenario_checks import check_any, conflicts
from bees.scenario_file import load_scenario, preset_names
from bees.scenario_knobs import keys_of_sections
from bees.scenario_table import Table, check_table, leaves, merge, shown
from bees.study.attack_grid_file import Document, grid_names, open_grid

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    MakeChoice = Callable[[object, str, str], "Choice"]

__all__ = ["Cell", "Choice", "Grid", "cells_of", "grid_names", "load_grid"]

REQUIRED = ("base", "blocks", "seeds", "fractions", "heterogeneity", "attacks", "defences")
OPTIONAL = ("changes", "core_seconds_per_block")
CELL_LIMIT = 100_000
"""Years of computation; a grid with more is a mistake."""
LABEL_CHARACTERS = 40

AXES = {
    "seed": "seeds",
    "attack.name": "attacks",
    "attack.fraction": "fractions",
    "ledger.contract": "defences",
    "ledger.top_m": "defences",
    "learning.partition": "heterogeneity",
}
"""Knobs that each cell sets, and the key of the grid that says how."""
CONCENTRATION = {"dirichlet": "dirichlet_alpha", "quantity_skew": "dirichlet_alpha", "shards": "shards_per_device"}
"""What the number after the name of a partition is."""
EVERYBODY = "all"
"""As M, how many updates the contract looks at: as many as there are devices."""


@dataclass(frozen=True)
class Choice:
    """One entry of an axis.

    Attributes:
        label: what tables and figures call it.
        place: where the grid says it, such as ``attacks[2]``.
        table: what it sets in a scenario.
    """

    label: str
    place: str
    table: Table


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

    @property
    def knobs(self) -> dict[str, Any]:
        """The knobs that differ from their defaults: the key of the cell, which new knobs leave as it is."""
        return {key: value for key, value in leaves(msgspec.to_builtins(self.scenario)) if _DEFAULTS[key] != value}


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
        seeds=_axis(table, "seeds", source, _seed),
        fractions=_axis(table, "fractions", source, _fraction),
        heterogeneity=_axis(table, "heterogeneity", source, _partition),
        attacks=_axis(table, "attacks", source, _attack),
        defences=_axis(table, "defences", source, partial(_defence, base.topology.devices)),
        core_seconds_per_block=_seconds(table, source),
    )
    for choices in (grid.seeds, grid.fractions, grid.heterogeneity, grid.attacks, grid.defences):
        _refuse_twins(choices, source)
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
            raise GridError(source, f"the key {key!r} is missing; `bees attack --list` names packaged grids to copy")


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
    _check_part(blocks, source, "blocks", "blocks")
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
    changes = _list(value)
    if changes is None or not all(isinstance(text, str) for text in changes):
        raise GridError(source, 'must be a list of "key=value" in quotes', "changes", shown(value))
    return [str(text) for text in changes]


def _list(value: object) -> list[object] | None:
    return cast("list[object]", value) if isinstance(value, list) else None


def _seconds(table: Table, source: str) -> float | None:
    value = table.get("core_seconds_per_block")
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
        raise GridError(source, "must be a number of seconds greater than 0", "core_seconds_per_block", shown(value))
    return float(value)


def _axis(table: Table, key: str, source: str, choice_of: MakeChoice) -> tuple[Choice, ...]:
    entries = _list(table[key])
    if not entries:
        raise GridError(source, "must be a list with at least one entry", key, shown(table[key]))
    return tuple(choice_of(entry, f"{key}[{number}]", source) for number, entry in enumerate(entries))


def _seed(entry: object, place: str, source: str) -> Choice:
    _check_part({"seed": entry}, source, "seed", place)
    return Choice(str(entry), place, {"seed": entry})


def _fraction(entry: Any, place: str, source: str) -> Choice:  # noqa: ANN401  # a number once it is checked
    _check_part({"attack": {"fraction": entry}}, source, "attack.fraction", place)
    return Choice(f"{float(entry):g}", place, {"attack": {"fraction": float(entry)}})


def _partition(entry: object, place: str, source: str) -> Choice:
    if not isinstance(entry, str):
        raise GridError(source, 'must be text, such as "iid" or "dirichlet 0.5"', place, shown(entry))
    name, _, number = entry.partition(" ")
    table: Table = {"partition": name}
    _check_part({"learning": table}, source, "learning.partition", place, shown(entry))
    knob = CONCENTRATION.get(name)
    if (knob is None) != (not number):
        wanted = f"name and number, such as '{name} 0.5'" if knob else f"no number after {name}"
        raise GridError(source, f"must have {wanted}", place, shown(entry))
    if knob:
        try:
            table[knob] = int(number) if knob == "shards_per_device" else float(number)
        except ValueError:
            raise GridError(source, f"{shown(number)!r} is no number", place, shown(entry)) from None
        _check_part({"learning": table}, source, f"learning.{knob}", place, shown(entry))
    return Choice(" ".join(entry.split()), place, {"learning": table})


def _attack(entry: object, place: str, source: str) -> Choice:
    table, label = _labelled(entry, place, source, "attack", "name", ("fraction",))
    if table["name"] == "none" and table.get("server_lie", "none") == "none":
        problem = "is no attack: cells in which nobody attacks come from the fraction 0"
        raise GridError(source, problem, f"{place}.name", "none")
    others = [f"{key.replace('_', ' ')} {value}" for key, value in table.items() if key != "name"]
    return Choice(label or ", ".join([table["name"], *others]), place, {"attack": table})


def _defence(devices: int, entry: object, place: str, source: str) -> Choice:
    if isinstance(entry, dict):
        given = cast("Table", entry)
        entry = {**given, "top_m": devices} if given.get("top_m") == EVERYBODY else given
    table, label = _labelled(entry, place, source, "ledger", "contract", ())
    if "top_m" not in table:
        raise GridError(source, 'the key "top_m" is missing: a number, or "all"', place, table["contract"])
    name = table["contract"].rpartition("/")[2].removesuffix(".wasm")
    looks_at = [] if table["top_m"] == devices else [f"top {table['top_m']}"]
    others = [f"{key.replace('_', ' ')} {value}" for key, value in table.items() if key not in {"contract", "top_m"}]
    return Choice(label or ", ".join([name, *looks_at, *others]), place, {"ledger": table})


def _labelled(
    entry: object,
    place: str,
    source: str,
    section: str,
    required: str,
    forbidden: tuple[str, ...],
) -> tuple[Table, str | None]:
    """The knobs of a section that an entry sets, checked, and its own label if it has one."""
    if not isinstance(entry, dict):
        raise GridError(source, f'must be a table, such as {{ {required} = "…" }}', place, shown(entry))
    table: Table = dict(cast("Table", entry))
    label: Any = table.pop("label", None)
    if label is not None and not _is_label(label):
        problem = f"must be a printable text of 1 to {LABEL_CHARACTERS} characters"
        raise GridError(source, problem, f"{place}.label", shown(label))
    known = tuple(name for name in keys_of_sections()[section] if name not in forbidden)
    for key, value in table.items():
        if key not in known:
            hint = did_you_mean(key, (*known, "label"))
            raise GridError(source, f"no such key here: {hint}", f"{place}.{shown(key)}", shown(value))
    if required not in table:
        raise GridError(source, f"the key {required!r} is missing", place, "{…}")
    for key in table:
        _check_part({section: {key: table[key]}}, source, f"{section}.{key}", f"{place}.{key}")
    if required == "contract":
        alone = msgspec.convert({"ledger": {"contract": table[required]}}, Scenario)
        try:
            check_any(alone)
        except ScenarioError as error:
            raise GridError(source, error.problem, f"{place}.{required}", error.value) from None
    return table, label


def _is_label(label: object) -> bool:
    return isinstance(label, str) and label.isprintable() and 0 < len(label.strip()) <= len(label) <= LABEL_CHARACTERS


def _check_part(table: Table, source: str, key: str, place: str, value: object = None) -> None:
    """Let the scenario's own rules judge, and name the place in the grid."""
    try:
        check_table(table, source)
    except ScenarioError as error:
        problem = error.problem if error.key == key else f"{error.key}: {error.problem}"
        raise GridError(source, problem, place, error.value if value is None else value) from None


def _refuse_twins(choices: tuple[Choice, ...], source: str) -> None:
    labels: dict[str, Choice] = {}
    for choice in choices:
        if twin := labels.setdefault(choice.label, choice) if choice.label in labels else None:
            problem = f"is there twice, in {twin.place} and {choice.place}: remove one, or give it a label of its own"
            raise GridError(source, problem, choice.place, choice.label)
        labels[choice.label] = choice
