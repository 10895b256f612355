"""The processes of a network on one machine: started, found again by another command, and ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from bees.core.errors import InputError
from bees.run_folder import write_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

NETWORK = "network.json"
_POLL_S = 0.1


class Started(msgspec.Struct, frozen=True):
    """A process of the network.

    Attributes:
        name: such as ``node2``.
        pid: its process id, which is also that of its group.
        born: when the system says that it began: another process with its id was born at another time.
        log: file of its output.
    """

    name: str
    pid: int
    born: str
    log: str

    @property
    def is_alive(self) -> bool:
        """Whether this very process runs."""
        return bool(self.born) and _born(self.pid) == self.born


class Network(msgspec.Struct, frozen=True):
    """What ``network.json`` says.

    Attributes:
        chain_id: in hexadecimal digits.
        urls: of the nodes' device APIs.
        processes: that were started.
    """

    chain_id: str
    urls: tuple[str, ...]
    processes: tuple[Started, ...]


def start(name: str, arguments: Sequence[str], log: Path) -> Started:
    """Start a ``bees`` command in a process group of its own, its output going to a file."""
    # One thread for each computation: the processes share the machine already.
    environment = {**os.environ, "NPROC": "1", "JAX_PLATFORMS": "cpu"}
    program = "import sys; from bees.cli import main; sys.argv[0] = 'bees'; main()"
    with log.open("ab") as output:
        process = subprocess.Popen(  # noqa: S603  # our own command
            [sys.executable, "-c", program, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=environment,
            start_new_session=True,
        )
    return Started(name, process.pid, _born(process.pid), str(log))


def stop_all(processes: Iterable[Started], patience_s: float = 15.0) -> tuple[str, ...]:
    """Ask processes to end, and make those end that do not; returns the names of the latter."""
    alive = [process for process in processes if process.is_alive]
    for process in alive:
        _signal(process, signal.SIGTERM)
    deadline = time.monotonic() + patience_s
    while any(process.is_alive for process in alive) and time.monotonic() < deadline:
        time.sleep(_POLL_S)
    stubborn = tuple(process.name for process in alive if process.is_alive)
    for process in alive:
        if process.is_alive:
            _signal(process, signal.SIGKILL)
    return stubborn


def save(folder: Path, network: Network) -> None:
    """Write ``network.json``."""
    write_text(folder, NETWORK, msgspec.json.format(msgspec.json.encode(network).decode()) + "\n")


def load(folder: Path) -> Network:
    """Read ``network.json``.

    Raises:
        InputError: there is no network in the folder.
    """
    path = folder / NETWORK
    try:
        return msgspec.json.decode(path.read_bytes(), type=Network)
    except OSError:
        raise InputError(str(folder), "holds no network; `bees devnet up` makes one") from None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(str(path), f"is not as `bees devnet up` wrote it: {error}") from None


def _signal(process: Started, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(process.pid, number)


def _born(pid: int) -> str:
    """When a process began, as the system counts; "" where there is none, or only its corpse."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    if fields[0] in {"Z", "X"}:
        with suppress(ChildProcessError, OSError):
            os.waitpid(pid, os.WNOHANG)
        return ""
    return fields[19]
