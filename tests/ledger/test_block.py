from __future__ import annotations

from typing import Any

import msgspec
import pytest
from world import SERVER_KEYS, World, commit_of

from bees.core.canonical import encode
from bees.core.keys import is_signed_by
from bees.ledger.block import (
    Batch,
    Block,
    Commit,
    CommitSignature,
    Header,
    VoteKind,
    block_id,
    check_commit,
    vote_bytes,
)
from bees.ledger.merkle import MerkleMap
from bees.ledger.refusals import CommitError

WORLD = World()
BLOCK = WORLD.propose(WORLD.update(0), WORLD.update(1), WORLD.update(2))
COMMIT = commit_of(BLOCK)


def change(record: Any, **changes: Any) -> Any:
    return msgspec.structs.replace(record, **changes)


def refusal_of(commit: Commit, block: Block = BLOCK) -> CommitError:
    with pytest.raises(CommitError) as refusal:
        check_commit(WORLD.genesis.committee, block.header, commit, is_signed_by)
    assert refusal.value.height == block.header.height
    return refusal.value


def test_any_quorum_commits_in_any_round_of_consensus():
    for servers in ((0, 1, 2), (0, 1, 3), (0, 2, 3), (1, 2, 3), (0, 1, 2, 3)):
        for consensus_round in (0, 1, 99):
            commit = commit_of(BLOCK, servers, consensus_round)
            check_commit(WORLD.genesis.committee, BLOCK.header, commit, is_signed_by)


def test_every_field_of_the_header_is_in_the_id_of_the_block():
    header = BLOCK.header
    others = [
        change(header, height=2),
        *(change(header, **{f: bytes(32)}) for f in Header.__struct_fields__ if f != "height"),
    ]
    assert len({block_id(h) for h in (header, *others)}) == 6


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"height": 2}, "another block"),
        ({"block_id": bytes(32)}, "another block"),
        ({"consensus_round": 1}, "signature of server 0 is not valid"),
        ({"signatures": ()}, "0 signatures, 3 are needed"),
        ({"signatures": COMMIT.signatures[:2]}, "2 signatures, 3 are needed"),
        ({"signatures": COMMIT.signatures[:2] + COMMIT.signatures[1:2]}, "do not ascend"),
        ({"signatures": COMMIT.signatures[::-1]}, "do not ascend"),
        ({"signatures": (*COMMIT.signatures, change(COMMIT.signatures[0], server=4))}, "are unknown"),
        ({"signatures": (*COMMIT.signatures, change(COMMIT.signatures[0], server=3))}, "server 3 is not valid"),
        ({"signatures": (change(COMMIT.signatures[0], signature=bytes(64)), *COMMIT.signatures[1:])}, "server 0"),
    ],
)
def test_a_commit_without_a_quorum_for_this_very_block_is_refused(changes: dict[str, Any], problem: str):
    assert problem in str(refusal_of(change(COMMIT, **changes)))


@pytest.mark.parametrize("field", Header.__struct_fields__)
def test_a_commit_is_good_for_no_other_header(field: str):
    header = change(BLOCK.header, **{field: 1 + BLOCK.header.height if field == "height" else bytes(32)})
    refusal_of(COMMIT, Block(header, BLOCK.batch))
    # Nor with the other block's name written over it: the signatures are for the first.
    renamed = change(COMMIT, height=header.height, block_id=block_id(header))
    assert "is not valid" in str(refusal_of(renamed, Block(header, BLOCK.batch)))


def test_prevotes_and_votes_for_nothing_are_no_precommits():
    header = BLOCK.header
    votes: tuple[tuple[VoteKind, bytes | None], ...] = (
        ("prevote", block_id(header)),
        ("precommit", None),
        ("precommit", bytes(32)),
    )
    for kind, name in votes:
        message = vote_bytes(header.chain_id, 1, 0, kind, name)
        signatures = tuple(CommitSignature(k, SERVER_KEYS[k].sign(message)) for k in range(4))
        assert "server 0 is not valid" in str(refusal_of(change(COMMIT, signatures=signatures)))


def test_the_root_of_a_batch_is_over_its_transactions_in_order():
    signed = BLOCK.batch.transactions
    leaves = {f"{index:08d}": encode(transaction) for index, transaction in enumerate(signed)}
    assert BLOCK.batch.root == MerkleMap.of(leaves).root
    others = [signed[::-1], signed[:2], (*signed, signed[2]), (), (change(signed[0], signature=bytes(64)), *signed[1:])]
    assert len({Batch(other).root for other in (signed, *others)}) == 6
