"""Bytes of an update on their way from a connection into the store: hashed and written beside the loop.

A full disk cache makes a write wait for the disk. On the loop, everybody would wait with it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aiohttp import StreamReader

    from bees.node.blob_store import IncomingBlob
    from bees.transport.update_hasher import UpdateHasher

_CHUNK_BYTES = 256 * 1024
_BATCH_BYTES = 2**20
"""Handed to a thread at once: less, and handing over costs more than the work; more, and memory fills."""


async def receive_bytes(
    content: StreamReader,
    incoming: IncomingBlob,
    hasher: UpdateHasher,
    limit_bytes: int,
    too_many: Callable[[], Exception],
) -> None:
    """Take in a whole body; ``DiskBlobStore.keep`` then has it stay.

    Args:
        content: of the body.
        incoming: where it goes; nobody else uses it meanwhile.
        hasher: is given the same bytes.
        limit_bytes: of the body.
        too_many: makes the error that is raised as soon as the body is longer.

    Raises:
        StorageError: the disk is full or fails.
    """
    batch: list[bytes] = []
    batch_bytes = total_bytes = 0
    async for chunk in content.iter_chunked(_CHUNK_BYTES):
        total_bytes += len(chunk)
        if total_bytes > limit_bytes:
            raise too_many()
        batch.append(chunk)
        batch_bytes += len(chunk)
        if batch_bytes >= _BATCH_BYTES:
            await asyncio.to_thread(_take, incoming, hasher, batch)
            batch, batch_bytes = [], 0
    await asyncio.to_thread(_take, incoming, hasher, batch)


def _take(incoming: IncomingBlob, hasher: UpdateHasher, batch: Sequence[bytes]) -> None:
    for chunk in batch:
        incoming.write(chunk)
        hasher.add(chunk)
