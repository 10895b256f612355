"""How an update is spelled: as the words of w_k(t), or as their difference to w_g(t-1) in 16 or 8 bits.

A difference is one byte, the shift s, and then P little-endian integers q of 16 or 8 bits in two's complement:
``w = w_g(t-1) + q 2^s``. All of it is exact in integers, so every server reads the same words. The sender takes the
smallest shift at which every rounded q fits, so the largest |q| uses the last bit, unless s = 0. A reader insists on
that, and on -L <= q <= L with L = 2^15 - 1 or 2^7 - 1: a model then has one spelling only, and nobody can hand in
another's under other bytes, or waste bits that it could have used. Whatever breaks these rules is no model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from bees.core.errors import MalformedError, NonCanonicalError, WordRangeError
from bees.core.fixed_point import WORD_BYTES, bytes_to_words, words_to_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from bees.core.fixed_point import Words

UpdateEncoding = Literal["words", "delta16", "delta8"]
UPDATE_ENCODINGS: tuple[UpdateEncoding, ...] = get_args(UpdateEncoding)

_SHIFT_BYTES = 1
_DIFFERENCE_BITS = 33
"""Two int32 differ by less than 2^32 either way."""
_BITS: dict[UpdateEncoding, int] = {"delta16": 16, "delta8": 8}
_LEAST_WORD, _LARGEST_WORD = -(2**31), 2**31 - 1


def encoded_bytes(encoding: UpdateEncoding, parameters: int) -> int:
    """Size of one update of P parameters on the wire, in bytes."""
    if encoding == "words":
        return parameters * WORD_BYTES
    return _SHIFT_BYTES + parameters * _BITS[encoding] // 8


def encode_update(words: NDArray[np.integer], previous: Words, encoding: UpdateEncoding) -> bytes:
    """The bytes of the update that comes nearest to ``words``, ties to even.

    Args:
        words: of w_k(t), with what is fed back, shape (P,), int32 or int64.
        previous: words of w_g(t-1), shape (P,).
        encoding: how to spell it.

    Raises:
        WordRangeError: a word of the update would not fit 32 bits.
    """
    if encoding == "words":
        _check_range(words)
        return words_to_bytes(words.astype(np.int32))
    bits = _BITS[encoding]
    difference = words.astype(np.int64) - previous
    peak = int(np.abs(difference).max(initial=0))
    shift = _smallest_shift(peak, bits)
    steps = _shift_right(difference, shift)
    _check_range(previous + (steps << shift))
    return bytes([shift]) + steps.astype(f"<i{bits // 8}").tobytes()


def decode_update(data: bytes | memoryview, previous: Words | None, encoding: UpdateEncoding) -> Words:
    """The words that an update stands for, shape (P,).

    Args:
        data: as it was sent.
        previous: words of w_g(t-1), shape (P,); ``words`` is read without it.
        encoding: how it is spelled.

    Raises:
        ModelShapeError: under ``words``, the length is no whole number of words.
        MalformedError: the length or the shift is wrong, an integer is below -L, or a sum does not fit 32 bits.
        NonCanonicalError: a smaller shift would have done.
    """
    if encoding == "words":
        return bytes_to_words(data)
    if previous is None:
        raise MalformedError(encoding, "a difference says nothing without w_g(t-1)")
    steps, shift = _read_steps(data, len(previous), encoding)
    words = previous + (steps << shift)
    if len(words) and (int(words.min()) < _LEAST_WORD or int(words.max()) > _LARGEST_WORD):
        raise MalformedError(encoding, "its sum with w_g(t-1) does not fit 32 bits")
    return words.astype(np.int32)


def encode_update_reference(words: Sequence[int], previous: Sequence[int], encoding: UpdateEncoding) -> bytes:
    """``encode_update`` for one difference, in plain integers, one parameter and one shift after the other."""
    limit = 2 ** (_BITS[encoding] - 1) - 1
    for shift in range(_largest_shift(encoding) + 2):
        steps = [_divide_half_even(w - p, 2**shift) for w, p in zip(words, previous, strict=True)]
        if all(-limit <= step <= limit for step in steps):
            break
    else:
        raise WordRangeError(0, words[0])
    for index, (step, p) in enumerate(zip(steps, previous, strict=True)):
        if not _LEAST_WORD <= p + step * 2**shift <= _LARGEST_WORD:
            raise WordRangeError(index, p + step * 2**shift)
    return bytes([shift]) + b"".join(step.to_bytes(_BITS[encoding] // 8, "little", signed=True) for step in steps)


def decode_update_reference(data: bytes, previous: Sequence[int], encoding: UpdateEncoding) -> list[int]:
    """``decode_update`` for one difference, in plain integers: spells what it has read again, and compares."""
    size = _BITS[encoding] // 8
    if len(data) != 1 + size * len(previous):
        raise MalformedError(encoding, "another length")
    steps = [int.from_bytes(data[at : at + size], "little", signed=True) for at in range(1, len(data), size)]
    words = [p + step * 2 ** data[0] for p, step in zip(previous, steps, strict=True)]
    if not all(_LEAST_WORD <= word <= _LARGEST_WORD for word in words):
        raise MalformedError(encoding, "out of range")
    if encode_update_reference(words, previous, encoding) != data:
        raise NonCanonicalError(encoding)
    return words


def _read_steps(data: bytes | memoryview, parameters: int, encoding: UpdateEncoding) -> tuple[NDArray[np.int64], int]:
    bits, expected = _BITS[encoding], encoded_bytes(encoding, parameters)
    if len(data) != expected:
        raise MalformedError(encoding, f"{len(data)} bytes, {expected} are needed")
    shift, limit = data[0], 2 ** (bits - 1) - 1
    if shift > _largest_shift(encoding):
        raise MalformedError(encoding, f"a shift by {shift} fits no difference of words")
    steps = np.frombuffer(data, dtype=f"<i{bits // 8}", offset=_SHIFT_BYTES).astype(np.int64)
    peak = int(np.abs(steps).max(initial=0))
    if peak > limit:
        raise MalformedError(encoding, f"an integer is below -{limit}")
    if shift > 0 and 2 * peak <= limit:
        raise NonCanonicalError(encoding)
    return steps, shift


def _largest_shift(encoding: UpdateEncoding) -> int:
    """At which every integer that needs a shift so large still leads from one word to another."""
    return _DIFFERENCE_BITS - _BITS[encoding]


def _smallest_shift(peak: int, bits: int) -> int:
    """At which the largest difference, rounded, is at most 2^(bits-1) - 1."""
    shift = max(0, peak.bit_length() - (bits - 1))
    return shift + (_divide_half_even(peak, 2**shift) == 2 ** (bits - 1))


def _shift_right(values: NDArray[np.int64], shift: int) -> NDArray[np.int64]:
    """``round_half_even(values / 2^shift)``."""
    if shift == 0:
        return values
    # Half less one, and one more where the floor is odd: only then a tie goes up.
    return (values + (2 ** (shift - 1) - 1) + ((values >> shift) & 1)) >> shift


def _divide_half_even(value: int, divisor: int) -> int:
    floor, rest = divmod(value, divisor)
    return floor + (2 * rest > divisor or (2 * rest == divisor and floor % 2 == 1))


def _check_range(words: NDArray[np.integer]) -> None:
    fits = (words >= _LEAST_WORD) & (words <= _LARGEST_WORD)
    if not fits.all():
        index = int(np.argmin(fits))
        raise WordRangeError(index, int(words[index]))
