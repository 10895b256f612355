"""The data of one device: a folder with an .npz file, or with IDX files as MNIST has them."""

from __future__ import annotations

import gzip
import zlib
from typing import TYPE_CHECKING

import numpy as np

from bees.core.errors import DatasetError
from bees.learning.datasets import parse_idx
from bees.learning.samples import check_samples

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from bees.learning.samples import Samples

_NAMES = (("x_train", "y_train"), ("x", "y"))


def read_own_data(folder: Path, inputs: int | None, classes: int | None) -> Samples:
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
    return check_samples(str(folder), x, y, inputs, classes)


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
