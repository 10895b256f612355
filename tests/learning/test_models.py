from __future__ import annotations

import doctest
from typing import Any

import jax
import numpy as np
import pytest

from bees.core.errors import DatasetError, ModelShapeError, ScenarioError
from bees.core.model import describe
from bees.core.seeds import generator
from bees.learning import models
from bees.learning.datasets import Dataset
from bees.learning.models import (
    CNN,
    MLP,
    Arrays,
    FlatWeights,
    Model,
    build_model,
    check_weights,
    cross_entropy,
    flatten,
    initial_weights,
    unflatten,
)
from bees.scenario import Learning


def test_the_documented_model_works():
    found = doctest.testmod(models)
    assert found.attempted > 4
    assert found.failed == 0


def test_the_papers_model_has_80_kb():
    description = MLP(784, 25, 10).description
    assert description.name == "mlp-784-25-10"
    assert description.parameters == 19_885
    assert description.update_bytes == 79_540
    assert [a.shape for a in description.arrays] == [(25, 784), (25,), (10, 25), (10,)]


@pytest.mark.parametrize("model", [MLP(64, 5, 4), CNN((8, 8), 4), CNN((9, 6, 3), 4)], ids=["mlp", "cnn", "colour"])
def test_flat_weights_and_arrays_are_the_same_numbers(model: Model):
    flat = initial_weights(model, 3)
    arrays = unflatten(model.description, flat)
    assert [a.shape for a in arrays] == [a.shape for a in model.description.arrays]
    assert np.array_equal(np.asarray(flatten(arrays)), flat)
    assert flat.dtype == np.float32
    assert np.array_equal(flat, initial_weights(model, 3))
    assert not np.array_equal(flat, initial_weights(model, 4))
    assert 0 < np.abs(flat).max() <= 0.5


def test_the_mlp_computes_its_formula():
    model = MLP(3, 2, 2)
    w1, b1, w2, b2 = [[1, 0, 0], [0, -1, 0]], [0.5, 0], [[1, 1], [2, 0]], [0, 0.25]
    flat = np.concatenate([np.ravel(a) for a in (w1, b1, w2, b2)]).astype(np.float32)
    logits = model.logits(unflatten(model.description, flat), jax.numpy.array([[1.0, 2.0, 3.0], [-1.0, -2.0, 0.0]]))
    assert np.array_equal(np.asarray(logits), [[1.5, 3.25], [2.0, 0.25]])


def test_the_cnn_convolves_with_stride_two():
    model = CNN((4, 4), 3)
    draw = np.random.default_rng(0)
    flat = draw.normal(size=model.description.parameters).astype(np.float32)
    first, first_bias, second, second_bias, out, out_bias = (np.asarray(a) for a in unflatten(model.description, flat))
    x = draw.normal(size=(2, 16)).astype(np.float32)

    def convolve(images: Any, weight: Any, bias: Any) -> Any:
        # SAME with stride 2 on an even side pads one zero at the end.
        padded = np.pad(images, ((0, 0), (0, 1), (0, 1), (0, 0)))
        side = images.shape[1] // 2
        rows = [
            [np.einsum("nijc,ocij->no", padded[:, 2 * r : 2 * r + 3, 2 * c : 2 * c + 3], weight) for c in range(side)]
            for r in range(side)
        ]
        return np.maximum(np.array(rows).transpose(2, 0, 1, 3) + bias, 0)

    features = convolve(convolve(x.reshape(2, 4, 4, 1), first, first_bias), second, second_bias)
    expected = features.reshape(2, -1) @ out.T + out_bias
    got = model.logits(unflatten(model.description, flat), jax.numpy.asarray(x))
    assert np.allclose(np.asarray(got), expected, atol=1e-4)


@pytest.mark.parametrize("shape", [(28, 28, 1), (7, 9, 3), (1, 2, 2), (4, 5, 1)])
def test_the_convolution_is_that_of_xla(shape: tuple[int, int, int]):
    draw = np.random.default_rng(1)
    images = jax.numpy.asarray(draw.normal(size=(3, *shape)).astype(np.float32))
    weight = jax.numpy.asarray(draw.normal(size=(5, shape[2], 3, 3)).astype(np.float32))
    by_xla = jax.lax.conv_general_dilated(images, weight, (2, 2), "SAME", dimension_numbers=("NHWC", "OIHW", "NHWC"))
    assert np.allclose(np.asarray(models._convolve(images, weight)), np.asarray(by_xla), atol=1e-4)


def test_cross_entropy_is_the_negative_log_probability():
    loss = cross_entropy(jax.numpy.log(jax.numpy.array([[0.2, 0.8], [0.5, 0.5]])), jax.numpy.array([1, 0]))
    assert np.allclose(np.asarray(loss), -np.log([0.8, 0.5]))


def test_the_scenario_names_the_model(digits: Dataset):
    mlp = build_model(Learning(model="mlp", hidden=7, exponent=20), digits)
    assert mlp == MLP(64, 7, 4, 20)
    assert mlp.description.exponent == 20
    assert build_model(Learning(model="cnn"), digits) == CNN((8, 8), 4, 24)


def test_a_cnn_needs_images():
    x, y = np.zeros((2, 5), np.float32), np.array([0, 1], np.int32)
    with pytest.raises(DatasetError, match="a CNN needs images"):
        build_model(Learning(model="cnn"), Dataset("table", x, y, x, y, 2, (5,)))


def test_an_unknown_model_gets_a_suggestion(digits: Dataset):
    wrong: Any = "mlpp"
    with pytest.raises(ScenarioError, match="did you mean 'mlp'") as caught:
        build_model(Learning(model=wrong), digits)
    assert caught.value.key == "learning.model"


def test_a_model_whose_init_contradicts_its_description_is_refused():
    class Wrong:
        description = describe("wrong", [("w", (3,))], 24)

        def init(self, draw: np.random.Generator) -> FlatWeights:
            return draw.random(2, dtype=np.float32)

        def logits(self, arrays: Arrays, x: jax.Array) -> jax.Array:
            return x * arrays[0]

    with pytest.raises(ModelShapeError, match="wrong of 3 parameters"):
        initial_weights(Wrong(), 0)
    with pytest.raises(ModelShapeError):
        check_weights(MLP(2, 2, 2).description, np.zeros(12, np.float32))


def test_initial_weights_come_from_their_own_stream():
    model = MLP(4, 3, 2)
    assert np.array_equal(initial_weights(model, 9), model.init(generator(9, "initial model")))
