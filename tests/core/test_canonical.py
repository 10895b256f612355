from __future__ import annotations

import struct
import subprocess
import sys
from typing import Any, Literal

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bees.core.canonical import Record, decode, encode
from bees.core.errors import BeesError, CodecError, MalformedError, NonCanonicalError


class Inner(Record, frozen=True):
    amount: int
    note: bytes | None


class Left(Record, frozen=True, tag="left"):
    items: tuple[Inner, ...]


class Right(Record, frozen=True, tag="right"):
    name: str
    flag: bool


class Outer(Record, frozen=True):
    body: Left | Right
    at: int


INNER = Inner(1, b"\x07")
SPELLINGS = {
    "canonical": b"\x92\x01\xc4\x01\x07",
    "8-bit integer": b"\x92\xcc\x01\xc4\x01\x07",
    "16-bit integer": b"\x92\xcd\x00\x01\xc4\x01\x07",
    "32-bit integer": b"\x92\xce\x00\x00\x00\x01\xc4\x01\x07",
    "64-bit integer": b"\x92\xcf\x00\x00\x00\x00\x00\x00\x00\x01\xc4\x01\x07",
    "signed integer": b"\x92\xd0\x01\xc4\x01\x07",
    "float32": b"\x92\xca" + struct.pack(">f", 1.0) + b"\xc4\x01\x07",
    "float64": b"\x92\xcb" + struct.pack(">d", 1.0) + b"\xc4\x01\x07",
    "true for one": b"\x92\xc3\xc4\x01\x07",
    "text for a number": b"\x92\xa11\xc4\x01\x07",
    "text for bytes": b"\x92\x01\xa1\x07",
    "16-bit length of bytes": b"\x92\x01\xc5\x00\x01\x07",
    "32-bit length of bytes": b"\x92\x01\xc6\x00\x00\x00\x01\x07",
    "16-bit length of array": b"\xdc\x00\x02\x01\xc4\x01\x07",
    "32-bit length of array": b"\xdd\x00\x00\x00\x02\x01\xc4\x01\x07",
    "map for array": b"\x82\xa6amount\x01\xa4note\xc4\x01\x07",
    "one field more": b"\x93\x01\xc4\x01\x07\xc0",
    "one field less": b"\x91\x01",
    "trailing byte": b"\x92\x01\xc4\x01\x07\x00",
    "the same twice": b"\x92\x01\xc4\x01\x07" * 2,
    "cut": b"\x92\x01\xc4\x01",
    "nothing": b"",
    "extension": b"\x92\x01\xd4\x00\x07",
}
# Any MessagePack value, so that what is random is still well formed more often than not.
ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.binary(max_size=20)
    | st.text(max_size=8)
    | st.sampled_from(["left", "right"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=12,
)


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_one_spelling_is_taken_and_every_other_refused(spelling: str):
    if spelling == "canonical":
        assert encode(INNER) == SPELLINGS[spelling]
        assert decode(SPELLINGS[spelling], Inner) == INNER
    else:
        with pytest.raises(CodecError) as refusal:
            decode(SPELLINGS[spelling], Inner)
        assert "Inner" in str(refusal.value)


def test_a_longer_integer_is_named_not_canonical_and_a_wrong_type_malformed():
    with pytest.raises(NonCanonicalError):
        decode(SPELLINGS["16-bit integer"], Inner)
    with pytest.raises(MalformedError):
        decode(SPELLINGS["float64"], Inner)


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=60) | ANYTHING.map(msgspec.msgpack.encode))
def test_whatever_decodes_has_these_very_bytes_and_the_rest_is_refused(data: bytes):
    kinds: tuple[Any, ...] = (Inner, Outer, Left | Right, tuple[Inner, ...])
    for kind in kinds:
        try:
            value = decode(data, kind)
        except BeesError:
            continue
        assert encode(value) == data


@pytest.mark.parametrize("opening", [b"\x91", b"\x92\x91", b"\x81", b"\x81\xa1a", b"\xdd\x00\x00\x00\x01"])
def test_deep_nesting_is_refused(opening: bytes):
    class Deep(Record, frozen=True):
        inner: Deep | None
        anything: object = None

    for kind in (Inner, Outer, object):
        with pytest.raises(MalformedError):
            decode(opening * 200_000, kind)


@pytest.mark.parametrize("length", [b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x01\x00\x00\x00"])
@pytest.mark.parametrize("opening", [b"\xdd", b"\xdf", b"\xc6", b"\xdb"])
def test_a_length_that_the_bytes_do_not_hold_is_refused_at_once(opening: bytes, length: bytes):
    for kind in (tuple[Inner, ...], bytes, str, object):
        with pytest.raises(MalformedError):
            decode(opening + length + b"\x01", kind)


def test_text_that_is_no_utf8_is_refused():
    for text in (b"\xff", b"\xed\xa0\x80", b"\xc0\x80"):
        data = b"\x92\x93\xa5right" + bytes([0xA0 + len(text)]) + text + b"\xc2\x01"
        with pytest.raises(MalformedError):
            decode(data, Outer)


def test_an_integer_beyond_64_bits_is_refused():
    with pytest.raises(MalformedError):
        decode(b"\x92\xc7\x09\x01" + bytes(9) + b"\xc0", Inner)


def test_a_record_cannot_be_changed():
    with pytest.raises(AttributeError):
        INNER.amount = 2  # pyright: ignore[reportAttributeAccessIssue]  # that is the point


def test_a_refusal_quotes_little_of_what_it_refuses() -> None:
    with pytest.raises(MalformedError) as refused:
        decode(encode(("x\n" * 10**5,)), tuple[Literal["a", "b"]])
    assert len(str(refused.value)) < 500
    assert "\n" not in str(refused.value)


_THREADS = r'''
import sys, threading, types
from bees.core.canonical import decode

SOURCE = """
from __future__ import annotations
from bees.core.canonical import Record

class A(Record, frozen=True):
    a: int
    b: tuple[int, ...]

class B(Record, frozen=True):
    a: A
    b: tuple[A, ...]

class C(Record, frozen=True):
    a: B
    b: tuple[B, ...]
"""
sys.setswitchinterval(1e-6)
for number in range(200):
    sys.modules[f"records{number}"] = module = types.ModuleType(f"records{number}")
    exec(SOURCE, module.__dict__)
    threads = [threading.Thread(target=decode, args=(b"\x92\x92\x92\x00\x90\x90\x90", module.C)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
'''


def test_threads_may_meet_a_record_for_the_first_time_together():
    # In a process of its own: without the lock msgspec takes it down.
    done = subprocess.run([sys.executable, "-c", _THREADS], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
