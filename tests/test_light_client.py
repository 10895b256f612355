"""The file that a device copies gives the verdicts of ``bees.ledger.proofs``, whatever the bytes are."""

from __future__ import annotations

import ast
import shutil
import struct
import subprocess
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bees import light_client
from bees.core.canonical import decode, encode
from bees.core.errors import BeesError
from bees.core.hashes import digest
from bees.core.keys import SigningKey, is_signed_by
from bees.core.model import describe
from bees.founding import Founding, Members, Task, found
from bees.ledger.block import Commit, Header, block_id, vote_bytes
from bees.ledger.commitments import hash_model
from bees.ledger.committee import Committee
from bees.ledger.genesis import DeviceRecord, Genesis, ServerRecord, SignedGenesis, check_genesis
from bees.ledger.merkle import MerkleMap, MerklePath
from bees.ledger.proofs import CommitteeProof, Committees, ModelProof, check_model_proof
from bees.ledger.state import Outcome, initial_state, state_tree
from bees.light_client import (
    ProvedOutcome,
    RefusedError,
    TrustedGenesis,
    check_proof,
    follow_committee,
    read_genesis,
)
from bees.scenario_file import load_scenario
from campaigns.forgeries import commit_of, forged_commits, forgeries, mutations, spellings

if TYPE_CHECKING:
    from collections.abc import Sequence

WORDS = np.arange(6, dtype="<i4").tobytes()
OUTCOME = Outcome(2, hash_model(WORDS), tuple(range(10)), 7)


@dataclass(frozen=True)
class Chain:
    """A founded chain, and keys to commit whatever header a test makes up."""

    founding: Founding

    @classmethod
    def of(cls, servers: int, name: str = "light") -> Chain:
        model = describe("tiny", [("w", (6,))], 24)
        members = Members(servers, np.arange(12) % servers, np.full(12, 100))
        scenario = load_scenario("quick", [f"name={name!r}"])
        return cls(found(scenario, members, Task(model, np.zeros(6, np.int32), bytes(32), 100)))

    @property
    def genesis(self) -> Genesis:
        return self.founding.genesis.genesis

    @cached_property
    def trusted(self) -> TrustedGenesis:
        return read_genesis(encode(self.founding.genesis))

    def header(self, app_hash: bytes, height: int) -> Header:
        return Header(self.genesis.chain_id, height, bytes(32), bytes(range(32)), app_hash)

    def commit(self, header: Header, servers: Sequence[int] | None = None) -> Commit:
        quorum = range(self.genesis.committee.quorum)
        return commit_of(header, self.founding.server_keys, quorum if servers is None else servers)

    def proof(self, outcome: Any = OUTCOME, leaf: str = "outcome", height: int = 9):
        """A proof that holds if the leaf is the outcome's."""
        state = msgspec.structs.replace(initial_state(self.genesis), height=height, round=3, outcome=OUTCOME)
        tree = state_tree(state)
        leaves = {**dict(zip(tree.keys, tree.values, strict=True)), leaf: encode(outcome)}
        tree = MerkleMap.of(leaves)
        header = self.header(tree.root, height)
        return ModelProof(header, self.commit(header), outcome, tree.prove(leaf))

    def verdict(self, proof: bytes) -> tuple[Any, ...] | None:
        """What both checks say of these bytes: what is proved, or None for a refusal."""
        seen = _light(self.trusted, proof)
        assert seen == _reference(self.genesis, proof)
        return seen


def _light(trusted: TrustedGenesis, proof: bytes) -> tuple[Any, ...] | None:
    try:
        outcome = check_proof(trusted, proof)
    except RefusedError:
        return None
    return outcome.round, outcome.model, outcome.selected, outcome.main_node


def _reference(genesis: Genesis, proof: bytes, known: Committees | None = None) -> tuple[Any, ...] | None:
    try:
        outcome = check_model_proof(genesis, decode(proof, ModelProof), is_signed_by, known)
    except BeesError:
        return None
    return outcome.round, outcome.model, outcome.selected, outcome.main_node


FOUR, TWENTY = Chain.of(4), Chain.of(20)
VALID = encode(FOUR.proof())
VALUES = (OUTCOME.round, OUTCOME.model, OUTCOME.selected, OUTCOME.main_node)
replace = msgspec.structs.replace


# What is right


@pytest.mark.parametrize("chain", [FOUR, TWENTY, Chain.of(1), Chain.of(17)])
def test_a_proof_shows_how_the_round_ended(chain: Chain):
    assert chain.verdict(encode(chain.proof())) == VALUES
    outcome = check_proof(chain.trusted, encode(chain.proof()))
    assert outcome.height == 9
    assert outcome.signers == tuple(range(chain.genesis.committee.quorum))


def test_more_signatures_than_a_quorum_are_welcome_and_any_quorum_will_do():
    proof = TWENTY.proof()
    for servers in (list(range(20)), list(range(6, 20)), [*range(0, 20, 2), 1, 3, 5, 7]):
        commit = TWENTY.commit(proof.header, servers=sorted(servers))
        assert TWENTY.verdict(encode(replace(proof, commit=commit))) == VALUES


NUMBERS = [0, 1, 23, 127, 128, 255, 256, 2**16 - 1, 2**16, 2**32 - 1, 2**32, 2**63 - 1]


@pytest.mark.parametrize("number", NUMBERS)
def test_every_round_of_consensus_will_do(number: int):
    proof = FOUR.proof()
    commit = commit_of(
        proof.header, FOUR.founding.server_keys, range(3), lambda c, h, _, k, b: vote_bytes(c, h, number, k, b)
    )
    assert FOUR.verdict(encode(replace(proof, commit=replace(commit, consensus_round=number)))) == VALUES


@pytest.mark.parametrize("number", NUMBERS)
def test_every_width_of_a_number_is_read(number: int):
    outcome = Outcome(number, bytes(32), (number, number + 1), number)
    proof = FOUR.proof(outcome, height=max(1, number))
    assert FOUR.verdict(encode(proof)) == (number, bytes(32), (number, number + 1), number)


def test_a_skipped_round_is_shown_as_such():
    assert FOUR.verdict(encode(FOUR.proof(Outcome(5, bytes(32), (), None)))) == (5, bytes(32), (), None)


numbers = st.integers(-(2**63), 2**64 - 1)
outcomes = st.builds(
    Outcome, numbers, st.binary(max_size=300), st.lists(numbers, max_size=20).map(tuple), numbers | st.none()
)


@settings(deadline=None, max_examples=100)
@given(outcome=outcomes)
def test_whatever_a_quorum_has_committed_is_taken_by_both(outcome: Outcome):
    expected = (outcome.round, outcome.model, outcome.selected, outcome.main_node)
    assert FOUR.verdict(encode(FOUR.proof(outcome))) == expected


def test_the_model_itself_is_held_against_the_proof():
    outcome = check_proof(FOUR.trusted, VALID)
    light_client.check_model(outcome, WORDS)
    for other in (WORDS[:-4], WORDS + bytes(4), bytes(24), b""):
        with pytest.raises(RefusedError, match=r"not w_g\(2\)"):
            light_client.check_model(outcome, other)


# Committees

KEYS = (*FOUR.founding.server_keys, *(SigningKey.simulated(7, "next", k) for k in range(4)))
BY_PUBLIC_KEY = {key.public_key: key for key in KEYS}


def committee_of(*indices: int | None) -> Committee:
    return Committee(tuple(None if k is None else KEYS[k].public_key for k in indices))


def committed_by(header: Header, committee: Committee, servers: Sequence[int] | None = None) -> Commit:
    keys = [BY_PUBLIC_KEY.get(key or b"", KEYS[k]) for k, key in enumerate(committee.keys)]
    return commit_of(header, keys, committee.members[-committee.quorum :] if servers is None else servers)


def proved(before: Committee, after: Any, height: int, leaf: str = "committee") -> CommitteeProof:
    """A proof that one committee hands over to another, which holds if the leaf is the committee's."""
    tree = MerkleMap.of({leaf: encode(after), "outcome": encode(OUTCOME), "round": b"", "updates": b""})
    header = FOUR.header(tree.root, height)
    return CommitteeProof(header, committed_by(header, before), after, tree.prove(leaf))


def model_proof(committee: Committee, height: int, outcome: Any = OUTCOME) -> ModelProof:
    tree = MerkleMap.of({"chain": b"", "outcome": encode(outcome)})
    header = FOUR.header(tree.root, height)
    return ModelProof(header, committed_by(header, committee), outcome, tree.prove("outcome"))


C0, C1, C2, C3 = (
    FOUR.genesis.committee,
    committee_of(0, 1, 2, 7),
    committee_of(0, None, 2, 7),
    committee_of(0, None, 2, 5),
)
CHANGES = (proved(C0, C1, 10), proved(C1, C2, 20), proved(C2, C3, 30))
FOLLOWED = encode(CHANGES)


def followed(data: bytes, trusted: TrustedGenesis = FOUR.trusted, known: Committees | None = None) -> Any:
    """What both checks follow these bytes to, or None for a refusal."""
    try:
        found = follow_committee(trusted, data)
    except RefusedError:
        found = None
    try:
        expected = (known or Committees(FOUR.genesis)).follow(decode(data, tuple[CommitteeProof, ...]), is_signed_by)
    except BeesError:
        expected = None
    assert (found is None) == (expected is None)
    if found is None or expected is None:
        return None
    assert (found.server_keys, found.height, found.quorum) == (
        expected.newest.keys,
        expected.height,
        expected.newest.quorum,
    )
    assert (found.chain_id, found.device_keys) == (trusted.chain_id, trusted.device_keys)
    if expected.changes:
        assert found.block == block_id(expected.changes[-1][0])
        assert found.former_keys == expected.committing(expected.changes[-1][0]).keys
    return found, expected


def test_proofs_lead_to_the_servers_that_count():
    trusted, known = FOUR.trusted, None
    for change, committee in zip(CHANGES, (C1, C2, C3), strict=True):
        trusted, known = followed(encode((change,)), trusted, known)
        assert trusted.server_keys == committee.keys
    assert (trusted, known) == followed(FOLLOWED)
    assert trusted.quorum == 3
    assert followed(encode(()))[0] == FOUR.trusted
    assert (trusted, known) == followed(encode(()), trusted, known)


def test_what_is_committed_is_checked_by_the_newest_servers_and_the_handing_over_by_those_before():
    states: list[Any] = [(FOUR.trusted, None)]
    for change in CHANGES:
        states.append(followed(encode((change,)), *states[-1]))
    handing_over = [replace(model_proof(C0, 9), header=c.header, commit=c.commit) for c in CHANGES]
    trees = [
        MerkleMap.of({"committee": encode(c), "outcome": encode(OUTCOME), "round": b"", "updates": b""})
        for c in (C1, C2, C3)
    ]
    handing_over = [replace(p, path=t.prove("outcome")) for p, t in zip(handing_over, trees, strict=True)]
    ordinary = [model_proof(committee, 35) for committee in (C0, C1, C2, C3)]
    early = [model_proof(committee, 5) for committee in (C0, C1, C2, C3)]
    table: list[list[bool]] = []
    for trusted, known in states:
        row: list[bool] = []
        for proof in (*handing_over, *ordinary, *early):
            data = encode(proof)
            light = _light(trusted, data)
            assert light == _reference(FOUR.genesis, data, known)
            row.append(light is not None)
        table.append(row)
    assert [row[:3] for row in table] == [
        [True, False, False],
        [True, True, True],
        [False, True, True],
        [False, False, True],
    ]
    # By servers 1 to 3 each; of three servers, all. So only the height of the handing over is another matter.
    by_whom = [
        [True, False, False, False],
        [False, True, True, False],
        [False, False, True, False],
        [False, False, False, True],
    ]
    assert [row[3:7] for row in table] == [row[7:] for row in table] == by_whom


def test_a_removed_server_signs_nothing_and_its_place_stays_empty():
    trusted, known = followed(FOLLOWED)
    header = model_proof(C3, 40).header
    for servers in ((0, 2), (0, 1, 2), (0, 1, 3), (0, 1, 2, 3), (0, 2, 4)):
        proof = replace(model_proof(C3, 40), commit=committed_by(header, C3, servers))
        assert _light(trusted, encode(proof)) is _reference(FOUR.genesis, encode(proof), known) is None
    assert _light(trusted, encode(model_proof(C3, 40))) == VALUES


def test_proofs_do_not_go_back_nor_out_of_order():
    first, second, third = CHANGES
    for wrong in (
        (second,),
        (second, first),
        (first, first),
        (first, second, first),
        (first, second, second),
        (third,),
    ):
        assert followed(encode(wrong)) is None
    trusted, known = followed(FOLLOWED)
    for change in CHANGES:
        assert followed(encode((change,)), trusted, known) is None
    # Also where the same servers come to count again.
    back = proved(C3, C2, 31)
    returned = followed(encode((back,)), trusted, known)
    assert returned[0].server_keys == C2.keys
    assert followed(encode((third,)), *returned) is None


def test_no_former_committee_hands_over_again():
    trusted, known = followed(FOLLOWED)
    for former in (C0, C1, C2):
        assert followed(encode((proved(former, C0, 40),)), trusted, known) is None
    assert followed(encode((proved(C3, C0, 40),)), trusted, known) is not None


def test_a_block_that_changes_nothing_is_no_change():
    trusted, known = followed(FOLLOWED)
    assert followed(encode((proved(C3, C3, 40),)), trusted, known) is None
    assert followed(encode((proved(C0, C0, 10),))) is None


def test_a_forged_committee_is_refused():
    proof = proved(C0, C1, 10)
    for name, commit in forged_commits(proof.header, FOUR.founding.server_keys, C0.quorum):
        assert followed(encode((replace(proof, commit=commit),))) is None, name
    changed = [other for other in mutations(proof) if other != proof]
    assert len(changed) > 150
    for other in changed:
        assert followed(encode((other,))) is None
    for leaf in ("outcome ", "committee ", "devices", "committe", "committee\0"):
        assert followed(encode((proved(C0, C1, 10, leaf),))) is None
    other_chain = Chain.of(4, name="other")
    header = replace(proof.header, chain_id=other_chain.genesis.chain_id)
    assert followed(encode((replace(proof, header=header, commit=committed_by(header, C0)),))) is None


@pytest.mark.parametrize("odd", ["", b"", bytes(31), bytes(33), (), 0, -1, True, 1.5, {}, "k" * 32])
def test_what_is_no_committee_is_refused_although_a_quorum_has_signed_it(odd: Any):
    right = tuple(C1.keys)
    for committee in ((right, odd), odd, (odd,), ((*right[:3], odd),), ((odd, *right[1:]),), right):
        is_fine = committee == ((),)
        assert (followed(encode((proved(C0, committee, 10),))) is not None) == is_fine, committee


def test_committees_of_any_size_are_followed():
    for size in (1, 2, 15, 16, 17, 100):
        keys = [SigningKey.simulated(8, "many", k) for k in range(size)]
        many = Committee(tuple(None if k % 5 == 4 else key.public_key for k, key in enumerate(keys)))
        trusted, known = followed(encode((proved(C0, many, 10),)))
        assert trusted.quorum == many.quorum == 2 * (size - size // 5) // 3 + 1
        tree = MerkleMap.of({"outcome": encode(OUTCOME)})
        header = FOUR.header(tree.root, 11)
        for count in (many.quorum - 1, many.quorum):
            commit = commit_of(header, keys, many.members[:count])
            data = encode(ModelProof(header, commit, OUTCOME, tree.prove("outcome")))
            assert _light(trusted, data) == _reference(FOUR.genesis, data, known)
            assert (_light(trusted, data) is not None) == (count == many.quorum)


def test_every_cut_addition_and_other_spelling_of_a_committee_is_refused():
    data = encode(CHANGES[:1])
    assert followed(data) is not None
    for end in range(len(data)):
        assert followed(data[:end]) is None
    for more in (b"\0", b"\xc0", data):
        assert followed(data + more) is None
        assert followed(more + data) is None
    canonical, *others = dict.fromkeys(spellings(msgspec.msgpack.decode(data)))
    assert canonical == data
    assert len(others) > 100
    for other in others:
        assert followed(other) is None
    for at, byte in enumerate(data):
        assert followed(data[:at] + bytes([byte ^ 1]) + data[at + 1 :]) is None


def test_a_genesis_with_followed_servers_is_not_checked_against_its_signatures():
    trusted, _ = followed(FOLLOWED)
    with pytest.raises(RefusedError):
        light_client.check_genesis(trusted)


# What is forged


@pytest.mark.parametrize("chain", [FOUR, TWENTY])
def test_a_commit_that_is_no_quorum_for_this_block_is_refused(chain: Chain):
    proof = chain.proof()
    forged = dict(forged_commits(proof.header, chain.founding.server_keys, chain.genesis.committee.quorum))
    assert len(forged) > 15
    for name, commit in forged.items():
        assert chain.verdict(encode(replace(proof, commit=commit))) is None, name


def test_every_field_counts():
    proof = FOUR.proof()
    changed = [other for other in mutations(proof) if other != proof]
    assert len(changed) > 150
    for other in changed:
        assert FOUR.verdict(encode(other)) is None


def test_whatever_the_campaign_forges_is_refused():
    for kind, data in forgeries(FOUR.proof(), FOUR.founding.server_keys):
        assert FOUR.verdict(data) is None, kind


def test_a_header_with_its_hashes_swapped_is_refused():
    proof = FOUR.proof()
    fields = ("chain_id", "previous_block", "transactions", "app_hash")
    for one in fields:
        for other in fields:
            if one != other:
                swapped = {one: getattr(proof.header, other), other: getattr(proof.header, one)}
                header = replace(proof.header, **swapped)
                assert FOUR.verdict(encode(replace(proof, header=header))) is None
                # A quorum behind it helps only where the app hash stays: that header would simply be another block.
                resigned = replace(proof, header=header, commit=FOUR.commit(header))
                is_fine = {one, other} == {"previous_block", "transactions"}
                assert FOUR.verdict(encode(resigned)) == (VALUES if is_fine else None)


def test_another_chain_with_the_same_servers_is_refused():
    other = Chain.of(4, name="other")
    assert other.founding.server_keys == FOUR.founding.server_keys
    assert FOUR.verdict(encode(other.proof())) is None


@pytest.mark.parametrize(
    "outcome",
    [
        replace(OUTCOME, round=3),
        replace(OUTCOME, model=bytes(32)),
        replace(OUTCOME, model=OUTCOME.model[:-1]),
        replace(OUTCOME, selected=OUTCOME.selected[1:]),
        replace(OUTCOME, selected=(*OUTCOME.selected, 11)),
        replace(OUTCOME, selected=()),
        replace(OUTCOME, main_node=8),
        replace(OUTCOME, main_node=None),
    ],
)
def test_another_outcome_is_refused(outcome: Outcome):
    assert FOUR.verdict(encode(replace(FOUR.proof(), outcome=outcome))) is None


def test_the_right_words_in_another_leaf_are_refused():
    for leaf in ("outcome ", "outcom", "outcome\0", "ballot", "server/000001"):
        assert FOUR.verdict(encode(FOUR.proof(leaf=leaf))) is None


def test_a_path_that_is_not_the_way_up_is_refused():
    proof = FOUR.proof()
    path = proof.path
    wrong = [
        replace(path, siblings=path.siblings[:-1]),
        replace(path, siblings=path.siblings[1:]),
        replace(path, siblings=()),
        replace(path, siblings=(*path.siblings, bytes(32))),
        replace(path, siblings=path.siblings[::-1]),
        replace(path, siblings=(path.siblings[0] + b"\0", *path.siblings[1:])),
        replace(path, siblings=(b"", *path.siblings[1:])),
        replace(path, index=0, total=1, siblings=()),
        *(replace(path, index=index) for index in (-1, 0, path.index ^ 1, path.total, 2**64 - 1)),
        *(replace(path, total=total) for total in (-1, 0, 1, path.total - 1, path.total + 1, 2**63 - 1, 2**63)),
    ]
    for other in wrong:
        assert FOUR.verdict(encode(replace(proof, path=other))) is None, other


# What even a quorum cannot make right


def signed_by_all(
    header: Header, outcome: Any, path: MerklePath, height: int | None = None, consensus_round: int = 0
) -> bytes:
    """A proof by a quorum that signs whatever it is given, on this chain; also at another height than the header's."""
    height = header.height if height is None else height
    keys, chain_id = FOUR.founding.server_keys, FOUR.genesis.chain_id
    commit = commit_of(
        header,
        keys,
        range(3),
        lambda _c, _h, _r, kind, block: vote_bytes(chain_id, height, consensus_round, kind, block),
    )
    named = replace(commit, height=height, consensus_round=consensus_round)
    return encode(ModelProof(header, named, outcome, path))


def test_a_header_of_another_chain_is_refused_although_the_votes_are_of_this_one():
    proof = FOUR.proof()
    assert FOUR.verdict(signed_by_all(proof.header, proof.outcome, proof.path)) == VALUES
    header = replace(proof.header, chain_id=bytes(32))
    assert FOUR.verdict(signed_by_all(header, proof.outcome, proof.path)) is None


def test_votes_for_this_block_at_another_height_are_refused():
    proof = FOUR.proof()
    assert FOUR.verdict(signed_by_all(proof.header, proof.outcome, proof.path, height=10)) is None


@pytest.mark.parametrize("number", [-1, 0, 2**63 - 1, 2**63, 2**64 - 1])
def test_heights_and_rounds_of_consensus_have_their_range(number: int):
    proof = FOUR.proof()
    header = replace(proof.header, height=number)
    seen = FOUR.verdict(signed_by_all(header, proof.outcome, proof.path))
    assert seen == (VALUES if 1 <= number < 2**63 else None)
    seen = FOUR.verdict(signed_by_all(proof.header, proof.outcome, proof.path, consensus_round=number))
    assert seen == (VALUES if 0 <= number < 2**63 else None)


@pytest.mark.parametrize("odd", ["", "server", b"", bytes(32), (), (7,), True, 1.5, {}])
def test_what_is_no_outcome_is_refused(odd: Any):
    for at, _ in enumerate(VALUES):
        # Bytes are what the hash of the model is, of whatever length; an array is what the selected are.
        is_fine = (at == 1 and isinstance(odd, bytes)) or (at == 2 and isinstance(odd, tuple))
        outcome = (*VALUES[:at], odd, *VALUES[at + 1 :])
        assert FOUR.verdict(encode(FOUR.proof(outcome))) == (outcome if is_fine else None)
    for outcome in (VALUES[:-1], (*VALUES, None), None, {}):
        assert FOUR.verdict(encode(FOUR.proof(outcome))) is None


def test_the_outcome_is_found_at_every_place_in_trees_of_every_shape():
    for total in range(1, 19):
        for index in range(total):
            before = {f"a{k:02d}": b"before" for k in range(index)}
            after = {f"z{k:02d}": b"after" for k in range(total - index - 1)}
            tree = MerkleMap.of({**before, "outcome": encode(OUTCOME), **after})
            header, path = FOUR.header(tree.root, 9), tree.prove("outcome")
            assert (path.index, path.total) == (index, total)
            assert FOUR.verdict(signed_by_all(header, OUTCOME, path)) == VALUES
            for other in (-1, total, total + 1, 2**63):
                assert FOUR.verdict(signed_by_all(header, OUTCOME, replace(path, index=other))) is None


@pytest.mark.parametrize("total", [2**62, 2**63 - 1, 2**63, 2**64 - 1])
def test_a_map_has_less_than_2_to_63_leaves(total: int):
    name = b"outcome"
    node = digest("merkle leaf", struct.pack("<I", len(name)) + name + encode(OUTCOME))
    depth = (total - 1).bit_length()
    for _ in range(depth):
        node = digest("merkle node", node + bytes(32))
    header = FOUR.header(digest("merkle root", struct.pack("<Q", total), node), 9)
    seen = FOUR.verdict(signed_by_all(header, OUTCOME, MerklePath(0, total, (bytes(32),) * depth)))
    assert seen == (VALUES if total < 2**63 else None)


# Bytes


def test_every_cut_and_every_addition_is_refused():
    for end in range(len(VALID)):
        assert FOUR.verdict(VALID[:end]) is None
    for more in (b"\0", b"\xc0", VALID[-1:], VALID):
        assert FOUR.verdict(VALID + more) is None
        assert FOUR.verdict(more + VALID) is None


def test_every_byte_counts():
    for at, byte in enumerate(VALID):
        for other in (byte ^ 1, byte ^ 0x80):
            assert FOUR.verdict(VALID[:at] + bytes([other]) + VALID[at + 1 :]) is None


def test_every_other_spelling_is_refused():
    canonical, *others = dict.fromkeys(spellings(msgspec.msgpack.decode(VALID)))
    assert canonical == VALID
    assert len(others) > 100
    for other in others:
        assert FOUR.verdict(other) is None


def test_every_other_spelling_of_every_width_is_refused():
    limits = [0, 2**5, 2**7, 2**8, 2**15, 2**16, 2**31, 2**32, 2**63]
    numbers_at_limits = {sign * limit + step for limit in limits for sign in (-1, 1) for step in (-1, 0, 1)}
    outcome = Outcome(1, bytes(256), tuple(sorted(n for n in numbers_at_limits if n >= -(2**63))), None)
    for spelled in dict.fromkeys(spellings(msgspec.msgpack.decode(encode(outcome)))):
        # A quorum that signs the odd spelling itself does not make it right.
        tree = MerkleMap.of({"outcome": spelled})
        header = FOUR.header(tree.root, 9)
        parts = (encode(header), encode(FOUR.commit(header)), spelled, encode(tree.prove("outcome")))
        assert (FOUR.verdict(b"\x94" + b"".join(parts)) is None) == (spelled != encode(outcome))


edits = st.lists(
    st.tuples(st.sampled_from(["put", "insert", "delete", "copy"]), st.integers(0, 2**16), st.binary(max_size=9)),
    min_size=1,
    max_size=4,
)


def edited(data: bytes, changes: list[tuple[str, int, bytes]]) -> bytes:
    for kind, where, piece in changes:
        at = where % (len(data) + 1)
        match kind:
            case "put":
                data = data[:at] + piece + data[at + len(piece) :]
            case "insert":
                data = data[:at] + piece + data[at:]
            case "delete":
                data = data[:at] + data[at + len(piece) :]
            case _:
                data = data[:at] + data[at // 2 : at // 2 + 40] + data[at:]
    return data


@settings(deadline=None, max_examples=300)
@given(changes=edits)
def test_random_edits_get_the_same_verdict(changes: list[tuple[str, int, bytes]]):
    data = edited(VALID, changes)
    assert FOUR.verdict(data) == (VALUES if data == VALID else None)


plain_values = st.recursive(
    st.none() | st.booleans() | numbers | st.binary(max_size=64) | st.text(max_size=5) | st.floats(),
    lambda inner: st.lists(inner, max_size=5),
    max_leaves=20,
)


@settings(deadline=None, max_examples=100)
@given(changes=edits)
def test_random_edits_of_committees_get_the_same_verdict(changes: list[tuple[str, int, bytes]]):
    data = edited(FOLLOWED, changes)
    assert (followed(data) is not None) == (data == FOLLOWED)


@settings(deadline=None, max_examples=200)
@given(data=st.binary(max_size=80) | plain_values.map(msgspec.msgpack.encode), where=st.integers(0, 60))
def test_hostile_bytes_are_refused_and_nothing_else_happens(data: bytes, where: int):
    assert FOUR.verdict(data) is None
    # At any depth of something that starts well.
    assert FOUR.verdict(VALID[:where] + data) is None
    assert followed(FOLLOWED[: where + 1] + data) is None
    assert followed(data) in (None, (FOUR.trusted, Committees(FOUR.genesis)))
    with pytest.raises(RefusedError):
        read_genesis(data)


@pytest.mark.parametrize("bomb", [b"\x91", b"\x92", b"\xdc\xff\xff", b"\xdd\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff"])
def test_bombs_cost_nothing(bomb: bytes):
    genesis = b"\x92\x94" + bomb * 200_000
    for hostile in (bomb * 200_000, VALID[:2] + bomb, VALID[:-1] + bomb):
        assert FOUR.verdict(hostile) is None
    for hostile in (bomb * 200_000, genesis):
        with pytest.raises(RefusedError):
            read_genesis(hostile)


# The genesis


def test_the_genesis_is_read_as_the_ledger_reads_it():
    genesis = TWENTY.genesis
    assert TWENTY.trusted.chain_id == genesis.chain_id
    assert TWENTY.trusted.server_keys == tuple(server.public_key for server in genesis.servers)
    assert TWENTY.trusted.device_keys == tuple(device.public_key for device in genesis.devices)
    assert TWENTY.trusted.signatures == TWENTY.founding.genesis.signatures
    assert TWENTY.trusted.quorum == genesis.committee.quorum
    light_client.check_genesis(TWENTY.trusted)


def test_the_fields_that_the_light_client_relies_on_stand_where_it_says():
    assert SignedGenesis.__struct_fields__ == ("genesis", "signatures")
    assert Genesis.__struct_fields__[1:3] == ("servers", "devices")
    assert ServerRecord.__struct_fields__[0] == DeviceRecord.__struct_fields__[0] == "public_key"
    assert ModelProof.__struct_fields__ == ("header", "commit", "outcome", "path")
    assert Header.__struct_fields__ == ("chain_id", "height", "previous_block", "transactions", "app_hash")
    assert Commit.__struct_fields__ == ("height", "consensus_round", "block_id", "signatures")
    assert Outcome.__struct_fields__ == ("round", "model", "selected", "main_node")
    assert CommitteeProof.__struct_fields__ == ("header", "commit", "committee", "path")
    assert Committee.__struct_fields__ == ("keys",)


@pytest.mark.parametrize("servers", range(1, 32))
def test_the_quorum_is_the_ledgers(servers: int):
    keys = tuple(bytes([k]) * 32 for k in range(servers))
    records = tuple(ServerRecord(key, 1, 1) for key in keys)
    assert TrustedGenesis(b"", keys, (), ()).quorum == replace(FOUR.genesis, servers=records).committee.quorum


def test_a_genesis_whose_arrays_are_too_short_is_refused():
    key = b"\xc4\x20" + bytes(32)
    # A server of no fields, followed by a key and by an array that would make up for the missing field.
    for servers in (b"\x91\x90" + key + b"\x92", b"\x91\x90" + key):
        with pytest.raises(RefusedError):
            read_genesis(b"\x92\x93\xa0" + servers + b"\x90\x90")
    for fields in range(3):
        with pytest.raises(RefusedError):
            read_genesis(b"\x92" + bytes([0x90 + fields]) + b"\xa0\x90\x90" + b"\x91" * 4 + b"\x90\x90")


def is_accepted(data: bytes) -> bool:
    try:
        light_client.check_genesis(read_genesis(data))
    except RefusedError:
        return False
    return True


def test_a_genesis_that_not_every_server_has_signed_is_refused():
    signed = FOUR.founding.genesis
    check_genesis(signed)
    assert is_accepted(encode(signed))
    signatures = signed.signatures
    for others in (signatures[:-1], (*signatures, signatures[0]), signatures[::-1], (bytes(64), *signatures[1:]), ()):
        assert not is_accepted(encode(replace(signed, signatures=others)))
    twice = replace(signed.genesis, servers=(*signed.genesis.servers[:3], signed.genesis.servers[0]))
    keys = (*FOUR.founding.server_keys[:3], FOUR.founding.server_keys[0])
    message = b"bees genesis\0" + twice.chain_id
    assert not is_accepted(encode(SignedGenesis(twice, tuple(key.sign(message) for key in keys))))
    nobody = replace(signed.genesis, servers=())
    assert not is_accepted(encode(SignedGenesis(nobody, ())))


@settings(deadline=None, max_examples=150)
@given(changes=edits)
def test_a_genesis_that_was_edited_is_refused(changes: list[tuple[str, int, bytes]]):
    right = encode(FOUR.founding.genesis)
    data = edited(right, changes)
    assert is_accepted(data) == (data == right)


# The file


def test_it_imports_only_what_a_device_has():
    tree = ast.parse(Path(light_client.__file__).read_text())
    found = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    found |= {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    outside = {name.partition(".")[0] for name in found if name} - set(sys.stdlib_module_names)
    assert outside == {"blake3", "nacl"}


VENDORED = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import light_client as lc
folder = Path(sys.argv[1])
genesis = lc.read_genesis((folder / "genesis").read_bytes())
lc.check_genesis(genesis)
assert lc.follow_committee(genesis, (folder / "committees").read_bytes()).height == 30
outcome = lc.check_proof(genesis, (folder / "proof").read_bytes())
assert not [name for name in sys.modules if name.partition(".")[0] in ("bees", "msgspec", "numpy")]
print(outcome.round, outcome.model.hex())
"""


def test_a_copy_of_the_file_works_on_its_own(tmp_path: Path):
    shutil.copy(light_client.__file__, tmp_path)
    (tmp_path / "genesis").write_bytes(encode(FOUR.founding.genesis))
    (tmp_path / "proof").write_bytes(VALID)
    (tmp_path / "committees").write_bytes(FOLLOWED)
    done = subprocess.run(
        [sys.executable, "-I", "-c", VENDORED, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    assert done.stdout == f"2 {OUTCOME.model.hex()}\n"


def test_what_is_proved_is_frozen():
    outcome = check_proof(FOUR.trusted, VALID)
    with pytest.raises(AttributeError):
        outcome.round = 3  # pyright: ignore[reportAttributeAccessIssue]  # that is the point
    assert isinstance(outcome, ProvedOutcome)
