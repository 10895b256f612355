"""What an offloading device signs and sends: bound to whom it is for, and read safely whoever has sent it."""

from __future__ import annotations

import base64
import json
import struct
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from bees.core.errors import DatasetError
from bees.core.keys import SEAL_BYTES, SigningKey, seal
from bees.ledger.transactions import Delegate, sign, signing_bytes
from bees.transport.offloading import (
    Offer,
    SignedWord,
    TrainingSettings,
    Withdrawal,
    data_digest,
    decode_data,
    encode_data,
    is_word_of,
    read_word,
    sign_word,
    write_word,
)
from bees.transport.refusals import MalformedRequestError

if TYPE_CHECKING:
    from collections.abc import Mapping

KEY, OTHER = SigningKey.from_seed(bytes(32)), SigningKey.from_seed(bytes([1]) * 32)
X, Y = np.arange(12, dtype=np.float32).reshape(4, 3), np.array([0, 1, 2, 1], dtype=np.int32)
DATA = encode_data(X, Y)
OFFER = Offer(bytes(32), 1, 2, 3, 4, 5, bytes(32), len(DATA), 4, TrainingSettings())


def test_samples_come_back_as_they_were():
    x, y = decode_data(DATA)
    np.testing.assert_array_equal(x, X)
    np.testing.assert_array_equal(y, Y)
    assert (x.dtype, y.dtype) == (np.float32, np.int32)


def raw(header: Mapping[str, Any], body: bytes) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def entry(kind: str, shape: list[int], start: int, end: int) -> dict[str, Any]:
    return {"dtype": kind, "shape": shape, "data_offsets": [start, end]}


LABELS = entry("I32", [1], 8, 12)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        DATA[:-1],
        DATA + b"x",
        raw({}, b""),
        raw({"x": entry("F32", [1, 2], 0, 8)}, bytes(8)),
        raw({"x": entry("F32", [1, 2], 0, 8), "y": LABELS, "z": entry("I32", [1], 12, 16)}, bytes(16)),
        raw({"x": entry("F32", [2], 0, 8), "y": LABELS}, bytes(12)),
        raw({"x": entry("F64", [1, 1], 0, 8), "y": LABELS}, bytes(12)),
        raw({"x": entry("I32", [1, 2], 0, 8), "y": LABELS}, bytes(12)),
        raw({"x": entry("F32", [1, 2], 0, 8), "y": entry("F32", [1], 8, 12)}, bytes(12)),
        raw({"x": entry("F32", [0, 2], 0, 0), "y": entry("I32", [0], 0, 0)}, b""),
        raw({"x": entry("F32", [1, 2], 0, 8), "y": entry("I32", [2], 8, 16)}, bytes(16)),
        raw({"x": entry("F32", [1, 2**62], 0, 8), "y": LABELS}, bytes(12)),
        raw({"x": entry("F32", [1, 2], 4, 12), "y": LABELS}, bytes(12)),
        encode_data(X + np.float32(np.inf), Y),
        encode_data(X, Y - 1),
    ],
)
def test_what_is_not_quite_samples_is_refused(data: bytes):
    with pytest.raises(DatasetError):
        decode_data(data)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200), st.integers(0, len(DATA) - 1), st.integers(0, 2**40))
def test_hostile_bytes_are_samples_or_refused(noise: bytes, at: int, length: int):
    for data in (noise, DATA[:at] + noise + DATA[at + len(noise) :], struct.pack("<Q", length) + noise):
        try:
            x, y = decode_data(data)
        except DatasetError:
            continue
        assert x.shape[0] == len(y) > 0
        assert np.isfinite(x).all()


def test_a_word_is_its_authors_alone_and_no_transaction():
    word = sign_word(OFFER, KEY)
    assert is_word_of(word, KEY.public_key)
    assert not is_word_of(word, OTHER.public_key)
    for change in ({"device": 2}, {"server": 3}, {"serial": 4}, {"last_round": 6}, {"chain_id": bytes([1]) * 32}):
        assert not is_word_of(SignedWord(replace(OFFER, **change), word.signature), KEY.public_key)
    slow = replace(OFFER, settings=TrainingSettings(epochs=2))
    assert not is_word_of(SignedWord(slow, word.signature), KEY.public_key)
    leave = Delegate(bytes(32), 1, 2, 3, 3)
    stop = Withdrawal(bytes(32), 1, 2, 3)
    assert not is_word_of(SignedWord(stop, sign(leave, KEY).signature), KEY.public_key)
    assert not is_word_of(SignedWord(OFFER, KEY.sign(signing_bytes(leave))), KEY.public_key)


def test_a_word_passes_a_header_and_nothing_else_does():
    word = sign_word(OFFER, KEY)
    assert read_word(write_word(word)) == word
    wrong = [None, "", "%%%", "AAAA", write_word(word)[:-4], "A" * 5000, base64.b64encode(b"\xc0").decode()]
    for text in wrong:
        with pytest.raises(MalformedRequestError):
            read_word(text)


def test_the_digest_takes_in_who_gives_what_to_whom():
    digests = {
        data_digest(bytes(32), 1, 2, DATA),
        data_digest(bytes(32), 2, 1, DATA),
        data_digest(bytes(32), 1, 3, DATA),
        data_digest(bytes([1]) * 32, 1, 2, DATA),
        data_digest(bytes(32), 1, 2, DATA[:-1]),
    }
    assert len(digests) == 5


@settings(max_examples=25, deadline=None)
@given(st.binary(max_size=300), st.integers(0, 300 + SEAL_BYTES), st.integers(1, 255))
def test_what_is_sealed_opens_for_one_key_and_whole(data: bytes, at: int, flip: int):
    sealed = seal(KEY.public_key, data)
    assert len(sealed) == len(data) + SEAL_BYTES
    assert KEY.open_sealed(sealed) == data
    assert OTHER.open_sealed(sealed) is None
    altered = bytearray(sealed)
    altered[at % len(altered)] ^= flip
    assert KEY.open_sealed(bytes(altered)) is None
    assert KEY.open_sealed(sealed[:-1]) is None
