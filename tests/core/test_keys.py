from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bees.core.keys import SigningKey, is_signed_by

KEY = SigningKey.simulated(7, "server", 3)
MESSAGE = b"bees transaction\0..."
SIGNATURE = KEY.sign(MESSAGE)
GROUP_ORDER = 2**252 + 27742317777372353535851937790883648493


def test_rfc_8032_test_vector_2():
    key = SigningKey.from_seed(bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb"))
    assert key.public_key.hex() == "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"
    assert key.sign(b"\x72").hex() == (
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
    )


def test_a_signature_is_good_for_its_key_and_message():
    assert is_signed_by(KEY.public_key, MESSAGE, SIGNATURE)
    assert KEY.sign(MESSAGE) == SIGNATURE


@settings(deadline=None, max_examples=150)
@given(st.sampled_from(["key", "message", "signature"]), st.integers(0, 10**6), st.integers(1, 255))
def test_any_changed_byte_is_found(where: str, position: int, change: int):
    given_ = {"key": KEY.public_key, "message": MESSAGE, "signature": SIGNATURE}
    data = bytearray(given_[where])
    data[position % len(data)] ^= change
    given_[where] = bytes(data)
    assert not is_signed_by(given_["key"], given_["message"], given_["signature"])


def test_the_other_scalar_of_the_same_signature_is_refused():
    scalar = int.from_bytes(SIGNATURE[32:], "little") + GROUP_ORDER
    assert not is_signed_by(KEY.public_key, MESSAGE, SIGNATURE[:32] + scalar.to_bytes(32, "little"))


@pytest.mark.parametrize("key", [bytes(32), b"\x01" + bytes(31), b"\xff" * 32], ids=["zero", "neutral", "no point"])
def test_a_key_for_which_anything_is_signed_is_refused(key: bytes):
    assert not is_signed_by(key, MESSAGE, bytes(64))
    assert not is_signed_by(key, MESSAGE, b"\x01" + bytes(63))


@pytest.mark.parametrize("length", [0, 31, 33, 63, 65, 128])
def test_wrong_lengths_are_refused(length: int):
    assert not is_signed_by(KEY.public_key, MESSAGE, bytes(length))
    assert not is_signed_by(bytes(length), MESSAGE, SIGNATURE)
    assert not is_signed_by(KEY.public_key, MESSAGE, SIGNATURE + bytes(length + 1))


@pytest.mark.parametrize("cut", [0, 1, 63])
def test_bytes_cannot_move_between_signature_and_message(cut: int):
    assert not is_signed_by(KEY.public_key, SIGNATURE[cut:] + MESSAGE, SIGNATURE[:cut])
    assert not is_signed_by(KEY.public_key, MESSAGE[1:], SIGNATURE + MESSAGE[:1])


def test_simulated_keys_depend_on_seed_and_name():
    names = [(7, "server", 3), (7, "server", 4), (7, "device", 3), (8, "server", 3)]
    assert len({SigningKey.simulated(*name).public_key for name in names}) == 4
    assert SigningKey.simulated(7, "server", 3) == KEY


def test_the_secret_is_not_printed():
    assert KEY._secret.hex() not in repr(KEY)
    assert repr(KEY._secret) not in repr(KEY)
