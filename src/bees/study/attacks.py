"""``bees attack``: each attack on the learning against each defence, every cell a real run with a real chain.

A cell is a scenario, run from beginning to end as ``bees run`` would; its row is appended as soon as it is measured, so
that a grid that was stopped goes on where it was.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import msgspec

from bees.contract.library import load_contract_code
from bees.core.errors import (
    BeesError,
    ContractLoadError,
    InputError,
    ScenarioError,
    StorageError,
    VirtualMachineError,
)
from bees.experiment import split_data
from bees.runner import run
from bees.study.attack_rows import CellRow, key_of
from bees.study.pinned_workers import work_off
from bees.study.rows import append_bytes, append_row, read_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from bees.results import RoundRow
    from bees.study.attack_grid import Cell, Grid

    OnNote = Callable[[str], object]

OF_THIS_MACHINE = (InputError, ContractLoadError, StorageError, VirtualMachineError)
"""What says nothing of the cell: the grid stops, and can go on elsewhere or later."""


def missing_cells(path: Path, cells: Sequence[Cell]) -> list[Cell]:
    """The cells of which ``path`` holds no row yet, in their order.

    Raises:
        InputError: a line of the file is broken.
    """
    known = {row.key for row in read_rows(path, CellRow)}
    return [cell for cell in cells if key_of(cell.knobs) not in known]


def run_grid(path: Path, cells: Sequence[Cell], on_note: OnNote, *, jobs: int = 1) -> list[CellRow]:
    """Run every cell that ``path`` does not hold yet, appending a row for each as soon as it is measured.

    Args:
        path: a .jsonl file; made if it does not exist. Rows of other cells stay in it.
        cells: what to run.
        on_note: called after each communication round with where it was.
        jobs: how many processes work at once, each on its share of the cores. Rows do not depend on it.

    Returns:
        the rows of all cells, known ones too, in the order of the cells.

    Raises:
        InputError: a line of the file is broken.
        OutputError: the file cannot be written.
        WorkerLostError: a process has died.
    """
    missing = missing_cells(path, cells)
    append_bytes(path, b"")
    for row in work_off(missing, measure, jobs, on_note):
        append_row(path, row)
    return rows_of(path, cells)


def rows_of(path: Path, cells: Sequence[Cell]) -> list[CellRow]:
    """The rows of those cells that ``path`` holds, in the order of the cells and under the names that these have.

    Raises:
        InputError: a line of the file is broken.
    """
    known: dict[object, CellRow] = {}
    for row in read_rows(path, CellRow):
        known.setdefault(row.key, row)
    found = ((cell, known.get(key_of(cell.knobs))) for cell in cells)
    return [
        msgspec.structs.replace(row, attack=cell.attack, defence=cell.defence, heterogeneity=cell.heterogeneity)
        for cell, row in found
        if row is not None
    ]


def check_data(grid: Grid, cells: Sequence[Cell]) -> None:
    """Read each contract, and split the data in each way, to find what is wrong with them before the first run.

    Raises:
        ContractLoadError: a packaged contract was altered.
        DatasetError: the data is broken.
        ScenarioError: a scenario and the data contradict each other.
    """
    for contract in {cell.scenario.ledger.contract for cell in cells}:
        load_contract_code(contract)
    first = {cell.heterogeneity: cell for cell in reversed(cells)}
    for label, cell in first.items():
        split_data(cell.scenario, source=f"{grid.source}, {label}")


def measure(cell: Cell, on_note: OnNote) -> CellRow:
    """Run a cell to its end. What ends it early, as when a wrecked model leaves no finite number, is kept as a fact.

    Raises:
        InputError: the scenario contradicts the data.
        ContractLoadError: a packaged contract was altered.
        StorageError: this machine cannot go on.
        VirtualMachineError: likewise.
    """
    rounds: list[RoundRow] = []
    where = f"{cell.attack} x {cell.defence}, {cell.fraction:.0%}"

    def take(row: RoundRow) -> None:
        if not rounds and cell.own_contract not in {None, row.contract}:
            raise InputError(
                cell.scenario.ledger.contract, "was built anew while the grid ran: start the command again"
            )
        rounds.append(row)
        on_note(f"{where}: {row.accuracy:.3f}")

    problem, begin = None, time.perf_counter()
    try:
        run(cell.scenario, on_round=take)
    except OF_THIS_MACHINE as error:
        if isinstance(error, ScenarioError):
            error.source = where
        raise
    except BeesError as error:
        problem = f"{type(error).__name__}: {error}"
    return make_row(cell, rounds, problem, time.perf_counter() - begin)


def make_row(cell: Cell, rounds: Sequence[RoundRow], problem: str | None, seconds: float) -> CellRow:
    """The row of a cell from the rows of its communication rounds."""
    done, last = max(1, len(rounds)), rounds[-1] if rounds else None
    return CellRow(
        knobs=cell.knobs,
        attack=cell.attack,
        defence=cell.defence,
        fraction=cell.fraction,
        heterogeneity=cell.heterogeneity,
        seed=cell.scenario.seed,
        blocks=cell.scenario.blocks,
        accuracy=tuple(row.accuracy for row in rounds),
        backdoor_success=last.backdoor_success if last else None,
        selected=sum(len(row.selected) for row in rounds) / done,
        attackers_selected=sum(row.attackers_selected for row in rounds) / done,
        refused_updates=sum(row.refused_updates for row in rounds),
        ineligible_updates=sum(row.ineligible_updates for row in rounds),
        outvoted_attestations=sum(row.outvoted_attestations for row in rounds),
        convicted=last.convicted if last else (),
        skipped_rounds=sum(row.main_node is None for row in rounds),
        model=last.model if last else "",
        problem=problem,
        seconds=round(seconds, 3),
    )


def estimated_seconds(grid: Grid, cells: Sequence[Cell], jobs: int) -> float | None:
    """How long all cells will take, if a block takes what the grid says; None if it says nothing."""
    if grid.core_seconds_per_block is None:
        return None
    blocks = sum(cell.scenario.blocks for cell in cells)
    return blocks * grid.core_seconds_per_block / min(jobs, max(1, len(cells)))
