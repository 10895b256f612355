"""Bytes that arrive are hashed and written beside the loop, whole and in order, however they are cut."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from bees.ledger.commitments import commit_to_update
from bees.node.blob_store import DiskBlobStore
from bees.node.receiving import receive_bytes
from bees.transport.refusals import WrongLengthError
from bees.transport.update_hasher import UpdateHasher

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

BODY = bytes(range(256)) * 10_000


class Content:
    """A body that comes in pieces of one size."""

    def __init__(self, piece_bytes: int) -> None:
        self.piece_bytes, self.taken_bytes = piece_bytes, 0

    async def iter_chunked(self, _: int) -> AsyncIterator[bytes]:
        for start in range(0, len(BODY), self.piece_bytes):
            await asyncio.sleep(0)
            self.taken_bytes += self.piece_bytes
            yield BODY[start : start + self.piece_bytes]


def receive(store: DiskBlobStore, content: Any, limit_bytes: int) -> bytes:
    hasher = UpdateHasher(3, 7)
    with store.receive() as incoming:
        asyncio.run(receive_bytes(content, incoming, hasher, limit_bytes, lambda: WrongLengthError("too long")))
        store.keep(incoming, hasher.commitment, 7)
    return hasher.commitment


@pytest.mark.parametrize("piece_bytes", [4096, 2**18, len(BODY)])
def test_what_comes_is_kept_under_its_commitment(tmp_path: Path, piece_bytes: int):
    store = DiskBlobStore(tmp_path, 10**7)
    name = receive(store, Content(piece_bytes), len(BODY))
    assert name == commit_to_update(3, 7, BODY)
    assert store.get(name) == BODY


def test_what_is_too_long_is_refused_at_once_and_leaves_nothing(tmp_path: Path):
    store, content = DiskBlobStore(tmp_path, 10**7), Content(2**18)
    with pytest.raises(WrongLengthError, match="too long"):
        receive(store, content, 2**20)
    assert content.taken_bytes == 2**20 + 2**18
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
