"""Limits on one peer: who counts as one, and what it may have open."""

from __future__ import annotations

import asyncio

import pytest

from bees.node.limits import OpenConnections, Queue, RateLimit, peer_of
from bees.transport.refusals import TooManyRequestsError


@pytest.mark.parametrize(
    ("host", "peer"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8::7", "2001:db8::/64"),
        ("2001:db8:0:0:ffff:ffff:ffff:ffff", "2001:db8::/64"),
        ("2001:db8:0:1::7", "2001:db8:0:1::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("", ""),
        ("a unix socket", "a unix socket"),
    ],
)
def test_who_is_behind_an_address(host: str, peer: str):
    assert peer_of(host) == peer


def test_a_network_of_ipv6_shares_one_bucket_and_addresses_of_ipv4_do_not():
    rate = RateLimit(1.0, 2, lambda: 0.0)
    for host in ("2001:db8::1", "2001:db8::2"):
        rate.take(peer_of(host))
    with pytest.raises(TooManyRequestsError):
        rate.take(peer_of("2001:db8::3"))
    for host in ("2001:db8:0:1::1", "192.0.2.1", "192.0.2.2", "::ffff:192.0.2.1"):
        rate.take(peer_of(host))
    with pytest.raises(TooManyRequestsError):
        rate.take(peer_of("192.0.2.1"))


def test_connections_are_counted_while_they_are_open():
    connections = OpenConnections[int](10, 2, lambda _: pytest.fail("nobody needs to make room"))
    assert [connections.enter("a", k) for k in range(3)] == [True, True, False]
    assert connections.enter("b", 3)
    connections.leave("a", 0)
    connections.leave("a", 0)
    assert connections.enter("a", 4)
    assert connections.count == 3
    for peer, connection in (("a", 1), ("a", 4), ("b", 3)):
        connections.leave(peer, connection)
    assert (connections.count, connections._open) == (0, {})


def test_who_holds_most_makes_room_for_who_holds_less():
    ended: list[int] = []
    connections = OpenConnections[int](4, 4, ended.append)
    assert all(connections.enter("greedy", k) for k in range(4))
    assert connections.enter("b", 10)
    assert connections.enter("c", 11)
    assert ended == [0, 1]
    assert not connections.enter("b", 12)  # it would have as many as the greedy one
    assert not connections.enter("greedy", 13)
    assert connections.count == 4


def test_who_is_slow_keeps_no_place_from_others():
    async def play() -> None:
        queue = Queue(1, 2, place_s=0.1)
        order: list[str] = []

        async def work(name: str, seconds: float) -> None:
            async with queue.place():
                order.append(name)
                await asyncio.sleep(seconds)

        slow = asyncio.create_task(work("slow", 1.0))
        await asyncio.sleep(0)
        await asyncio.gather(work("second", 0.0), work("third", 0.0))
        assert order == ["slow", "second", "third"]
        assert (slow.done(), queue.inside) == (False, 1)
        slow.cancel()
        await asyncio.gather(slow, return_exceptions=True)
        # The place that was given up in time is not given up again: one works, two wait, and no more.
        tasks = [asyncio.create_task(work(f"{k}", 0.02)) for k in range(3)]
        await asyncio.sleep(0.01)
        assert order[3:] == ["0"]
        with pytest.raises(TooManyRequestsError):
            await work("one too many", 0.0)
        await asyncio.gather(*tasks)
        assert order[3:] == ["0", "1", "2"]

    asyncio.run(play())
