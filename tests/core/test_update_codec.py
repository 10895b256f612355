from __future__ import annotations

from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bees import scenario
from bees.core.errors import CodecError, MalformedError, NonCanonicalError, WordRangeError
from bees.core.fixed_point import words_to_bytes
from bees.core.update_codec import (
    UPDATE_ENCODINGS,
    decode_update,
    decode_update_reference,
    encode_update,
    encode_update_reference,
    encoded_bytes,
)

WORD = st.integers(-(2**31), 2**31 - 1)
NEAR = st.integers(-300, 300)
DIFFERENCES = st.sampled_from(["delta16", "delta8"])
LIMIT = {"delta16": 2**15 - 1, "delta8": 2**7 - 1}
LARGEST_SHIFT = {"delta16": 17, "delta8": 25}


def of(*words: int, dtype: Any = np.int32) -> Any:
    return np.array(words, dtype)


@st.composite
def updates(draw: st.DrawFn, beyond: int = 0) -> tuple[list[int], list[int]]:
    """Trained words and w_g(t-1): near one another, or anything; and what is fed back may go beyond 32 bits."""
    previous = draw(st.lists(WORD, min_size=1, max_size=6))
    away = st.one_of(NEAR, st.integers(-(2**17), 2**17), st.integers(-(2**32), 2**32))
    words = [max(-(2**31) - beyond, min(2**31 - 1 + beyond, p + draw(away))) for p in previous]
    return words, previous


def told(call: Any) -> Any:
    """What a call returns, or the kind of its refusal."""
    try:
        return call()
    except CodecError as error:
        return type(error)


# Sizes


def test_sizes_of_the_paper_s_model():
    assert [encoded_bytes(encoding, 19_885) for encoding in UPDATE_ENCODINGS] == [79_540, 39_771, 19_886]


def test_the_scenario_offers_exactly_the_encodings_that_there_are():
    assert get_args(scenario.UpdateEncoding) == UPDATE_ENCODINGS


# By hand


def test_words_are_raw_little_endian_integers():
    assert encode_update(of(1, -2), of(5, 5), "words") == words_to_bytes(of(1, -2))
    assert decode_update(words_to_bytes(of(1, -2)), None, "words").tolist() == [1, -2]


def test_a_small_difference_is_said_exactly():
    assert encode_update(of(8, 5, -122), of(5, 5, 5), "delta8") == bytes([0, 3, 0, 129])
    assert encode_update(of(8, 5, -122), of(5, 5, 5), "delta16") == bytes([0, 3, 0, 0, 0, 129, 255])


@pytest.mark.parametrize(
    ("difference", "data"),
    [
        (127, [0, 127]),
        (128, [1, 64]),  # one more bit is needed
        (129, [1, 64]),  # a tie goes to the even one
        (131, [1, 66]),
        (254, [1, 127]),
        (255, [2, 64]),  # 127.5 would round to 128, which does not fit
        (-128, [1, 192]),  # -128 is left out, so that a sign costs nothing
    ],
)
def test_the_smallest_shift_at_which_the_rounded_difference_fits(difference: int, data: list[int]):
    assert encode_update(of(10 + difference), of(10), "delta8") == bytes(data)


@pytest.mark.parametrize("encoding", ["delta16", "delta8"])
def test_the_largest_shift_leads_from_one_end_of_the_words_to_the_other(encoding: Any):
    shift, limit = LARGEST_SHIFT[encoding], LIMIT[encoding]
    least, most = -(2**31), -(2**31) + limit * 2**shift
    assert most < 2**31
    data = encode_update(of(most), of(least), encoding)
    assert data[0] == shift
    assert decode_update(data, of(least), encoding).tolist() == [most]
    # Rounded, the sum would be 2^31.
    with pytest.raises(WordRangeError):
        encode_update(of(2**31 - 1), of(least), encoding)


# For all


@settings(deadline=None, max_examples=300)
@given(updates(beyond=1000), DIFFERENCES)
def test_encoding_is_the_reference(update: tuple[list[int], list[int]], encoding: Any):
    words, previous = update
    fast = told(lambda: encode_update(of(*words, dtype=np.int64), of(*previous), encoding))
    assert fast == told(lambda: encode_update_reference(words, previous, encoding))


@settings(deadline=None, max_examples=200)
@given(updates(), DIFFERENCES)
def test_what_is_read_is_within_half_a_step_and_spelled_again_alike(update: tuple[list[int], list[int]], encoding: Any):
    words, previous = update
    try:
        data = encode_update(of(*words), of(*previous), encoding)
    except WordRangeError:
        return
    read = decode_update(data, of(*previous), encoding)
    assert read.dtype == np.int32
    assert all(2 * abs(int(r) - w) <= 2 ** data[0] for r, w in zip(read, words, strict=True))
    assert encode_update(read, of(*previous), encoding) == data
    assert read.tolist() == decode_update_reference(data, previous, encoding)


@settings(deadline=None, max_examples=300)
@given(st.lists(st.one_of(NEAR, WORD), min_size=1, max_size=4), DIFFERENCES, st.data())
def test_any_bytes_are_read_as_the_reference_reads_them(previous: list[int], encoding: Any, data: st.DataObject):
    size = encoded_bytes(encoding, len(previous))
    shift = data.draw(st.integers(0, LARGEST_SHIFT[encoding] + 2))
    given_ = bytes([shift]) + data.draw(st.binary(min_size=size - 2, max_size=size))
    try:
        expected = decode_update_reference(given_, previous, encoding)
    except CodecError:
        with pytest.raises(CodecError):
            decode_update(given_, of(*previous), encoding)
    else:
        assert decode_update(given_, of(*previous), encoding).tolist() == expected


# Hostile bytes


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ([], "0 bytes, 3 are needed"),
        ([0, 1], "2 bytes"),
        ([0, 1, 1, 1], "4 bytes"),
        ([26, 64, 64], "shift by 26"),
        ([255, 64, 64], "shift by 255"),
        ([0, 128, 0], "below -127"),
        ([25, 65, 0], "does not fit 32 bits"),
    ],
)
def test_malformed_bytes_are_refused(data: list[int], problem: str):
    with pytest.raises(MalformedError, match=problem):
        decode_update(bytes(data), of(0, 0), "delta8")


def test_a_shift_that_is_larger_than_it_must_be_is_another_spelling():
    assert decode_update(bytes([1, 64, 0]), of(0, 0), "delta8").tolist() == [128, 0]
    for wasteful in ([1, 63, 0], [1, 0, 0], [3, 1, 193]):
        with pytest.raises(NonCanonicalError):
            decode_update(bytes(wasteful), of(0, 0), "delta8")


def test_a_difference_to_nothing_is_refused():
    with pytest.raises(MalformedError, match="without"):
        decode_update(bytes([0, 1]), None, "delta8")


def test_words_that_what_is_fed_back_drives_out_of_range_are_an_error_at_the_sender():
    with pytest.raises(WordRangeError) as caught:
        encode_update(of(0, 2**31, dtype=np.int64), of(0, 0), "words")
    assert (caught.value.index, caught.value.word) == (1, 2**31)
