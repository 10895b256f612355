"""The models that UEs train: the MLP of the paper's evaluation, a small CNN, or a user's own.

Outside of this package a model is one flat float32 vector, its arrays one after the other in the order of its
description, each row by row. Arrays are named and shaped as PyTorch's ``Linear`` and ``Conv2d`` have them, so
that a final model can be read there.
"""

# JAX annotates its functions in part only.
# pyright: reportUnknownMemberType=none, reportUnknownVariableType=none, reportUnknownArgumentType=none
from __future__ import annotations

from dataclasses import dataclass
from math import prod, sqrt
from typing import TYPE_CHECKING, Protocol, cast

import jax
import numpy as np
from jax import numpy as jnp
from numpy.typing import NDArray

from bees.core.errors import DatasetError, InputError, ModelShapeError, ScenarioError, did_you_mean
from bees.core.fixed_point import DEFAULT_EXPONENT
from bees.core.model import ModelDescription, describe
from bees.core.seeds import generator

if TYPE_CHECKING:
    from bees.learning.datasets import Dataset
    from bees.scenario import Learning

FlatWeights = NDArray[np.float32]
Arrays = tuple[jax.Array, ...]

_IMAGE_DIMENSIONS = (2, 3)
_KERNEL = 3
_SAMPLES_TRIED = 2


class Model(Protocol):
    """What the rest of BEES asks of a model. Any object with these three members is one.

    Example:
        A linear classifier, written by a user:

        >>> import numpy as np
        >>> from bees.core.model import describe
        >>> class Linear:
        ...     description = describe("linear-784-10", [("weight", (10, 784)), ("bias", (10,))], exponent=24)
        ...
        ...     def init(self, draw):
        ...         return np.zeros(self.description.parameters, np.float32)
        ...
        ...     def logits(self, arrays, x):
        ...         weight, bias = arrays
        ...         return x @ weight.T + bias
        >>> model = Linear()
        >>> weights = initial_weights(model, seed=0)
        >>> model.logits(unflatten(model.description, weights), np.ones((2, 784), np.float32)).shape
        (2, 10)
    """

    @property
    def description(self) -> ModelDescription:
        """Names and shapes of the arrays in order, and the exponent of their codec."""
        ...

    def init(self, draw: np.random.Generator) -> FlatWeights:
        """The weights to start from, w_g(0): float32, shape (P,)."""
        ...

    def logits(self, arrays: Arrays, x: jax.Array) -> jax.Array:
        """Unnormalised log-probabilities, in operations that JAX can differentiate.

        Args:
            arrays: the model's arrays, in the order and shapes of its description.
            x: samples, float32, shape (samples, inputs).

        Returns:
            float32, shape (samples, classes).
        """
        ...


@dataclass(frozen=True)
class MLP:
    """inputs-hidden-classes with ReLU; 784-25-10 has the paper's 80 KB in float32.

    Attributes:
        inputs: numbers per sample.
        hidden: width of the hidden layer.
        classes: C.
        exponent: e of the fixed-point codec.
    """

    inputs: int
    hidden: int
    classes: int
    exponent: int = DEFAULT_EXPONENT

    @property
    def description(self) -> ModelDescription:
        """``hidden.weight``, ``hidden.bias``, ``output.weight``, ``output.bias``."""
        shapes = [
            ("hidden.weight", (self.hidden, self.inputs)),
            ("hidden.bias", (self.hidden,)),
            ("output.weight", (self.classes, self.hidden)),
            ("output.bias", (self.classes,)),
        ]
        return describe(f"mlp-{self.inputs}-{self.hidden}-{self.classes}", shapes, self.exponent)

    def init(self, draw: np.random.Generator) -> FlatWeights:
        """Uniform within 1/sqrt(fan-in), weights and biases."""
        return _uniform_by_fan_in(draw, self.description, (self.inputs, self.inputs, self.hidden, self.hidden))

    def logits(self, arrays: Arrays, x: jax.Array) -> jax.Array:
        """``relu(x W1' + b1) W2' + b2``."""
        hidden_weight, hidden_bias, output_weight, output_bias = arrays
        hidden = jax.nn.relu(x @ hidden_weight.T + hidden_bias)
        return hidden @ output_weight.T + output_bias


@dataclass(frozen=True)
class CNN:
    """Two 3 x 3 convolutions of stride 2 with ReLU, 8 and 16 channels, and a linear layer.

    Attributes:
        image_shape: height and width, and channels where there are any.
        classes: C.
        exponent: e of the fixed-point codec.
    """

    image_shape: tuple[int, ...]
    classes: int
    exponent: int = DEFAULT_EXPONENT

    @property
    def _image(self) -> tuple[int, int, int]:
        height, width, *channels = self.image_shape
        return height, width, channels[0] if channels else 1

    @property
    def _features(self) -> int:
        height, width, _ = self._image
        return 16 * -(-height // 4) * -(-width // 4)

    @property
    def description(self) -> ModelDescription:
        """``first``, ``second`` and ``output``, each with weight and bias."""
        shapes = [
            ("first.weight", (8, self._image[2], 3, 3)),
            ("first.bias", (8,)),
            ("second.weight", (16, 8, 3, 3)),
            ("second.bias", (16,)),
            ("output.weight", (self.classes, self._features)),
            ("output.bias", (self.classes,)),
        ]
        size = "x".join(map(str, self._image))
        return describe(f"cnn-{size}-8-16-{self.classes}", shapes, self.exponent)

    def init(self, draw: np.random.Generator) -> FlatWeights:
        """Uniform within 1/sqrt(fan-in), weights and biases."""
        first, second = 9 * self._image[2], 9 * 8
        return _uniform_by_fan_in(
            draw, self.description, (first, first, second, second, self._features, self._features)
        )

    def logits(self, arrays: Arrays, x: jax.Array) -> jax.Array:
        """Convolve twice, flatten, project."""
        first_weight, first_bias, second_weight, second_bias, output_weight, output_bias = arrays
        images = x.reshape(len(x), *self._image)
        first = jax.nn.relu(_convolve(images, first_weight) + first_bias)
        second = jax.nn.relu(_convolve(first, second_weight) + second_bias)
        return second.reshape(len(x), -1) @ output_weight.T + output_bias


def build_model(learning: Learning, dataset: Dataset) -> Model:
    """The model that the scenario names, sized for the data.

    Raises:
        ScenarioError: no such model.
        DatasetError: a CNN is asked for, and the samples are no images.
    """
    if learning.model == "mlp":
        return MLP(dataset.inputs, learning.hidden, dataset.classes, learning.exponent)
    if learning.model == "cnn":
        if len(dataset.image_shape) not in _IMAGE_DIMENSIONS:
            problem = f"a CNN needs images, but samples have shape {dataset.image_shape}; use the mlp"
            raise DatasetError(dataset.name, problem)
        return CNN(dataset.image_shape, dataset.classes, learning.exponent)
    raise ScenarioError(
        "scenario", f"no such model; {did_you_mean(learning.model, ('mlp', 'cnn'))}", "learning.model", learning.model
    )


def initial_weights(model: Model, seed: int) -> FlatWeights:
    """w_g(0), float32, shape (P,), from the seed's own stream.

    Raises:
        ModelShapeError: the model's ``init`` returns something else than its description says.
    """
    weights = np.asarray(model.init(generator(seed, "initial model")), dtype=np.float32)
    check_weights(model.description, weights[None])
    return weights


def check_weights(description: ModelDescription, weights: NDArray[np.float32]) -> None:
    """Refuse a stack of flat models that doesn't have shape (K, P).

    Raises:
        ModelShapeError: it has another shape.
    """
    if weights.ndim != 2 or weights.shape[1] != description.parameters:  # noqa: PLR2004  # models by parameters
        expected = f"{description.name} of {description.parameters} parameters"
        raise ModelShapeError(expected, f"an array of shape {weights.shape[1:] or weights.shape}")


def check_model(model: object, inputs: int, classes: int) -> None:
    """Refuse what is no :class:`Model`, or one that does not fit the data; nothing is computed.

    Args:
        model: whatever a caller hands in for one.
        inputs: numbers per sample.
        classes: C.

    Raises:
        InputError: it lacks a member.
        ModelShapeError: its logits cannot be had of such samples, or there are fewer than classes.
    """
    lacking = [name for name in ("init", "logits") if not callable(getattr(model, name, None))]
    if not isinstance(getattr(model, "description", None), ModelDescription):
        lacking.insert(0, "description")
    if lacking:
        members = "a description by bees.core.model.describe, init(draw) and logits(arrays, x)"
        needs = f"{members}, as bees.learning.models.Model says"
        raise InputError("model", f"{type(model).__name__} lacks {', '.join(lacking)}; a model needs {needs}")
    _check_logits(cast("Model", model), inputs, classes)


def _check_logits(model: Model, inputs: int, classes: int) -> None:
    arrays = tuple(jax.ShapeDtypeStruct(array.shape, np.float32) for array in model.description.arrays)
    samples = jax.ShapeDtypeStruct((_SAMPLES_TRIED, inputs), np.float32)
    expected = f"to make {classes} logits of the {inputs} numbers of each of {_SAMPLES_TRIED} samples"
    try:
        logits: object = jax.eval_shape(model.logits, arrays, samples)
    except (TypeError, ValueError, IndexError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ModelShapeError(expected, f"{model.description.name} ({reason})") from error
    shape = getattr(logits, "shape", None)
    if shape is None or len(shape) != 2 or shape[0] != _SAMPLES_TRIED or shape[1] < classes:  # noqa: PLR2004  # a matrix
        raise ModelShapeError(expected, f"{model.description.name} with logits of shape {shape}")


def unflatten(description: ModelDescription, flat: jax.Array | FlatWeights) -> Arrays:
    """The arrays of a model from its flat vector, shape (P,)."""
    arrays: list[jax.Array] = []
    start = 0
    for array in description.arrays:
        arrays.append(jnp.asarray(flat[start : start + array.size]).reshape(array.shape))
        start += array.size
    return tuple(arrays)


def flatten(arrays: Arrays) -> jax.Array:
    """The flat vector of a model from its arrays, shape (P,)."""
    return jnp.concatenate([array.reshape(-1) for array in arrays])


def cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """The loss of each sample, ``-log softmax(logits)[label]``, shape (samples,)."""
    return -jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], axis=1)[:, 0]


def _uniform_by_fan_in(
    draw: np.random.Generator, description: ModelDescription, fan_in: tuple[int, ...]
) -> FlatWeights:
    parts = [
        draw.uniform(-1 / sqrt(fan), 1 / sqrt(fan), prod(array.shape))
        for array, fan in zip(description.arrays, fan_in, strict=True)
    ]
    return np.concatenate(parts).astype(np.float32)


def _convolve(images: jax.Array, weight: jax.Array) -> jax.Array:
    """3 x 3, stride 2, zero-padded to ceil(side/2): one product of all windows with the kernel.

    XLA's own convolution takes eight times as long for a training step on a CPU.

    Args:
        images: shape (samples, height, width, channels).
        weight: shape (channels out, channels, 3, 3).
    """
    samples, height, width, _ = images.shape
    rows, columns = -(-height // 2), -(-width // 2)
    padded = jnp.pad(images, ((0, 0), _padding(height), _padding(width), (0, 0)))
    windows = jnp.concatenate(
        [
            padded[:, i : i + 2 * rows - 1 : 2, j : j + 2 * columns - 1 : 2]
            for i in range(_KERNEL)
            for j in range(_KERNEL)
        ],
        axis=-1,
    )
    kernel = weight.transpose(2, 3, 1, 0).reshape(-1, len(weight))
    return (windows.reshape(samples * rows * columns, -1) @ kernel).reshape(samples, rows, columns, -1)


def _padding(side: int) -> tuple[int, int]:
    """Zeros before and after, as few as ceil(side/2) windows need, the odd one after."""
    missing = max(2 * (-(-side // 2) - 1) + _KERNEL - side, 0)
    return missing // 2, missing - missing // 2
