"""What an edge server says to CometBFT about transactions and blocks, in the ledger's own terms.

A block may need bytes of updates that are not here yet. They are fetched from the servers that attest to hold them:
for a proposed block as long as its patience lasts, for a decided one as long as it takes.

It lives on the loop, and so does the application. What waits, for bytes or for the contract's thread, is judged again
from the start when it goes on; only CometBFT's one connection for blocks moves the state.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, TypeVar

import structlog

from bees.core.canonical import decode
from bees.core.errors import (
    BlockError,
    CodecError,
    ContractError,
    EngineError,
    MissingBlobError,
    StorageError,
    TransactionError,
)
from bees.ledger.block import Batch, Block, Header
from bees.ledger.commitments import commit_to_update
from bees.ledger.refusals import InvalidTransactionError
from bees.ledger.transactions import Signed, canonical_order
from bees.node.peers import WantedBlob

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from bees.ledger.application import Application
    from bees.ledger.state import State
    from bees.node.contract_thread import ContractThread
    from bees.node.peers import Blobs, Peers

T = TypeVar("T")

_FETCHES_PER_LINE = 40
"""A decided block that waits for bytes says so in the log at the first try, and after so many more."""

_log = structlog.get_logger(__name__)


@dataclass
class Counts:
    """What a node has counted since it started, for its metrics.

    Attributes:
        transactions_refused: by CheckTx, those checked again after a block included.
        proposals_rejected: by ProcessProposal.
        blobs_fetched: updates that a block needed and another server gave.
        fetches_failed: tries that gave nothing, or other bytes than were committed to.
        signatures_refused: of other servers, forged or of no use.
    """

    transactions_refused: int = 0
    proposals_rejected: int = 0
    blobs_fetched: int = 0
    fetches_failed: int = 0
    signatures_refused: int = 0


class Judge:
    """Judges for one server.

    Attributes:
        application: the ledger.
        counts: what happened.
    """

    def __init__(
        self,
        server: int,
        application: Application,
        executor: ContractThread,
        blobs: Blobs,
        peers: Peers,
        *,
        patience_s: float,
        pause_s: float,
    ) -> None:
        self.application = application
        self.counts = Counts()
        self._server, self._executor, self._blobs, self._peers = server, executor, blobs, peers
        self._patience_s, self._pause_s = patience_s, pause_s
        self._previous = application.state.genesis.chain_id

    async def check(self, data: bytes, hear: Callable[[Signed], None]) -> None:
        """Refuse a transaction that could not be in the next block.

        One that only lacks bytes passes: whoever proposes may have them.

        Args:
            data: of the mempool.
            hear: is told of each that is authentic, refused or not.

        Raises:
            CodecError: these bytes are no transaction.
            TransactionError: it is refused.
        """
        try:
            signed = decode(data, Signed)
            self.application.check_signature(signed)
            hear(signed)
            await self.admit(signed)
        except (CodecError, TransactionError):
            self.counts.transactions_refused += 1
            raise

    async def admit(self, signed: Signed) -> None:
        """Likewise, for one that is decoded.

        Raises:
            TransactionError: it is refused.
        """
        try:
            await self._executor.settle(lambda: self.application.check_tx(signed))
        except MissingBlobError:
            _log.debug("transaction passes unjudged", kind=type(signed.body).__name__)

    async def prepare(self, candidates: Iterable[bytes], limit_bytes: int) -> list[bytes]:
        """The candidates that can be in the next block together and fit into it, in canonical order."""
        known: list[Signed] = []
        for data in candidates:
            try:
                known.append(decode(data, Signed))
            except CodecError:
                continue
        chosen: list[bytes] = []
        used_bytes = 0
        proposal = await self._executor.settle(lambda: self.application.prepare_proposal(known))
        for signed in proposal.transactions:
            used_bytes += len(signed.encoding) + _prefix_bytes(len(signed.encoding))
            if used_bytes > limit_bytes:
                break
            chosen.append(signed.encoding)
        return chosen

    async def refusal(self, transactions: Sequence[bytes]) -> str | None:
        """Why a proposed block must not be decided, in one line; None when it may be."""
        try:
            batch = _decode_batch(transactions, self.application.state.height + 1)
            await self._with_bytes(lambda: self.application.execute(batch), self._patience_s)
        except TimeoutError:
            reason = f"bytes of an update did not come within {self._patience_s:g} s"
        except (CodecError, BlockError) as error:
            reason = str(error)
        else:
            return None
        self.counts.proposals_rejected += 1
        return reason

    async def execute(self, transactions: Sequence[bytes], height: int) -> Block:
        """Execute a decided block; ``application.commit`` makes it the state.

        Raises:
            EngineError: the block is not the next one, or not one that an honest server can have voted for.
        """
        application = self.application
        if height != application.state.height + 1:
            problem = f"CometBFT has decided block {height}, but this ledger stands at block {application.state.height}"
            raise EngineError(f"{problem}; chain.db and CometBFT's data are not of the same node")
        try:
            batch = _decode_batch(transactions, height)
            app_hash = await self._with_bytes(lambda: application.finalize_block(batch))
        except (CodecError, BlockError) as error:
            problem = f"block {height} is decided, but refused here ({error})"
            raise EngineError(f"{problem}; this server's software differs from the others'") from error
        return Block(Header(application.state.genesis.chain_id, height, self._previous, batch.root, app_hash), batch)

    async def learn_model(self, before: State) -> None:
        """Compute the words of a w_g that the block before named, where no rule had this server compute them.

        Where the main node alone verifies, its word is enough for a block; the next one to publish needs the words.
        """
        try:
            await self._with_bytes(lambda: self._executor.run(before), self._patience_s)
        except (TimeoutError, MissingBlobError, ContractError):
            _log.warning("words of the global model are not at hand", round=before.round)

    def follow(self, block_id: bytes) -> None:
        """The block that the next one follows."""
        self._previous = block_id

    async def obtain(self, wanted: WantedBlob) -> bool:
        """Get the bytes of an update from another server; whether they are here now. A full disk can be waited for."""
        data = await self._peers.fetch_blob(wanted)
        try:
            is_kept = data is not None and await asyncio.to_thread(self._keep, wanted, data)
        except StorageError as error:
            _log.error("an update that a block needs cannot be kept", device=wanted.device, reason=str(error))
            is_kept = False
        self.counts.blobs_fetched += is_kept
        self.counts.fetches_failed += not is_kept
        return is_kept

    def _keep(self, wanted: WantedBlob, data: bytes) -> bool:
        """Keep bytes if they are what was committed to, and say whether they are. Runs in a thread."""
        if commit_to_update(wanted.device, wanted.round, data) != wanted.commitment:
            return False
        if self._blobs.get(wanted.commitment) is None:
            self._blobs.put(wanted.device, wanted.round, data)
        return True

    async def _with_bytes(self, run: Callable[[], T], patience_s: float | None = None) -> T:
        """The result of ``run``, tried again with each update that it has missed.

        Args:
            run: may ask for contracts.
            patience_s: for all missing bytes together, or None to wait for as long as it takes.

        Raises:
            MissingBlobError: it misses what is no update of the open round, which nobody can be asked for.
            TimeoutError: patience is over. A contract that runs for long is no reason: it ends at every server.
        """
        waited_s = 0.0
        while True:
            try:
                return await self._executor.settle(run)
            except MissingBlobError as missing:
                wanted = self._wanted(missing)
            begin = time.monotonic()
            async with asyncio.timeout(None if patience_s is None else patience_s - waited_s):
                await self._await_bytes(wanted)
            waited_s += time.monotonic() - begin

    async def _await_bytes(self, wanted: WantedBlob) -> None:
        tries = 0
        while not await self.obtain(wanted):
            if tries % _FETCHES_PER_LINE == 0:
                _log.warning("block waits for bytes", commitment=wanted.commitment.hex()[:16], tries=tries)
            tries += 1
            await asyncio.sleep(self._pause_s)

    def _wanted(self, missing: MissingBlobError) -> WantedBlob:
        state = self.application.state
        for device, update in state.updates.items():
            if update.commitment == missing.commitment:
                holders = (k for k, said in state.attestations.items() if device in said.devices and k != self._server)
                return WantedBlob(missing.commitment, device, state.round, tuple(holders), for_block=True)
        raise missing


def _decode_batch(transactions: Sequence[bytes], height: int) -> Batch:
    """The transactions of a block.

    Raises:
        CodecError: one is none.
        InvalidTransactionError: it does not stand in canonical order.
    """
    batch = Batch(tuple(decode(data, Signed) for data in transactions))
    for index, (first, second) in enumerate(pairwise(batch.transactions), start=1):
        if canonical_order(second) < canonical_order(first):
            raise InvalidTransactionError(height, index, "it is not in canonical order")
    return batch


def _prefix_bytes(size: int) -> int:
    """What a transaction of this size takes in a block besides its own bytes: a tag, and a varint of its length."""
    return 1 + max(1, -(-size.bit_length() // 7))
