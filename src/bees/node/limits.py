"""How much of a node one peer, and all of them together, may take."""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from contextlib import asynccontextmanager
from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING

from bees.transport.refusals import TooManyRequestsError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

_PEERS_KNOWN = 4096
_IPV6_HOST_BITS = 64


def peer_of(host: str) -> str:
    """Who is behind an address: itself, or in IPv6 its /64, of which any host may take 2^64 addresses.

    Args:
        host: as a socket tells it.
    """
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if not isinstance(address, IPv6Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return f"{IPv6Address(int(address) >> _IPV6_HOST_BITS << _IPV6_HOST_BITS)}/{128 - _IPV6_HOST_BITS}"


class OpenConnections:
    """How many connections each peer has open.

    Args:
        most: of one peer.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._open: Counter[str] = Counter()

    def enter(self, peer: str) -> bool:
        """Count one more, unless the peer has as many as it may."""
        if self._open[peer] >= self._most:
            return False
        self._open[peer] += 1
        return True

    def leave(self, peer: str) -> None:
        """Count one less."""
        self._open[peer] -= 1
        if self._open[peer] <= 0:
            # Else whoever has ever come would stay known.
            del self._open[peer]


class RateLimit:
    """A bucket of tokens for each peer: it may ask ``burst`` times at once, and ``per_second`` times in the long run.

    Args:
        per_second: tokens that each peer gains.
        burst: tokens that it can save.
        now: a monotonic clock in seconds.
    """

    def __init__(self, per_second: float, burst: int, now: Callable[[], float]) -> None:
        self._per_second = per_second
        self._burst = burst
        self._now = now
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, peer: str) -> None:
        """Take one of the peer's tokens.

        Raises:
            TooManyRequestsError: it has none left.
        """
        now = self._now()
        tokens, since = self._buckets.pop(peer, (float(self._burst), now))
        tokens = min(self._burst, tokens + (now - since) * self._per_second)
        allowed = tokens >= 1
        self._buckets[peer] = (tokens - allowed, now)
        while len(self._buckets) > _PEERS_KNOWN:
            # Whoever has not asked for longest has the fullest bucket to lose.
            self._buckets.popitem(last=False)
        if not allowed:
            raise TooManyRequestsError(f"more than {self._per_second:g} requests per second; wait a little")


class Queue:
    """Lets a few work at once and some more wait, and turns all others away.

    Args:
        at_once: that work.
        waiting: that wait.
    """

    def __init__(self, at_once: int, waiting: int) -> None:
        self._places = asyncio.Semaphore(at_once)
        self._most = at_once + waiting
        self.inside = 0

    @asynccontextmanager
    async def place(self) -> AsyncGenerator[None]:
        """A place, when there is one.

        Raises:
            TooManyRequestsError: too many wait already.
        """
        if self.inside >= self._most:
            raise TooManyRequestsError(f"{self._most} uploads are under way; try again in a second")
        self.inside += 1
        try:
            async with self._places:
                yield
        finally:
            self.inside -= 1
