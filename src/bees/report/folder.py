"""Reports from what a folder holds: read back, nothing measured again."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from bees.core.errors import ChainFileError, RunFolderError
from bees.engines.inspect import describe_chain, describe_genesis
from bees.report.content import LedgerSummary, Provenance, ReproductionRecord, RunRecord
from bees.report.html import write_reproduction_report, write_run_report
from bees.reproduce.claims import claims_of
from bees.reproduce.curves import Reproduction
from bees.reproduce.reasons import FITTED, REASONS
from bees.results import DeviceTrace, RoundRow
from bees.run_folder import CHAIN, DEVICES, ENVIRONMENT, STATUS, read_json, read_rounds, read_scenario
from bees.scenario_file import load_scenario

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from bees.scenario import Scenario

REPRODUCTION = "reproduction.json"


def write_report(folder: Path) -> Path:
    """Write ``figures/`` and ``report.html`` for a run's or a reproduction's folder; returns the path of the page.

    Raises:
        RunFolderError: the folder is neither, or a file in it is missing or broken.
        OutputError: the folder cannot be written.
    """
    if (folder / REPRODUCTION).is_file():
        return write_reproduction_report(folder, read_reproduction(folder))
    return write_run_report(folder, read_run(folder))


def read_run(folder: Path) -> RunRecord:
    """A run as its folder tells it.

    Raises:
        RunFolderError: a file is missing or broken.
    """
    scenario = read_scenario(folder)
    rounds = read_rounds(folder)
    status = read_json(folder, STATUS)
    ended_well = status.get("status") == "finished"
    return RunRecord(
        scenario=scenario,
        rounds=rounds,
        devices=_read_devices(folder, rounds, scenario.topology.devices),
        provenance=_provenance(folder, (scenario.seed,), status.get("seconds")),
        ledger=_ledger(folder, rounds),
        problem=None if ended_well else str(status.get("message", f"the run is {status.get('status')}")),
    )


def read_reproduction(folder: Path) -> ReproductionRecord:
    """A reproduction as its folder tells it.

    Raises:
        RunFolderError: a file is missing or broken.
    """
    path = folder / REPRODUCTION
    try:
        reproduction = msgspec.json.decode(path.read_bytes(), type=Reproduction)
    except (OSError, msgspec.MsgspecError) as error:
        raise RunFolderError(str(path), str(error)) from error
    seeds = tuple(sorted({seed for curve in reproduction.curves for seed in curve.seeds}))
    kept = sorted((folder / "runs").glob("bees-*")) if (folder / "runs").is_dir() else []
    return ReproductionRecord(
        reproduction=reproduction,
        claims=claims_of(reproduction, REASONS, FITTED),
        scenarios=_scenarios(),
        provenance=_provenance(folder, seeds, reproduction.seconds),
        ledger=_ledger(kept[0], read_rounds(kept[0])) if kept else None,
    )


def _scenarios() -> dict[str, Scenario]:
    return {"BEES": load_scenario("paper"), "B-EI": load_scenario("b-ei")}


def _provenance(folder: Path, seeds: tuple[int, ...], seconds: float | None) -> Provenance:
    environment = read_json(folder, ENVIRONMENT)
    return Provenance(
        command=str(environment.get("command", "")),
        version=str(environment.get("bees", "")),
        seeds=seeds,
        date=str(environment.get("started", "")) or None,
        seconds=seconds,
        environment=environment,
    )


def _ledger(folder: Path, rounds: tuple[RoundRow, ...]) -> LedgerSummary | None:
    path = folder / CHAIN
    try:
        genesis, blocks = describe_genesis(path), describe_chain(path)
    except ChainFileError:
        return None
    counts = Counter(row.main_node for row in rounds if row.main_node is not None)
    return LedgerSummary(
        chain_id=genesis["chain_id"],
        height=len(blocks),
        rounds=len(rounds),
        skipped=sum(row.main_node is None for row in rounds),
        transactions=sum(sum(block["transactions"].values()) for block in blocks),
        main_nodes=dict(counts),
        contract=genesis["contract"],
        app_hash=blocks[-1]["app_hash"] if blocks else None,
    )


def _read_devices(folder: Path, rounds: tuple[RoundRow, ...], devices: int) -> DeviceTrace:
    """The per-UE arrays; empty ones for a run that ended before it could write them."""
    path = folder / DEVICES
    if not path.is_file():
        return _no_trace(len(rounds), devices)
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return DeviceTrace(**_by_name(arrays))
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise RunFolderError(str(path), str(error)) from error


def _by_name(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: arrays[name] for name in DeviceTrace.__dataclass_fields__}


def _no_trace(blocks: int, devices: int) -> DeviceTrace:
    flags, numbers = np.zeros((blocks, devices), dtype=bool), np.zeros((blocks, devices))
    return DeviceTrace(flags, flags, numbers, numbers, numbers, numbers)
