from __future__ import annotations

import gzip
import hashlib
import io
import shutil
import zipfile
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bees.core.errors import DatasetError
from bees.learning import datasets
from bees.learning.datasets import Dataset, EvaluationSet, load_dataset, load_mnist, load_npz, parse_idx

MNIST_FILE = "t10k-labels-idx1-ubyte.gz"


@pytest.fixture(scope="module")
def mnist() -> Dataset:
    return load_dataset("mnist")


@pytest.fixture
def mnist_copy(tmp_path: Path) -> Path:
    with resources.as_file(resources.files("bees.learning") / "data" / "mnist") as packaged:
        return Path(shutil.copytree(packaged, tmp_path / "mnist"))


def good_arrays() -> dict[str, Any]:
    return {
        "x_train": np.arange(48, dtype=np.float32).reshape(6, 2, 4),
        "y_train": np.array([0, 1, 2, 0, 1, 2]),
        "x_test": np.ones((3, 2, 4), np.float64),
        "y_test": np.array([2, 1, 0], np.uint8),
    }


def save(path: Path, **changes: Any) -> Path:
    arrays = {name: value for name, value in (good_arrays() | changes).items() if value is not None}
    np.savez(path, **arrays)
    return path


def test_mnist_is_the_published_data(mnist: Dataset):
    assert mnist.x_train.shape == (60_000, 784)
    assert mnist.x_test.shape == (10_000, 784)
    assert (mnist.x_train.dtype, mnist.y_train.dtype) == (np.float32, np.int32)
    assert (mnist.x_train.min(), mnist.x_train.max()) == (0, 1)
    assert list(mnist.y_train[:6]) == [5, 0, 4, 1, 9, 2]
    assert list(np.bincount(mnist.y_test)) == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert int(mnist.x_test.any(axis=0).sum()) == 668
    assert mnist.classes == 10


def test_the_small_dataset_is_mnist_in_averages(mnist: Dataset):
    small = load_dataset("mnist-7x7")
    assert small.x_train.shape == (6000, 49)
    assert small.x_test.shape == (1000, 49)
    assert np.array_equal(small.y_train, mnist.y_train[:6000])
    corner = mnist.x_train[17].reshape(28, 28)[8:12, 12:16].mean()
    assert small.x_train[17].reshape(7, 7)[2, 3] == pytest.approx(corner, abs=1e-6)


def test_an_altered_byte_is_found(mnist_copy: Path):
    file = mnist_copy / MNIST_FILE
    content = bytearray(file.read_bytes())
    content[1000] ^= 1
    file.write_bytes(content)
    with pytest.raises(DatasetError, match=f"{MNIST_FILE}: is truncated or altered"):
        load_mnist(mnist_copy)


def test_a_truncated_file_is_found(mnist_copy: Path):
    file = mnist_copy / MNIST_FILE
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(DatasetError, match=f"{MNIST_FILE}: is truncated or altered"):
        load_mnist(mnist_copy)


def test_a_missing_file_is_named(mnist_copy: Path):
    (mnist_copy / MNIST_FILE).unlink()
    with pytest.raises(DatasetError, match=f"{MNIST_FILE}: cannot be read"):
        load_mnist(mnist_copy)


def test_idx_files_hold_what_their_header_says():
    data = bytes([0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3]) + bytes(range(6))
    assert np.array_equal(parse_idx(data), [[0, 1, 2], [3, 4, 5]])


@given(st.binary(max_size=40) | st.binary(max_size=30).map(lambda tail: bytes([0, 0, 8]) + tail))
@settings(deadline=None, max_examples=100)
def test_other_bytes_are_no_idx_file(data: bytes):
    try:
        array = parse_idx(data)
    except ValueError:
        return
    assert array.size == len(data) - 4 - 4 * data[3]


def test_own_data_loads_with_any_image_shape(tmp_path: Path):
    dataset = load_npz(save(tmp_path / "own.npz"))
    assert dataset.name == "own"
    assert dataset.x_train.shape == (6, 8)
    assert dataset.image_shape == (2, 4)
    assert dataset.inputs == 8
    assert dataset.classes == 3
    assert dataset.x_test.dtype == np.float32
    assert dataset.y_test.dtype == np.int32


def test_bytes_are_scaled_to_one(tmp_path: Path):
    dataset = load_npz(save(tmp_path / "own.npz", x_train=np.full((6, 2, 4), 255, np.uint8)))
    assert np.all(dataset.x_train == 1)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"y_test": None}, "lacks y_test; it holds x_test, x_train, y_train"),
        ({"y_train": np.array([0, 1, 2])}, r"y_train has shape \(3,\), but x_train holds 6 samples"),
        ({"y_train": np.zeros((6, 1), int)}, "y_train has shape"),
        ({"x_train": np.full((6, 2, 4), np.nan)}, "x_train holds NaN"),
        ({"x_train": np.full((6, 2, 4), 1e300)}, "x_train holds NaN, infinity or a number beyond float32"),
        ({"x_train": np.full((6, 2, 4), "a")}, "x_train holds <U1; expected numbers"),
        ({"x_train": np.ones((6, 2, 4), complex)}, "x_train holds complex128; expected numbers"),
        ({"x_train": np.ones(6)}, r"x_train has shape \(6,\)"),
        ({"x_test": np.ones((0, 2, 4)), "y_test": np.zeros(0, int)}, "at least one sample"),
        ({"x_test": np.ones((3, 2, 5))}, r"samples of x_test have shape \(2, 5\), those of x_train \(2, 4\)"),
        ({"y_test": np.array([0, 1, -1])}, "y_test holds the label -1"),
        ({"y_test": np.array([0.0, 1.0, 0.5])}, "y_test holds float64; expected whole numbers"),
        ({"y_test": np.array([0, 1, 2**40])}, "y_test holds the label 1099511627776"),
        ({"y_train": np.zeros(6, int), "y_test": np.zeros(3, int)}, "at least two classes"),
    ],
)
def test_arrays_that_do_not_fit_are_named(tmp_path: Path, changes: dict[str, Any], complaint: str):
    path = save(tmp_path / "own.npz", **changes)
    with pytest.raises(DatasetError, match=complaint) as caught:
        load_dataset(str(path))
    assert str(path) in str(caught.value)


def test_pickled_objects_are_never_loaded(tmp_path: Path):
    path = tmp_path / "own.npz"
    hostile: dict[str, Any] = good_arrays() | {"y_test": np.array([{}, {}, {}], dtype=object)}
    np.savez(path, **hostile)
    with pytest.raises(DatasetError, match=r"not a readable \.npz file"):
        load_npz(path)


def test_files_that_are_no_archive_are_refused(tmp_path: Path):
    lone = tmp_path / "lone.npz"
    with lone.open("wb") as file:
        np.save(file, np.ones(3))
    folder = tmp_path / "folder.npz"
    folder.mkdir()
    for path in (lone, folder):
        with pytest.raises(DatasetError, match=r"not a readable \.npz file"):
            load_npz(path)
    with pytest.raises(DatasetError, match="no such file"):
        load_npz(tmp_path / "absent.npz")


def test_an_array_that_claims_to_be_huge_is_refused(tmp_path: Path):
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "<f4", "fortran_order": False, "shape": (10**9, 10**6)})
    path = save(tmp_path / "own.npz", x_train=None)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("x_train.npy", buffer.getvalue())
    with pytest.raises(DatasetError, match=r"not a readable \.npz file"):
        load_npz(path)


@given(data=st.data())
@settings(deadline=None, max_examples=150)
def test_damaged_archives_never_end_in_a_traceback(data: Any, tmp_path_factory: pytest.TempPathFactory):
    path = save(tmp_path_factory.getbasetemp() / "damaged.npz")
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(len(content) // 2, len(content)))])
    try:
        load_npz(path)
    except DatasetError as error:
        # A byte may change without harm, so an error is not a must.
        assert "\n" not in str(error)  # noqa: PT017


@given(content=st.binary(max_size=200))
@settings(deadline=None, max_examples=50)
def test_hostile_bytes_never_end_in_a_traceback(content: bytes, tmp_path_factory: pytest.TempPathFactory):
    path = tmp_path_factory.getbasetemp() / "hostile.npz"
    for start in (b"", b"PK\x03\x04", b"\x93NUMPY\x01\x00"):
        path.write_bytes(start + content)
        with pytest.raises(DatasetError):
            load_npz(path)


def test_an_unknown_name_gets_a_suggestion():
    with pytest.raises(DatasetError, match="did you mean 'mnist'"):
        load_dataset("mnits")


def test_the_hash_of_an_evaluation_set_depends_on_all_of_it():
    x, y = np.ones((4, 6), np.float32), np.array([0, 1, 2, 3], np.int32)
    one = EvaluationSet(x, y)
    assert one.hash == EvaluationSet(x.copy(), y.copy()).hash
    nudged = x.copy()
    nudged[3, 5] = np.nextafter(np.float32(1), np.float32(2))
    others = [replace(one, y=y[::-1]), replace(one, x=nudged), EvaluationSet(x.reshape(4, 6)[:3], y[:3])]
    assert len({one.hash, *(other.hash for other in others)}) == 4
    assert EvaluationSet(x.reshape(8, 3), np.tile(y, 2)).hash != EvaluationSet(x.reshape(8, 3)[:4], y).hash


def test_a_gzip_of_something_else_is_no_data(mnist_copy: Path, monkeypatch: pytest.MonkeyPatch):
    content = gzip.compress(b"not idx")
    (mnist_copy / MNIST_FILE).write_bytes(content)
    monkeypatch.setitem(datasets._MNIST_SHA256, MNIST_FILE, hashlib.sha256(content).hexdigest())
    with pytest.raises(DatasetError, match="is no gzip-packed IDX file"):
        load_mnist(mnist_copy)
