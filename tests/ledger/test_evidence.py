"""Who can be convicted, of what, for how long, and that nobody else can."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from world import DEVICE_KEYS, DEVICES, FAILING_CONTRACT, SERVER_KEYS, SERVERS, World

from bees.core.canonical import encode
from bees.core.errors import MissingBlobError, TransactionError
from bees.ledger.refusals import ConvictedError, EvidenceError, NotElectedError, UnknownParticipantError
from bees.ledger.transactions import Amend, Delegate, Deploy, Evidence, Publish, Signed, Statement, Update, sign

PENALTY = 3


def statement(signed: Signed) -> Statement:
    assert not isinstance(signed.body, Amend | Deploy | Evidence)
    return Statement(signed.body, signed.signature)


def evidence(world: World, *signed: Signed, reporter: int = 3, **changes: Any) -> Signed:
    first, *rest = sorted((statement(one) for one in signed), key=lambda t: encode(t.body))
    body = Evidence(world.genesis.chain_id, reporter, first, rest[0] if rest else None)
    return sign(msgspec.structs.replace(body, **changes), SERVER_KEYS[reporter])


def refusal(world: World, signed: Signed, kind: type[TransactionError] = EvidenceError) -> str:
    before = world.state
    with pytest.raises(kind) as caught:
        world.application.check_tx(signed)
    assert world.state == before
    return str(caught.value)


def wrong_publish(world: World, server: int | None = None) -> Signed:
    return world.publish(server, model=bytes(32))


# A wrong Publish


def test_who_publishes_a_wrong_model_loses_its_turns_and_the_next_rank_publishes():
    world = World()
    world.to_publish()
    liar = world.state.main_node
    assert liar is not None
    world.block(evidence(world, wrong_publish(world)))
    assert world.state.convictions == {("server", liar): 1 + PENALTY}
    assert world.state.main_node is None
    refusal(world, world.publish(liar), NotElectedError)
    world.block()
    assert world.state.main_node not in (None, liar)
    world.block(world.publish())
    assert world.state.outcome is not None
    assert world.state.outcome.main_node != liar


def test_a_convicted_server_is_not_elected_until_its_penalty_is_over():
    world = World.of(pol="round_robin")
    world.to_publish()
    liar = world.state.main_node
    assert liar is not None
    world.block(evidence(world, wrong_publish(world)))
    world.block()
    world.block(world.publish())
    ranked: dict[int, bool] = {}
    for round_ in range(2, 2 + PENALTY + 1):
        assert world.state.round == round_
        world.to_publish()
        assert world.state.ballot is not None
        ranked[round_] = liar in world.state.ballot.ranking
        world.block(world.publish())
    assert ranked == {round_: round_ > 1 + PENALTY for round_ in ranked}
    assert world.state.convictions == {}


@pytest.mark.parametrize("changes", [{"model": bytes(32)}, {"selected": (0,)}, {"previous_model": bytes(32)}])
def test_a_publish_is_wrong_by_its_model_its_devices_or_its_predecessor(changes: dict[str, Any]):
    world = World()
    world.to_publish()
    world.application.check_tx(evidence(world, world.publish(2, **changes)))


def test_a_right_publish_is_no_evidence_not_even_out_of_turn_nor_after_the_round():
    world = World()
    world.to_publish()
    out_of_turn = [world.publish(server) for server in range(SERVERS)]
    for signed in out_of_turn:
        assert "is the contract's result" in refusal(world, evidence(world, signed))
    world.block(world.publish())
    for signed in out_of_turn:
        assert "is the contract's result" in refusal(world, evidence(world, signed))


def test_a_wrong_publish_can_still_be_shown_in_the_next_round_but_not_later():
    world = World()
    world.to_publish()
    lie = wrong_publish(world, 2)
    world.block(world.publish())
    world.application.check_tx(evidence(world, lie))
    world.whole_round()
    assert "no result of round 1" in refusal(world, evidence(world, lie))


def test_a_right_publish_is_no_evidence_in_the_next_rounds_publish_phase_either():
    world = World()
    world.to_publish()
    right, wrong = world.publish(), wrong_publish(world, 2)
    world.block(right)
    world.to_publish()
    assert "is the contract's result" in refusal(world, evidence(world, right))
    world.application.check_tx(evidence(world, wrong))


def test_a_publish_of_the_open_round_is_not_judged_before_publish_opens():
    world = World()
    early = Publish(world.genesis.chain_id, 1, world.state.model, 2, (), bytes(32))
    shown = evidence(world, sign(early, SERVER_KEYS[2]))
    assert "no result of round 1" in refusal(world, shown)
    world.to_attest()
    assert "no result of round 1" in refusal(world, shown)


def test_where_the_main_node_verifies_alone_no_publish_is_wrong_by_itself():
    world = World.of(verification="main_node")
    world.to_attest()
    world.block(world.attest(world.state.attesters[0]))
    assert "taken for right" in refusal(world, evidence(world, wrong_publish(world)))


def test_a_publish_where_the_contract_has_no_result_is_wrong():
    world = World.of(contract=FAILING_CONTRACT)
    world.to_publish()
    body = Publish(world.genesis.chain_id, world.state.round, world.state.model, 2, (0, 1), bytes(32))
    world.block(evidence(world, sign(body, SERVER_KEYS[2])))
    assert world.state.is_convicted(("server", 2))


def test_who_lacks_the_bytes_convicts_nobody():
    world = World()
    world.to_publish()
    lie = wrong_publish(world, 2)
    commitment = world.state.updates[7].commitment
    kept = world.runner.blobs.pop(commitment)
    with pytest.raises(MissingBlobError):
        world.application.check_tx(evidence(world, lie))
    world.runner.blobs[commitment] = kept
    world.application.check_tx(evidence(world, lie))


def test_a_skipped_round_has_no_result_to_judge_by():
    world = World()
    world.to_publish()
    lie = wrong_publish(world, 2)
    while world.state.round == 1:
        world.block()
    assert "no result of round 1" in refusal(world, evidence(world, lie))


def test_a_single_answer_of_another_kind_proves_nothing():
    world = World()
    assert "only a Publish" in refusal(world, evidence(world, world.update(0)))


# Two answers to one duty


def contradictions(world: World) -> dict[str, tuple[tuple[str, int], Signed, Signed]]:
    server = {"server": 1}
    return {
        "Update": (("device", 0), world.update(0), world.update(0, samples=9)),
        "delegated Update": (("server", 1), world.update(0, **server), world.update(0, **server, samples=9)),
        "Delegate": (("device", 0), world.delegate(0, 1), world.delegate(0, 2)),
        "Attest": (("server", 2), world.attest(2, {}), world.attest(2, {0: 1})),
    }


@pytest.mark.parametrize("duty", ["Update", "delegated Update", "Delegate", "Attest"])
def test_two_answers_to_one_duty_convict_their_author(duty: str):
    world = World()
    author, one, other = contradictions(world)[duty]
    world.block(evidence(world, one, other))
    assert world.state.convictions == {author: 1 + PENALTY}


def test_two_publications_convict_at_any_time_within_the_penalty():
    world = World()
    world.to_publish()
    one, other = world.publish(2), wrong_publish(world, 2)
    world.block(world.publish())
    for _ in range(PENALTY):
        world.application.check_tx(evidence(world, one, other))
        world.whole_round()
    assert "about round 1" in refusal(world, evidence(world, one, other))


def test_a_lie_about_a_round_to_come_is_judged_when_it_is_open():
    world = World()
    one, other = world.update(0, round=2), world.update(0, round=2, samples=9)
    assert "about round 2" in refusal(world, evidence(world, one, other))


def test_the_same_answer_twice_is_no_contradiction():
    world = World()
    signed = world.update(0)
    assert "not two answers" in refusal(world, evidence(world, signed, signed))


def test_only_one_order_of_the_two_answers_is_taken():
    world = World()
    first, second = sorted((world.update(0), world.update(0, samples=9)), key=lambda s: encode(s.body))
    swapped = Evidence(world.genesis.chain_id, 3, statement(second), statement(first))
    assert "not two answers" in refusal(world, sign(swapped, SERVER_KEYS[3]))


def test_answers_to_different_duties_are_no_contradiction():
    world = World()
    pairs = [
        (world.update(0), world.update(1)),
        (world.update(0), world.update(0, round=2)),
        (world.update(0), world.update(0, server=1)),
        (world.update(0, server=1), world.update(4, server=1)),
        (world.update(0), world.delegate(0, 1)),
        (world.attest(1, {}), world.attest(2, {0: 1})),
        (world.delegate(0, 1), world.delegate(0, 1, first_round=2)),
    ]
    for one, other in pairs:
        assert "one and the same duty" in refusal(world, evidence(world, one, other))


def test_nobody_is_convicted_by_what_another_has_signed():
    world = World()
    one, other = world.update(0), world.update(0, samples=9)
    forged = sign(other.body, DEVICE_KEYS[1])
    assert "not signed by its author" in refusal(world, evidence(world, one, forged))
    unsigned = Signed(other.body, bytes(64))
    assert "not signed by its author" in refusal(world, evidence(world, unsigned, one))


@pytest.mark.parametrize("forged", [0, 1])
def test_both_answers_must_be_signed_by_their_author(forged: int):
    world = World()
    shown = sorted((world.update(0), world.update(0, samples=9)), key=lambda s: encode(s.body))
    shown[forged] = sign(shown[forged].body, DEVICE_KEYS[1])
    assert "not signed by its author" in refusal(world, evidence(world, *shown))


def test_both_answers_must_be_for_this_chain():
    world, places = World(), set[int]()
    for name in "abcdefgh":
        foreign = World.of(name=name).update(0, samples=9)
        shown = sorted((world.update(0), foreign), key=lambda s: encode(s.body))
        places.add(shown.index(foreign))
        assert "another chain" in refusal(world, evidence(world, *shown))
    assert places == {0, 1}


def test_what_was_signed_for_another_chain_convicts_nobody():
    world, elsewhere = World(), World.of(name="elsewhere")
    one, other = elsewhere.update(0), elsewhere.update(0, samples=9)
    assert "another chain" in refusal(world, evidence(world, one, other))


def test_a_stranger_is_neither_reporter_nor_convicted():
    world = World()
    one, other = world.update(0), world.update(0, samples=9)
    refusal(world, evidence(world, one, other, server=SERVERS), UnknownParticipantError)
    stranger = sign(msgspec.structs.replace(world.update(0).body, device=DEVICES), DEVICE_KEYS[0])
    refusal(world, evidence(world, stranger), UnknownParticipantError)
    second = sign(msgspec.structs.replace(world.update(0).body, device=DEVICES, samples=9), DEVICE_KEYS[0])
    refusal(world, evidence(world, stranger, second), UnknownParticipantError)


def test_evidence_convicts_once():
    world = World()
    signed = evidence(world, world.update(0), world.update(0, samples=9))
    world.block(signed)
    assert "convicted of this already" in refusal(world, signed)
    again = evidence(world, world.update(0), world.update(0, samples=8), reporter=2)
    assert "convicted of this already" in refusal(world, again)


def test_a_later_offence_extends_the_penalty():
    world = World()
    world.block(evidence(world, world.update(0), world.update(0, samples=9)))
    while world.state.round == 1:
        world.block()
    world.block(evidence(world, world.update(0), world.update(0, samples=9)))
    assert world.state.convictions == {("device", 0): 2 + PENALTY}


def test_an_update_of_who_is_convicted_meanwhile_does_not_count_and_none_is_taken_from_it():
    world = World()
    first = world.update(0)
    world.block(first)
    world.block(evidence(world, first, world.update(0, samples=9)))
    world.block(*(world.update(device) for device in range(1, DEVICES)))
    assert world.state.phase == "attest"
    world.block(*(world.attest(server) for server in range(SERVERS)))
    assert world.state.ballot is not None
    assert [e.device for e in world.state.ballot.eligible] == list(range(1, DEVICES))
    world.block(world.publish())
    assert "up to round 4" in refusal(world, world.update(0), ConvictedError)
    world.block(*(world.update(device) for device in range(1, DEVICES)))
    assert world.state.phase == "attest", "COLLECT must not wait for a device that has no turn"


def test_a_convicted_device_does_not_get_around_it_by_delegating():
    world = World()
    world.block(world.delegate(0, 1))
    world.block(evidence(world, world.update(0), world.update(0, samples=9)))
    assert "up to round 4" in refusal(world, world.update(0, server=1), ConvictedError)
    while world.state.round == 1:
        world.block()
    assert "up to round 4" in refusal(world, world.delegate(0, 1), ConvictedError)


def test_an_update_by_a_server_does_not_count_when_its_device_is_convicted_meanwhile():
    world = World()
    world.block(world.delegate(0, 1))
    world.block(world.update(0, server=1))
    world.block(evidence(world, world.update(0), world.update(0, samples=9)))
    world.to_attest(tuple(range(1, DEVICES)))
    world.block(*(world.attest(server) for server in range(SERVERS)))
    assert world.state.ballot is not None
    assert 0 not in [e.device for e in world.state.ballot.eligible]


def test_no_update_is_taken_from_a_convicted_server_for_its_other_devices():
    world = World()
    world.block(world.delegate(0, 1), world.delegate(2, 1))
    world.block(evidence(world, world.update(0, server=1), world.update(0, server=1, samples=9)))
    assert world.state.is_convicted(("server", 1))
    assert "server 1 is convicted" in refusal(world, world.update(2, server=1), ConvictedError)
    world.block(world.update(2))
    assert 2 in world.state.updates


def test_a_server_that_signs_twice_for_a_device_is_to_blame_and_not_the_device():
    world = World()
    world.block(world.delegate(0, 1))
    first = world.update(0, server=1)
    world.block(first)
    world.block(evidence(world, first, world.update(0, server=1, samples=9)))
    assert world.state.is_convicted(("server", 1))
    assert not world.state.is_convicted(("device", 0))
    world.to_attest(tuple(range(1, DEVICES)))
    world.block(*(world.attest(server) for server in range(SERVERS)))
    assert world.state.ballot is not None
    assert 0 not in [e.device for e in world.state.ballot.eligible]
    assert 1 not in world.state.ballot.ranking


def test_a_penalty_of_no_rounds_still_costs_the_round_of_the_offence():
    world = World.of(penalty_rounds=0)
    world.to_publish()
    liar = world.state.main_node
    world.block(evidence(world, wrong_publish(world)))
    assert world.state.main_node is None
    while world.state.round == 1:
        world.block(*([world.publish()] if world.state.main_node not in (None, liar) else []))
    assert world.state.convictions == {}


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_no_pair_of_honest_answers_convicts(data: st.DataObject):
    """An honest signer answers a duty once; whatever two of its answers are shown, nobody is convicted."""
    world = World()
    world.to_publish()
    answers = [
        *(
            sign(Update(world.genesis.chain_id, 1, world.genesis.initial_model, d, None, bytes(32), 10), DEVICE_KEYS[d])
            for d in range(3)
        ),
        *(sign(Delegate(world.genesis.chain_id, d, 0, 1, 1), DEVICE_KEYS[d]) for d in range(3)),
        *(world.attest(server) for server in range(SERVERS)),
        *(world.publish(server) for server in range(SERVERS)),
    ]
    chosen = data.draw(st.lists(st.sampled_from(answers), min_size=1, max_size=2))
    for reporter in range(SERVERS):
        refusal(world, evidence(world, *chosen, reporter=reporter))
