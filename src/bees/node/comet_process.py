"""Starts and stops the CometBFT of a node, and finds where it is installed."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from bees.core.errors import CometError, MissingExtraError
from bees.engines.disk import explain
from bees.node.comet import COMET_VERSION
from bees.node.tied_program import tied

if TYPE_CHECKING:
    from bees.node.comet_client import CometClient, CometStatus

_STOP_S = 10.0
_TAIL_CHARACTERS = 600


def find_comet(option: str | None = None) -> Path:
    """The executable: what the option names, else ``BEES_COMETBFT``, else on the path, else beside this Python.

    Raises:
        MissingExtraError: it is nowhere.
    """
    for named, source in ((option, "--cometbft"), (os.environ.get("BEES_COMETBFT"), "BEES_COMETBFT")):
        if named:
            found = shutil.which(named)
            if found is None:
                raise MissingExtraError(source, f"{named!r} is no executable; `make cometbft` installs CometBFT")
            return Path(found)
    found = shutil.which("cometbft") or shutil.which("cometbft", path=str(Path(sys.executable).parent))
    if found is None:
        install = f"go install github.com/cometbft/cometbft/cmd/cometbft@{COMET_VERSION}"
        raise MissingExtraError("cometbft", f"is not installed; `make cometbft` does it with Go ({install})")
    return Path(found)


class CometProcess:
    """One ``cometbft node``, in a process group of its own; its output goes to ``comet.log`` in its home.

    On Linux it does not outlive this process, however that ends.

    Attributes:
        home: its folder.
    """

    def __init__(self, executable: Path, home: Path) -> None:
        self.home = home
        self._executable = executable
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int | None:
        """Of the running process."""
        return self._process.pid if self._process and self._process.returncode is None else None

    @property
    def log(self) -> Path:
        """Where its output goes."""
        return self.home / "comet.log"

    async def start(self) -> None:
        """Start it; the ledger must listen already.

        Raises:
            CometError: it cannot be started.
        """
        command = tied(str(self._executable), "node", "--home", str(self.home))
        try:
            with self.log.open("ab") as output:
                self._process = await asyncio.create_subprocess_exec(
                    *command, stdin=asyncio.subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
                )
        except OSError as error:
            raise CometError(f"{self._executable} cannot be started: {explain(error)}") from error

    async def wait_ready(self, client: CometClient, timeout_s: float = 60.0) -> CometStatus:
        """Wait until its RPC answers.

        Raises:
            CometError: it ends, or does not answer in time; with the end of its log.
        """
        deadline = asyncio.get_running_loop().time() + timeout_s
        while True:
            try:
                return await client.status()
            except CometError as error:
                is_late = asyncio.get_running_loop().time() > deadline
                if self.pid is None or is_late:
                    what = "does not answer" if is_late else "has ended"
                    raise CometError(f"CometBFT {what}; {self.log} ends with: {self.tail()}") from error
                await asyncio.sleep(0.1)

    async def wait(self) -> int:
        """Until it ends; its exit status."""
        if self._process is None:
            raise CometError("CometBFT is not started")
        return await self._process.wait()

    async def stop(self) -> None:
        """Ask it to end, and after some seconds make it."""
        await self._end(signal.SIGTERM)

    async def kill(self) -> None:
        """End it at once, as a power cut would."""
        await self._end(signal.SIGKILL)

    def tail(self) -> str:
        """The end of its log, in one line."""
        with suppress(OSError):
            text = self.log.read_text(errors="replace").strip()
            return text[-_TAIL_CHARACTERS:].replace("\n", " | ")
        return ""

    async def _end(self, how: signal.Signals) -> None:
        process = self._process
        if process is None:
            return
        if process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, how)
            try:
                async with asyncio.timeout(_STOP_S):
                    await process.wait()
            except TimeoutError:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
        self._process = None
