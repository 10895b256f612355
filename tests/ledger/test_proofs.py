"""A model proof shows one thing, and nothing in it can be changed (``bees.ledger.proofs``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from world import SERVER_KEYS, World, commit_of, genesis

from bees.contract.description import describe_virtual_machine
from bees.core.canonical import Record, decode, encode
from bees.core.errors import ProofError
from bees.core.keys import SigningKey, is_signed_by
from bees.ledger.block import Commit, CommitSignature, Header, block_id, vote_bytes
from bees.ledger.genesis import ServerRecord, sign_genesis
from bees.ledger.proofs import ModelProof, check_model_proof, prove_model
from bees.ledger.state import Outcome, initial_state, state_tree

if TYPE_CHECKING:
    from collections.abc import Iterator


def proof_of(world: World) -> ModelProof:
    block = world.blocks[-1]
    return prove_model(world.state, block.header, commit_of(block))


@pytest.fixture(scope="module")
def world() -> World:
    world = World()
    world.whole_round()
    return world


def check(world: World, proof: ModelProof) -> Outcome:
    return check_model_proof(world.genesis, decode(encode(proof), ModelProof), is_signed_by)


def test_a_proof_shows_how_the_round_ended(world: World):
    assert check(world, proof_of(world)) == world.state.outcome
    assert proof_of(world).path == world.application.query("outcome")[1]


def test_a_later_block_of_the_open_round_proves_it_too(world: World):
    later = World()
    later.whole_round()
    later.block(later.update(0), later.update(1))
    assert check(later, proof_of(later)) == world.state.outcome


def mutations(value: Any) -> Iterator[Any]:
    """The value with one thing in it changed, for every thing in it."""
    if isinstance(value, Record):
        for name in value.__struct_fields__:
            for other in mutations(getattr(value, name)):
                yield msgspec.structs.replace(value, **{name: other})
    elif isinstance(value, tuple):
        items: tuple[Any, ...] = value
        yield from (items[:-1], (*items, *items[:1]), items[1:])
        for index, item in enumerate(items):
            for other in mutations(item):
                yield (*items[:index], other, *items[index + 1 :])
    elif isinstance(value, bytes):
        yield from (
            value[:at] + bytes([value[at] ^ 1]) + value[at + 1 :] for at in (0, len(value) // 2, -1 % len(value))
        )
    elif isinstance(value, int):
        yield from (value + 1, value + 2**32, max(value - 1, 1 if value == 0 else 0))
    else:
        raise NotImplementedError(type(value))


def test_whatever_is_changed_in_a_proof_it_is_refused(world: World):
    proof = proof_of(world)
    changed = [other for other in mutations(proof) if other != proof]
    assert len(changed) > 60
    for other in changed:
        with pytest.raises(ProofError):
            check_model_proof(world.genesis, other, is_signed_by)


def test_a_published_round_cannot_be_passed_off_as_skipped(world: World):
    proof = proof_of(world)
    skipped = msgspec.structs.replace(proof.outcome, main_node=None)
    with pytest.raises(ProofError, match="another root"):
        check(world, msgspec.structs.replace(proof, outcome=skipped))


def test_a_proof_of_another_chain_is_refused_even_with_the_same_servers(world: World):
    other = World.of(name="other")
    other.whole_round()
    with pytest.raises(ProofError, match="another chain"):
        check(world, proof_of(other))


def test_a_quorum_of_others_is_refused(world: World):
    proof, strangers = proof_of(world), [SigningKey.simulated(2, "server", k) for k in range(3)]
    commit = proof.commit
    message = vote_bytes(world.genesis.chain_id, commit.height, commit.consensus_round, "precommit", commit.block_id)
    signatures = tuple(CommitSignature(k, key.sign(message)) for k, key in enumerate(strangers))
    with pytest.raises(ProofError, match="signature of server 0"):
        check(world, msgspec.structs.replace(proof, commit=msgspec.structs.replace(commit, signatures=signatures)))


def test_prevotes_are_no_commit(world: World):
    proof, commit = proof_of(world), proof_of(world).commit
    message = vote_bytes(world.genesis.chain_id, commit.height, commit.consensus_round, "prevote", commit.block_id)
    signatures = tuple(CommitSignature(k, SERVER_KEYS[k].sign(message)) for k in range(3))
    with pytest.raises(ProofError, match="not valid"):
        check(world, msgspec.structs.replace(proof, commit=msgspec.structs.replace(commit, signatures=signatures)))


def test_before_a_round_is_closed_there_is_nothing_to_prove():
    world = World()
    world.block()
    with pytest.raises(ProofError, match="no round is closed"):
        proof_of(world)


def test_another_blocks_header_proves_nothing(world: World):
    before = world.blocks[-2]
    with pytest.raises(ProofError, match=f"block {before.header.height} leads to another state"):
        prove_model(world.state, before.header, commit_of(before))


def test_with_20_servers_a_proof_has_less_than_2_kilobytes():
    keys = tuple(SigningKey.simulated(3, "server", k) for k in range(20))
    records = tuple(ServerRecord(key.public_key, 10, 1000) for key in keys)
    signed = sign_genesis(genesis(servers=records, virtual_machine=describe_virtual_machine()), keys)
    state = msgspec.structs.replace(
        initial_state(signed.genesis), height=6, round=3, outcome=Outcome(2, bytes(range(32)), tuple(range(10)), 7)
    )
    chain_id = signed.genesis.chain_id
    header = Header(chain_id, 6, bytes(32), bytes(32), state_tree(state).root)
    message = vote_bytes(chain_id, 6, 0, "precommit", block_id(header))
    votes = tuple(CommitSignature(k, keys[k].sign(message)) for k in range(signed.genesis.committee.quorum))
    proof = prove_model(state, header, Commit(6, 0, block_id(header), votes))
    assert check_model_proof(signed.genesis, proof, is_signed_by) == state.outcome
    assert len(votes) == 14
    assert len(encode(proof)) < 2_000
