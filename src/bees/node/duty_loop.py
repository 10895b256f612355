"""Does the duties as the chain moves: pulls what is wanted, and sends what is due.

What takes long is done in threads, one duty at a time: scoring, what a duty writes to the journal, removing old
updates. The contract runs in its own.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from bees.core.errors import BeesError, ContractError, EngineError, MissingBlobError, StorageError, TransactionError
from bees.ledger.state import Phase
from bees.node.duties import wanted_updates

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bees.ledger.state import State
    from bees.ledger.transactions import Signed
    from bees.node.blob_store import DiskBlobStore
    from bees.node.duties import Duties, Score
    from bees.node.metrics import Metrics
    from bees.node.peers import WantedBlob
    from bees.node.ports import BlobPuller, Ledger

_RETRY_S = 1.0
_SAID_AGAIN_AFTER = 3
"""Heights after which what no block has taken is sent again."""
_ACCUSATIONS_KEPT = 64

_log = structlog.get_logger("bees.node.duties")


class DutyLoop:
    """Drives one server's duties.

    Args:
        ledger: the node's.
        duties: what is due.
        score: of updates; called in a thread.
        peers: to pull from.
        store: of updates.
        metrics: of the node.
        entrusted: the updates that devices have uploaded here and that no block has taken.
        rounds_kept: rounds of which all updates stay at least.
    """

    def __init__(
        self,
        ledger: Ledger,
        duties: Duties,
        score: Score,
        peers: BlobPuller,
        store: DiskBlobStore,
        metrics: Metrics,
        entrusted: Callable[[State], Sequence[Signed]],
        rounds_kept: int,
    ) -> None:
        self._ledger = ledger
        self._duties = duties
        self._score = score
        self._peers = peers
        self._store = store
        self._metrics = metrics
        self._entrusted = entrusted
        self._rounds_kept = rounds_kept
        self._due = asyncio.Event()
        self._pulls: set[asyncio.Task[None]] = set()
        self._pulled: set[bytes] = set()
        self._accusations: list[Signed] = []
        self._sent: dict[bytes, int] = {}
        self._round = 0
        self._is_prune_due = False
        ledger.on_block(self._follow)
        ledger.on_transaction(self.hear)

    def hear(self, signed: Signed) -> None:
        """Take note of an authentic transaction, which may contradict another."""
        evidence = self._duties.hear(self._ledger.state, signed)
        if evidence is not None:
            self._accuse(evidence)

    def wake(self) -> None:
        """Look again at what is due: bytes of an update have come."""
        self._due.set()

    async def run(self) -> None:
        """Do what is due, until cancelled."""
        while True:
            try:
                async with asyncio.timeout(_RETRY_S):
                    await self._due.wait()
            except TimeoutError:
                pass
            self._due.clear()
            await self._do(self._ledger.state)

    async def stop(self) -> None:
        """End the pulls."""
        for task in self._pulls:
            task.cancel()
        await asyncio.gather(*self._pulls, return_exceptions=True)

    def _follow(self, state: State) -> None:
        self._metrics.follow(state)
        block = self._ledger.last_block
        for signed in block.batch.transactions if block is not None else ():
            # A liar tells others another story than this server; in a block the stories meet.
            self.hear(signed)
        if state.round != self._round:
            self._round = state.round
            self._duties.forget(state)
            self._sent.clear()
            self._is_prune_due = True
            _log.info("round", round=state.round, height=state.height, model=state.model.hex()[:16])
        self._due.set()

    async def _prune(self, state: State) -> None:
        """Forget old updates; but what a block read that is not certified yet is in no chain file."""
        self._is_prune_due = False
        newest = self._ledger.certified
        last_round = min(state.round - self._rounds_kept, newest.state.round - 2) if newest is not None else 0
        try:
            await asyncio.to_thread(self._store.prune, last_round)
        except StorageError as error:
            _log.error("old updates cannot be removed", reason=str(error))

    async def _do(self, state: State) -> None:
        """Everything that is due in a state; what cannot be done yet is tried again soon."""
        if self._is_prune_due:
            await self._prune(state)
        for wanted in wanted_updates(state, self._ledger.server, self._store):
            self._pull(wanted)
        for signed in self._entrusted(state):
            # Its upload has sent it once.
            self._sent.setdefault(signed.hash, state.height)
            await self._send(signed)
        for signed in list(self._accusations):
            await self._send(signed)
        if self._duties.may_attest(state):
            await self._send(await self._attest(state))
        if state.phase is Phase.PUBLISH:
            await self._send(await self._publish(state))
        for evidence in await self._ledger.executor.settle(lambda: self._duties.judge(state)):
            self._accuse(evidence)

    async def _attest(self, state: State) -> Signed | None:
        try:
            words = self._ledger.global_model
        except MissingBlobError as error:
            _log.warning("cannot attest yet", reason=str(error))
            return None
        with self._metrics.scoring.time():
            return await asyncio.to_thread(self._duties.attest, state, words, self._score)

    async def _publish(self, state: State) -> Signed | None:
        """The Publish, where it is this server's turn and the contract has a result.

        Every server that will have to check a Publish runs the contract now, and not after the main node has.
        """
        is_own_turn = state.main_node == self._ledger.server
        if not is_own_turn and state.genesis.verification != "all_servers":
            return None
        executor = self._ledger.executor
        try:
            await executor.settle(lambda: executor.run(state))
        except (MissingBlobError, ContractError):
            return None
        return await asyncio.to_thread(self._duties.publish, state) if is_own_turn else None

    def _pull(self, wanted: WantedBlob) -> None:
        if wanted.commitment in self._pulled:
            return

        async def pull() -> None:
            is_here = await self._peers.pull_blob(wanted)
            self._pulled.discard(wanted.commitment)
            if is_here:
                # Once for all of them: looking through a thousand updates takes longer than pulling one.
                if not self._pulled:
                    self._due.set()
                return
            _log.debug("nobody gives an update", device=wanted.device, round=wanted.round)
            for server, said in self._ledger.state.attestations.items():
                if wanted.device in said.devices and server != self._ledger.server:
                    self._metrics.withheld.labels(str(server)).inc()

        self._pulled.add(wanted.commitment)
        task = asyncio.create_task(pull())
        self._pulls.add(task)
        task.add_done_callback(self._pulls.discard)

    def _accuse(self, evidence: Signed) -> None:
        self._accusations = [*self._accusations, evidence][-_ACCUSATIONS_KEPT:]
        _log.warning("evidence of a lie", first=str(type(evidence.body).__name__))
        self._due.set()

    async def _send(self, signed: Signed | None) -> None:
        height = self._ledger.height
        if signed is None or height < self._sent.get(signed.hash, -_SAID_AGAIN_AFTER) + _SAID_AGAIN_AFTER:
            return
        kind = type(signed.body).__name__
        try:
            await self._ledger.submit(signed)
        except TransactionError as error:
            # It is on the chain already, or its time is over.
            self._accusations = [known for known in self._accusations if known != signed]
            _log.debug("not sent", kind=kind, reason=str(error))
        except (MissingBlobError, EngineError) as error:
            _log.info("not sent yet", kind=kind, reason=str(error))
            return
        except BeesError as error:
            _log.error("cannot be sent", kind=kind, reason=str(error))
            return
        else:
            self._metrics.duties.labels(kind).inc()
            _log.info("sent", kind=kind, round=getattr(signed.body, "round", None))
        self._sent[signed.hash] = height
