"""A device's own data folder: .npz or IDX, and what is refused."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from bees.core.errors import DatasetError
from bees.device.own_data import read_own_data

if TYPE_CHECKING:
    from pathlib import Path

X, Y = np.arange(24, dtype=np.uint8).reshape(4, 2, 3), np.array([0, 1, 2, 1], dtype=np.uint8)


def idx(array: np.ndarray) -> bytes:
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.tobytes()


def test_npz_and_idx_hold_the_same(tmp_path: Path):
    first, second = tmp_path / "a", tmp_path / "b"
    first.mkdir()
    second.mkdir()
    np.savez(first / "data.npz", allow_pickle=False, x=X, y=Y)
    (second / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(X)))
    (second / "train-labels-idx1-ubyte").write_bytes(idx(Y))
    one, two = read_own_data(first, 6, 3), read_own_data(second, 6, 3)
    np.testing.assert_array_equal(one.x, two.x)
    np.testing.assert_array_equal(one.y, two.y)
    assert one.x.shape == (4, 6)
    assert float(one.x.max()) == pytest.approx(23 / 255)
    np.testing.assert_array_equal(read_own_data(first / "data.npz", None, None).y, Y)


@pytest.mark.parametrize(
    ("arrays", "told"),
    [
        ({"x": X}, "needs x_train"),
        ({"x": X, "y": Y[:3]}, "samples of shape"),
        ({"x": X.reshape(4, 6)[:, :5], "y": Y}, "5 numbers per sample"),
        ({"x": X, "y": Y + 9}, "labels from 9 to 11"),
        ({"x": X, "y": Y.astype(np.float32)}, "labels of float32"),
        ({"x": np.full((4, 6), np.nan), "y": Y}, "NaN"),
        ({"x": np.array([object()] * 4), "y": Y}, "readable"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, arrays: dict[str, Any], told: str):
    np.savez(tmp_path / "data.npz", **arrays)
    with pytest.raises(DatasetError, match=told):
        read_own_data(tmp_path, 6, 3)


def test_folders_without_data_are_refused(tmp_path: Path):
    with pytest.raises(DatasetError, match="no such folder"):
        read_own_data(tmp_path / "none", 6, 3)
    with pytest.raises(DatasetError, match="nor one IDX file"):
        read_own_data(tmp_path, 6, 3)
    (tmp_path / "images").write_bytes(b"junk")
    (tmp_path / "labels").write_bytes(b"junk")
    with pytest.raises(DatasetError, match="no IDX file"):
        read_own_data(tmp_path, 6, 3)
