"""Trains in the place of devices that offload, and signs their updates once they have delegated the round.

First the training, then the ``Delegate``: a device gives the round out of its hands only when its server says that the
update is there. If the server has no time or fails, the device has signed nothing and trains itself.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import structlog

from bees.core.canonical import encode
from bees.core.errors import BeesError, CodecError, EngineError, MissingBlobError, StorageError, TrainingError
from bees.core.fixed_point import quantise, words_to_bytes
from bees.core.hashes import digest
from bees.ledger.state import Phase
from bees.ledger.transactions import Update
from bees.node.training_worker import TrainingJob
from bees.protocol.device import OpenRound, commit_update
from bees.protocol.signer import Signer, answer_once
from bees.protocol.update_speller import UpdateSpeller
from bees.transport.refusals import NoOfferError, NotYetError, OfferRefusedError, TooManyRequestsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from bees.core.fixed_point import Words
    from bees.ledger.state import State
    from bees.ledger.transactions import Signed
    from bees.node.blob_store import DiskBlobStore
    from bees.node.config import OffloadingSection
    from bees.node.metrics import Metrics
    from bees.node.offload_store import OffloadStore
    from bees.node.ports import Ledger
    from bees.protocol.signer import AnswerJournal
    from bees.transport.offloading import Offer

_log = structlog.get_logger("bees.node.offloading")


class Trainer(Protocol):
    """Trains one job at a time, such as a ``TrainingProcess``."""

    async def train(self, job: TrainingJob) -> NDArray[np.float32]:
        """w_k(t), shape (P,), or a TrainingError."""
        ...

    async def stop(self) -> None:
        """End."""
        ...


@dataclass
class Training:
    """One device's training in the open round.

    Attributes:
        offer: under which it is done.
        opened: t and w_g(t-1).
        words: of w_g(t-1).
        state: ``waits``, ``trains``, ``trained``, ``signed`` or ``failed``.
        problem: why it has failed, or "".
        seconds: how long it took.
        commitment: of the update's bytes, when they are there.
        signed: the Update, when it is signed.
        is_on_chain: whether a block has it.
        settled: set when it is trained, or has failed.
    """

    offer: Offer
    opened: OpenRound
    words: Words
    state: str = "waits"
    problem: str = ""
    seconds: float = 0.0
    commitment: bytes | None = None
    signed: Signed | None = None
    is_on_chain: bool = False
    settled: asyncio.Event = field(default_factory=asyncio.Event)

    def fail(self, problem: str) -> None:
        """Say why there will be no update."""
        self.state, self.problem = "failed", problem
        self.settled.set()


class Offloading:
    """What one server does for the devices that offload to it.

    Args:
        ledger: the node's.
        store: where updates go.
        offers: the devices' data.
        journal: of the server, on disk before a signature leaves.
        trainers: each trains one device at a time.
        section: limits.
        own_model: as ``package.module:name``; "": made from the genesis.
        metrics: of the node.
    """

    def __init__(
        self,
        ledger: Ledger,
        store: DiskBlobStore,
        offers: OffloadStore,
        journal: AnswerJournal,
        trainers: Sequence[Trainer],
        section: OffloadingSection,
        own_model: str,
        metrics: Metrics,
    ) -> None:
        self.offers, self.section, self.own_model = offers, section, own_model
        self._ledger, self._store, self._journal, self._trainers = ledger, store, journal, trainers
        self._signer = Signer(ledger.key, journal)
        self._speller = UpdateSpeller(ledger.state.genesis.model, feeds_back=True)
        self._metrics = metrics
        self._queue: asyncio.Queue[Training] = asyncio.Queue()
        self._trainings: dict[int, Training] = {}
        self._signing: set[asyncio.Task[None]] = set()
        self._round = ledger.state.round
        self._end_offers(ledger.state)
        ledger.on_block(self._follow)

    async def run(self) -> None:
        """Train what is asked for, until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                for trainer in self._trainers:
                    group.create_task(self._work(trainer))
        finally:
            for task in self._signing:
                task.cancel()
            for trainer in self._trainers:
                await trainer.stop()

    def ask(self, device: int, round_: int) -> Training:
        """Have a device's training of a round done; the same one if it was asked for before.

        Raises:
            NoOfferError: its data are not here, or not for this round.
            NotYetError: this node has not reached the round.
            OfferRefusedError: the chain would take no such update.
            TooManyRequestsError: too many wait already.
        """
        state, offer = self._ledger.state, self._offer(device, round_)
        known = self._trainings.get(device)
        if known is not None and known.offer == offer and known.opened == OpenRound.of(state):
            return known
        self._check_open(state, device, round_)
        waiting = sum(training.state == "waits" for training in self._trainings.values())
        if waiting >= self.section.trainings_waiting:
            raise TooManyRequestsError(f"{waiting} devices wait for a training")
        try:
            words = self._ledger.global_model
        except MissingBlobError:
            raise NotYetError(f"this node does not hold w_g({round_ - 1}) yet") from None
        training = Training(offer, OpenRound.of(state), words)
        self._trainings[device] = training
        self._queue.put_nowait(training)
        return training

    def training(self, device: int, round_: int) -> Training | None:
        """The training of a round that was asked for, or None."""
        known = self._trainings.get(device)
        return known if known is not None and known.opened.round == round_ else None

    def forget(self, device: int) -> None:
        """Drop a device's training: its offer is over, or another one has come."""
        known = self._trainings.get(device)
        if known is not None and known.signed is None:
            known.fail("the device has taken back its offer")
            del self._trainings[device]

    def updates(self, state: State) -> list[Signed]:
        """What was signed for devices and is not on the chain yet: to be sent again."""
        return [
            training.signed
            for device, training in self._trainings.items()
            if training.signed is not None and training.opened.round == state.round and device not in state.updates
        ]

    def _offer(self, device: int, round_: int) -> Offer:
        offer = self.offers.offers.get(device)
        if offer is None or not offer.first_round <= round_ <= offer.last_round:
            raise NoOfferError(f"device {device} has offered no data to this server for round {round_}")
        return offer

    def _check_open(self, state: State, device: int, round_: int) -> None:
        server = self._ledger.server
        if round_ > state.round:
            raise NotYetError(f"this node stands in round {state.round}")
        if round_ < state.round or state.phase is not Phase.COLLECT or device in state.updates:
            raise OfferRefusedError(f"round {round_} takes no update of device {device} any more")
        if not state.servers[server].is_active:
            raise OfferRefusedError(f"the account of server {server} is empty")
        if state.is_convicted(("server", server)) or state.is_convicted(("device", device)):
            raise OfferRefusedError(f"server {server} or device {device} is convicted, and has no turn")

    async def _work(self, trainer: Trainer) -> None:
        while True:
            training = await self._queue.get()
            if training.state != "waits":
                continue
            if training.opened != OpenRound.of(self._ledger.state):
                training.fail("its round was over before its turn came")
                continue
            await self._train(training, trainer)
            self._metrics.trainings.labels("trained" if training.seconds else "failed").inc()

    async def _train(self, training: Training, trainer: Trainer) -> None:
        offer, began = training.offer, asyncio.get_running_loop().time()
        training.state = "trains"
        model = self._ledger.state.genesis.model
        name = digest("training", encode((offer.data, offer.settings)))
        path, words = str(self.offers.data_of(offer)), words_to_bytes(training.words)
        job = TrainingJob(name, training.opened.round, model, self.own_model, offer.settings, path, words)
        try:
            weights = await trainer.train(job)
            trained = quantise(weights, model.exponent)
            if training.settled.is_set():
                return
            update = self._speller.spell(offer.device, trained, training.words, offloads=True)
            training.commitment = await self._keep(offer.device, training.opened.round, update)
        except (TrainingError, CodecError, StorageError) as error:
            training.fail(str(error))
            _log.warning("no training", device=offer.device, round=training.opened.round, reason=str(error))
            return
        if training.settled.is_set():
            return
        training.seconds = asyncio.get_running_loop().time() - began
        training.state = "trained"
        training.settled.set()
        self._metrics.training.observe(training.seconds)
        fields = {"device": offer.device, "round": training.opened.round, "samples": offer.samples}
        _log.info("trained for a device", **fields, seconds=round(training.seconds, 3))
        self._sign_delegated(self._ledger.state)

    async def _keep(self, device: int, round_: int, update: bytes) -> bytes:
        return await asyncio.to_thread(self._store.put, device, round_, update)

    def _follow(self, state: State) -> None:
        if state.round != self._round:
            self._round = state.round
            self._end_trainings()
            self._end_offers(state)
        for device, training in self._trainings.items():
            accepted = state.updates.get(device)
            if accepted is not None and accepted.server == self._ledger.server:
                training.is_on_chain = True
        self._sign_delegated(state)

    def _end_trainings(self) -> None:
        for training in self._trainings.values():
            if not training.is_on_chain and training.state != "failed":
                self._metrics.late_trainings.inc()
                _log.info("a training was of no use", device=training.offer.device, round=training.opened.round)
            if not training.settled.is_set():
                training.fail("its round is over")
        self._trainings.clear()
        while not self._queue.empty():
            self._queue.get_nowait()

    def _end_offers(self, state: State) -> None:
        """Delete the data of those whose last round is over."""
        keys = state.members.devices
        for device, offer in self.offers.offers.items():
            # Whoever is removed, or has another key since the old one was stolen, offers nothing any more.
            if offer.last_round >= state.round and keys[device] == self.offers.key_of(device):
                continue
            try:
                self.offers.end(device)
            except StorageError as error:
                _log.error("data of a device cannot be deleted", device=device, reason=str(error))
            else:
                _log.info("data of a device are deleted", device=device, after_round=state.round - 1)

    def _sign_delegated(self, state: State) -> None:
        """Sign for each device that is trained, and whose Delegate to this server a block has."""
        if state.phase is not Phase.COLLECT:
            return
        for device, training in self._trainings.items():
            leave = state.delegations.get(device)
            if training.state != "trained" or training.opened != OpenRound.of(state) or leave is None:
                continue
            if leave.server != self._ledger.server or not leave.first_round <= state.round <= leave.last_round:
                continue
            training.state = "signed"
            task = asyncio.get_running_loop().create_task(self._sign(training))
            self._signing.add(task)
            task.add_done_callback(self._signing.discard)

    async def _sign(self, training: Training) -> None:
        try:
            training.signed = self._update_of(training)
            await self._ledger.submit(training.signed)
        except EngineError as error:
            # It is sent again with whatever no block has taken.
            _log.info("an update for a device is not sent yet", device=training.offer.device, reason=str(error))
        except BeesError as error:
            training.signed = None
            training.fail(str(error))
            _log.warning("no update for a device", device=training.offer.device, reason=str(error))
        else:
            _log.info("signed for a device", device=training.offer.device, round=training.opened.round)

    def _update_of(self, training: Training) -> Signed:
        """The Update; after a restart the one that was signed before it, if its bytes are still here.

        Raises:
            TrainingError: another one was signed, and it cannot be given any more.
        """
        offer, opened = training.offer, training.opened
        data = self._store.get(training.commitment or b"")
        if data is None:
            raise TrainingError("the bytes of the update are gone")

        def make() -> Signed:
            return commit_update(self._signer, opened, offer.device, offer.samples, data, self._ledger.server)

        signed = answer_once(self._journal, (f"Update of {offer.device}", opened.round), make)
        body = None if signed is None else signed.body
        if signed is None or not isinstance(body, Update) or body.commitment not in self._store:
            raise TrainingError("another update was signed for this round before the node was started again")
        training.commitment = body.commitment
        return signed
