from __future__ import annotations

import numpy as np
import pytest

from bees.core.errors import DoubleSignError, ProofError
from bees.core.fixed_point import bytes_to_words
from bees.ledger.commitments import commit_to_update
from bees.ledger.refusals import InvalidTransactionError
from bees.ledger.transactions import Signed, Update
from bees.protocol.device import OpenRound, check_global_model, commit_update, delegate_round
from bees.protocol.signer import MemoryJournal, Signer
from ledger.world import DEVICE_KEYS, SERVER_KEYS, W0, World, weights


def device_signer(device: int) -> Signer:
    return Signer(DEVICE_KEYS[device], MemoryJournal())


def server_signer(server: int) -> Signer:
    return Signer(SERVER_KEYS[server], MemoryJournal())


def body_of(signed: Signed) -> Update:
    assert isinstance(signed.body, Update)
    return signed.body


def test_the_open_round_is_what_the_chain_says():
    world = World()
    assert OpenRound.of(world.state) == OpenRound(world.genesis.chain_id, 1, world.genesis.initial_model)
    world.whole_round()
    after = OpenRound.of(world.state)
    assert after.round == 2
    assert after.previous_model == world.state.model != world.genesis.initial_model


def test_the_global_model_on_the_chain_is_taken():
    world = World()
    check_global_model(OpenRound.of(world.state), W0)
    world.whole_round()
    check_global_model(OpenRound.of(world.state), bytes_to_words(world.runner.blobs[world.state.model]))


@pytest.mark.parametrize("parameter", range(len(W0)))
def test_a_model_that_differs_in_one_step_of_one_parameter_is_refused(parameter: int):
    words = W0.copy()
    words[parameter] += 1
    with pytest.raises(ProofError, match=r"not w_g\(0\)"):
        check_global_model(OpenRound.of(World().state), words)


def test_the_model_of_the_round_before_is_refused_and_the_round_named():
    world = World()
    world.whole_round()
    with pytest.raises(ProofError, match=r"not w_g\(1\)"):
        check_global_model(OpenRound.of(world.state), W0)


def test_a_longer_model_is_refused():
    with pytest.raises(ProofError):
        check_global_model(OpenRound.of(World().state), np.append(W0, np.int32(0)))


def test_the_chain_takes_a_devices_update_and_keeps_its_commitment():
    world = World()
    data = weights(3, 1)
    signed = commit_update(device_signer(3), OpenRound.of(world.state), 3, 57, data)
    world.block(signed)
    accepted = world.state.updates[3]
    assert (accepted.samples, accepted.server) == (57, None)
    assert accepted.commitment == commit_to_update(3, 1, data)


def test_a_commitment_reveals_nothing_that_could_be_claimed_by_another():
    """The same bytes of another device, or in another round, have another commitment."""
    first = OpenRound.of(World().state)
    second = OpenRound(first.chain_id, 2, first.previous_model)
    data = weights(3, 1)
    made = [
        body_of(commit_update(device_signer(device), open_round, device, 57, data)).commitment
        for device, open_round in ((3, first), (4, first), (3, second))
    ]
    assert len(set(made)) == 3


def test_an_update_may_be_sent_again_but_no_other_one_for_the_round():
    signer, open_round = device_signer(3), OpenRound.of(World().state)
    first = commit_update(signer, open_round, 3, 57, weights(3, 1))
    assert commit_update(signer, open_round, 3, 57, weights(3, 1)) == first
    with pytest.raises(DoubleSignError, match="Update of 3 for round 1"):
        commit_update(signer, open_round, 3, 57, weights(3, 2))
    with pytest.raises(DoubleSignError):
        commit_update(signer, open_round, 3, 58, weights(3, 1))


def test_an_update_of_a_closed_round_is_worthless():
    world = World()
    old = commit_update(device_signer(3), OpenRound.of(world.state), 3, 57, weights(3, 1))
    world.whole_round()
    with pytest.raises(InvalidTransactionError, match="round 2 is open"):
        world.propose(old)


def test_a_server_signs_for_each_device_that_has_delegated_to_it():
    world, server = World(), server_signer(1)
    open_round = OpenRound.of(world.state)
    world.block(*(delegate_round(device_signer(k), open_round, k, 1) for k in (3, 4)))
    world.block(*(commit_update(server, open_round, k, 57, weights(k, 1), server=1) for k in (3, 4)))
    assert [world.state.updates[k].server for k in (3, 4)] == [1, 1]


def test_a_server_that_signs_for_a_device_signs_one_update_of_it():
    signer, open_round = server_signer(1), OpenRound.of(World().state)
    commit_update(signer, open_round, 3, 57, weights(3, 1), server=1)
    with pytest.raises(DoubleSignError):
        commit_update(signer, open_round, 3, 57, weights(3, 2), server=1)


@pytest.mark.parametrize("delegated_to", [None, 2])
def test_without_the_devices_leave_a_server_cannot_sign_in_its_place(delegated_to: int | None):
    world = World()
    open_round = OpenRound.of(world.state)
    if delegated_to is not None:
        world.block(delegate_round(device_signer(3), open_round, 3, delegated_to))
    with pytest.raises(InvalidTransactionError, match="has not delegated to server 1"):
        world.propose(commit_update(server_signer(1), open_round, 3, 57, weights(3, 1), server=1))


def test_a_delegation_ends_with_its_round():
    world = World()
    world.block(delegate_round(device_signer(3), OpenRound.of(world.state), 3, 1))
    assert world.state.delegations[3].server == 1
    world.whole_round()
    assert 3 not in world.state.delegations


def test_a_device_delegates_to_one_server_per_round():
    signer, open_round = device_signer(3), OpenRound.of(World().state)
    delegate_round(signer, open_round, 3, 1)
    with pytest.raises(DoubleSignError, match="Delegate for round 1"):
        delegate_round(signer, open_round, 3, 2)
