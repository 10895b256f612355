"""The auditor finds every change of a chain, and says where and why."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest
from world import DEVICES, SERVER_KEYS, SERVERS, PythonContract, World, commit_of, eventful_chain, genesis

from bees.core.canonical import encode
from bees.core.errors import BeesError, GenesisError, MalformedError, MissingBlobError, NonCanonicalError
from bees.ledger.block import Batch, Block, Commit, Header, block_id
from bees.ledger.genesis import SignedGenesis, sign_genesis
from bees.ledger.refusals import (
    AppHashError,
    BadSignatureError,
    BrokenLinkError,
    CommitError,
    InvalidTransactionError,
    TransactionRootError,
    WrongResultError,
)
from bees.ledger.replay import replay
from bees.ledger.transactions import Publish, Signed, Update, sign

WORLD = eventful_chain()
STORED = WORLD.stored
change = msgspec.structs.replace


def audit(stored: list[tuple[bytes, bytes]], blobs: dict[bytes, bytes] | None = None) -> tuple[int, BeesError | None]:
    """How many blocks are right, and what is wrong with the next one."""
    right = 0
    try:
        for _ in replay(WORLD.signed, stored, PythonContract(dict(WORLD.runner.blobs if blobs is None else blobs))):
            right += 1
    except BeesError as error:
        return right, error
    return right, None


def with_block(height: int, block: Block, commit: Commit | None = None) -> list[tuple[bytes, bytes]]:
    """The chain with another block at a height, committed anew by a quorum unless a commit is given."""
    stored = list(STORED)
    stored[height - 1] = (encode(block), encode(commit or commit_of(block)))
    return stored


def refusal_at(height: int, stored: list[tuple[bytes, bytes]], kind: type[BeesError]) -> Any:
    right, error = audit(stored)
    assert type(error) is kind, error
    assert right == height - 1
    return error


def test_a_good_chain_is_accepted_block_by_block():
    audited = list(replay(WORLD.signed, STORED, PythonContract(dict(WORLD.runner.blobs))))
    assert [block.block for block in audited] == WORLD.blocks
    assert [block.state.height for block in audited] == list(range(1, len(STORED) + 1))
    assert audited[-1].state == WORLD.state
    assert WORLD.state.round == 5
    assert audit([]) == (0, None)
    assert audit(STORED[:7]) == (7, None)


@pytest.mark.parametrize("height", [1, 5, 15])
@pytest.mark.parametrize(
    ("field", "kind"),
    [
        ("chain_id", BrokenLinkError),
        ("height", BrokenLinkError),
        ("previous_block", BrokenLinkError),
        ("transactions", TransactionRootError),
        ("app_hash", AppHashError),
    ],
)
def test_each_field_of_a_header_is_checked_although_a_quorum_has_signed_it(
    height: int, field: str, kind: type[BeesError]
):
    block = WORLD.blocks[height - 1]
    header = change(block.header, **{field: height + 1 if field == "height" else b"\6" * 32})
    assert refusal_at(height, with_block(height, Block(header, block.batch)), kind).height == height


@pytest.mark.parametrize("field", Header.__struct_fields__)
def test_a_header_that_nobody_has_signed_is_refused(field: str):
    block = WORLD.blocks[4]
    header = change(block.header, **{field: 9 if field == "height" else b"\6" * 32})
    stored = with_block(5, Block(header, block.batch), commit_of(block))
    right, error = audit(stored)
    assert right == 4
    assert isinstance(error, BrokenLinkError | TransactionRootError | AppHashError)


@pytest.mark.parametrize(
    "batch",
    [
        lambda signed: signed[::-1],
        lambda signed: signed[:-1],
        lambda signed: (*signed, signed[0]),
        lambda _: (),
        lambda signed: (change(signed[0], signature=bytes(64)), *signed[1:]),
    ],
    ids=["turned", "one less", "one more", "none", "signature"],
)
def test_a_changed_batch_does_not_fit_its_header(batch: Any):
    block = WORLD.blocks[1]
    other = Block(block.header, Batch(batch(block.batch.transactions)))
    assert refusal_at(2, with_block(2, other, commit_of(block)), TransactionRootError).height == 2


def rebuilt(height: int, transactions: tuple[Signed, ...]) -> Block:
    """A block whose header names these transactions; its app hash is left as it was."""
    block, batch = WORLD.blocks[height - 1], Batch(transactions)
    return Block(change(block.header, transactions=batch.root), batch)


def test_a_forged_transaction_is_refused_although_a_quorum_has_committed_it():
    signed = WORLD.blocks[1].batch.transactions
    forged = (*signed[:3], change(signed[3], signature=signed[2].signature), *signed[4:])
    error = refusal_at(2, with_block(2, rebuilt(2, forged)), InvalidTransactionError)
    assert (error.height, error.index) == (2, 3)
    assert isinstance(error.__cause__, BadSignatureError)


def test_a_changed_result_is_refused_although_its_author_and_a_quorum_have_signed_it():
    deploy, published = WORLD.blocks[4].batch.transactions
    assert isinstance(published.body, Publish)
    author = SERVER_KEYS[published.body.server]
    for changes in ({"model": b"\6" * 32}, {"selected": published.body.selected[:-1]}):
        wrong = sign(change(published.body, **changes), author)
        error = refusal_at(5, with_block(5, rebuilt(5, (deploy, wrong))), InvalidTransactionError)
        assert error.index == 1
        assert isinstance(error.__cause__, WrongResultError)


def test_a_transaction_left_out_gives_another_state():
    signed = WORLD.blocks[1].batch.transactions
    assert refusal_at(2, with_block(2, rebuilt(2, signed[:-1])), AppHashError).height == 2


def test_a_block_left_out_twice_or_out_of_order_breaks_the_chain():
    for stored in (STORED[:3] + STORED[4:], STORED[:3] + STORED[2:], STORED[:3] + STORED[4:5] + STORED[3:4]):
        refusal_at(4, stored, BrokenLinkError)
    refusal_at(1, STORED[1:], BrokenLinkError)


@pytest.mark.parametrize(
    "changes",
    [
        lambda commit: {"height": commit.height + 1},
        lambda _: {"consensus_round": 1},
        lambda _: {"block_id": bytes(32)},
        lambda commit: {"signatures": commit.signatures[:2]},
        lambda commit: {"signatures": commit.signatures[::-1]},
        lambda commit: {"signatures": (*commit.signatures[:2], change(commit.signatures[2], server=3))},
        lambda commit: {"signatures": (change(commit.signatures[0], signature=bytes(64)), *commit.signatures[1:])},
    ],
)
def test_each_field_of_a_commit_is_checked(changes: Any):
    block = WORLD.blocks[6]
    commit = commit_of(block)
    stored = with_block(7, block, change(commit, **changes(commit)))
    assert refusal_at(7, stored, CommitError).height == 7


def test_the_commit_of_another_block_is_none():
    stored = list(STORED)
    stored[6] = (STORED[6][0], STORED[7][1])
    refusal_at(7, stored, CommitError)


def test_bytes_that_are_cut_or_spelled_in_another_way_are_refused():
    block, commit = STORED[6]
    for stored_block, stored_commit, kind in (
        (block[:-1], commit, MalformedError),
        (b"", commit, MalformedError),
        (block, commit[:-1], MalformedError),
        (block + b"\0", commit, MalformedError),
        (block, b"\xdc\x00" + bytes([commit[0] & 0x0F]) + commit[1:], NonCanonicalError),
    ):
        refusal_at(7, [*STORED[:6], (stored_block, stored_commit), *STORED[7:]], kind)


def test_missing_or_changed_bytes_of_an_update_that_the_contract_reads_are_named():
    update = WORLD.blocks[1].batch.transactions[7].body
    assert isinstance(update, Update)
    blobs = dict(WORLD.runner.blobs)
    data = blobs.pop(update.commitment)
    right, error = audit(STORED, blobs)
    assert right == 4
    assert isinstance(error, MissingBlobError)
    assert error.commitment == update.commitment
    # This runner takes what it is given, so that a changed byte reaches the published hash.
    right, error = audit(STORED, {**blobs, update.commitment: bytes([data[0] ^ 1]) + data[1:]})
    assert right == 4
    assert isinstance(error, InvalidTransactionError)
    assert isinstance(error.__cause__, WrongResultError)


def test_any_changed_byte_of_a_block_or_commit_is_found_where_it_is():
    chance = random.Random(7)
    for _ in range(150):
        at, part = chance.randrange(len(STORED)), chance.randrange(2)
        data = bytearray(STORED[at][part])
        data[chance.randrange(len(data))] ^= chance.randrange(1, 256)
        changed = (bytes(data), STORED[at][1]) if part == 0 else (STORED[at][0], bytes(data))
        right, error = audit([*STORED[:at], changed, *STORED[at + 1 :]])
        assert right == at
        assert error is not None


def test_another_history_from_the_same_genesis_is_another_chain_only_with_other_commits():
    other = World()
    other.block(other.update(0))
    assert audit(other.stored, other.runner.blobs) == (1, None)
    mixed = [(other.stored[0][0], STORED[0][1]), *STORED[1:]]
    refusal_at(1, mixed, CommitError)
    refusal_at(2, [other.stored[0], *STORED[1:]], BrokenLinkError)


def test_the_genesis_is_checked_first():
    unsigned = SignedGenesis(WORLD.genesis, (bytes(64),) * SERVERS)
    with pytest.raises(GenesisError):
        next(replay(unsigned, STORED, WORLD.runner))
    renamed = sign_genesis(genesis(name="other"), SERVER_KEYS)
    with pytest.raises(BrokenLinkError, match="another chain"):
        next(replay(renamed, STORED, WORLD.runner))


def test_blocks_name_their_predecessor_and_the_state_after_them():
    assert WORLD.blocks[0].header.previous_block == WORLD.genesis.chain_id
    for before, after in zip(WORLD.blocks, WORLD.blocks[1:], strict=False):
        assert after.header.previous_block == block_id(before.header)
    assert WORLD.blocks[-1].header.app_hash == WORLD.application.app_hash
    assert len(WORLD.blocks[1].batch.transactions) == DEVICES
