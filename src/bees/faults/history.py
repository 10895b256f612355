"""One history: servers, devices and liars on a failing network, in virtual time, checked after every step."""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from msgspec import Struct

from bees.adversary.protocol.behaviours import ACTS, DEVICE_TAMPERS, TAMPERS
from bees.adversary.protocol.coalition import Coalition, Liar, LyingDevice
from bees.core.hashes import digest
from bees.core.seeds import generator
from bees.engines.messages import Proposal, Status, Vote
from bees.engines.network import Network
from bees.faults.device import Device
from bees.faults.disk import Disk
from bees.faults.invariants import InvariantError, Watch
from bees.faults.links import FaultyLink
from bees.faults.members import amendments_of
from bees.faults.node import Node
from bees.faults.plan import SECOND_US, Crash, Offline, SlowDisk
from bees.faults.world import world_of
from bees.protocol.messages import Gossip, RoundNews, WantUpdate

if TYPE_CHECKING:
    from collections.abc import Callable

    from bees.faults.plan import Plan
    from bees.ledger.state import State

PATIENCE_US = 240 * SECOND_US
"""How long after healing a history waits for its last rounds: several times what the slowest one has needed."""

_CARRIERS = 3
"""How many honest servers carry a change of contract, so that a crash of one does not lose it."""


class HistoryResult(Struct, frozen=True):
    """What has become of a history.

    Attributes:
        seed: of its plan.
        digest: over every block that any honest server committed, and when: equal for equal plans.
        violation: the invariant that was broken, or empty.
        detail: how.
        heights, rounds, skipped: blocks, rounds that were closed, and how many of these without a result.
        virtual_s: how long it took in its own time.
        deliveries: messages and timers.
        convicted: participants, such as "server 3".
        counts: how often each fault was injected.
    """

    seed: int
    digest: str
    violation: str
    detail: str
    heights: int
    rounds: int
    skipped: int
    virtual_s: float
    deliveries: int
    convicted: tuple[str, ...]
    counts: dict[str, int]


class Timed(NamedTuple):
    """A timer that a crash forgets."""

    life: int
    payload: object


class Departure(NamedTuple):
    """A message that waits until what it depends on is safe on disk."""

    life: int
    receiver: int
    payload: object


class Begin(NamedTuple):
    """A planned event begins, or is over."""

    event: Crash | SlowDisk | Offline
    is_over: bool


class History:
    """Runs a plan. It is what participants send and set timers through, so that faults can come between.

    Attributes:
        nodes: all servers, liars included.
        watch: the checks.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        world = world_of(plan)
        self._counts: Counter[str] = Counter()
        self._link = FaultyLink(plan, self._counts)
        self._network: Network[object] = Network(plan.servers + plan.devices, self._link)
        self._rng = generator(plan.seed, "history")
        self._trace = digest("history", b"")
        self._deliveries = 0
        self._lives = [0] * (plan.servers + plan.devices)
        self._down: set[int] = set()
        failing = {event.server for event in plan.events if isinstance(event, SlowDisk)}
        self._slow = set(range(plan.servers)) if plan.write_us else failing
        self._has_ended = False
        self.watch = Watch(plan, world)
        self.nodes = [
            Node(k, world, Disk(lambda: self._network.now_us, plan.write_us), self, self._on_block)
            for k in range(plan.servers)
        ]
        self._devices = [Device(k, world, self, delegates=k in plan.delegating) for k in range(plan.devices)]
        self._tell_liars()
        self._honest = [node for node in self.nodes if node.index not in self._liars]
        if plan.deploys:
            honest = [node.index for node in self._honest]
            for node in self._honest[:_CARRIERS]:
                node.change = world.deploy(node.index, honest)
        if plan.amends:
            for node in self._honest[:_CARRIERS]:
                node.amendments = amendments_of(plan, world, node.index)
        lying_devices = {plan.servers + index for index in self._lying_devices}
        self._honest_participants = set(range(plan.servers + plan.devices)) - set(self._liars) - lying_devices

    def run(self) -> HistoryResult:
        """Play the history to its end, or to the first broken invariant."""
        violation, detail = "", ""
        try:
            self._play()
            self.watch.saw_end(self._network.now_us)
        except InvariantError as error:
            violation, detail = error.invariant, str(error)
        return HistoryResult(
            seed=self._plan.seed,
            digest=self._trace.hex(),
            violation=violation,
            detail=detail,
            heights=max(self.watch.blocks, default=0),
            rounds=len(self.watch.closed),
            skipped=sum(closed.is_skipped for closed in self.watch.closed),
            virtual_s=self._network.now_us / SECOND_US,
            deliveries=self._deliveries,
            convicted=tuple(sorted(f"{kind} {index}" for kind, index in self.watch.convicted)),
            counts=dict(sorted((self._counts + self.watch.counts).items())),
        )

    # What participants ask of their way out.

    def send(self, sender: int, receiver: int, payload: object) -> None:
        """Send, once what it depends on is on disk; a liar's message may become another, or none, or several."""
        if isinstance(payload, Proposal) and sender in self._liars:
            self._coalition.note_proposal(payload)
        actual = self._tampered(sender, receiver, payload) if sender in self._tampers else (payload,)
        wait_us = self.nodes[sender].disk.safe_at_us - self._network.now_us if sender in self._slow else 0
        for one in actual:
            if wait_us > 0:
                self._counts["message held for a slow disk"] += 1
                self._network.set_timer(sender, wait_us, Departure(self._lives[sender], receiver, one))
            else:
                self._transmit(sender, receiver, one)

    def broadcast(self, sender: int, payload: object) -> None:
        """Send to every other server."""
        for receiver in range(self._plan.servers):
            if receiver != sender:
                self.send(sender, receiver, payload)

    def set_timer(self, node: int, after_us: int, payload: object) -> None:
        """Hand the payload back later, unless its participant crashes meanwhile."""
        self._network.set_timer(node, after_us, Timed(self._lives[node], payload))

    def _play(self) -> None:
        for event in self._plan.events:
            if isinstance(event, Crash | SlowDisk | Offline):
                whom = event.device + self._plan.servers if isinstance(event, Offline) else event.server
                until_us = event.back_us if isinstance(event, Crash) else event.until_us
                self._network.set_timer(whom, event.at_us, Begin(event, is_over=False))
                self._network.set_timer(whom, until_us, Begin(event, is_over=True))
        for actor in (*self.nodes, *self._devices):
            actor.start()
        deadline_us = self._plan.heals_at_us + PATIENCE_US
        if not self._network.run(self._deliver, lambda: self._has_ended, deadline_us):
            done = len(self.watch.published_since(self._plan.heals_at_us))
            heights = sorted({node.replica.height for node in self._honest})
            story = f"{done} of {self._plan.rounds} rounds were published after healing; heights {heights}"
            raise InvariantError("rounds go on", story, self._network.now_us)

    def _is_over(self) -> bool:
        published = self.watch.published_since(self._plan.heals_at_us)
        if len(published) < self._plan.rounds:
            return False
        height = published[self._plan.rounds - 1].height
        return all(node.replica.height >= height for node in self._honest)

    def _deliver(self, node: int, payload: object) -> None:
        self._deliveries += 1
        if type(payload) is Vote and node not in self._down:
            # Most messages are votes, so these take the shortest way.
            self._actor(node).deliver(payload)
            return
        match payload:
            case Timed(life, inner):
                if life == self._lives[node]:
                    self._actor(node).deliver(inner)
            case Departure(life, receiver, inner):
                if life == self._lives[node]:
                    self._transmit(node, receiver, inner)
            case Begin(event, is_over):
                self._begin(node, event, is_over=is_over)
            case _:
                if node in self._liars:
                    self._overhear(payload)
                if node not in self._down:
                    self._actor(node).deliver(payload)

    def _begin(self, node: int, event: Crash | SlowDisk | Offline, *, is_over: bool) -> None:
        match event:
            case SlowDisk():
                self._counts["slow disk"] += not is_over
                self.nodes[node].disk.write_us = self._plan.write_us if is_over else event.write_us
            case Offline():
                self._counts["device offline"] += not is_over
                (self._down.discard if is_over else self._down.add)(node)
            case Crash() if not is_over:
                self._crash(node)
            case Crash():
                self._restart(node)

    def _crash(self, node: int) -> None:
        if node in self._down:
            return
        self._counts["crash"] += 1
        self._down.add(node)
        self._lives[node] += 1
        lost = self.nodes[node].disk.crash(lambda pending: int(self._rng.integers(0, max(1, pending))))
        self._counts["write lost in a crash"] += lost
        self._counts["crash that lost writes"] += lost > 0

    def _restart(self, node: int) -> None:
        if node not in self._down:
            return
        self._counts["restart"] += 1
        self._down.discard(node)
        safe_heights = list(self.nodes[node].disk.files.decisions)
        self.nodes[node].start()
        self.watch.saw_restart(self.nodes[node], safe_heights, self._network.now_us)

    def _on_block(self, node: Node, state: State) -> None:
        if node.index in self._liars:
            self._act(node)
            return
        self._trace = digest(
            "history",
            self._trace,
            f"{self._network.now_us} {node.index} {state.height}".encode(),
            node.replica.last_block,
            node.replica.application.app_hash,
        )
        self.watch.saw_block(node, state, self._honest, self._network.now_us)
        self._has_ended = self._is_over()

    def _transmit(self, sender: int, receiver: int, payload: object) -> None:
        if sender in self._down:
            return
        if isinstance(payload, WantUpdate | Status) and payload.server != sender:
            self._counts["message in another's name"] += 1
            return
        if sender in self._honest_participants:
            self.watch.saw_sent(sender, payload, self._network.now_us)
        self._network.send(sender, receiver, payload)
        if self._link.is_duplicated(self._network.now_us):
            self._network.send(sender, receiver, payload)

    def _actor(self, node: int) -> Node | Device:
        return self.nodes[node] if node < self._plan.servers else self._devices[node - self._plan.servers]

    # The liars.

    def _tell_liars(self) -> None:
        plan = self._plan
        world = world_of(plan)
        honest = [k for k in range(plan.servers) if k not in {liar.index for liar in plan.liars}]
        order: list[int] = self._rng.permutation(len(honest)).tolist()
        coalition = Coalition(
            genesis=world.genesis,
            keys={liar.index: world.server_keys[liar.index] for liar in plan.liars},
            left=frozenset(honest[k] for k in order[: len(honest) // 2]),
            inflates=bool(self._rng.integers(2)),
            rng=generator(plan.seed, "liars"),
        )
        self._coalition = coalition
        self._liars = {
            liar.index: Liar(liar.index, coalition, world.server_keys[liar.index], self.nodes[liar.index].find_replica)
            for liar in plan.liars
        }
        self._lying_devices = {
            liar.index: LyingDevice(liar.index, coalition, world.device_keys[liar.index]) for liar in plan.lying_devices
        }
        self._behaviours = {liar.index: liar.behaviours for liar in plan.liars}
        self._tampers = self._tampers_of_all()

    def _tampered(self, sender: int, receiver: int, payload: object) -> tuple[object, ...]:
        payloads: tuple[object, ...] = (payload,)
        for name, tamper in self._tampers[sender]:
            changed = tuple(new for old in payloads for new in tamper(receiver, old))
            self._counts[name] += not _are_alike(changed, payloads)
            payloads = changed
        return payloads

    def _tampers_of_all(self) -> dict[int, list[tuple[str, Callable[[int, object], tuple[object, ...]]]]]:
        servers = {
            liar.index: [
                (name, partial(TAMPERS[name], self._liars[liar.index])) for name in liar.behaviours if name in TAMPERS
            ]
            for liar in self._plan.liars
        }
        devices = {
            self._plan.servers + liar.index: [
                (f"device: {name}", partial(DEVICE_TAMPERS[name], self._lying_devices[liar.index]))
                for name in liar.behaviours
            ]
            for liar in self._plan.lying_devices
        }
        return servers | devices

    def _overhear(self, payload: object) -> None:
        match payload:
            case Proposal():
                self._coalition.note_proposal(payload)
            case Gossip(signed):
                self._coalition.note_transaction(signed)
            case _:
                pass

    def _act(self, node: Node) -> None:
        for name in self._behaviours[node.index]:
            if name in ACTS:
                sends = ACTS[name](self._liars[node.index])
                self._counts[name] += len(sends)
                for receiver, payload in sends:
                    if receiver != node.index:
                        self._transmit(node.index, receiver, payload)


def _are_alike(some: tuple[object, ...], others: tuple[object, ...]) -> bool:
    """Whether a liar has changed nothing after all; news are rebuilt only to lie."""
    return len(some) == len(others) and all(
        one is other or (not isinstance(one, RoundNews) and one == other)
        for one, other in zip(some, others, strict=True)
    )


def run_history(plan: Plan) -> HistoryResult:
    """Play one history."""
    return History(plan).run()
