"""Limits on one peer: who counts as one, and what it may have open."""

from __future__ import annotations

import pytest

from bees.node.limits import OpenConnections, RateLimit, peer_of
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
    connections = OpenConnections(2)
    assert [connections.enter("a") for _ in range(3)] == [True, True, False]
    assert connections.enter("b")
    connections.leave("a")
    assert connections.enter("a")
    for peer in ("a", "a", "b"):
        connections.leave(peer)
    assert not connections._open
