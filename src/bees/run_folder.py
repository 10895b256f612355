"""What a run leaves on disk: ``scenario.toml``, ``status.json``, ``rounds.jsonl``, ``chain.db`` and the rest.

The folder is made before the run starts and refused if it exists, so that no result is ever written over. A process
that is killed at any moment leaves nothing that is half there: folders and files get their names when they are whole,
and a last row that was cut is no row.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from errno import EEXIST, ENOTEMPTY
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import msgspec
import numpy as np
from safetensors.numpy import save

from bees.core.errors import BeesError, OutputError, RunFolderError
from bees.engines.disk import explain, sync_file, sync_folder
from bees.results import RoundRow
from bees.scenario_file import dump_scenario, load_scenario

if TYPE_CHECKING:
    from collections.abc import Generator

    from bees.results import RunResult
    from bees.scenario import Scenario

CHAIN = "chain.db"
SCENARIO = "scenario.toml"
ROUNDS = "rounds.jsonl"
STATUS = "status.json"
SUMMARY = "summary.json"
ENVIRONMENT = "environment.json"
DEVICES = "devices.npz"
MODEL = "global.safetensors"
BROKEN_JSON = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What decoding a broken JSON file may raise."""
_LIBRARIES = ("jax", "jaxlib", "numpy", "wasmtime", "msgspec", "blake3", "pynacl")


def default_folder(scenario: Scenario, root: Path = Path("runs")) -> Path:
    """``runs/<time>-<name>-s<seed>``."""
    return root / f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{scenario.name}-s{scenario.seed}"


class RunFolder:
    """A run's folder while the run goes on.

    Attributes:
        path: of the folder.
    """

    def __init__(self, path: Path, scenario: Scenario, command: str, *, resumes: bool = False) -> None:
        """Make the folder, or take over that of a run that was stopped, and note what is about to run.

        Rows that are there already are dropped: a resumed run computes them again from the chain.

        Raises:
            OutputError: it exists, or cannot be written.
        """
        self.path = path
        if resumes:
            _begin(path, scenario, command)
        else:
            with new_folder(path) as draft:
                _begin(draft, scenario, command)

    @property
    def chain(self) -> Path:
        """Path of the chain file."""
        return self.path / CHAIN

    def add_round(self, row: RoundRow) -> None:
        """Append a row to ``rounds.jsonl``."""
        try:
            with (self.path / ROUNDS).open("ab") as file:
                file.write(msgspec.json.encode(row) + b"\n")
        except OSError as error:
            raise cannot_write(self.path / ROUNDS, error) from error

    def set_status(self, status: str, error: BeesError | None = None, **facts: object) -> None:
        """Say in ``status.json`` how far the run is, or how it ended; written whole, or not at all."""
        report: dict[str, Any] = {"status": status, **facts}
        if error is not None:
            report |= error.as_dict()
        write_json(self.path, STATUS, report)

    def finish(self, result: RunResult) -> None:
        """Write the final model, the per-UE arrays and the summary."""
        arrays = BytesIO()
        np.savez_compressed(arrays, allow_pickle=False, **result.devices.as_arrays())
        write_bytes(self.path, DEVICES, arrays.getvalue())
        write_bytes(self.path, MODEL, save(result.arrays()))
        write_json(self.path, SUMMARY, summarise(result))
        seconds = sum(result.phase_seconds.values())
        self.set_status("finished", blocks_done=len(result.rounds), blocks=result.scenario.blocks, seconds=seconds)


def write_json(folder: Path, name: str, document: object) -> None:
    """Write a JSON file whole, or not at all.

    Raises:
        OutputError: it cannot be written.
    """
    write_text(folder, name, json.dumps(document, indent=2, allow_nan=False) + "\n")


def write_text(folder: Path, name: str, text: str) -> None:
    """Write a text file whole, or not at all.

    Raises:
        OutputError: it cannot be written.
    """
    write_bytes(folder, name, text.encode())


def write_bytes(folder: Path, name: str, data: bytes) -> None:
    """Write a file whole, or not at all, whatever stops us: an error, a kill or a power cut.

    Raises:
        OutputError: it cannot be written.
    """
    target, draft = folder / name, folder / f"{name}.draft"
    try:
        with draft.open("wb") as file:
            file.write(data)
            sync_file(file)
        draft.replace(target)
    except OSError as error:
        with suppress(OSError):
            draft.unlink()
        raise cannot_write(target, error) from error


def make_new_folder(path: Path) -> None:
    """Make a folder that must not exist yet.

    Raises:
        OutputError: it exists, or cannot be made.
    """
    try:
        path.mkdir(parents=True)
    except FileExistsError:
        raise _exists(path, "--out") from None
    except OSError as error:
        raise cannot_write(path, error) from error


def make_folder(path: Path) -> None:
    """Make a folder, unless it is there.

    Raises:
        OutputError: it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(path, error) from error


@contextmanager
def new_folder(path: Path) -> Generator[Path]:
    """A folder to fill, which must not exist yet and gets its name when it is filled.

    Whoever is killed in between leaves a hidden ``.<name>.<process>.draft`` beside it, and ``path`` stays free.

    Raises:
        OutputError: it exists, or cannot be made or filled.
    """
    if path.exists():
        raise _exists(path, "--out")
    draft = path.with_name(f".{path.name}.{os.getpid()}.draft")
    try:
        draft.mkdir(parents=True)
        yield draft
        sync_folder(draft)
        draft.rename(path)
        sync_folder(path.parent)
    except BaseException as error:
        shutil.rmtree(draft, ignore_errors=True)
        if isinstance(error, OSError) and error.errno in {EEXIST, ENOTEMPTY} and path.exists():
            raise _exists(path, "--out") from error
        if isinstance(error, OSError):
            raise cannot_write(path, error) from error
        if isinstance(error, OutputError):
            raise OutputError(str(path), error.problem) from error
        raise


@contextmanager
def new_file(path: Path) -> Generator[BinaryIO]:
    """A binary file to write, which must not exist yet and gets its name when its writer is done.

    Raises:
        OutputError: it exists, or cannot be written.
    """
    if path.exists():
        raise _exists(path, "name")
    draft = path.with_name(f"{path.name}.draft")
    try:
        with draft.open("wb") as file:
            yield file
            sync_file(file)
        draft.rename(path)
    except BaseException as error:
        with suppress(OSError):
            draft.unlink()
        if isinstance(error, OSError):
            raise cannot_write(path, error) from error
        raise


def summarise(result: RunResult) -> dict[str, Any]:
    """The numbers of a run, for ``summary.json`` and ``--json``."""
    last = result.rounds[-1]
    rounds = max(1, len(result.rounds))
    return {
        "name": result.scenario.name,
        "seed": result.scenario.seed,
        "blocks": len(result.rounds),
        "accuracy": last.accuracy,
        "latency_s": last.total_latency_s,
        "energy_j": last.total_energy_j,
        "offloading_devices": sum(row.offloading_devices for row in result.rounds) / rounds,
        "skipped_rounds": sum(row.main_node is None for row in result.rounds),
        "model": last.model,
        "seconds_per_round": sum(result.phase_seconds.values()) / rounds,
        "phase_seconds": dict(sorted(result.phase_seconds.items())),
    }


def environment(command: str) -> dict[str, Any]:
    """What ran: versions and machine kind, without names or addresses."""
    return {
        "command": command,
        "bees": version("bees-edge"),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "system": platform.system(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "libraries": {name: version(name) for name in _LIBRARIES},
        "started": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
    }


def read_rounds(folder: Path, *, may_be_cut: bool = True) -> tuple[RoundRow, ...]:
    """The rows of ``rounds.jsonl``.

    Args:
        folder: of a run.
        may_be_cut: whether the run may have crashed: a last line without its end is no row then, and no mistake.

    Raises:
        RunFolderError: the file is missing, or a line is broken.
    """
    path = folder / ROUNDS
    try:
        data = path.read_bytes()
    except OSError as error:
        raise RunFolderError(str(path), explain(error)) from error
    rows: list[RoundRow] = []
    whole = data[: data.rfind(b"\n") + 1] if may_be_cut else data
    for number, line in enumerate(whole.splitlines(), start=1):
        try:
            rows.append(msgspec.json.decode(line, type=RoundRow))
        except BROKEN_JSON as error:
            raise RunFolderError(f"{path}, line {number}", _row_problem(error)) from error
    return tuple(rows)


def _row_problem(error: Exception) -> str:
    problem = str(error)
    if "missing required field" not in problem:
        return problem
    return f"{problem}; a run of an earlier version has fewer columns, and is to be run again for them"


def read_json(folder: Path, name: str) -> dict[str, Any]:
    """A JSON object of a run's folder.

    Raises:
        RunFolderError: the file is missing or broken.
    """
    path = folder / name
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    except OSError as error:
        raise RunFolderError(str(path), explain(error)) from error
    except BROKEN_JSON as error:
        raise RunFolderError(str(path), str(error)) from error


def read_scenario(folder: Path) -> Scenario:
    """The scenario that a run's folder holds.

    Raises:
        RunFolderError: it has none.
        ScenarioError: it is broken.
    """
    path = folder / SCENARIO
    if not path.is_file():
        raise RunFolderError(str(folder), f"is no run: it has no {SCENARIO}")
    return load_scenario(str(path))


def chain_of(run: Path) -> Path:
    """The chain file that ``run`` names: the file itself, or the one in a run's folder.

    Raises:
        RunFolderError: there is none.
    """
    path = run / CHAIN if run.is_dir() else run
    if not path.is_file():
        raise RunFolderError(str(run), f"is neither a chain file nor a folder with a {CHAIN}")
    return path


def cannot_write(path: Path, error: OSError) -> OutputError:
    """The error that says why a path cannot be written, and the fix."""
    return OutputError(str(path), f"cannot be written: {explain(error)}")


def _exists(path: Path, option: str) -> OutputError:
    return OutputError(str(path), f"exists already; choose another {option}, or remove it")


def _begin(folder: Path, scenario: Scenario, command: str) -> None:
    """Say what is about to run. Rows go last: a disk that is full keeps those that it has."""
    write_text(folder, SCENARIO, dump_scenario(scenario))
    write_json(folder, ENVIRONMENT, environment(command))
    write_json(folder, STATUS, {"status": "running", "blocks_done": 0, "blocks": scenario.blocks})
    write_text(folder, ROUNDS, "")
