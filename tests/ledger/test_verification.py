"""The paper's literal reading, where the main node verifies alone, beside the one where every server does."""

from __future__ import annotations

import msgspec
import pytest
from world import DEVICES, SERVERS, World, genesis

from bees.core.keys import SigningKey
from bees.ledger.election import rank_servers
from bees.ledger.genesis import DeviceRecord
from bees.ledger.refusals import NotElectedError, WrongResultError
from bees.ledger.state import Phase
from bees.ledger.transactions import sign


def literal() -> World:
    world = World.of(verification="main_node")
    world.to_attest()
    return world


def test_the_main_node_is_elected_when_collect_closes_and_alone_attests_and_publishes():
    world = literal()
    assert world.state.ballot is not None
    (main_node,) = world.state.ballot.ranking
    assert world.state.main_node is None, "it publishes in PUBLISH only"
    for server in set(range(SERVERS)) - {main_node}:
        with pytest.raises(NotElectedError) as refusal:
            world.application.check_tx(world.attest(server))
        assert (refusal.value.server, refusal.value.elected) == (server, main_node)
    world.block(world.attest(main_node))
    assert world.state.phase is Phase.PUBLISH
    assert [e.device for e in world.state.ballot.eligible] == list(range(DEVICES))
    assert world.state.main_node == main_node
    world.block(world.publish())
    assert world.state.outcome is not None
    assert world.state.outcome.main_node == main_node


def test_a_main_node_that_lies_is_believed_where_it_verifies_alone():
    world = literal()
    main_node = world.state.attesters[0]
    world.block(world.attest(main_node))
    runs = world.runner.runs
    world.block(world.publish(model=bytes(32)))
    assert world.state.model == bytes(32)
    assert world.runner.runs == runs + 1, "only the test itself has run the contract"


def test_the_same_lie_is_refused_where_every_server_verifies():
    world = World()
    world.to_publish()
    with pytest.raises(WrongResultError):
        world.application.check_tx(world.publish(model=bytes(32)))


def test_a_main_node_that_lies_about_scores_decides_them_where_it_verifies_alone():
    world = literal()
    world.block(world.attest(world.state.attesters[0], {7: 50}))
    assert world.state.ballot is not None
    assert [(e.device, e.correct) for e in world.state.ballot.eligible] == [(7, 50)]


def test_nothing_but_eligible_devices_can_be_selected_in_either_reading():
    world = literal()
    world.block(world.attest(world.state.attesters[0], {7: 50}))
    for selected in ((6, 7), (7, 7)):
        with pytest.raises(WrongResultError):
            world.application.check_tx(world.publish(selected=selected))


def test_a_selection_ascends_and_has_at_most_m_devices_in_either_reading():
    world = literal()
    world.block(world.attest(world.state.attesters[0]))
    for selected in ((1, 0), (0, 1, 2, 3)):
        with pytest.raises(WrongResultError):
            world.application.check_tx(world.publish(selected=selected))
    world.application.check_tx(world.publish(selected=(5, 6, 7)))


def test_a_selection_ascends_by_number_where_a_set_would_not():
    """Of the devices 1 and 8, CPython's sets give 8 first."""
    ninth = SigningKey.simulated(1, "device", 8)
    world = World.of(
        verification="main_node", devices=(*genesis().devices, DeviceRecord(ninth.public_key, 0, sample_cap=100))
    )
    by_server = world.update(8, server=0).body
    world.block(world.update(1), sign(msgspec.structs.replace(by_server, server=None), ninth))
    while world.state.phase == "collect":
        world.block()
    world.block(world.attest(world.state.attesters[0]))
    world.application.check_tx(world.publish(selected=(1, 8)))
    with pytest.raises(WrongResultError):
        world.application.check_tx(world.publish(selected=(8, 1)))


def test_all_that_is_eligible_can_be_selected_where_the_main_node_verifies_alone():
    world = literal()
    world.block(world.attest(world.state.attesters[0], {6: 40, 7: 50}))
    world.block(world.publish(selected=(6, 7)))
    assert world.state.outcome is not None
    assert world.state.outcome.selected == (6, 7)


@pytest.mark.parametrize("phase", [Phase.ATTEST, Phase.PUBLISH])
def test_a_main_node_that_keeps_silent_costs_the_round_since_it_has_no_deputy(phase: Phase):
    world = literal()
    if phase is Phase.PUBLISH:
        world.block(world.attest(world.state.attesters[0]))
    while world.state.round == 1:
        world.block()
    assert world.state.outcome is not None
    assert world.state.outcome.is_skipped
    assert world.state.ballot is None


def test_silence_costs_as_much_as_the_duty():
    costs = World().genesis.costs
    world = World()
    world.to_attest()
    world.block(*(world.attest(server) for server in range(SERVERS - 1)))
    world.block()
    world.block()
    assert world.state.phase is Phase.PUBLISH
    assert {account.battery_mj for account in world.state.servers} == {1000 - costs.attest_mj}
    assert world.state.ballot is not None
    first, second, *_ = world.state.ballot.ranking
    world.block()
    world.block()
    world.block(world.publish(second))
    paid = {k: 1000 - costs.attest_mj + costs.harvest_mj - a.battery_mj for k, a in enumerate(world.state.servers)}
    assert paid == {k: costs.publish_mj if k in (first, second) else 0 for k in range(SERVERS)}


def test_whoever_lets_the_round_be_skipped_has_paid_for_its_turn():
    costs = World().genesis.costs
    world = World()
    world.to_publish()
    assert world.state.ballot is not None
    ranking = world.state.ballot.ranking
    while world.state.round == 1:
        world.block()
    paid = {k: 1000 - costs.attest_mj + costs.harvest_mj - a.battery_mj for k, a in enumerate(world.state.servers)}
    turns = world.genesis.phases.publish_ranks
    assert paid == {k: costs.publish_mj if k in ranking[:turns] else 0 for k in range(SERVERS)}


def test_before_anybody_has_verified_an_update_earns_its_server_no_lead_in_accuracy():
    world = World.of(verification="main_node", pol="loss_reduction")
    first = rank_servers(world.genesis, 1, world.state.servers, ())[0]
    world.to_attest(((first + 1) % SERVERS,))
    assert world.state.attesters == (first,)
