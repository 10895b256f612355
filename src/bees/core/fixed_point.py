"""The fixed-point codec: int32 words ``q = round_half_even(w 2^e)``, exact on every machine.

An average of such words is exact in any order of its terms, which floating point is not. Bytes are raw
little-endian int32.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bees.core.errors import ModelShapeError, WeightRangeError

WORD_BYTES = 4
DEFAULT_EXPONENT = 24
_LARGEST_WORD = 2**31 - 1
_BEYOND = np.float32(2**31)

Words = NDArray[np.int32]


def quantise(weights: ArrayLike, exponent: int) -> Words:
    """``q = round_half_even(w 2^e)``, of any shape.

    Args:
        weights: float32 or float64 array.
        exponent: ``e``, 0 to 30.

    Raises:
        WeightRangeError: a weight is NaN, infinite, or ``|q|`` exceeds 2^31 - 1.
    """
    given = np.asarray(weights)
    if given.dtype != np.float32:
        return quantise_reference(given, exponent)
    # A float32 times 2^e, e >= 0, is exact in float32 unless it overflows, and then it is out of range anyway.
    with np.errstate(over="ignore", invalid="ignore"):
        scaled = np.rint(given * np.float32(2**exponent))
        # The float32 below 2^31 is 2^31 - 128: "less than 2^31" is the same as "at most 2^31 - 1". NaN compares false.
        fits = given.size == 0 or bool(scaled.max() < _BEYOND and scaled.min() > -_BEYOND)
    return scaled.astype(np.int32) if fits else quantise_reference(given, exponent)


def quantise_reference(weights: ArrayLike, exponent: int) -> Words:
    """``quantise``, in float64 and for any floats: slower, and names the weight at fault."""
    given = np.asarray(weights)
    # float64 holds every float32 times a power of two exactly, so rint sees the true ties.
    with np.errstate(over="ignore", invalid="ignore"):
        scaled = np.rint(np.ldexp(given.astype(np.float64), exponent))
        fits = np.abs(scaled) <= _LARGEST_WORD
    if not fits.all():
        index = int(np.argmin(fits))
        raise WeightRangeError(index, float(given.reshape(-1)[index]), _LARGEST_WORD / 2**exponent)
    return scaled.astype(np.int32)


def dequantise(words: Words, exponent: int) -> NDArray[np.float32]:
    """``w = q 2^-e`` as float32: exact for ``|q|`` up to 2^24, else the nearest float32."""
    # Only the conversion rounds: the product is at least 2^-30, far from the subnormals.
    return words.astype(np.float32) * np.float32(2.0**-exponent)


def dequantise_reference(words: Words, exponent: int) -> NDArray[np.float32]:
    """``dequantise``, by way of float64, which holds every ``q 2^-e`` exactly."""
    return np.ldexp(words.astype(np.float64), -exponent).astype(np.float32)


def words_to_bytes(words: Words) -> bytes:
    """Raw little-endian int32."""
    return words.astype("<i4", copy=False).tobytes()


def bytes_to_words(data: bytes | memoryview) -> Words:
    """A read-only view of raw little-endian int32, shape (P,).

    Raises:
        ModelShapeError: the length is no multiple of 4 bytes.
    """
    if len(data) % WORD_BYTES:
        raise ModelShapeError("a whole number of 4-byte words", f"{len(data)} bytes")
    words = np.frombuffer(data, dtype="<i4")
    words.flags.writeable = False
    return words
