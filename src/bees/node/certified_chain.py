"""The certified part of a chain: a decided block is appended to the chain file as soon as it has a certificate."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bees.core.errors import DivergedError
from bees.ledger.proofs import prove_model

if TYPE_CHECKING:
    from collections.abc import Callable

    from bees.ledger.block import Block, Commit
    from bees.ledger.genesis import Genesis
    from bees.ledger.proofs import ModelProof
    from bees.ledger.state import State
    from bees.node.certifier import Certifier
    from bees.node.chain_keeper import ChainKeeper
    from bees.node.judge import Judge
    from bees.node.peers import WantedBlob

_PAUSE_S = 1.0


@dataclass(frozen=True)
class CertifiedBlock:
    """The newest block with a certificate.

    Attributes:
        block: header and transactions.
        commit: signatures of more than 2N/3 servers.
        state: after it.
    """

    block: Block
    commit: Commit
    state: State


class CertifiedChain:
    """Appends for one server.

    Args:
        genesis: says how many servers may lie.
        keeper: of the chain file.
        certifier: gathers signatures.
        judge: gets bytes that are missing.
        read_blob: the bytes of an update by its commitment, or None.
        newest: the last block of the chain file, or None.

    Attributes:
        newest: the newest certified block, or None before the first.
    """

    def __init__(
        self,
        genesis: Genesis,
        keeper: ChainKeeper,
        certifier: Certifier,
        judge: Judge,
        read_blob: Callable[[bytes], bytes | None],
        newest: CertifiedBlock | None,
    ) -> None:
        self.newest = newest
        self._genesis, self._keeper, self._certifier, self._judge = genesis, keeper, certifier, judge
        self._read_blob = read_blob
        self._decided: dict[int, tuple[Block, State, tuple[WantedBlob, ...]]] = {}
        self._callbacks: list[Callable[[CertifiedBlock], None]] = []
        self._proof: tuple[int, ModelProof] | None = None

    def on_certified(self, callback: Callable[[CertifiedBlock], None]) -> None:
        """Call back after every certified block."""
        self._callbacks.append(callback)

    def decide(self, block: Block, state: State) -> None:
        """Take in the next decided block, with the state after it, and sign its header."""
        self._decided[block.header.height] = (block, state, self._keeper.follow(block.batch))
        self._certifier.decide(block.header)

    def proof(self) -> ModelProof | None:
        """The proof of the last round that is closed at the newest certified block; None before the first."""
        newest = self.newest
        if newest is None or newest.state.outcome is None:
            return None
        if self._proof is None or self._proof[0] != newest.state.height:
            self._proof = (newest.state.height, prove_model(newest.state, newest.block.header, newest.commit))
        return self._proof[1]

    async def run(self, decided_height: Callable[[], int]) -> None:
        """Append what has a certificate, in order; pull signatures for what waits too long.

        Args:
            decided_height: of the last decided block.

        Raises:
            DivergedError: more servers than may lie have signed another header.
            StorageError: the chain file cannot be written.
        """
        while True:
            height = self._keeper.height + 1
            self._check_agreement(height)
            commit = self._certifier.certificate(height)
            if commit is None:
                await self._certifier.wait_for_more(decided_height())
            else:
                await self._append(height, commit)
                await asyncio.sleep(0)  # hundreds may be complete at once, and CometBFT must not wait for all of them

    async def _append(self, height: int, commit: Commit) -> None:
        block, state, wanted = self._decided[height]
        self._keeper.append(block, commit, {update.commitment: await self._bytes_of(update) for update in wanted})
        del self._decided[height]
        self._certifier.forget(height)
        self.newest = CertifiedBlock(block, commit, state)
        for callback in self._callbacks:
            callback(self.newest)

    async def _bytes_of(self, update: WantedBlob) -> bytes:
        while True:
            data = self._read_blob(update.commitment)
            if data is not None:
                return data
            if not await self._judge.obtain(update):
                await asyncio.sleep(_PAUSE_S)

    def _check_agreement(self, height: int) -> None:
        others = self._certifier.dissenters(height)
        if len(others) > len(self._genesis.servers) - self._genesis.commit_quorum:
            who = ", ".join(str(k) for k in others)
            raise DivergedError(f"servers {who} have signed another header than this server computes", height)
