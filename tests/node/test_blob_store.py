"""Updates on disk: whole or absent, bounded, pruned, and found again after a restart."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from bees.core.errors import StorageError
from bees.ledger.commitments import commit_to_update
from bees.node.blob_store import DiskBlobStore

if TYPE_CHECKING:
    from pathlib import Path


def name(round_: int, data: bytes = b"abc") -> bytes:
    return commit_to_update(5, round_, data)


def test_bytes_are_found_again_after_a_restart(tmp_path: Path):
    store = DiskBlobStore(tmp_path, 1000)
    assert store.put(5, 3, b"abc") == name(3)
    assert store.get(name(3)) == b"abc"
    assert name(3) in store
    assert store.get(name(2)) is None
    again = DiskBlobStore(tmp_path, 1000)
    assert again.get(name(3)) == b"abc"
    assert (len(again), again.size_bytes) == (1, 3)


def test_what_is_not_kept_leaves_nothing(tmp_path: Path):
    store = DiskBlobStore(tmp_path, 1000)
    with store.receive() as incoming:
        incoming.write(b"abc")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    (tmp_path / "incoming" / "left by a crash").write_bytes(b"x" * 100)
    assert DiskBlobStore(tmp_path, 1000).size_bytes == 0
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_the_limit_holds(tmp_path: Path):
    store = DiskBlobStore(tmp_path, 5)
    store.put(5, 1, b"abc")
    store.put(5, 1, b"abc")
    with pytest.raises(StorageError, match="limit of 5 bytes"):
        store.put(5, 2, b"def")
    assert name(2, b"def") not in store
    assert store.prune(1) == 1
    store.put(5, 2, b"def")
    assert store.size_bytes == 3


def test_what_a_block_needs_is_kept_beyond_the_limit(tmp_path: Path):
    store = DiskBlobStore(tmp_path, 3)
    store.put(5, 1, b"abc")
    with store.receive() as incoming:
        incoming.write(b"def")
        with pytest.raises(StorageError, match="limit of 3 bytes"):
            store.keep(incoming, name(1, b"def"), 1)
        store.keep(incoming, name(1, b"def"), 1, beyond_limit=True)
    assert store.get(name(1, b"def")) == b"def"
    assert store.size_bytes == 6


def test_pruning_forgets_rounds_that_are_over_and_no_other(tmp_path: Path):
    store = DiskBlobStore(tmp_path, 1000)
    for round_ in (1, 2, 3):
        store.put(5, round_, b"abc")
    assert store.prune(2) == 2
    assert [name(round_) in store for round_ in (1, 2, 3)] == [False, False, True]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["000000000003", "incoming"]


def test_a_file_that_somebody_has_taken_away_is_absent(tmp_path: Path):
    store = DiskBlobStore(tmp_path, 1000)
    for round_ in (1, 2):
        store.put(5, round_, b"abc")
        next(tmp_path.glob(f"*{round_}/*")).unlink()
    assert store.get(name(1)) is None
    assert (len(store), store.size_bytes) == (1, 3)
    assert store.prune(2) == 1
    assert len(store) == 0


def test_threads_share_a_store_and_its_limit(tmp_path: Path):
    store, data = DiskBlobStore(tmp_path, 10 * 64), bytes(64)

    def keep_and_read(device: int) -> bool:
        try:
            name = store.put(device, device % 3, data)
        except StorageError:
            return False
        assert store.size_bytes <= 10 * 64
        assert store.get(name) in {data, None}
        store.prune(0)
        return True

    with ThreadPoolExecutor(8) as threads:
        kept = list(threads.map(keep_and_read, range(64)))
    assert 10 <= sum(kept) < 64
    assert len(store) == len(store.commitments()) == sum(store.round_of(c) in {1, 2} for c in store.commitments())
    assert store.size_bytes == 64 * len(store) <= 10 * 64
    assert DiskBlobStore(tmp_path, 10 * 64).size_bytes == store.size_bytes
