"""How much of a node one peer, and all of them together, may take."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from contextlib import asynccontextmanager
from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING, Generic, TypeVar

from bees.transport.refusals import TooManyRequestsError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

C = TypeVar("C")

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


class OpenConnections(Generic[C]):
    """Which connections each peer has open.

    Where all places are taken, a peer that has fewer than another gets one of the other's: else a few addresses could
    keep everybody out.

    Args:
        most: of all peers together.
        most_of_one: of one peer.
        end: ends a connection to make room; it leaves in its own time.
    """

    def __init__(self, most: int, most_of_one: int, end: Callable[[C], object]) -> None:
        self._most, self._most_of_one, self._end = most, most_of_one, end
        self._open: dict[str, dict[C, None]] = {}
        self.count = 0

    def enter(self, peer: str, connection: C) -> bool:
        """Count a connection, unless there is no place for it."""
        own = self._open.get(peer, {})
        if len(own) >= self._most_of_one:
            return False
        if self.count >= self._most:
            greediest = max(self._open, key=lambda known: len(self._open[known]))
            if len(self._open[greediest]) <= len(own) + 1:
                return False
            oldest = next(iter(self._open[greediest]))
            self.leave(greediest, oldest)
            self._end(oldest)
        self._open.setdefault(peer, own)[connection] = None
        self.count += 1
        return True

    def leave(self, peer: str, connection: C) -> None:
        """Count a connection no more; it may have left already."""
        own = self._open.get(peer, {})
        if connection in own:
            del own[connection]
            self.count -= 1
            if not own:
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
    """Lets a few begin at once and some more wait, and turns all others away.

    Whoever works for long goes on, but its place is the next one's: else as many as there are places, each slower than
    anybody else, would stop all others.

    Args:
        at_once: that begin.
        waiting: that wait, or work without a place.
        place_s: how long a place is one's own.
    """

    def __init__(self, at_once: int, waiting: int, place_s: float = 2.0) -> None:
        self._places = asyncio.Semaphore(at_once)
        self._most = at_once + waiting
        self._place_s = place_s
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
            await self._places.acquire()
            place = _Place(self._places)
            timer = asyncio.get_running_loop().call_later(self._place_s, place.give_up)
            try:
                yield
            finally:
                timer.cancel()
                place.give_up()
        finally:
            self.inside -= 1


class _Place:
    """One of a semaphore's places, given up once."""

    def __init__(self, places: asyncio.Semaphore) -> None:
        self._places: asyncio.Semaphore | None = places

    def give_up(self) -> None:
        """Let the next one have it."""
        places, self._places = self._places, None
        if places is not None:
            places.release()
