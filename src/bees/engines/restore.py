"""Goes on with a chain that was stopped: every replica takes the blocks of a chain file in again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bees.engines.audit import iter_chain
from bees.engines.chain_file import ChainReader
from bees.ledger.transactions import Publish

if TYPE_CHECKING:
    from pathlib import Path

    from bees.engines.audit import ChainEntry
    from bees.engines.blobs import BlobStore
    from bees.engines.embedded import EmbeddedEngine


def restore(path: Path, engine: EmbeddedEngine, blobs: BlobStore) -> int:
    """Bring an engine that stands at genesis to the end of a chain file.

    Every block is checked and executed as when it was new. Writing can then go on with ``ChainWriter.resume``.

    Args:
        path: the chain file.
        engine: started from the same genesis.
        blobs: the store that the engine's contract runners read from; the updates that contracts read are put
            into it, each until its round is over.

    Returns:
        Number of blocks.

    Raises:
        ChainFileError: the file cannot be read.
        BlockError: a block in it is not right.
        MissingBlobError: an update is not in the file, or ``blobs`` is not what the runners read from.
    """
    with ChainReader(path) as reader:
        for entry in iter_chain(path):
            _put_what_is_read(reader, entry, blobs)
            committed = engine.catch_up(entry.block, entry.commit)
            blobs.prune(committed.state.round - 1)
    return engine.state.height


def _put_what_is_read(reader: ChainReader, entry: ChainEntry, blobs: BlobStore) -> None:
    published = [signed.body for signed in entry.block.batch.transactions if isinstance(signed.body, Publish)]
    named = [(device, body.round) for body in published for device in body.selected]
    for (device, round_), commitment in zip(named, entry.read, strict=False):
        data = reader.blob(commitment)
        # One that is missing is missed by the contract, with an error that names it.
        if data is not None:
            blobs.put(device, round_, data)
