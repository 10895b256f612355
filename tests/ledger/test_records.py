"""The canonical encoding (``bees.core.canonical``) over every record that is written to the chain."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from records import all_records, values_of
from world import World, commit_of

import bees.ledger.proofs
import bees.ledger.replay  # the imports of both define all records
from bees.core.canonical import Record, decode, encode
from bees.core.errors import BeesError, CodecError
from bees.ledger.block import Block, Commit
from bees.ledger.genesis import SignedGenesis
from bees.ledger.transactions import Signed, Transaction

if TYPE_CHECKING:
    import random

assert bees.ledger.replay
assert bees.ledger.proofs
RECORDS = all_records(Record)


def other_spellings(data: bytes) -> list[bytes]:
    """The same value in other MessagePack: longer lengths and integers, a float, a map, something after the end."""
    outer = {"array": data[:1], "rest": data[1:]}
    fields = outer["array"][0] & 0x0F
    spelled = [b"\xdc" + bytes([0, fields]) + outer["rest"], b"\xdd" + bytes([0, 0, 0, fields]) + outer["rest"]]
    spelled += [data + b"\x00", data + data, data + b"\xc0"]
    value = msgspec.msgpack.decode(data)
    spelled.append(msgspec.msgpack.encode(dict(enumerate(value))))
    spelled.append(msgspec.msgpack.encode([float(v) if isinstance(v, int) and abs(v) < 2**53 else v for v in value]))
    for at in range(len(data)):
        if data[at] < 0x80:
            spelled += [data[:at] + bytes([0xCC]) + data[at:], data[:at] + bytes([0xD0]) + data[at:]]
        if data[at] == 0xC4:
            spelled.append(data[:at] + b"\xc5\x00" + data[at + 1 :])
    return [other for other in spelled if other != data]


def test_all_records_of_the_ledger_are_here():
    names = {kind.__name__ for kind in RECORDS}
    assert {"Genesis", "SignedGenesis", "Delegate", "Update", "Attest", "Publish", "Deploy", "Approval"} < names
    assert {
        "Signed",
        "Header",
        "Batch",
        "Block",
        "Commit",
        "CommitSignature",
        "MerklePath",
        "Ballot",
        "ModelProof",
    } < names


@pytest.mark.parametrize("kind", RECORDS, ids=lambda kind: kind.__name__)
def test_every_record_comes_back_and_no_other_spelling_is_taken(kind: Any):
    @settings(deadline=None, max_examples=12)
    @given(values_of(kind), st.randoms(use_true_random=False))
    def check(value: Record, chance: random.Random) -> None:
        data = encode(value)
        assert decode(data, kind) == value
        spellings = other_spellings(data)
        for other in chance.sample(spellings, min(40, len(spellings))):
            try:
                assert decode(other, kind) != value
            except CodecError:
                continue

    check()


@pytest.mark.parametrize("kind", [*RECORDS, Transaction], ids=lambda kind: getattr(kind, "__name__", "Transaction"))
def test_a_changed_byte_gives_another_value_or_is_refused(kind: Any):
    @settings(deadline=None, max_examples=12)
    @given(values_of(kind), st.randoms(use_true_random=False))
    def check(value: Record, chance: random.Random) -> None:
        data = encode(value)
        for _ in range(40):
            at = chance.randrange(len(data))
            changed = data[:at] + bytes([data[at] ^ chance.randrange(1, 256)]) + data[at + 1 :]
            try:
                assert decode(changed, kind) != value
            except CodecError:
                continue

    check()


def test_every_single_byte_change_of_a_real_block_and_commit_is_seen():
    world = World()
    block = world.block(world.update(0), world.delegate(1, 2))
    for kind, value in ((Block, block), (Commit, commit_of(block)), (Signed, world.deploy(b"product"))):
        data = encode(value)
        for at in range(len(data)):
            for change in (1, 0x80, 0xFF):
                changed = bytearray(data)
                changed[at] ^= change
                try:
                    assert decode(bytes(changed), kind) != value
                except CodecError:
                    continue


@settings(deadline=None, max_examples=150)
@given(st.binary(max_size=200), st.sampled_from([b"", b"\x92", b"\x92\x97\xa6update\xc4\x20", b"\x95", b"\x9d"]))
def test_random_bytes_never_raise_anything_else(data: bytes, opening: bytes):
    for kind in (Block, Commit, Signed, SignedGenesis, Transaction):
        try:
            decode(opening + data, kind)  # pyright: ignore[reportArgumentType]  # a union is no class, but decodes
        except BeesError:
            continue


@pytest.mark.parametrize("opening", [b"\x91", b"\x92", b"\x81", b"\x92\x97", b"\xdd\x00\x00\x00\x02"])
def test_deep_nesting_is_refused(opening: bytes):
    for kind in (Block, Commit, Signed, SignedGenesis):
        with pytest.raises(CodecError):
            decode(opening * 100_000, kind)


@pytest.mark.parametrize(
    "changes",
    [
        {"round": -1},
        {"round": 2**63},
        {"device": -1},
        {"commitment": bytes(31)},
        {"commitment": bytes(33)},
        {"chain_id": b""},
        {"samples": 1.0},
        {"samples": True},
        {"samples": "1"},
        {"server": -3},
        {"previous_model": "0" * 32},
    ],
    ids=str,
)
def test_a_field_outside_of_its_limits_does_not_decode(changes: dict[str, Any]):
    signed = World().update(0)
    hostile = Signed(msgspec.structs.replace(signed.body, **changes), signed.signature)
    with pytest.raises(CodecError):
        decode(encode(hostile), Signed)
