from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from world import DEVICES, SERVERS, World, genesis

from bees.ledger.genesis import DutyCosts, PhaseLengths, ServerRecord
from bees.ledger.rounds import (
    BATTERY_LIMIT_MJ,
    attest_quorum,
    close_phases,
    eligible_updates,
    lower_median,
    skip_round,
)
from bees.ledger.state import AcceptedUpdate, Attestation, Outcome, Phase, ServerAccount, State, initial_state


def state_of(servers: int, batteries: list[int] | None = None, **changes: object) -> State:
    """A state with any number of servers, beside the rules that keep it consistent."""
    record = genesis().servers[0]
    rules = genesis(servers=(record,) * servers)
    accounts = tuple(map(ServerAccount, batteries or [100] * servers))
    return replace(initial_state(rules), servers=accounts, **changes)  # pyright: ignore[reportArgumentType]


def voted(state: State, counts: dict[int, list[int | None]]) -> State:
    """A state in ATTEST, where server k says ``counts[device][k]``, or nothing of that device (None)."""
    said: dict[int, Attestation] = {}
    for server in range(len(state.genesis.servers)):
        held = {device: votes[server] for device, votes in sorted(counts.items()) if votes[server] is not None}
        said[server] = Attestation(tuple(held), tuple(c for c in held.values() if c is not None))
    updates = {device: AcceptedUpdate(bytes([device] * 32), 1, None) for device in counts}
    return replace(state, phase=Phase.ATTEST, updates=updates, attestations=said)


def test_collect_closes_when_all_devices_have_sent():
    world = World()
    world.block(*(world.update(device) for device in range(DEVICES - 1)))
    assert world.state.phase is Phase.COLLECT
    world.block(world.update(DEVICES - 1))
    assert (world.state.phase, world.state.phase_opened) == (Phase.ATTEST, 2)


def test_collect_closes_after_its_heights_with_whoever_has_sent():
    world = World()
    world.block(world.update(3))
    for _ in range(2):
        world.block()
    assert (world.state.height, world.state.phase) == (3, Phase.COLLECT)
    world.block(world.update(5))
    assert (world.state.height, world.state.phase) == (4, Phase.ATTEST)
    assert sorted(world.state.updates) == [3, 5]


def test_a_round_without_updates_is_skipped_after_collect():
    world = World()
    for _ in range(4):
        world.block()
    assert world.state.round == 2
    assert world.state.phase is Phase.COLLECT
    assert world.state.outcome == Outcome(1, world.genesis.initial_model, (), None)
    assert world.state.outcome is not None
    assert world.state.outcome.is_skipped


def test_attest_closes_when_every_active_server_has_attested():
    world = World()
    world.to_attest()
    world.block(*(world.attest(server) for server in range(SERVERS - 1)))
    assert world.state.phase is Phase.ATTEST
    world.block(world.attest(SERVERS - 1))
    assert world.state.phase is Phase.PUBLISH


def test_attest_closes_after_its_heights():
    world = World()
    world.to_attest()
    world.block(*(world.attest(server) for server in range(SERVERS - 1)))
    world.block()
    assert world.state.phase is Phase.ATTEST
    world.block()
    assert world.state.phase is Phase.PUBLISH


def test_attest_does_not_wait_for_a_server_without_battery():
    servers = [ServerRecord(s.public_key, s.capacity_hz, 1000 if k else 0) for k, s in enumerate(genesis().servers)]
    world = World.of(servers=tuple(servers))
    world.to_attest()
    world.block(*(world.attest(server) for server in range(1, SERVERS)))
    assert world.state.phase is Phase.PUBLISH
    assert world.state.ballot is not None
    assert 0 not in world.state.ballot.ranking


def test_a_round_where_nothing_is_eligible_is_skipped_after_attest():
    world = World()
    world.to_attest()
    world.block(world.attest(0), world.attest(1), world.attest(2, {}), world.attest(3, {}))
    assert (world.state.round, world.state.phase) == (2, Phase.COLLECT)
    assert world.state.outcome is not None
    assert world.state.outcome.is_skipped


def test_a_round_that_nobody_publishes_is_skipped_after_the_turns_of_its_ranks():
    world = World()
    world.to_publish()
    opened = world.state.phase_opened
    for _ in range(2 * 3):
        assert (world.state.round, world.state.phase) == (1, Phase.PUBLISH)
        world.block()
    assert (world.state.round, world.state.height - opened) == (2, 6)
    assert world.state.model == world.genesis.initial_model


def test_turns_are_at_most_the_servers_that_there_are():
    world = World.of(phases=PhaseLengths(collect=1, attest=1, publish=2, publish_ranks=100))
    world.to_publish()
    for _ in range(2 * SERVERS):
        assert world.state.phase is Phase.PUBLISH
        assert world.state.main_node is not None
        world.block()
    assert world.state.round == 2


@settings(deadline=None, max_examples=25)
@given(
    st.integers(1, 4),
    st.integers(1, 4),
    st.integers(1, 3),
    st.integers(1, 6),
    st.sampled_from(["collect", "attest", "publish"]),
)
def test_empty_blocks_alone_end_every_round_in_the_sum_of_the_phases(c: int, a: int, p: int, ranks: int, start: str):
    world = World.of(phases=PhaseLengths(c, a, p, ranks))
    if start != "collect":
        world.to_attest()
    if start == "publish":
        world.block(*(world.attest(server) for server in range(SERVERS)))
    before, blocks = world.state.round, 0
    while world.state.round == before:
        world.block()
        blocks += 1
    assert blocks <= c + a + p * min(ranks, SERVERS)


def test_eligible_is_what_2f_plus_1_servers_hold():
    for servers, quorum in ((1, 1), (2, 1), (3, 1), (4, 3), (6, 3), (7, 5), (20, 13)):
        state = state_of(servers)
        assert attest_quorum(state) == quorum
        held: list[int | None] = [5] * quorum + [None] * (servers - quorum)
        fewer: list[int | None] = [5] * (quorum - 1) + [None] * (servers - quorum + 1)
        assert [e.device for e in eligible_updates(voted(state, {0: held, 1: fewer, 2: held[::-1]}))] == [0, 2]


def test_servers_that_drain_while_they_attest_do_not_lower_the_quorum():
    # Without this, three of four that spend their last energy would leave the fourth to decide alone.
    world = World.of(
        servers=tuple(ServerRecord(s.public_key, 1, 1000 if k == 3 else 5) for k, s in enumerate(genesis().servers))
    )
    world.to_attest()
    assert attest_quorum(world.state) == 3
    world.block(world.attest(0, {}), world.attest(1, {}), world.attest(2, {}), world.attest(3))
    assert world.state.round == 2
    assert world.state.outcome is not None
    assert world.state.outcome.is_skipped
    assert attest_quorum(state_of(4, [0, 0, 0, 9])) == 1


def test_the_eligible_ascend_whatever_order_their_updates_came_in():
    votes: list[int | None] = [5] * 4
    found = eligible_updates(voted(state_of(4), {7: votes, 0: votes, 3: votes}))
    assert [e.device for e in found] == [0, 3, 7]


def test_a_quorum_is_at_least_one_server_also_where_none_is_left():
    assert attest_quorum(state_of(2, [0, 0])) == 1
    assert eligible_updates(voted(state_of(2, [0, 0]), {0: [None, None]})) == ()


@settings(deadline=None, max_examples=200)
@given(st.data(), st.integers(0, 6))
def test_a_score_lies_between_two_honest_counts_whatever_f_liars_say(data: st.DataObject, f: int):
    servers = 3 * f + data.draw(st.integers(1, 3))
    liars = data.draw(st.sets(st.integers(0, servers - 1), max_size=f))
    honest_counts = data.draw(st.lists(st.integers(0, 50), min_size=servers, max_size=servers))
    silent = data.draw(st.sets(st.integers(0, servers - 1)))
    votes: list[int | None] = [None if k in silent else honest_counts[k] for k in range(servers)]
    for liar in liars:
        votes[liar] = data.draw(st.none() | st.integers(0, 50))
    state = state_of(servers)
    assert (servers - 1) // 3 == f
    honest = [votes[k] for k in range(servers) if k not in liars]
    said = [count for count in honest if count is not None]
    for update in eligible_updates(voted(state, {0: votes})):
        assert min(said) <= update.correct <= max(said)
        assert len(said) >= f + 1
    if len(said) >= 2 * f + 1:
        assert eligible_updates(voted(state, {0: votes}))


@settings(deadline=None, max_examples=100)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=9))
def test_the_lower_median_is_a_value_with_half_on_either_side(values: list[int]):
    median = lower_median(values)
    assert median in values
    assert sum(v < median for v in values) <= (len(values) - 1) // 2
    assert sum(v <= median for v in values) > (len(values) - 1) // 2


def test_the_lower_median_of_two_is_the_lower():
    assert lower_median([9, 4]) == 4
    assert lower_median([1, 7, 8, 9]) == 7


def test_harvest_is_credited_once_a_round_and_stops_at_the_limit_of_the_encoding():
    assert BATTERY_LIMIT_MJ == 0x7FFF_FFFF_FFFF_FFFF
    world = World.of(costs=DutyCosts(0, 0, harvest_mj=2**63 - 1))
    for _ in range(3):
        for _ in range(4):
            world.block()
        assert {account.battery_mj for account in world.state.servers} == {BATTERY_LIMIT_MJ}
    slow = World()
    slow.whole_round()
    spent = Counter(1000 + 5 - account.battery_mj for account in slow.state.servers)
    assert spent == {10: SERVERS - 1, 10 + 50: 1}


def test_a_new_contract_is_in_force_from_the_next_round_also_when_it_is_skipped():
    state = replace(state_of(4), next_contract=b"next")
    after = skip_round(state)
    assert (after.contract, after.next_contract) == (b"next", None)
    assert skip_round(after).contract == b"next"
    assert skip_round(replace(state_of(4), next_contract=b"")).contract == b""


def test_a_phase_that_is_not_over_stays_open():
    state = state_of(4)
    assert close_phases(state) is state


@pytest.mark.parametrize("phase", list(Phase))
def test_a_state_without_ballot_or_updates_cannot_get_stuck(phase: Phase):
    state = replace(state_of(4), phase=phase, height=50)
    assert close_phases(state).round == 2
