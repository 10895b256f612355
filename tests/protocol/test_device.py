from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from bees.core.errors import DoubleSignError, ProofError
from bees.core.fixed_point import bytes_to_words, words_to_bytes
from bees.core.keys import is_signed_by
from bees.ledger.commitments import commit_to_update, hash_model
from bees.ledger.proofs import prove_model
from bees.ledger.refusals import InvalidTransactionError
from bees.ledger.transactions import Signed, Update
from bees.protocol.device import OpenRound, check_global_model, commit_update, delegate_round
from bees.protocol.signer import MemoryJournal, Signer
from ledger.world import DEVICE_KEYS, SERVER_KEYS, W0, World, commit_of, weights

if TYPE_CHECKING:
    from bees.core.fixed_point import Words
    from bees.ledger.proofs import ModelProof


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


def proof_of(world: World) -> ModelProof:
    """The proof that the last block gives."""
    block = world.blocks[-1]
    return prove_model(world.state, block.header, commit_of(block))


def check(world: World, words: Words, proof: ModelProof | None, **changes: Any) -> None:
    open_round = dataclasses.replace(OpenRound.of(world.state), **changes)
    check_global_model(world.genesis, open_round, words, proof, is_signed_by)


def model_of(world: World) -> Words:
    return bytes_to_words(world.runner.blobs[world.state.model])


def test_the_global_model_on_the_chain_is_taken():
    world = World()
    check(world, W0, None)
    for _ in range(2):
        world.whole_round()
        check(world, model_of(world), proof_of(world))


def test_a_round_that_was_skipped_leaves_the_model_before():
    world = World()
    while world.state.round == 1:
        world.block()
    assert world.state.outcome is not None
    assert world.state.outcome.is_skipped
    check(world, W0, proof_of(world))


@pytest.mark.parametrize("parameter", range(len(W0)))
def test_a_model_that_differs_in_one_step_of_one_parameter_is_refused(parameter: int):
    words = W0.copy()
    words[parameter] += 1
    with pytest.raises(ProofError, match=r"not w_g\(0\)"):
        check(World(), words, None)


def test_the_model_of_the_round_before_is_refused_and_the_round_named():
    world = World()
    world.whole_round()
    with pytest.raises(ProofError, match=r"not w_g\(1\)"):
        check(world, W0, proof_of(world))


def test_a_longer_model_is_refused():
    with pytest.raises(ProofError):
        check(World(), np.append(W0, np.int32(0)), None)


def test_after_round_1_a_model_without_proof_is_refused():
    world = World()
    world.whole_round()
    with pytest.raises(ProofError, match=r"w_g\(1\) came without proof"):
        check(world, model_of(world), None)


def test_a_server_cannot_pass_off_an_old_model_with_its_true_proof():
    world = World()
    world.whole_round()
    old, old_proof = model_of(world), proof_of(world)
    world.whole_round()
    with pytest.raises(ProofError, match="of round 1, not of round 2"):
        check(world, old, old_proof, previous_model=old_proof.outcome.model)


def test_a_server_cannot_pass_off_its_own_model_and_claim_that_the_round_starts_from_it():
    world = World()
    own = hash_model(words_to_bytes(W0 + 1))
    with pytest.raises(ProofError, match=r"another model than w_g\(0\)"):
        check(world, W0 + 1, None, previous_model=own)
    world.whole_round()
    with pytest.raises(ProofError, match=r"another model than w_g\(1\)"):
        check(world, W0 + 1, proof_of(world), previous_model=own)


def test_an_open_round_of_another_chain_is_refused():
    world = World()
    with pytest.raises(ProofError, match="another chain"):
        check(world, W0, None, chain_id=bytes(32))


def test_a_proof_without_quorum_is_refused():
    world = World()
    world.whole_round()
    block = world.blocks[-1]
    too_few = prove_model(world.state, block.header, commit_of(block, (0, 1)))
    with pytest.raises(ProofError, match="2 signatures, 3 are needed"):
        check(world, model_of(world), too_few)


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
