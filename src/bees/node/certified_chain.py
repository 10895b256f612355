"""The certified part of a chain: a decided block is appended to the chain file as soon as it has a certificate.

All of it lives on the loop. A block is written in the keeper's thread, and is ``newest`` when it is in the file;
meanwhile the loop decides the next ones.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bees.core.errors import DivergedError, MissingBlobError
from bees.ledger.proofs import prove_committee, prove_model

if TYPE_CHECKING:
    from collections.abc import Callable

    from bees.ledger.block import Block, Commit
    from bees.ledger.committee import Committee
    from bees.ledger.proofs import CommitteeProof, ModelProof
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
        keeper: of the chain file.
        certifier: gathers signatures.
        judge: gets bytes that are missing.
        read_blob: the bytes of an update by its commitment, or None; called in a thread.
        newest: the last block of the chain file, or None.
        committee_proofs: of every change of the committee in the chain file.

    Attributes:
        newest: the newest certified block, or None before the first.
        committee_proofs: one for every change of the committee that is certified, in order.
    """

    def __init__(
        self,
        keeper: ChainKeeper,
        certifier: Certifier,
        judge: Judge,
        read_blob: Callable[[bytes], bytes | None],
        newest: CertifiedBlock | None,
        committee_proofs: list[CommitteeProof],
    ) -> None:
        self.newest = newest
        self.committee_proofs = committee_proofs
        self._keeper, self._certifier, self._judge = keeper, certifier, judge
        self._read_blob = read_blob
        self._decided: dict[int, tuple[Block, State, tuple[WantedBlob, ...]]] = {}
        self._callbacks: list[Callable[[CertifiedBlock], None]] = []
        self._proof: tuple[int, ModelProof] | None = None

    def on_certified(self, callback: Callable[[CertifiedBlock], None]) -> None:
        """Call back after every certified block."""
        self._callbacks.append(callback)

    def decide(self, block: Block, state: State, committee: Committee) -> None:
        """Take in the next decided block, and sign its header.

        Args:
            block: header and transactions.
            state: after it.
            committee: the servers that count in the state before it.
        """
        self._decided[block.header.height] = (block, state, self._keeper.follow(block.batch))
        self._certifier.decide(block.header, committee)

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
        by_name = {update.commitment: update for update in wanted}
        while self._keeper.height < height:
            try:
                await self._keeper.append(block, commit, by_name, self._read_blob)
            except MissingBlobError as missing:
                if not await self._judge.obtain(by_name[missing.commitment]):
                    await asyncio.sleep(_PAUSE_S)
        del self._decided[height]
        self._certifier.forget(height)
        before = state.genesis.committee if self.newest is None else self.newest.state.members.committee
        self.newest = CertifiedBlock(block, commit, state)
        if state.members.committee != before:
            self.committee_proofs.append(prove_committee(state, block.header, commit))
        for callback in self._callbacks:
            callback(self.newest)

    def _check_agreement(self, height: int) -> None:
        others = self._certifier.dissenters(height)
        if self._certifier.are_too_many(height, others):
            who = ", ".join(str(k) for k in others)
            raise DivergedError(f"servers {who} have signed another header than this server computes", height)
