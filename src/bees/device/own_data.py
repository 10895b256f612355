"""The data of one device: a folder with an .npz file, or with IDX files as MNIST has them. It never leaves it."""

from __future__ import annotations

import gzip
import zlib
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from bees.core.errors import DatasetError
from bees.learning.datasets import parse_idx

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

_LARGEST_PIXEL = np.float32(255)
_NAMES = (("x_train", "y_train"), ("x", "y"))


class OwnData(NamedTuple):
    """Labelled samples.

    Attributes:
        x: float32, shape (n, inputs); bytes are scaled to [0, 1].
        y: int32 class of each, shape (n,).
    """

    x: NDArray[np.float32]
    y: NDArray[np.int32]


def read_own_data(folder: Path, inputs: int | None, classes: int | None) -> OwnData:
    """The samples in a folder, checked.

    Args:
        folder: holds one ``.npz`` file with ``x_train`` and ``y_train`` (or ``x`` and ``y``), or two IDX files with
            ``images`` and ``labels`` in their names, gzip-packed or not. The path of an .npz file will do, too.
        inputs: numbers per sample that the model takes, where that is known.
        classes: labels are 0 to classes - 1.

    Raises:
        DatasetError: it holds neither, or what it holds does not fit together.
    """
    x, y = _read(folder)
    source = str(folder)
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
    return OwnData(flat, y.astype(np.int32))


def _read(folder: Path) -> tuple[NDArray[np.generic], NDArray[np.generic]]:
    if folder.is_file():
        return _read_npz(folder)
    if not folder.is_dir():
        raise DatasetError(str(folder), "no such folder")
    archives = sorted(folder.glob("*.npz"))
    if len(archives) > 1:
        raise DatasetError(str(folder), f"holds {len(archives)} .npz files; one is needed")
    if archives:
        return _read_npz(archives[0])
    images, labels = sorted(folder.glob("*images*")), sorted(folder.glob("*labels*"))
    if len(images) != 1 or len(labels) != 1:
        raise DatasetError(str(folder), "holds no .npz file, nor one IDX file of images and one of labels")
    return _read_idx(images[0]), _read_idx(labels[0])


def _read_npz(path: Path) -> tuple[NDArray[np.generic], NDArray[np.generic]]:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            for x, y in _NAMES:
                if x in archive.files and y in archive.files:
                    return np.asarray(archive[x]), np.asarray(archive[y])
            held = ", ".join(archive.files[:8]) or "nothing"
    except Exception as error:  # a damaged archive can make zipfile, zlib and NumPy fail in any way
        raise DatasetError(str(path), f"is no readable .npz file ({type(error).__name__}: {error})") from error
    raise DatasetError(str(path), f"needs x_train and y_train, or x and y; it holds {held}")


def _read_idx(path: Path) -> NDArray[np.uint8]:
    try:
        data = path.read_bytes()
        return parse_idx(gzip.decompress(data) if path.suffix == ".gz" else data)
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise DatasetError(str(path), f"is no IDX file ({error})") from error
