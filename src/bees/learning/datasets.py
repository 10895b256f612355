"""The data that the UEs hold and that the servers score updates on (paper, section IV-C: MNIST).

MNIST is packaged and checked against known SHA-256 checksums before use. Own data comes as an .npz file.
"""

from __future__ import annotations

import gzip
import hashlib
import warnings
import zlib
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bees.core.errors import DatasetError, did_you_mean
from bees.core.hashes import digest

if TYPE_CHECKING:
    from collections.abc import Mapping
    from importlib.resources.abc import Traversable

Samples = NDArray[np.float32]
Labels = NDArray[np.int32]

PACKAGED = ("mnist", "mnist-7x7")

_MNIST_SHA256 = {
    "train-images-idx3-ubyte.gz": "0b367032e93c5d0cea0925647cfdb18614af8ee15f83e6f2fc2ad904a6835971",
    "train-labels-idx1-ubyte.gz": "1787548bbe0bff1ec2ecdc0ef292b02df999e2d1a6002d27500982c652b17203",
    "t10k-images-idx3-ubyte.gz": "1a1a05eab793c14bb050b398624a11b0ffd1a2953baed553b1b9bd079e2a20be",
    "t10k-labels-idx1-ubyte.gz": "b91679a0acfe4ba0e50a2437a903084cba1f5f92592b016a25a7dfd00455798b",
}
_NPZ_ARRAYS = ("x_train", "y_train", "x_test", "y_test")
_IDX_UBYTE = 0x08
_LARGEST_PIXEL = np.float32(255)
_MOST_CLASSES = 100_000
_JAX_ALIGNMENT = 64


@dataclass(frozen=True, eq=False)
class EvaluationSet:
    """Samples on which every server scores every update.

    Attributes:
        x: float32, shape (T, inputs).
        y: int32, shape (T,).
    """

    x: Samples
    y: Labels

    def __len__(self) -> int:
        return len(self.y)

    @cached_property
    def hash(self) -> bytes:
        """32 bytes that the genesis pins, so that all servers score on the same samples."""
        shape = np.array(self.x.shape, dtype="<u8")
        samples = digest("evaluation samples", np.ascontiguousarray(self.x, dtype="<f4").data)
        labels = digest("evaluation labels", np.ascontiguousarray(self.y, dtype="<i4").data)
        return digest("evaluation set", shape.tobytes(), samples, labels)


@dataclass(frozen=True, eq=False)
class Dataset:
    """Labelled samples for classification, split into training and test set.

    Attributes:
        name: such as ``"mnist"``.
        x_train: float32, shape (n, inputs); images flattened row by row, in [0, 1] where they came as bytes.
        y_train: int32 class of each, shape (n,).
        x_test: float32, shape (T, inputs).
        y_test: int32, shape (T,).
        classes: C; labels are 0 to C-1.
        image_shape: what one sample was before it was flattened, such as ``(28, 28)``.
    """

    name: str
    x_train: Samples
    y_train: Labels
    x_test: Samples
    y_test: Labels
    classes: int
    image_shape: tuple[int, ...]

    @property
    def inputs(self) -> int:
        """Numbers per sample."""
        return self.x_train.shape[1]

    @cached_property
    def test_set(self) -> EvaluationSet:
        """The test samples, to score updates on."""
        return EvaluationSet(self.x_test, self.y_test)


def load_dataset(name_or_path: str | Path) -> Dataset:
    """The packaged dataset of that name, or the .npz file at that path.

    Raises:
        DatasetError: no such dataset or file, or its content is broken, altered or does not fit.
    """
    if name_or_path == "mnist":
        return load_mnist()
    if name_or_path == "mnist-7x7":
        return load_mnist_7x7()
    if str(name_or_path).endswith(".npz"):
        return load_npz(Path(name_or_path))
    hint = did_you_mean(str(name_or_path), PACKAGED)
    raise DatasetError(str(name_or_path), f"neither a packaged dataset nor an .npz file; {hint}")


def load_mnist(folder: Traversable | Path | None = None) -> Dataset:
    """MNIST (LeCun, Cortes, Burges 1998): 60,000 training and 10,000 test images, 28 x 28, 10 classes.

    Args:
        folder: where the four IDX files are; the package's own by default.

    Raises:
        DatasetError: a file is missing, truncated or altered.
    """
    train_images, train_labels, test_images, test_labels = _read_mnist(folder)
    return Dataset(
        name="mnist",
        x_train=_pixels(train_images),
        y_train=train_labels.astype(np.int32),
        x_test=_pixels(test_images),
        y_test=test_labels.astype(np.int32),
        classes=10,
        image_shape=(28, 28),
    )


def load_mnist_7x7() -> Dataset:
    """A small real dataset: MNIST in 7 x 7 averages of 4 x 4 pixels, its first 6,000 and 1,000 samples.

    Raises:
        DatasetError: a packaged file is missing, truncated or altered.
    """
    train_images, train_labels, test_images, test_labels = _read_mnist(None)
    return Dataset(
        name="mnist-7x7",
        x_train=_pool_4x4(_pixels(train_images[:6000])),
        y_train=train_labels[:6000].astype(np.int32),
        x_test=_pool_4x4(_pixels(test_images[:1000])),
        y_test=test_labels[:1000].astype(np.int32),
        classes=10,
        image_shape=(7, 7),
    )


def load_npz(path: Path) -> Dataset:
    """Own data: an .npz file with ``x_train``, ``y_train``, ``x_test``, ``y_test``.

    Samples are arrays of any trailing shape, bytes (scaled to [0, 1]) or finite numbers (taken as they are);
    labels are whole numbers from 0.

    Raises:
        DatasetError: the file cannot be read, or its arrays do not fit together.
    """
    return make_dataset(path.stem, _read_npz(path), source=str(path))


def make_dataset(name: str, arrays: Mapping[str, NDArray[np.generic]], source: str = "dataset") -> Dataset:
    """A dataset from arrays, checked; see :func:`load_npz` for what they may hold.

    Args:
        name: for reports.
        arrays: ``x_train``, ``y_train``, ``x_test`` and ``y_test``.
        source: the file to name when something is wrong.

    Raises:
        DatasetError: the arrays do not fit together.
    """
    missing = [key for key in _NPZ_ARRAYS if key not in arrays]
    if missing:
        found = ", ".join(sorted(arrays)[:8]) or "nothing"
        raise DatasetError(source, f"lacks {', '.join(missing)}; it holds {found}")
    x_train, y_train = _check_split(source, "train", arrays)
    x_test, y_test = _check_split(source, "test", arrays)
    shape = x_train.shape[1:]
    if x_test.shape[1:] != shape:
        raise DatasetError(source, f"samples of x_test have shape {x_test.shape[1:]}, those of x_train {shape}")
    classes = int(max(y_train.max(), y_test.max())) + 1
    if classes < 2:  # noqa: PLR2004  # of one class there is nothing to learn
        raise DatasetError(source, "all labels are 0; at least two classes are needed")
    flat_train, flat_test = (x.reshape(len(x), -1) for x in (x_train, x_test))
    return Dataset(name, flat_train, y_train, flat_test, y_test, classes, shape)


def check_dataset(dataset: object, source: str = "dataset") -> None:
    """Refuse what is no sound :class:`Dataset`; :func:`make_dataset` makes one of arrays of other types.

    Args:
        dataset: whatever a caller hands in for one.
        source: what to name.

    Raises:
        DatasetError: it is none, or its arrays do not fit together.
    """
    fix = "bees.learning.datasets.make_dataset makes a Dataset of any arrays"
    if not isinstance(dataset, Dataset):
        raise DatasetError(
            source, f"is a {type(dataset).__name__}; a Dataset or the path of an .npz file is needed; {fix}"
        )
    arrays = {name: getattr(dataset, name) for name in _NPZ_ARRAYS}
    for name, array in arrays.items():
        wanted = (2, np.float32) if name.startswith("x") else (1, np.int32)
        if not isinstance(array, np.ndarray) or (array.ndim, array.dtype) != wanted:
            dimensions, kind = wanted
            raise DatasetError(
                source, f"{name} must be a NumPy array of {dimensions} dimension(s) of {kind.__name__}; {fix}"
            )
    for split in ("train", "test"):
        _check_split(source, split, arrays)
        largest = int(arrays[f"y_{split}"].max())
        if largest >= dataset.classes:
            raise DatasetError(source, f"y_{split} holds the label {largest}, but classes = {dataset.classes}")
    inputs = dataset.inputs
    if dataset.x_test.shape[1] != inputs or prod(dataset.image_shape) != inputs:
        problem = f"x_test has {dataset.x_test.shape[1]} numbers per sample, image_shape is {dataset.image_shape}"
        raise DatasetError(source, f"x_train has {inputs} numbers per sample, but {problem}")


def _read_mnist(folder: Traversable | Path | None) -> list[NDArray[np.uint8]]:
    """Training images and labels, test images and labels, each from a file whose checksum is right."""
    home = folder or resources.files("bees.learning") / "data" / "mnist"
    return [_read_idx(home / file) for file in _MNIST_SHA256]


def _read_idx(file: Traversable) -> NDArray[np.uint8]:
    """An IDX file of bytes, after its checksum was found right."""
    source = f"packaged data file {file.name}"
    fix = "install the package again"
    try:
        packed = file.read_bytes()
    except OSError as error:
        raise DatasetError(source, f"cannot be read ({error.strerror}); {fix}") from error
    if hashlib.sha256(packed).hexdigest() != _MNIST_SHA256[file.name]:
        raise DatasetError(source, f"is truncated or altered: its SHA-256 checksum is wrong; {fix}")
    try:
        return parse_idx(gzip.decompress(packed))
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise DatasetError(source, f"is no gzip-packed IDX file ({error}); {fix}") from error


def parse_idx(data: bytes) -> NDArray[np.uint8]:
    """An array of bytes in the IDX format: magic 0 0 8 d, d big-endian sizes, then the elements.

    Raises:
        ValueError: the bytes are something else.
    """
    if len(data) < 4 or data[:3] != bytes([0, 0, _IDX_UBYTE]):  # noqa: PLR2004  # the magic has 4 bytes
        raise ValueError("wrong magic number")
    header = 4 + 4 * data[3]
    if len(data) < header:
        raise ValueError("header cut short")
    shape = tuple(int(size) for size in np.frombuffer(data, ">u4", count=data[3], offset=4))
    return np.frombuffer(data, np.uint8, offset=header).reshape(shape)


def _pixels(images: NDArray[np.uint8]) -> Samples:
    flat = images.reshape(len(images), -1)
    pixels = _aligned_empty(flat.shape)
    np.divide(flat, _LARGEST_PIXEL, out=pixels)
    pixels.flags.writeable = False
    return pixels


def _aligned_empty(shape: tuple[int, int]) -> Samples:
    """Memory that JAX takes as it is; other arrays it copies, which would hold the training set twice."""
    size = shape[0] * shape[1] * np.dtype(np.float32).itemsize
    memory = np.empty(size + _JAX_ALIGNMENT, dtype=np.uint8)
    start = -memory.ctypes.data % _JAX_ALIGNMENT
    return memory[start : start + size].view(np.float32).reshape(shape)


def _pool_4x4(x: Samples) -> Samples:
    blocks = x.reshape(len(x), 7, 4, 7, 4).mean(axis=(2, 4), dtype=np.float64)
    return blocks.astype(np.float32).reshape(len(x), 49)


def _read_npz(path: Path) -> Mapping[str, NDArray[np.generic]]:
    source = str(path)
    try:
        # A damaged header may also make NumPy warn; the error that follows says what matters.
        with (
            warnings.catch_warnings(action="ignore"),
            path.open("rb") as file,
            np.load(file, allow_pickle=False) as archive,
        ):
            return {name: np.asarray(archive[name]) for name in _NPZ_ARRAYS if name in archive.files}
    except FileNotFoundError as error:
        raise DatasetError(source, "no such file") from error
    except Exception as error:  # hostile bytes can make zipfile, zlib and NumPy fail in any way
        reason = (str(error).splitlines() or [type(error).__name__])[0][:120]
        raise DatasetError(source, f"not a readable .npz file ({reason})") from error


def _check_split(source: str, split: str, arrays: Mapping[str, NDArray[np.generic]]) -> tuple[Samples, Labels]:
    x, y = arrays[f"x_{split}"], arrays[f"y_{split}"]
    if x.ndim < 2 or not x.size:  # noqa: PLR2004  # samples by numbers, at least
        raise DatasetError(source, f"x_{split} has shape {x.shape}; expected (samples, ...) with at least one sample")
    if y.shape != (len(x),):
        raise DatasetError(source, f"y_{split} has shape {y.shape}, but x_{split} holds {len(x)} samples")
    return _check_samples(source, f"x_{split}", x), _check_labels(source, f"y_{split}", y)


def _check_samples(source: str, name: str, x: NDArray[np.generic]) -> Samples:
    if x.dtype == np.uint8:
        return x.astype(np.float32) / _LARGEST_PIXEL
    if x.dtype.kind not in "buif":
        raise DatasetError(source, f"{name} holds {x.dtype}; expected numbers")
    with np.errstate(over="ignore", invalid="ignore"):
        numbers = x.astype(np.float32)
    if not np.isfinite(numbers).all():
        raise DatasetError(source, f"{name} holds NaN, infinity or a number beyond float32")
    return numbers


def _check_labels(source: str, name: str, y: NDArray[np.generic]) -> Labels:
    if y.dtype.kind not in "ui":
        raise DatasetError(source, f"{name} holds {y.dtype}; expected whole numbers")
    smallest, largest = int(y.min()), int(y.max())
    if smallest < 0:
        raise DatasetError(source, f"{name} holds the label {smallest}; labels count from 0")
    if largest >= _MOST_CLASSES:
        raise DatasetError(source, f"{name} holds the label {largest}; labels below {_MOST_CLASSES} work")
    return y.astype(np.int32)
