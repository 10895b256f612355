"""Goes on with a chain that was stopped: every replica takes the blocks of a chain file in again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bees.core.errors import ChainFileError
from bees.engines.audit import iter_chain
from bees.engines.chain_file import ChainReader, settle
from bees.ledger.transactions import Publish

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bees.engines.audit import ChainEntry
    from bees.engines.blobs import BlobStore
    from bees.engines.embedded import CommittedBlock, EmbeddedEngine


def restore(path: Path, engine: EmbeddedEngine, blobs: BlobStore) -> Iterator[CommittedBlock]:
    """Bring an engine that stands at genesis to the end of a chain file, block by block.

    Every block is checked and executed as when it was new. Writing can then go on with ``ChainWriter.resume``.

    Args:
        path: the chain file.
        engine: started from the same genesis.
        blobs: the store that the engine's contract runners read from; the updates that contracts read are put
            into it, each until its round is over.

    Yields:
        each block, when all replicas have taken it in.

    Raises:
        StorageError: the disk does not let the file be read, or its log be moved into it.
        ChainFileError: the file is damaged, or starts from another genesis.
        BlockError: a block in it is not right.
        MissingBlobError: an update is not in the file, or ``blobs`` is not what the runners read from.
    """
    # Reading beside a log would copy the file, and a run that is killed then would leave its copies behind.
    settle(path)
    with ChainReader(path) as reader:
        if reader.genesis().genesis.chain_id != engine.state.genesis.chain_id:
            raise ChainFileError(
                str(path), "starts from another genesis: the scenario, the data or a library has changed"
            )
        for entry in iter_chain(path):
            _put_what_is_read(reader, entry, blobs)
            committed = engine.catch_up(entry.block, entry.commit)
            yield committed
            blobs.prune(committed.state.round - 1)


def _put_what_is_read(reader: ChainReader, entry: ChainEntry, blobs: BlobStore) -> None:
    published = [signed.body for signed in entry.block.batch.transactions if isinstance(signed.body, Publish)]
    named = [(device, body.round) for body in published for device in body.selected]
    for (device, round_), commitment in zip(named, entry.read, strict=False):
        data = reader.blob(commitment)
        # One that is missing is missed by the contract, with an error that names it.
        if data is not None:
            blobs.put(device, round_, data)
