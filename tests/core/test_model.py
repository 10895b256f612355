from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from bees.core.canonical import decode, encode
from bees.core.errors import ModelShapeError
from bees.core.model import ArrayDescription, ModelDescription, describe

if TYPE_CHECKING:
    from bees.core.update_codec import UpdateEncoding

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


def test_updates_of_an_encoding_have_its_size_and_models_stay_words():
    short = describe("short", [("w", (3,))], 24, "delta8")
    assert (short.update_bytes, short.model_bytes) == (4, 12)
    short.check(bytes(12))
    with pytest.raises(ModelShapeError):
        short.check(bytes(4))
    assert decode(encode(short), ModelDescription) == short


@pytest.mark.parametrize("encoding", ["words", "delta16", "delta8"])
def test_an_update_is_read_as_it_was_spelled_and_in_no_other_length(encoding: UpdateEncoding):
    model, previous = describe("short", [("w", (3,))], 24, encoding), np.array([5, -5, 0], np.int32)
    data = model.spell_update(np.array([6, 6, 6], np.int32), previous)
    assert len(data) == model.update_bytes
    assert model.read_update(data, previous).tolist() == [6, 6, 6]
    for wrong in (data[:-1], data + b"\0", b"", data * 2):
        with pytest.raises(ModelShapeError, match=f"{len(wrong)} bytes"):
            model.read_update(wrong, previous)
