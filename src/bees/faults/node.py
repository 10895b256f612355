"""An honest edge server in a history: its replica, its duties, its disk, and what it says to devices and peers."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple, Protocol

from bees.core.errors import MissingBlobError, TransactionError
from bees.core.stopwatch import untimed
from bees.engines.messages import Decision, Proposal, Status, Vote
from bees.engines.replica import AnswerAgain, Ask, Replica
from bees.engines.tendermint import Timeout, TimeoutLengths
from bees.faults.world import evaluate, samples_of, train
from bees.ledger.aggregation import ContractExecutor
from bees.ledger.commitments import commit_to_update
from bees.ledger.proofs import CommitteeProof, prove_committee, prove_model
from bees.ledger.state import Phase
from bees.ledger.transactions import Update
from bees.protocol.device import OpenRound, commit_update
from bees.protocol.key_ring import KeyRing
from bees.protocol.messages import AskRound, GiveUpdate, Gossip, RoundNews, WantUpdate
from bees.protocol.server import attest, held_updates, publish
from bees.protocol.signer import Signer, answer_once
from bees.protocol.witness import Witness

if TYPE_CHECKING:
    from collections.abc import Callable

    from bees.faults.disk import Disk
    from bees.faults.world import FaultWorld
    from bees.ledger.block import Commit, Header
    from bees.ledger.state import State
    from bees.ledger.transactions import Signed

LENGTHS = TimeoutLengths(first_us=400_000, growth_us=200_000)
HEIGHT_PAUSE_US = 100_000
TICK_US = 400_000
PEERS_TOLD_AGAIN = 5
_PEERS_ASKED = 2


class NextHeight(NamedTuple):
    """The pause after a block is over."""

    height: int


class Tick(NamedTuple):
    """Time to say again what may have been lost."""


class Port(Protocol):
    """A participant's way out: to others, and to its own later self."""

    def send(self, sender: int, receiver: int, payload: object) -> None:
        """Send to one participant; servers come first in the numbering, then devices."""
        ...

    def broadcast(self, sender: int, payload: object) -> None:
        """Send to every other server."""
        ...

    def set_timer(self, node: int, after_us: int, payload: object) -> None:
        """Hand the payload back after some time, unless the participant has crashed meanwhile."""
        ...


class Node:
    """One edge server.

    Attributes:
        index: of the server.
        replica: its ledger and consensus; another one after each restart.
        executor: runs its contracts.
        change: of contract that it carries until one is on the chain, or None.
        amendments: changes of the members that it carries until they are on the chain, in order.
    """

    def __init__(
        self, index: int, world: FaultWorld, disk: Disk, port: Port, on_block: Callable[[Node, State], None]
    ) -> None:
        self.index = index
        self.disk = disk
        self.change: Signed | None = None
        self.amendments: tuple[Signed, ...] = ()
        self._world = world
        self._port = port
        self._on_block = on_block
        # A restart may keep these: they follow from blocks, of which there is one for each height.
        self._committee, self._committees = world.genesis.committee, list[CommitteeProof]()
        self._boot()

    @property
    def state(self) -> State:
        """After its last block."""
        return self.replica.application.state

    def find_replica(self) -> Replica:
        """The replica of this life; a restart makes another one."""
        return self.replica

    def start(self) -> None:
        """Begin, or begin again after a crash, with what the disk holds."""
        self._boot()
        self.replica.recover()
        self._seen_height = self.replica.height
        self.replica.start_height()
        for signed in self.disk.own(self.state.round):
            self._submit(signed)
        self._port.set_timer(self.index, TICK_US, Tick())

    def deliver(self, payload: object) -> None:
        """Take in a message or a timer."""
        match payload:
            case Vote() | Proposal() | Status() | Decision() | Timeout() | Ask() | AnswerAgain():
                self.replica.deliver(payload)
            case NextHeight(height):
                if height == self.replica.height + 1:
                    self.replica.start_height()
            case Tick():
                self._do_duties()
                self._say_again()
                self._port.set_timer(self.index, TICK_US, payload)
            case _:
                self._converse(payload)
        if self.replica.height != self._seen_height:
            self._follow()

    def _converse(self, payload: object) -> None:
        """Take in what is said beside consensus."""
        match payload:
            case Gossip(signed):
                self._hear(signed)
            case AskRound():
                self._tell(payload)
            case WantUpdate(server, commitment):
                data = self.disk.blob(commitment)
                if data is not None and not self._is_secret(commitment):
                    self._port.send(self.index, server, GiveUpdate(commitment, data))
            case GiveUpdate():
                self._take(payload)
            case _:
                pass

    def _boot(self) -> None:
        world = self._world
        self.executor = ContractExecutor(world.machine, self.disk.blob, world.initial_model)
        key = world.server_keys[self.index]
        checks = world.checks.beside(self.executor)
        self.replica = Replica(self.index, key, world.signed, checks, self._port, LENGTHS, untimed, self.disk)
        self.replica.add_key(world.next_server_keys[self.index])
        self._key = KeyRing(self.index, [key, world.next_server_keys[self.index]])
        self._signer = Signer(self._key, self.disk)
        self._witness = Witness(self.index, self._key)
        self._pending: dict[bytes, Signed] = {}
        self._heard: set[bytes] = set()
        self._closing: tuple[State, Header, Commit] | None = None
        self._seen_height = 0
        self._times_wanted = 0
        self._times_said = 0

    def _follow(self) -> None:
        """A block was committed: look after the round, then begin the next height."""
        self._seen_height = self.replica.height
        state, decided = self.state, self.replica.last_decision
        self._on_block(self, state)
        for signed in decided[0].batch.transactions if decided is not None else ():
            # A liar tells others another story than this server; in a block the stories meet.
            self._submit(self._witness.hear(state, signed))
        if decided is not None and state.members.committee != self._committee:
            self._committee = state.members.committee
            self._committees.append(prove_committee(state, decided[0].header, decided[1]))
        if decided is not None and state.phase is Phase.COLLECT and state.phase_opened == state.height:
            self._closing = (state, decided[0].header, decided[1])
            self._witness.forget(state.round - 1)
        self._heard.clear()
        self._pending = {name: s for name, s in self._pending.items() if name in self.replica.mempool}
        self._do_duties()
        self._port.set_timer(self.index, HEIGHT_PAUSE_US, NextHeight(self.replica.height + 1))

    def _do_duties(self) -> None:
        state = self.state
        if state.members.committee.key(self.index) is None:
            return
        self._key.follow(state.members.committee)
        if state.deploys == 0:
            self._submit(self.change)
        if state.amendments < len(self.amendments):
            self._submit(self.amendments[state.amendments])
        match state.phase:
            case Phase.COLLECT:
                self._train_for_others(state)
            case Phase.ATTEST:
                self._attest(state)
            case Phase.PUBLISH:
                self._publish(state)
        for accusation in self._witness.judge(state, self.executor):
            self._submit(accusation)

    def _train_for_others(self, state: State) -> None:
        """Sign the Updates of devices that have delegated to this server; their data is here."""
        for device, delegation in state.delegations.items():
            if delegation.server == self.index and device not in state.updates:
                data = train(device, state.round)
                signed = answer_once(
                    self.disk,
                    (f"Update of {device}", state.round),
                    lambda device=device, data=data: commit_update(
                        self._signer, OpenRound.of(state), device, samples_of(device), data, self.index
                    ),
                )
                commitment = commit_to_update(device, state.round, data)
                if self.disk.blob(commitment) is None:
                    self.disk.keep_blob(commitment, data)
                self._submit(signed)

    def _is_secret(self, commitment: bytes) -> bool:
        """Whether somebody could still commit to the same bytes, which a device has entrusted to this server.

        Asked of the chain and the disk, since after a restart they are all that knows.
        """
        state = self.state
        if state.phase is not Phase.COLLECT:
            return False
        own = (signed.body for signed in self.disk.own(state.round))
        entrusted = {body.commitment for body in own if isinstance(body, Update)}
        return commitment in entrusted | {update.commitment for update in state.updates.values()}

    def _attest(self, state: State) -> None:
        """Attest when all bytes are here, or half of the phase is over."""
        if self.index in state.attestations:
            return
        held = held_updates(state, self.disk.blob)
        missing = [device for device in state.updates if device not in held]
        if missing and (state.height - state.phase_opened) * 2 < state.genesis.phases.attest:
            self._want(state, missing)
            return
        duty = ("Attest", state.round)
        self._submit(answer_once(self.disk, duty, lambda: attest(self._signer, self.index, state, held, evaluate)))

    def _publish(self, state: State) -> None:
        eligible = state.ballot.eligible if state.ballot else ()
        missing = [update.device for update in eligible if self.disk.blob(update.commitment) is None]
        if missing:
            self._want(state, missing)
        if state.main_node == self.index:
            duty = ("Publish", state.round)
            self._submit(answer_once(self.disk, duty, lambda: publish(self._signer, self.index, state, self.executor)))

    def _submit(self, signed: Signed | None) -> None:
        if signed is None or signed.signature in self._pending:
            return
        try:
            self.replica.submit(signed)
        except (TransactionError, MissingBlobError):
            return
        self._pending[signed.signature] = signed
        self._port.broadcast(self.index, Gossip(signed))

    def _hear(self, signed: Signed) -> None:
        """Take a transaction into the mempool; one that is refused may still convict its author."""
        if signed.hash in self._heard or self.replica.mempool.holds(signed):
            return
        self._heard.add(signed.hash)
        if not self._is_authentic(signed):
            return
        self._submit(self._witness.hear(self.state, signed))
        with suppress(TransactionError, MissingBlobError):
            self.replica.submit(signed)
        for found in self._witness.judge(self.state, self.executor):
            self._submit(found)

    def _is_authentic(self, signed: Signed) -> bool:
        try:
            self.replica.application.check_signature(signed)
        except TransactionError:
            return False
        return True

    def _say_again(self) -> None:
        """Repeat to a few peers, each time to the next ones, what no block has taken yet."""
        servers = len(self._world.server_keys)
        self._times_said += 1
        for signed in self._pending.values():
            for k in range(PEERS_TOLD_AGAIN):
                receiver = (self.index + self._times_said * PEERS_TOLD_AGAIN + k) % servers
                if receiver != self.index:
                    self._port.send(self.index, receiver, Gossip(signed))

    def _want(self, state: State, devices: list[int]) -> None:
        """Ask the device, and a few peers, for bytes that the chain has taken."""
        servers = len(self._world.server_keys)
        self._times_wanted += 1
        peers = [(self.index + self._times_wanted * _PEERS_ASKED + k) % servers for k in range(_PEERS_ASKED)]
        for device in devices:
            wanted = WantUpdate(self.index, state.updates[device].commitment)
            for receiver in (servers + device, *peers):
                if receiver != self.index:
                    self._port.send(self.index, receiver, wanted)

    def _take(self, given: GiveUpdate) -> None:
        for device, update in self.state.updates.items():
            is_wanted = update.commitment == given.commitment and self.disk.blob(given.commitment) is None
            if is_wanted and commit_to_update(device, self.state.round, given.data) == given.commitment:
                self.disk.keep_blob(given.commitment, given.data)
                self._heard.clear()
                self._do_duties()

    def _tell(self, asked: AskRound) -> None:
        state = self.state
        if state.phase is not Phase.COLLECT or asked.known_round >= state.round:
            return
        words = self.executor.models.get(state.model)
        if words is None:
            return
        proof = prove_model(*self._closing) if self._closing else None
        news = RoundNews(OpenRound.of(state), words, proof, tuple(self._committees))
        if state.round > 1 and news.proof is None:
            return
        self._port.send(self.index, len(self._world.server_keys) + asked.device, news)
