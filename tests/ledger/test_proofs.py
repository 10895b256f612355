"""A model proof shows one thing, and nothing in it can be changed (``bees.ledger.proofs``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from world import NEXT_KEYS, SERVER_KEYS, World, commit_of, genesis

from bees.contract.description import describe_virtual_machine
from bees.core.canonical import Record, decode, encode
from bees.core.errors import ProofError
from bees.core.keys import SigningKey, is_signed_by
from bees.ledger.block import Batch, Block, Commit, CommitSignature, Header, block_id, vote_bytes
from bees.ledger.committee import Committee
from bees.ledger.genesis import ServerRecord, sign_genesis
from bees.ledger.proofs import CommitteeProof, Committees, ModelProof, check_model_proof, prove_committee, prove_model
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
    elif value is None:
        yield bytes(32)
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


# Committees

S3, S3_LATER = NEXT_KEYS["server", 3, 0], NEXT_KEYS["server", 3, 1]


class Amended:
    """A chain on which server 3's key is replaced, server 2 removed, and server 3's key replaced again."""

    def __init__(self) -> None:
        self.world = World()
        self.genesis = self.world.genesis
        self.proofs: list[CommitteeProof] = []
        self.models: list[ModelProof] = []
        self.world.whole_round()
        self.keep_model()
        for change in (("server", 3, S3), ("server", 2, None), ("server", 3, S3_LATER)):
            committee = self.world.state.members.committee
            self.world.block(self.world.amend(*change, approvers=committee.members[-3:]))
            now = self.world.state.round
            while self.world.state.round == now:
                self.world.block()
            self.keep_committee()
            self.keep_model()
        self.world.block()
        self.keep_model()

    def keep_committee(self) -> None:
        self.proofs.append(prove_committee(self.world.state, self.world.blocks[-1].header, self.world.commits[-1]))

    def keep_model(self) -> None:
        self.models.append(prove_model(self.world.state, self.world.blocks[-1].header, self.world.commits[-1]))

    def follow(self, *proofs: CommitteeProof, known: Committees | None = None) -> Committees:
        read = [decode(encode(proof), CommitteeProof) for proof in proofs]
        return (known or Committees(self.genesis)).follow(read, is_signed_by)


@pytest.fixture(scope="module")
def amended() -> Amended:
    return Amended()


def test_one_proof_for_each_change_leads_from_the_genesis_to_the_committee_in_force(amended: Amended):
    known = amended.follow(*amended.proofs)
    assert known.newest == amended.world.state.members.committee
    assert known.height == amended.proofs[-1].header.height
    assert known.newest.keys == (*amended.genesis.committee.keys[:2], None, S3_LATER.public_key)
    step_by_step = Committees(amended.genesis)
    for proof in amended.proofs:
        step_by_step = amended.follow(proof, known=step_by_step)
    assert step_by_step == known
    assert amended.follow() == Committees(amended.genesis)


def test_each_model_proof_is_checked_by_the_newest_committee_that_was_proved(amended: Amended):
    accepted: list[list[bool]] = []
    for known in range(len(amended.proofs) + 1):
        committees = amended.follow(*amended.proofs[:known])
        row: list[bool] = []
        for proof in amended.models:
            try:
                check_model_proof(amended.genesis, proof, is_signed_by, committees)
            except ProofError:
                row.append(False)
            else:
                row.append(True)
        accepted.append(row)
    # The proofs are of a block before any change, of the three that brought one, and of one after them; the three last
    # servers have signed each. A row says which are good for whoever knows so many changes.
    assert accepted == [
        [True, True, False, False, False],
        [False, True, True, True, False],
        [False, False, True, True, False],
        [False, False, False, True, True],
    ]


def test_a_former_committee_counts_for_the_block_that_it_has_handed_over_in_and_for_no_other(amended: Amended):
    committees = amended.follow(*amended.proofs)
    handed_over = amended.models[3]
    assert handed_over.header == amended.proofs[-1].header
    check_model_proof(amended.genesis, handed_over, is_signed_by, committees)
    # Whoever has stolen all former keys signs another block of that height or of an earlier one, to the same state.
    for height in (handed_over.header.height - 1, handed_over.header.height):
        header = msgspec.structs.replace(handed_over.header, height=height, previous_block=bytes(32))
        stolen = [*SERVER_KEYS[:3], S3]
        commit = commit_of(Block(header, Batch(())), (0, 1, 3), keys=stolen)
        forged = msgspec.structs.replace(handed_over, header=header, commit=commit)
        with pytest.raises(ProofError, match="signature of server 3"):
            check_model_proof(amended.genesis, forged, is_signed_by, committees)


def test_whoever_believes_a_former_committee_can_be_led_astray_by_its_stolen_keys(amended: Amended):
    """What keeping the newest committee is good for: this is the attack on a device that knows the genesis only."""
    mine = World(signed=amended.world.signed)
    while mine.state.round == 1:
        mine.block()
    lie = prove_model(mine.state, mine.blocks[-1].header, mine.commits[-1])
    assert check_model_proof(amended.genesis, lie, is_signed_by).is_skipped
    with pytest.raises(ProofError):
        check_model_proof(amended.genesis, lie, is_signed_by, amended.follow(*amended.proofs))


def test_proofs_out_of_order_or_twice_are_refused(amended: Amended):
    first, second, third = amended.proofs
    for wrong in ((second,), (third,), (second, first), (first, first), (first, second, first), (first, third, second)):
        with pytest.raises(ProofError):
            amended.follow(*wrong)
    with pytest.raises(ProofError, match="not later than the last change"):
        amended.follow(first, known=amended.follow(*amended.proofs))
    # A change may be left out where enough servers count before and after it; there is but one committee to come to.
    assert amended.follow(first, third).newest == amended.follow(first, second, third).newest


def test_whatever_is_changed_in_a_committee_proof_it_is_refused(amended: Amended):
    first, second, _ = amended.proofs
    known = amended.follow(first)
    for before, proof in ((Committees(amended.genesis), first), (known, second)):
        changed = [other for other in mutations(proof) if other != proof]
        assert len(changed) > 60
        for other in changed:
            with pytest.raises(ProofError):
                before.follow([other], is_signed_by)


def test_the_right_committee_in_another_leaf_is_refused(amended: Amended):
    tree = state_tree(amended.world.state)
    header, commit = amended.world.blocks[-1].header, amended.world.commits[-1]
    known = amended.follow(*amended.proofs)
    committee = Committee((*known.newest.keys[:3], S3.public_key))
    for leaf in ("devices", "validators", "amendments", "committee"):
        other = CommitteeProof(header, commit, committee, tree.prove(leaf))
        with pytest.raises(ProofError, match="another root"):
            known.follow([other], is_signed_by)


def test_a_later_block_under_the_same_committee_is_no_change(amended: Amended):
    """Else a liar could have a device follow block after block."""
    again = prove_committee(amended.world.state, amended.world.blocks[-1].header, amended.world.commits[-1])
    with pytest.raises(ProofError, match="has changed nothing"):
        amended.follow(again, known=amended.follow(*amended.proofs))


def test_a_chain_that_never_amended_proves_no_committee(world: World):
    block = world.blocks[-1]
    with pytest.raises(ProofError, match="committee"):
        prove_committee(world.state, block.header, commit_of(block))
    with pytest.raises(ProofError, match="another state"):
        prove_committee(world.state, world.blocks[-2].header, commit_of(block))
