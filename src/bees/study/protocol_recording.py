"""A history that is recorded: what was sent, which of it were lies, what became of these, and what the chain said.

Recording changes nothing: the blocks are those of the same history played without it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from bees.core.canonical import encode
from bees.faults.history import History, Timed
from bees.faults.world import shared_world
from bees.ledger.state import initial_state
from bees.protocol.messages import Gossip, RoundNews
from bees.study.protocol_verdicts import TAKEN, is_counted_statement, judge_at_device, judge_at_server

if TYPE_CHECKING:
    from collections.abc import Callable

    from bees.adversary.protocol.behaviours import Act, Tamper, TamperDevice
    from bees.faults.node import Node
    from bees.faults.plan import Plan
    from bees.ledger.genesis import Genesis
    from bees.ledger.state import Ballot, Outcome, Participant, ServerAccount, State

_CHANGE = "change"


class Deceit(NamedTuple):
    """How liars lie beyond what their plan names.

    Attributes:
        tampers, acts: of every lying server.
        device_tampers: of every lying device.
        inflates: whether false attestations are too high; None: as the plan's seed has drawn.
    """

    tampers: tuple[Tamper, ...] = ()
    acts: tuple[Act, ...] = ()
    device_tampers: tuple[TamperDevice, ...] = ()
    inflates: bool | None = None


class RoundRecord(NamedTuple):
    """A communication round that the chain has closed.

    Attributes:
        outcome: how it ended.
        ballot: that was frozen in it, or None.
        accounts: of the servers, when that was frozen.
    """

    outcome: Outcome
    ballot: Ballot | None
    accounts: tuple[ServerAccount, ...]


@dataclass
class Record:
    """What a recorded history was.

    Attributes:
        genesis: that everybody has agreed on.
        messages, bytes: that were sent, all participants together; a timer is none.
        lies: messages that liars have changed or made up.
        withheld: messages that liars should have sent, and have not.
        taken: lies that an honest participant finds nothing wrong with.
        counted: of them, statements that others may outvote.
        refused: lies that arrived at an honest participant and were refused there, by the reason.
        rounds: closed, in order.
        convictions: the round that was open when somebody was convicted first.
        accounts: of the servers, after the newest block.
        height, ended_us: height and virtual time at which the last round was closed, or else at which all ended.
        broken: the invariant that the history has broken, or empty.
        digest: over every block that an honest server committed, and when.
    """

    genesis: Genesis
    messages: int = 0
    bytes: int = 0
    lies: int = 0
    withheld: int = 0
    taken: int = 0
    counted: int = 0
    refused: Counter[str] = field(default_factory=Counter[str])
    rounds: list[RoundRecord] = field(default_factory=list[RoundRecord])
    convictions: dict[Participant, int] = field(default_factory=dict["Participant", int])
    accounts: tuple[ServerAccount, ...] = ()
    height: int = 0
    ended_us: int = 0
    broken: str = ""
    digest: str = ""

    @property
    def published(self) -> list[RoundRecord]:
        """Rounds that ended with a result."""
        return [one for one in self.rounds if not one.outcome.is_skipped]


def record(plan: Plan, deceit: Deceit) -> Record:
    """Play a plan to its end, or to the first broken invariant, and write down what happens."""
    return _Recording(plan, deceit).play()


class _Recording(History):
    """A history that also writes down what passes by."""

    def __init__(self, plan: Plan, deceit: Deceit) -> None:
        self._world = shared_world(plan.servers, plan.devices, weak_quorum=plan.weak_quorum)
        self._record = Record(self._world.genesis)
        self._record.accounts = initial_state(self._world.genesis).servers
        self._deceit = deceit
        self._lying_servers = frozenset(liar.index for liar in plan.liars)
        self._lying = self._lying_servers | {plan.servers + liar.index for liar in plan.lying_devices}
        self._lies: dict[int, object] = {}
        self._is_acting = False
        self._sized: tuple[object, int] = (None, 0)
        self._newest: State | None = None
        self._frozen: tuple[Ballot | None, tuple[ServerAccount, ...]] = (None, ())
        super().__init__(plan)
        if deceit.inflates is not None:
            self._coalition.inflates = deceit.inflates

    def play(self) -> Record:
        """Play it, and return what was written down."""
        record, closed = self._record, self.watch.closed
        result = self.run()
        record.broken, record.digest = result.violation, result.digest
        record.height = closed[-1].height if closed else max(self.watch.blocks, default=0)
        record.ended_us = closed[-1].at_us if closed else self._network.now_us
        return record

    def _tampers_of_all(self) -> dict[int, list[tuple[str, Callable[[int, object], tuple[object, ...]]]]]:
        tampers = super()._tampers_of_all()
        for index, liar in self._liars.items():
            tampers[index] += [(_CHANGE, partial(tamper, liar)) for tamper in self._deceit.tampers]
        for index, device in self._lying_devices.items():
            tampers[self._plan.servers + index] += [
                (_CHANGE, partial(tamper, device)) for tamper in self._deceit.device_tampers
            ]
        return tampers

    def _tampered(self, sender: int, receiver: int, payload: object) -> tuple[object, ...]:
        sent = super()._tampered(sender, receiver, payload)
        self._record.withheld += not sent
        for one in sent:
            if not _is_same(one, payload):
                self._lies[id(one)] = one
        return sent

    def _act(self, node: Node) -> None:
        self._is_acting = True
        super()._act(node)
        for act in self._deceit.acts:
            for receiver, payload in act(self._liars[node.index]):
                if receiver != node.index:
                    self._transmit(node.index, receiver, payload)
        self._is_acting = False

    def _transmit(self, sender: int, receiver: int, payload: object) -> None:
        self._record.messages += 1
        self._record.bytes += self._size_of(payload)
        if self._is_acting:
            self._lies[id(payload)] = payload
        self._record.lies += id(payload) in self._lies
        super()._transmit(sender, receiver, payload)

    def _deliver(self, node: int, payload: object) -> None:
        if id(payload) in self._lies and node not in self._lying and not isinstance(payload, Timed):
            self._judge(node, payload)
        super()._deliver(node, payload)

    def _judge(self, node: int, payload: object) -> None:
        if node < self._plan.servers:
            verdict = judge_at_server(self.nodes[node], payload)
        else:
            device = self._devices[node - self._plan.servers]
            verdict = judge_at_device(self._world, device.round, payload)
        if verdict == TAKEN:
            self._record.taken += 1
            self._record.counted += is_counted_statement(payload, self._lying_servers)
        else:
            self._record.refused[verdict] += 1

    def _on_block(self, node: Node, state: State) -> None:
        if node.index not in self._lying:
            self._note(state)
        super()._on_block(node, state)

    def _note(self, state: State) -> None:
        before = self._newest
        if before is not None and state.height <= before.height:
            return
        if before is not None and state.round > before.round and state.outcome is not None:
            self._record.rounds.append(RoundRecord(state.outcome, *self._frozen))
            self._frozen = (None, ())
        if state.ballot is not None:
            self._frozen = (state.ballot, state.servers)
        for participant in state.convictions:
            self._record.convictions.setdefault(participant, state.round)
        self._newest = state
        self._record.accounts = state.servers

    def _size_of(self, payload: object) -> int:
        """Bytes of a message in its canonical encoding; broadcasts send one object many times."""
        if self._sized[0] is not payload:
            self._sized = (payload, _size(payload))
        return self._sized[1]


def _size(payload: object) -> int:
    match payload:
        case Gossip(signed):
            return len(signed.encoding)
        case RoundNews(open_round, words, proof):
            return len(encode((open_round.chain_id, open_round.round, open_round.previous_model, proof))) + words.nbytes
        case _:
            return len(encode(payload))


def _is_same(one: object, other: object) -> bool:
    """Whether a liar has sent what it should; news hold arrays, and are rebuilt only to lie."""
    return one is other or (not isinstance(one, RoundNews) and one == other)
