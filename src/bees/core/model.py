"""What a model is on the ledger: named arrays, flattened in order, as fixed-point words; and its updates."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from bees.core.canonical import Record
from bees.core.errors import ModelShapeError
from bees.core.fixed_point import WORD_BYTES
from bees.core.update_codec import (
    UpdateEncoding,  # msgspec reads the annotation
    decode_update,
    encode_update,
    encoded_bytes,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from bees.core.fixed_point import Words


class ArrayDescription(Record, frozen=True):
    """One array of a model.

    Attributes:
        name: such as ``"hidden.weight"``.
        shape: its dimensions.
    """

    name: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Number of parameters in the array."""
        return math.prod(self.shape)


class ModelDescription(Record, frozen=True):
    """The arrays of a model in the order in which they are flattened, and the exponent of their codec.

    Attributes:
        name: such as ``"mlp-784-25-10"``.
        arrays: in order.
        exponent: ``e`` of the fixed-point codec ``q = round_half_even(w 2^e)``.
        update_encoding: how updates of it are spelled (``bees.core.update_codec``).
    """

    name: str
    arrays: tuple[ArrayDescription, ...]
    exponent: int
    update_encoding: UpdateEncoding = "words"

    @property
    def parameters(self) -> int:
        """P, the number of parameters."""
        return sum(array.size for array in self.arrays)

    @property
    def model_bytes(self) -> int:
        """Size of the words of w_g, in bytes."""
        return self.parameters * WORD_BYTES

    @property
    def update_bytes(self) -> int:
        """Size of one update on the wire, in bytes."""
        return encoded_bytes(self.update_encoding, self.parameters)

    def check(self, data: bytes | memoryview) -> None:
        """Refuse bytes that cannot be the words of this model.

        Raises:
            ModelShapeError: the length differs.
        """
        _check_length(self, data, self.model_bytes)

    def spell_update(self, words: NDArray[np.integer], previous: Words) -> bytes:
        """The bytes of the update that comes nearest to ``words``.

        Args:
            words: of w_k(t), with what is fed back, shape (P,), int32 or int64.
            previous: words of w_g(t-1), shape (P,).

        Raises:
            WordRangeError: a word of the update would not fit 32 bits.
        """
        return encode_update(words, previous, self.update_encoding)

    def read_update(self, data: bytes | memoryview, previous: Words | None) -> Words:
        """The words that the bytes of an update stand for, shape (P,).

        Args:
            data: as it was sent.
            previous: words of w_g(t-1), shape (P,); where updates are ``words``, they are read without it.

        Raises:
            CodecError: the bytes are no update of this model; all servers find the same.
        """
        _check_length(self, data, self.update_bytes)
        return decode_update(data, previous, self.update_encoding)


def _check_length(model: ModelDescription, data: bytes | memoryview, size: int) -> None:
    if len(data) != size:
        raise ModelShapeError(f"{model.name} of {size} bytes", f"{len(data)} bytes")


def describe(
    name: str,
    shapes: Sequence[tuple[str, tuple[int, ...]]],
    exponent: int,
    update_encoding: UpdateEncoding = "words",
) -> ModelDescription:
    """A description from names and shapes in order."""
    arrays = tuple(ArrayDescription(n, tuple(s)) for n, s in shapes)
    return ModelDescription(name, arrays, exponent, update_encoding)
