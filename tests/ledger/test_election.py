"""Proof of Learning against Eq. 2 of the paper, ``I_k = n_k c_k / B_k``, computed from its words."""

from __future__ import annotations

import itertools
from fractions import Fraction
from typing import get_args

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from world import DEVICES, SERVERS, genesis

from bees.core.hashes import digest
from bees.ledger.election import rank_servers, server_importance
from bees.ledger.genesis import Genesis, PolReading, ServerRecord
from bees.ledger.state import EligibleUpdate, ServerAccount

READINGS = get_args(PolReading)
BATTERIES = st.lists(st.integers(0, 5) | st.integers(0, 2**63 - 1), min_size=SERVERS, max_size=SERVERS)
CAPACITIES = st.lists(st.integers(1, 4) | st.integers(1, 2**63 - 1), min_size=SERVERS, max_size=SERVERS)
UPDATES = st.dictionaries(
    st.integers(0, DEVICES - 1), st.tuples(st.integers(1, 3) | st.integers(1, 2**31), st.integers(0, 50))
)


def registered(pol: str, capacities: list[int]) -> Genesis:
    usual = genesis(pol=pol)
    servers = [
        ServerRecord(record.public_key, capacity, record.battery_mj)
        for record, capacity in zip(usual.servers, capacities, strict=True)
    ]
    return msgspec.structs.replace(usual, servers=tuple(servers))


def updates_from(given_: dict[int, tuple[int, int]]) -> tuple[EligibleUpdate, ...]:
    return tuple(EligibleUpdate(d, bytes(32), n, correct) for d, (n, correct) in sorted(given_.items()))


def importance_by_hand(
    pol: str, capacities: list[int], batteries: list[int], round_: int, given_: dict[int, tuple[int, int]]
) -> list[Fraction]:
    found: list[Fraction] = []
    for k in range(SERVERS):
        mine = [update for device, update in given_.items() if device % SERVERS == k]
        n_k, battery = sum(samples for samples, _ in mine), max(1, batteries[k])
        by_reading = {
            "capacity_over_battery": Fraction(n_k) * capacities[k] / battery,
            "capacity_times_battery": Fraction(n_k) * capacities[k] * battery,
            "loss_reduction": Fraction(max([correct for _, correct in mine], default=0)),
            "round_robin": Fraction(-((k - round_) % SERVERS)),
        }
        found.append(by_reading[pol])
    return found


@pytest.mark.parametrize("pol", READINGS)
@settings(deadline=None, max_examples=60)
@given(CAPACITIES, BATTERIES, UPDATES, st.integers(0, 2**40))
def test_ranks_are_those_of_the_fractions(
    pol: str, capacities: list[int], batteries: list[int], given_: dict[int, tuple[int, int]], round_: int
):
    rules, accounts = registered(pol, capacities), tuple(map(ServerAccount, batteries))
    ranking = rank_servers(rules, round_, accounts, updates_from(given_))
    by_hand = importance_by_hand(pol, capacities, batteries, round_, given_)
    assert sorted(ranking) == [k for k in range(SERVERS) if batteries[k] > 0]
    assert all(by_hand[a] >= by_hand[b] for a, b in itertools.pairwise(ranking))
    if pol != "round_robin":
        assert list(server_importance(rules, round_, accounts, updates_from(given_))) == by_hand


def test_eq_2_is_exact_where_floating_point_is_not():
    # 3 * 2^60 / 7 and the same plus 1/7 are one number in float64.
    rules = registered("capacity_over_battery", [2**60, 2**60, 1, 1])
    accounts = tuple(map(ServerAccount, (7, 7, 7, 7)))
    updates = updates_from({0: (3, 0), 4: (1, 0), 1: (4, 0)})
    importance = server_importance(rules, 1, accounts, updates)
    assert importance[:2] == (Fraction(4 * 2**60, 7), Fraction(4 * 2**60, 7))
    closer = registered("capacity_over_battery", [2**60, 2**60 + 1, 1, 1])
    assert rank_servers(closer, 1, accounts, updates)[:2] == (1, 0)
    assert 4.0 * (2**60) / 7 == 4.0 * (2**60 + 1) / 7


def test_eq_2_as_printed_favours_the_drained_server_and_the_sound_reading_the_full_one():
    updates = updates_from(dict.fromkeys(range(SERVERS), (10, 0)))
    accounts = tuple(map(ServerAccount, (400, 100, 300, 200)))
    over = rank_servers(registered("capacity_over_battery", [1] * 4), 1, accounts, updates)
    times = rank_servers(registered("capacity_times_battery", [1] * 4), 1, accounts, updates)
    assert over == (1, 3, 2, 0)
    assert times == (0, 2, 3, 1)


@pytest.mark.parametrize("pol", ["capacity_over_battery", "capacity_times_battery", "loss_reduction"])
def test_ties_are_broken_by_a_hash_that_changes_with_the_round(pol: str):
    rules, accounts = registered(pol, [5] * 4), (ServerAccount(100),) * 4
    rankings = [rank_servers(rules, t, accounts, updates_from(dict.fromkeys(range(8), (10, 7)))) for t in range(200)]
    assert rankings == [
        rank_servers(rules, t, accounts, updates_from(dict.fromkeys(range(8), (10, 7)))) for t in range(200)
    ]
    firsts = [ranking[0] for ranking in rankings]
    assert all(25 < firsts.count(k) < 80 for k in range(SERVERS))


def test_round_robin_gives_each_server_its_turn_and_passes_over_the_inactive():
    rules = registered("round_robin", [1] * 4)
    full = (ServerAccount(1),) * 4
    assert [rank_servers(rules, t, full, ())[0] for t in range(1, 9)] == [1, 2, 3, 0, 1, 2, 3, 0]
    assert rank_servers(rules, 2, full, ()) == (2, 3, 0, 1)
    without_2 = (ServerAccount(1), ServerAccount(1), ServerAccount(0), ServerAccount(1))
    assert rank_servers(rules, 2, without_2, ()) == (3, 0, 1)


def test_a_server_without_eligible_updates_comes_last_and_nobody_is_ranked_when_all_are_empty():
    rules = registered("capacity_over_battery", [1, 100, 100, 100])
    accounts = (ServerAccount(10),) * 4
    assert rank_servers(rules, 1, accounts, updates_from({0: (1, 0)}))[0] == 0
    assert rank_servers(rules, 1, (ServerAccount(0),) * 4, updates_from({0: (1, 0)})) == ()


def test_no_update_of_the_round_changes_what_others_bring():
    rules, accounts = registered("loss_reduction", [1] * 4), (ServerAccount(10),) * 4
    assert server_importance(rules, 1, accounts, updates_from({0: (1, 9), 4: (1, 30), 1: (1, 20)})) == (30, 20, 0, 0)


def test_ties_stand_in_the_order_of_a_hash_over_chain_round_and_key():
    rules, accounts = registered("capacity_over_battery", [5] * SERVERS), (ServerAccount(100),) * SERVERS
    for t in range(8):
        hashes = [digest("pol tie", rules.chain_id, t.to_bytes(8, "little"), s.public_key) for s in rules.servers]
        assert rank_servers(rules, t, accounts, ()) == tuple(sorted(range(SERVERS), key=hashes.__getitem__))
