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

Words = NDArray[np.int32]


def quantise(weights: ArrayLike, exponent: int) -> Words:
    """``q = round_half_even(w 2^e)``, of any shape.

    Args:
        weights: float32 or float64 array.
        exponent: ``e``, 0 to 30.

    Raises:
        WeightRangeError: a weight is NaN, infinite, or its word would not fit int32.
    """
    given = np.asarray(weights)
    # float64 holds every float32 times a power of two exactly, so rint sees the true ties.
    scaled = np.rint(np.ldexp(given.astype(np.float64), exponent))
    fits = np.abs(scaled) <= _LARGEST_WORD
    if not fits.all():
        index = int(np.argmin(fits))
        raise WeightRangeError(index, float(given.reshape(-1)[index]), _LARGEST_WORD / 2**exponent)
    return scaled.astype(np.int32)


def dequantise(words: Words, exponent: int) -> NDArray[np.float32]:
    """``w = q 2^-e`` as float32: exact for ``|q|`` up to 2^24, else the nearest float32."""
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
