"""An in-memory network with virtual time, on which the embedded engine's replicas talk.

Deterministic: what is delivered, when and in which order, is a function of what was sent and of the link.
Faults live in the link alone: it says for each message how long it takes, or that it is lost.
"""

from __future__ import annotations

from collections import deque
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Generic, NamedTuple, Protocol, TypeVar

from bees.core.seeds import generator

if TYPE_CHECKING:
    from collections.abc import Callable

Payload = TypeVar("Payload")


class Link(Protocol):
    """How long a message takes from one node to another."""

    def __call__(self, sender: int, receiver: int, now_us: int) -> int | None:
        """Delay in microseconds of virtual time, or None when the message is lost."""
        ...


def instantaneous(sender: int, receiver: int, now_us: int) -> int | None:  # noqa: ARG001  # a Link ignores what it may
    """Every message arrives at once, in the order in which messages were sent."""
    return 0


class Unreliable:
    """Delays that reorder messages, and losses, until the network heals.

    Draws come from one seeded stream, in the order of sending.
    """

    def __init__(self, seed: int, longest_us: int, loss: float = 0.0, heals_at_us: int | None = None) -> None:
        """Describe the faults.

        Args:
            seed: of the stream.
            longest_us: delays are uniform on 0 to this, before and after healing.
            loss: probability that a message is lost, before healing.
            heals_at_us: virtual time from which nothing is lost, or None for never.
        """
        self._rng = generator(seed, "network")
        self._longest_us = longest_us
        self._loss = loss
        self._heals_at_us = heals_at_us

    def __call__(self, sender: int, receiver: int, now_us: int) -> int | None:  # noqa: ARG002  # all links are alike
        """Delay of the next message, or None."""
        lost, delay_us = self._rng.random() < self._loss, int(self._rng.integers(0, self._longest_us + 1))
        has_healed = self._heals_at_us is not None and now_us >= self._heals_at_us
        return None if lost and not has_healed else delay_us


def silence(nodes: frozenset[int], until_us: int, link: Link = instantaneous) -> Link:
    """A link on which nothing that ``nodes`` send arrives before ``until_us``."""

    def silenced(sender: int, receiver: int, now_us: int) -> int | None:
        return None if sender in nodes and now_us < until_us else link(sender, receiver, now_us)

    return silenced


class Delivery(NamedTuple, Generic[Payload]):
    """A message or timer that is due at a node."""

    node: int
    payload: Payload


class Network(Generic[Payload]):
    """Messages and timers in flight.

    Attributes:
        now_us: virtual time in microseconds; moves only when nothing is due any more.
    """

    def __init__(self, nodes: int, link: Link = instantaneous) -> None:
        self.now_us = 0
        self._nodes = nodes
        self._link = link
        self._due: deque[Delivery[Payload]] = deque()
        self._later: list[tuple[int, int, Delivery[Payload]]] = []
        self._sequence = 0

    def send(self, sender: int, receiver: int, payload: Payload) -> None:
        """Send a message to one node."""
        delay_us = self._link(sender, receiver, self.now_us)
        if delay_us is not None:
            self.set_timer(receiver, delay_us, payload)

    def broadcast(self, sender: int, payload: Payload) -> None:
        """Send a message to every other node."""
        link, now_us = self._link, self.now_us
        for receiver in range(self._nodes):
            if receiver == sender:
                continue
            delay_us = link(sender, receiver, now_us)
            if delay_us == 0:
                self._due.append(Delivery(receiver, payload))
            elif delay_us is not None:
                self.set_timer(receiver, delay_us, payload)

    def set_timer(self, node: int, after_us: int, payload: Payload) -> None:
        """Deliver ``payload`` at ``node`` after some virtual time; nothing can lose it."""
        delivery = Delivery(node, payload)
        if after_us == 0:
            self._due.append(delivery)
        else:
            heappush(self._later, (self.now_us + after_us, self._sequence, delivery))
            self._sequence += 1

    def run(self, deliver: Callable[[int, Payload], None], until: Callable[[], bool], deadline_us: int) -> bool:
        """Deliver until ``until()`` holds.

        Args:
            deliver: takes the node and what is due there.
            until: asked before every delivery.
            deadline_us: virtual time after which it gives up.

        Returns:
            Whether ``until()`` holds; False when nothing is in flight any more, or the deadline has passed.
        """
        while not until():
            if not self._due and not self._advance(deadline_us):
                return False
            delivery = self._due.popleft()
            deliver(delivery.node, delivery.payload)
        return True

    def clear(self) -> None:
        """Forget everything in flight."""
        self._due.clear()
        self._later.clear()

    def _advance(self, deadline_us: int) -> bool:
        if not self._later or self._later[0][0] > deadline_us:
            return False
        self.now_us = self._later[0][0]
        while self._later and self._later[0][0] == self.now_us:
            self._due.append(heappop(self._later)[2])
        return True
