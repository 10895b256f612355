from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from records import values_of
from world import World, genesis

from bees.core.canonical import encode
from bees.ledger.commitments import hash_contract
from bees.ledger.membership import Change, amend
from bees.ledger.merkle import check_path
from bees.ledger.state import (
    AcceptedUpdate,
    Attestation,
    Ballot,
    Delegation,
    Outcome,
    Phase,
    ServerAccount,
    State,
    initial_state,
    state_tree,
)

if TYPE_CHECKING:
    import random

STATE = initial_state(genesis())


def test_the_first_round_collects_on_the_initial_model():
    assert (STATE.height, STATE.round, STATE.phase, STATE.model) == (0, 1, Phase.COLLECT, genesis().initial_model)
    assert STATE.active_servers == (0, 1, 2, 3)
    assert STATE.main_node is None


def test_every_field_of_the_state_is_in_the_app_hash():
    other: dict[str, Any] = {
        "genesis": genesis(name="other"),
        "height": 1,
        "round": 2,
        "phase": Phase.ATTEST,
        "phase_opened": 1,
        "model": bytes(32),
        "contract": b"other",
        "next_contract": b"",
        "deploys": 1,
        "members": amend(STATE.members, Change("device", 1, None, None)),
        "next_members": amend(STATE.members, Change("device", 2, None, None)),
        "amendments": 2,
        "servers": (*STATE.servers[:3], ServerAccount(0)),
        "delegations": {0: Delegation(1, 1, 1)},
        "updates": {0: AcceptedUpdate(bytes(32), 1, None)},
        "attestations": {0: Attestation((), ())},
        "ballot": Ballot((), ()),
        "outcome": Outcome(0, bytes(32), (), None),
        "convictions": {("server", 1): 1},
    }
    assert other.keys() == set(State.__struct_fields__)
    amended = replace(STATE, amendments=1)  # before, the members are those of the genesis, which the chain id names
    roots = {state_tree(replace(amended, **{name: value})).root for name, value in other.items()}
    assert len(roots | {state_tree(amended).root, state_tree(STATE).root}) == len(other) + 2


@settings(deadline=None, max_examples=30)
@given(st.dictionaries(st.integers(0, 99), values_of(AcceptedUpdate)), st.randoms(use_true_random=False))
def test_the_order_in_which_updates_came_is_not_in_the_app_hash(
    updates: dict[int, AcceptedUpdate], chance: random.Random
):
    keys = list(updates)
    chance.shuffle(keys)
    one, other = replace(STATE, updates=updates), replace(STATE, updates={key: updates[key] for key in keys})
    assert state_tree(one).root == state_tree(other).root


def test_the_order_in_which_anything_came_is_not_in_the_app_hash():
    fields: dict[str, dict[Any, Any]] = {
        "delegations": {device: Delegation(1, 1, 1) for device in (0, 5, 3)},
        "updates": {device: AcceptedUpdate(bytes(32), 1, None) for device in (0, 5, 3)},
        "attestations": {server: Attestation((), ()) for server in (0, 3, 2)},
        "convictions": {("server", 3): 1, ("device", 2): 1, ("device", 1): 1},
    }
    for name, came in fields.items():
        other_way = dict(reversed(came.items()))
        assert list(came) != list(other_way)
        one, other = replace(STATE, **{name: came}), replace(STATE, **{name: other_way})
        assert state_tree(one).root == state_tree(other).root, name


def test_the_leaves_are_named_by_what_they_hold_so_that_others_can_ask_for_them():
    world = World()
    world.whole_round()
    world.to_publish()
    state = world.state
    tree = state_tree(state)
    usual = (state.height, state.round, "publish", state.phase_opened, state.model)
    expected: dict[str, Any] = {
        "attestations": tuple(sorted(state.attestations.items())),
        "ballot": state.ballot,
        "chain": state.genesis.chain_id,
        "contract": (hash_contract(state.contract), None, 0),
        "convictions": (),
        "delegations": (),
        "outcome": state.outcome,
        "round": usual,
        "server/000000": state.servers[0],
        "server/000001": state.servers[1],
        "server/000002": state.servers[2],
        "server/000003": state.servers[3],
        "updates": tuple(sorted(state.updates.items())),
    }
    assert dict(zip(tree.keys, tree.values, strict=True)) == {key: encode(value) for key, value in expected.items()}


def test_the_selected_devices_and_the_model_of_a_round_are_one_leaf():
    world = World()
    world.whole_round()
    value, path = world.application.query("outcome")
    assert value == encode(world.state.outcome)
    check_path(world.application.app_hash, "outcome", value, path)


def test_the_turn_moves_on_with_the_heights():
    ballot = Ballot((), (2, 0))
    opened = replace(STATE, phase=Phase.PUBLISH, ballot=ballot, phase_opened=10, height=10)
    main_nodes = [replace(opened, height=10 + blocks).main_node for blocks in range(6)]
    assert main_nodes == [2, 2, 0, 0, None, None]
    assert replace(opened, phase=Phase.ATTEST).main_node is None
    assert replace(opened, ballot=None).main_node is None
