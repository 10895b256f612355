"""The labelled samples of a device, checked in one way by the device that reads them and a server that gets them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from bees.core.errors import DatasetError
from bees.learning.models import CNN, MLP

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bees.learning.models import Model

_LARGEST_PIXEL = np.float32(255)


class Samples(NamedTuple):
    """Labelled samples.

    Attributes:
        x: float32, shape (n, inputs); bytes are scaled to [0, 1].
        y: int32 class of each, shape (n,).
    """

    x: NDArray[np.float32]
    y: NDArray[np.int32]


def check_samples(
    source: str, x: NDArray[np.generic], y: NDArray[np.generic], inputs: int | None, classes: int | None
) -> Samples:
    """Samples of any shape and number, as a model takes them.

    Args:
        source: where they are from, for messages.
        x: of any numbers, shape (n, ...).
        y: whole numbers, shape (n,).
        inputs: numbers per sample that the model takes, where that is known.
        classes: labels are 0 to classes - 1.

    Raises:
        DatasetError: they do not fit together, or not the model.
    """
    if x.ndim < 2 or len(x) == 0 or y.shape != (len(x),):  # noqa: PLR2004  # samples by numbers
        raise DatasetError(source, f"has samples of shape {x.shape} and labels of shape {y.shape}")
    if x.dtype.kind not in "buif" or y.dtype.kind not in "ui":
        raise DatasetError(
            source, f"has samples of {x.dtype} and labels of {y.dtype}; numbers and whole ones are needed"
        )
    numbers = x.astype(np.float32) / _LARGEST_PIXEL if x.dtype == np.uint8 else x.astype(np.float32)
    flat = np.ascontiguousarray(numbers.reshape(len(x), -1))
    if not np.isfinite(flat).all():
        raise DatasetError(source, "has samples with NaN or infinity")
    if inputs is not None and flat.shape[1] != inputs:
        raise DatasetError(source, f"has {flat.shape[1]} numbers per sample; the model takes {inputs}")
    if classes is not None and not 0 <= int(y.min()) <= int(y.max()) < classes:
        raise DatasetError(source, f"has labels from {y.min()} to {y.max()}; the model has {classes} classes")
    return Samples(flat, y.astype(np.int32))


def sizes_of(model: Model) -> tuple[int | None, int | None]:
    """Numbers per sample and classes of a model; None where a user's own model does not say."""
    match model:
        case MLP(inputs=inputs, classes=classes):
            return inputs, classes
        case CNN(image_shape=shape, classes=classes):
            return int(np.prod(shape)), classes
        case _:
            return None, None
