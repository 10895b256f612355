"""Runs CometBFT beside a node: starts it again when it ends, and has it vote with its next key once that counts."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from bees.core.errors import CometError
from bees.node.comet import read_key
from bees.node.comet_process import CometProcess, find_comet
from bees.node.validator_key import install_key, installed_key

if TYPE_CHECKING:
    from bees.node.config import CometSection
    from bees.node.ledger_node import LedgerNode

_STARTS = 5
_PAUSE_S = 1.0
_LOOK_S = 1.0

_log = structlog.get_logger("bees.node")


class CometSupervisor:
    """Supervises one CometBFT.

    The chain names the next key of a validator (``ValidatorChange``). CometBFT counts it two blocks after the one in
    which that took effect; on the block between them the old key still votes. So it is CometBFT itself that is asked
    who votes on the next block: a key in place too early misses a vote, which a chain of three servers cannot spare.

    Args:
        section: of ``node.toml``.
        ledger: of the node.

    Raises:
        MissingExtraError: CometBFT is nowhere.
        KeyFileError: the next key cannot be read.
    """

    def __init__(self, section: CometSection, ledger: LedgerNode) -> None:
        self._home = Path(section.home)
        self._comet = CometProcess(find_comet(section.executable or None), self._home)
        self._ledger = ledger
        self._next = read_key(Path(section.next_validator)) if section.next_validator else None
        self._block = asyncio.Event()
        ledger.on_block(lambda _: self._block.set())

    async def run(self) -> None:
        """Run CometBFT, until cancelled.

        Raises:
            CometError: it cannot be started, or ends again and again.
            StorageError: its next key cannot be put in place.
        """
        ended = 0
        while ended < _STARTS:
            await self._comet.start()
            is_due = False
            try:
                await self._comet.wait_ready(self._ledger.comet)
                _log.info("CometBFT answers", rpc=self._ledger.comet.url, log=str(self._comet.log))
                is_due = await self._is_due_before_end()
            except CometError as error:
                _log.warning("CometBFT has not started", reason=str(error))
            finally:
                await self._comet.stop()
            if is_due:
                self._install()
            else:
                ended += 1
                await asyncio.sleep(_PAUSE_S)
        raise CometError(f"CometBFT has ended {_STARTS} times; {self._comet.log} ends with: {self._comet.tail()}")

    async def _is_due_before_end(self) -> bool:
        """Whether it is time for the next key; else CometBFT has ended."""
        end, due = asyncio.create_task(self._comet.wait()), asyncio.create_task(self._due())
        try:
            await asyncio.wait((end, due), return_when=asyncio.FIRST_COMPLETED)
            if due.done():
                due.result()
            return not end.done()
        finally:
            end.cancel()
            due.cancel()
            await asyncio.gather(end, due, return_exceptions=True)

    async def _due(self) -> None:
        """Until CometBFT counts the next key; for ever where there is none, or it is in place already."""
        key = self._next
        if key is None or installed_key(self._home).public_key == key.public_key:
            await asyncio.Event().wait()
            return
        while True:
            changes = self._ledger.state.members.validator_changes
            with suppress(CometError):
                if any(change.new == key.public_key for change in changes) and (
                    key.public_key in await self._ledger.comet.validators()
                ):
                    return
            self._block.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_S):
                    await self._block.wait()

    def _install(self) -> None:
        if self._next is not None:
            install_key(self._home, self._next)
            _log.info("CometBFT votes with its next key", validator=self._next.public_key.hex())
