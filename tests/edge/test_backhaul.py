from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bees.edge.backhaul import agree
from bees.scenario import Backhaul


def message_by_message(
    servers: int, heights: int, transactions: int, sizes: list[float], vote: float
) -> tuple[float, float, float]:
    """Seconds, bytes and joule when each message is counted: 1 Mbit/s, 10 ms, 1 nJ per bit, 100 bytes a transaction."""
    time_s = sent = 0.0
    slowest_s = 0.0
    for own in sizes:
        for _ in range(servers - 1):
            sent += own
        slowest_s = max(slowest_s, (servers - 1) * own * 8 / 1e6)
    time_s += slowest_s + 0.01
    for height in range(heights):
        block = 100.0 * transactions if height == 0 else 0.0
        time_s += (servers - 1) * block * 8 / 1e6 + 0.01
        sent += (servers - 1) * block
        for _ in ("prevote", "precommit"):
            time_s += (servers - 1) * vote * 8 / 1e6 + 0.01
            sent += servers * (servers - 1) * vote
    return time_s, sent, sent * 8 * 1e-9


@settings(deadline=None, max_examples=60)
@given(
    sizes=st.lists(st.floats(0, 1e6), min_size=1, max_size=7),
    heights=st.integers(1, 5),
    transactions=st.integers(0, 300),
    vote=st.floats(1, 500),
)
def test_agreement_equals_counting_each_message(
    sizes: list[float], heights: int, transactions: int, vote: float
) -> None:
    backhaul = Backhaul(
        model="full_mesh",
        rate_bits_per_s=1e6,
        delay_s=0.01,
        energy_j_per_bit=1e-9,
        heights=heights,
        transaction_bytes=100.0,
        vote_bytes=vote,
    )
    found = agree(backhaul, len(sizes), transactions, sum(sizes), max(sizes))
    time_s, sent, energy_j = message_by_message(len(sizes), heights, transactions, sizes, vote)
    assert found.time_s == pytest.approx(time_s)
    assert found.sent_bytes == pytest.approx(sent)
    assert found.energy_j == pytest.approx(energy_j)


def test_agreement_is_free_in_the_paper() -> None:
    found = agree(Backhaul(), 20, 121, 8e6, 5e5)
    assert (found.time_s, found.sent_bytes, found.energy_j) == (0.0, 0.0, 0.0)


def test_a_server_that_is_alone_sends_nothing() -> None:
    assert agree(Backhaul(model="full_mesh"), 1, 10, 1e6, 1e6).sent_bytes == 0
