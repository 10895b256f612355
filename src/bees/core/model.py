"""What a model is on the ledger: named arrays, flattened in order, as fixed-point words."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from bees.core.canonical import Record
from bees.core.errors import ModelShapeError
from bees.core.fixed_point import WORD_BYTES

if TYPE_CHECKING:
    from collections.abc import Sequence


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
    """

    name: str
    arrays: tuple[ArrayDescription, ...]
    exponent: int

    @property
    def parameters(self) -> int:
        """P, the number of parameters."""
        return sum(array.size for array in self.arrays)

    @property
    def update_bytes(self) -> int:
        """Size of one update on the wire, in bytes."""
        return self.parameters * WORD_BYTES

    def check(self, data: bytes | memoryview) -> None:
        """Refuse bytes that cannot be an update of this model.

        Raises:
            ModelShapeError: the length differs.
        """
        if len(data) != self.update_bytes:
            raise ModelShapeError(f"{self.name} of {self.update_bytes} bytes", f"{len(data)} bytes")


def describe(name: str, shapes: Sequence[tuple[str, tuple[int, ...]]], exponent: int) -> ModelDescription:
    """A description from names and shapes in order."""
    return ModelDescription(name, tuple(ArrayDescription(n, tuple(s)) for n, s in shapes), exponent)
