from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bees.core.errors import ModelShapeError, WeightRangeError
from bees.core.fixed_point import (
    bytes_to_words,
    dequantise,
    dequantise_reference,
    quantise,
    quantise_reference,
    words_to_bytes,
)

EXPONENTS = st.integers(0, 30)
WORDS = st.integers(-(2**31) + 1, 2**31 - 1)
HALF_WAY = [(0.5, 0), (1.5, 2), (2.5, 2), (3.5, 4), (-0.5, 0), (-1.5, -2), (-2.5, -2)]


def exact_word(weight: float, exponent: int) -> int:
    return round(Fraction(weight) * 2**exponent)


@settings(deadline=None, max_examples=200)
@given(st.data(), EXPONENTS)
def test_error_is_at_most_half_a_step(data: st.DataObject, exponent: int):
    limit = (2**31 - 1) / 2**exponent
    weight = data.draw(st.floats(-limit, limit))
    word = int(quantise(np.array([weight]), exponent)[0])
    assert word == exact_word(weight, exponent)
    assert abs(Fraction(word, 2**exponent) - Fraction(weight)) <= Fraction(1, 2 ** (exponent + 1))
    if abs(word) <= 2**24:
        back = float(dequantise(np.array([word], np.int32), exponent)[0])
        assert abs(Fraction(back) - Fraction(weight)) <= Fraction(1, 2 ** (exponent + 1))


@settings(deadline=None, max_examples=200)
@given(st.integers(-(2**24), 2**24), EXPONENTS)
def test_words_up_to_24_bits_come_back_unchanged(word: int, exponent: int):
    words = np.array([word], np.int32)
    weights = dequantise(words, exponent)
    assert weights.dtype == np.float32
    assert Fraction(float(weights[0])) == Fraction(word, 2**exponent)
    assert quantise(weights, exponent).tolist() == [word]


def test_words_at_the_24_bit_edge_come_back_and_the_next_one_does_not():
    words = np.array([2**24 - 1, 2**24, -(2**24), 2**24 + 1], np.int32)
    assert quantise(dequantise(words, 24), 24).tolist() == [2**24 - 1, 2**24, -(2**24), 2**24]


@pytest.mark.parametrize(("weight", "word"), HALF_WAY)
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_ties_go_to_the_even_word(weight: float, word: int, kind: type):
    for exponent in (0, 7, 24):
        assert quantise(np.array([weight / 2**exponent], kind), exponent).tolist() == [word]


@settings(deadline=None, max_examples=200)
@given(hnp.arrays(np.float32, hnp.array_shapes(max_dims=3), elements=st.floats(width=32)), EXPONENTS)
def test_fast_quantise_equals_the_reference_or_refuses_alike(weights: np.ndarray, exponent: int):
    outcomes: list[object] = []
    for codec in (quantise, quantise_reference):
        try:
            outcomes.append((codec(weights, exponent).tolist(), codec(weights, exponent).dtype))
        except WeightRangeError as error:
            outcomes.append((error.index, repr(error.value), error.limit))
    assert outcomes[0] == outcomes[1]


def test_fast_quantise_equals_the_reference_over_all_magnitudes_of_float32():
    bits = np.random.default_rng(1).integers(0, 2**32, 400_000, dtype=np.uint32)
    weights = bits.view(np.float32)
    for exponent in (0, 1, 16, 24, 30):
        fitting = weights[np.abs(weights) < np.float32(2**31) * np.float32(2.0**-exponent)]
        assert fitting.size > 100_000
        assert np.array_equal(quantise(fitting, exponent), quantise_reference(fitting, exponent))


@settings(deadline=None, max_examples=200)
@given(st.lists(WORDS | st.sampled_from([2**31 - 1, -(2**31), 2**24 + 1, 2**30 + 65]), max_size=8), EXPONENTS)
def test_fast_dequantise_equals_the_reference(words: list[int], exponent: int):
    array = np.array(words, np.int32)
    assert np.array_equal(dequantise(array, exponent), dequantise_reference(array, exponent))


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf"), 128.0, -128.0, 3e38])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("index", [0, 5, 11])
def test_a_weight_without_a_word_is_refused_by_its_index(bad: float, kind: type, index: int):
    weights = np.zeros((3, 4), kind)
    weights.reshape(-1)[index] = bad
    weights.reshape(-1)[-1] = bad
    with pytest.raises(WeightRangeError) as refusal:
        quantise(weights, 24)
    assert refusal.value.index == index
    assert refusal.value.value == kind(bad) or bad != bad  # noqa: PLR0124  # NaN
    assert refusal.value.limit == pytest.approx(128.0)
    assert f"weight {index} is" in str(refusal.value)


def test_a_float64_that_overflows_when_scaled_is_refused_without_a_warning():
    with pytest.raises(WeightRangeError) as refusal:
        quantise([0.0, 1e308], 30)
    assert refusal.value.index == 1


def test_the_largest_words_fit_and_the_next_do_not():
    top = 2**31 - 1
    assert quantise([float(top), -float(top)], 0).tolist() == [top, -top]
    assert quantise(np.array([2**31 - 128], np.float32), 0).tolist() == [2**31 - 128]
    for beyond in (float(2**31), -float(2**31), top + 0.5):
        with pytest.raises(WeightRangeError):
            quantise([beyond], 0)
    with pytest.raises(WeightRangeError):
        quantise(np.array([-(2.0**31)], np.float32), 0)


def test_no_weights_give_no_words():
    assert quantise(np.zeros((0, 3), np.float32), 24).shape == (0, 3)
    assert quantise([], 24).tolist() == []


@settings(deadline=None, max_examples=50)
@given(st.lists(WORDS, max_size=20))
def test_bytes_are_little_endian_words_and_come_back(words: list[int]):
    data = words_to_bytes(np.array(words, np.int32))
    assert data == b"".join(word.to_bytes(4, "little", signed=True) for word in words)
    assert bytes_to_words(data).tolist() == words
    assert bytes_to_words(memoryview(data)).tolist() == words
    assert words_to_bytes(np.array(words, ">i4")) == data


def test_words_from_bytes_cannot_be_written_to():
    words = bytes_to_words(memoryview(bytearray(8)))
    with pytest.raises(ValueError, match="read-only"):
        words[0] = 1


@pytest.mark.parametrize("length", [1, 2, 3, 5, 4097])
def test_a_broken_word_is_refused(length: int):
    with pytest.raises(ModelShapeError, match=f"{length} bytes"):
        bytes_to_words(bytes(length))
