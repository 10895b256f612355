"""What a run leaves on disk: ``scenario.toml``, ``status.json``, ``rounds.jsonl``, ``chain.db`` and the rest.

The folder is made before the run starts and refused if it exists, so that no result is ever written over.
"""

from __future__ import annotations

import json
import os
import platform
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import msgspec
import numpy as np
from safetensors.numpy import save

from bees.core.errors import BeesError, OutputError, RunFolderError
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
        if not resumes:
            make_new_folder(path)
        write_text(path, ROUNDS, "")
        write_text(path, SCENARIO, dump_scenario(scenario))
        write_json(path, ENVIRONMENT, environment(command))
        self.set_status("running", blocks_done=0, blocks=scenario.blocks)

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
            raise _cannot_write(self.path / ROUNDS, error) from error

    def set_status(self, status: str, error: BeesError | None = None, **facts: object) -> None:
        """Say in ``status.json`` how far the run is, or how it ended; written whole, or not at all."""
        report: dict[str, Any] = {"status": status, **facts}
        if error is not None:
            report |= error.as_dict()
        write_json(self.path, STATUS, report)

    def finish(self, result: RunResult) -> None:
        """Write the final model, the per-UE arrays and the summary."""
        try:
            np.savez_compressed(self.path / DEVICES, allow_pickle=False, **result.devices.as_arrays())
            (self.path / MODEL).write_bytes(save(result.arrays()))
        except OSError as error:
            raise _cannot_write(self.path, error) from error
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
    target, draft = folder / name, folder / f"{name}.draft"
    try:
        draft.write_text(text, encoding="utf-8", newline="\n")
        draft.replace(target)
    except OSError as error:
        raise _cannot_write(target, error) from error


def make_new_folder(path: Path) -> None:
    """Make a folder that must not exist yet.

    Raises:
        OutputError: it exists, or cannot be made.
    """
    try:
        path.mkdir(parents=True)
    except FileExistsError:
        raise OutputError(str(path), "exists already; choose another --out, or remove it") from None
    except OSError as error:
        raise _cannot_write(path, error) from error


@contextmanager
def new_file(path: Path) -> Generator[BinaryIO]:
    """A binary file to write, which must not exist yet; it is removed again if the writer fails.

    Raises:
        OutputError: it exists, or cannot be written.
    """
    try:
        file = path.open("xb")
    except FileExistsError:
        raise OutputError(str(path), "exists already; choose another name, or remove it") from None
    except OSError as error:
        raise _cannot_write(path, error) from error
    try:
        with file:
            yield file
    except BaseException as error:
        path.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise _cannot_write(path, error) from error
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


def read_rounds(folder: Path) -> tuple[RoundRow, ...]:
    """The rows of ``rounds.jsonl``.

    Raises:
        RunFolderError: the file is missing, or a line is broken.
    """
    path = folder / ROUNDS
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise RunFolderError(str(path), _reason(error)) from error
    rows: list[RoundRow] = []
    for number, line in enumerate(lines, start=1):
        try:
            rows.append(msgspec.json.decode(line, type=RoundRow))
        except BROKEN_JSON as error:
            raise RunFolderError(f"{path}, line {number}", str(error)) from error
    return tuple(rows)


def read_json(folder: Path, name: str) -> dict[str, Any]:
    """A JSON object of a run's folder.

    Raises:
        RunFolderError: the file is missing or broken.
    """
    path = folder / name
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    except OSError as error:
        raise RunFolderError(str(path), _reason(error)) from error
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


def _cannot_write(path: Path, error: OSError) -> OutputError:
    return OutputError(str(path), f"cannot be written: {_reason(error)}")


def _reason(error: OSError) -> str:
    return error.strerror or str(error)
