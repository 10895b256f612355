"""Reports from what a folder holds: read back, nothing measured again."""

from __future__ import annotations

import warnings
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
from bees.run_folder import BROKEN_JSON, CHAIN, DEVICES, ENVIRONMENT, STATUS, read_json, read_rounds, read_scenario
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
    status = read_json(folder, STATUS)
    ended_well = status.get("status") == "finished"
    rounds = read_rounds(folder, may_be_cut=not ended_well)
    shape = len(rounds), scenario.topology.devices
    return RunRecord(
        scenario=scenario,
        rounds=rounds,
        devices=_read_devices(folder / DEVICES, shape) if ended_well else _no_trace(shape),
        provenance=_provenance(folder, (scenario.seed,), _seconds(status)),
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
    except (OSError, *BROKEN_JSON) as error:
        raise RunFolderError(str(path), str(error)) from error
    seeds = tuple(sorted({seed for curve in reproduction.curves for seed in curve.seeds}))
    kept = [run for run in sorted(folder.glob("runs/bees-*")) if is_finished(run)]
    return ReproductionRecord(
        reproduction=reproduction,
        claims=claims_of(reproduction, REASONS, FITTED),
        scenarios=_scenarios(),
        provenance=_provenance(folder, seeds, reproduction.seconds),
        ledger=_ledger(kept[0], read_rounds(kept[0])) if kept else None,
    )


def _seconds(status: Mapping[str, object]) -> float | None:
    seconds = status.get("seconds")
    return float(seconds) if isinstance(seconds, int | float) else None


def is_finished(folder: Path) -> bool:
    """Whether a run's folder says that the run ended well."""
    try:
        return read_json(folder, STATUS).get("status") == "finished"
    except RunFolderError:
        return False


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


def _read_devices(path: Path, shape: tuple[int, int]) -> DeviceTrace:
    try:
        # A damaged header may also make NumPy warn; the error that follows says what matters.
        with warnings.catch_warnings(action="ignore"), path.open("rb") as file:
            arrays = np.load(file, allow_pickle=False)
            lacking = sorted(DeviceTrace.__dataclass_fields__.keys() - set(arrays.files))
            named = {name: np.asarray(arrays[name]) for name in DeviceTrace.__dataclass_fields__.keys() - lacking}
    except OSError as error:
        raise RunFolderError(str(path), error.strerror or str(error)) from error
    except Exception as error:  # damaged bytes can make zipfile, zlib and NumPy fail in any way
        reason = (str(error).splitlines() or [type(error).__name__])[0][:120]
        raise RunFolderError(str(path), f"not a readable .npz file ({reason})") from error
    if lacking:
        problem = f"has no {', '.join(lacking)}; a run of an earlier version is to be run again for that"
        raise RunFolderError(str(path), problem)
    for name, array in named.items():
        if array.shape != shape or array.dtype.kind not in "bf":
            problem = (
                f"{name} is {array.dtype} of shape {array.shape}; the run has {shape[0]} blocks, {shape[1]} devices"
            )
            raise RunFolderError(str(path), problem)
    return DeviceTrace(**named)


def _no_trace(shape: tuple[int, int]) -> DeviceTrace:
    """Empty arrays, for a run that ended before it could write them."""
    flags, numbers = np.zeros(shape, dtype=bool), np.zeros(shape)
    return DeviceTrace(flags, flags, flags, numbers, numbers, numbers, numbers, numbers)
