"""What a server that hears lies puts on the chain, and what it must not."""

from __future__ import annotations

from typing import Any

from bees.ledger.transactions import Evidence, Publish, Signed, sign
from bees.protocol.witness import Witness
from ledger.world import DEVICES, SERVER_KEYS, SERVERS, World


def witness() -> Witness:
    return Witness(3, SERVER_KEYS[3])


def convicted_by(world: World, report: Signed) -> Any:
    """Who loses its turns when the chain takes the report."""
    assert isinstance(report.body, Evidence)
    world.block(report)
    return set(world.state.convictions)


def test_two_answers_to_one_duty_are_reported_and_the_chain_convicts():
    world, hears = World(), witness()
    assert hears.hear(world.state, world.update(2)) is None
    report = hears.hear(world.state, world.update(2, samples=9))
    assert report is not None
    assert convicted_by(world, report) == {("device", 2)}


def test_the_same_answer_heard_again_is_no_lie():
    world, hears = World(), witness()
    assert [hears.hear(world.state, world.update(2)) for _ in range(3)] == [None] * 3


def test_answers_of_others_and_to_other_duties_are_no_lie():
    world, hears = World(), witness()
    answers = [world.update(device) for device in range(DEVICES)]
    answers += [world.update(0, server=1), world.delegate(0, 1), world.attest(0, {}), world.attest(1, {})]
    assert [hears.hear(world.state, answer) for answer in answers] == [None] * len(answers)


def test_a_flood_of_answers_to_one_duty_is_reported_once():
    world, hears = World(), witness()
    reports = [hears.hear(world.state, world.update(2, samples=n)) for n in range(1, 50)]
    assert sum(report is not None for report in reports) == 1
    hears.forget(2)
    hears.hear(world.state, world.update(2, samples=1))
    assert hears.hear(world.state, world.update(2, samples=2)) is not None


def test_whoever_is_convicted_already_is_not_reported_again():
    world, hears = World(), witness()
    hears.hear(world.state, world.update(2))
    report = hears.hear(world.state, world.update(2, samples=9))
    assert report is not None
    world.block(report)
    assert hears.hear(world.state, world.update(2, samples=8)) is None


def test_a_wrong_publish_is_reported_once_the_round_can_judge_it():
    world, hears = World(), witness()
    world.to_publish()
    liar = world.state.main_node
    assert liar is not None
    assert hears.hear(world.state, world.publish(model=bytes(32))) is None
    (report,) = hears.judge(world.state, world.runner)
    assert convicted_by(world, report) == {("server", liar)}
    assert hears.judge(world.state, world.runner) == []


def test_a_publish_heard_before_its_phase_is_judged_when_the_phase_is_open():
    world, hears = World(), witness()
    world.to_attest()
    body = Publish(world.genesis.chain_id, world.state.round, world.state.model, 1, (0,), bytes(32))
    assert hears.hear(world.state, sign(body, SERVER_KEYS[1])) is None
    assert hears.judge(world.state, world.runner) == []
    world.block(*(world.attest(server) for server in range(SERVERS)))
    (report,) = hears.judge(world.state, world.runner)
    assert convicted_by(world, report) == {("server", 1)}


def test_a_right_publish_is_never_reported_not_even_out_of_turn():
    world, hears = World(), witness()
    world.to_publish()
    for server in range(SERVERS):
        assert hears.hear(world.state, world.publish(server)) is None
    assert hears.judge(world.state, world.runner) == []


def test_who_lacks_the_bytes_accuses_nobody_until_they_are_there():
    world, hears = World(), witness()
    world.to_publish()
    hears.hear(world.state, world.publish(model=bytes(32)))
    commitment = world.state.updates[7].commitment
    kept = world.runner.blobs.pop(commitment)
    assert hears.judge(world.state, world.runner) == []
    world.runner.blobs[commitment] = kept
    assert len(hears.judge(world.state, world.runner)) == 1


def test_where_the_main_node_verifies_alone_nobody_judges_its_result():
    world, hears = World.of(verification="main_node"), witness()
    world.to_attest()
    world.block(world.attest(world.state.attesters[0]))
    hears.hear(world.state, world.publish(model=bytes(32)))
    assert hears.judge(world.state, world.runner) == []


def test_what_is_of_another_round_is_not_kept():
    world, hears = World(), witness()
    for round_ in (5, 2**40):
        hears.hear(world.state, world.update(0, round=round_))
        assert hears.hear(world.state, world.update(0, round=round_, samples=9)) is None


def test_a_witness_forgets_closed_rounds():
    world, hears = World(), witness()
    first, second = world.update(2), world.update(2, samples=9)
    hears.hear(world.state, first)
    hears.forget(2)
    assert hears.hear(world.state, second) is None
    assert hears.hear(world.state, first) is not None
