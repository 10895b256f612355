from __future__ import annotations

import pytest

from bees.core.canonical import decode, encode
from bees.core.errors import ModelShapeError
from bees.core.model import ArrayDescription, ModelDescription, describe

MLP = describe(
    "mlp-784-25-10",
    [("hidden.weight", (784, 25)), ("hidden.bias", (25,)), ("out.weight", (25, 10)), ("out.bias", (10,))],
    24,
)


def test_the_papers_mlp_has_19885_parameters_and_80_kb():
    assert MLP.parameters == 19_885
    assert MLP.update_bytes == 79_540
    assert [array.size for array in MLP.arrays] == [19_600, 25, 250, 10]


def test_a_scalar_counts_as_one_parameter():
    assert describe("x", [("temperature", ())], 0).parameters == 1
    assert describe("empty", [], 0).parameters == 0


def test_bytes_of_another_length_are_refused():
    MLP.check(bytes(79_540))
    MLP.check(memoryview(bytes(79_540)))
    for length in (0, 79_539, 79_541, 79_544):
        with pytest.raises(ModelShapeError, match=f"mlp-784-25-10 of 79540 bytes, but {length} bytes"):
            MLP.check(bytes(length))


def test_a_description_keeps_its_order_through_the_encoding():
    assert decode(encode(MLP), ModelDescription) == MLP
    turned = ModelDescription(MLP.name, MLP.arrays[::-1], MLP.exponent)
    assert encode(turned) != encode(MLP)


def test_shapes_given_as_lists_become_tuples():
    assert describe("x", [("w", [2, 3])], 1).arrays == (ArrayDescription("w", (2, 3)),)  # pyright: ignore[reportArgumentType]
