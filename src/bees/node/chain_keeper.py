"""The chain file of a running node: replayed at the start, appended to, and read for peers that lack something.

Three connections keep three users apart. The writer's belongs to a thread of its own, since a block with the updates
that it read may be hundreds of megabytes; the loop hands it one block at a time. ``blob`` has one that any thread may
use, behind a lock. What the loop reads itself, blocks and certificates, is small, and waits for neither.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING

from bees.core.canonical import decode
from bees.core.errors import ChainFileError, MissingBlobError
from bees.engines.blobs import ReadUpdates
from bees.engines.chain_file import ChainReader, ChainWriter, settle, typed_errors
from bees.ledger.block import Block, Commit, block_id, check_commit
from bees.ledger.replay import AuditedBlock, check_block
from bees.ledger.transactions import Publish
from bees.node.peers import WantedBlob

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from bees.ledger.application import Application
    from bees.ledger.block import Batch
    from bees.ledger.genesis import SignedGenesis


class ChainKeeper:
    """Keeps one chain file.

    Attributes:
        path: of the file.
        height: of the last block in the file, as far as the loop knows.
    """

    def __init__(self, path: Path, signed: SignedGenesis, initial_model: bytes) -> None:
        """Open the file, or make it.

        Args:
            path: of the file; its folder must exist.
            signed: the genesis.
            initial_model: words of w_g(0) as raw little-endian int32.

        Raises:
            ChainFileError: it is none, or of another genesis.
            StorageError: it cannot be read or written.
        """
        self.path = path
        if path.exists():
            settle(path)  # reading beside a crashed writer's log would copy the whole file
            with ChainReader(path) as reader:
                reader.check_schema()
                if reader.genesis().genesis.chain_id != signed.genesis.chain_id:
                    raise ChainFileError(str(path), "starts from another genesis; move it away")
            self._writer = ChainWriter.resume(path)
        else:
            self._writer = ChainWriter.create(path, signed, initial_model)
        self._read = ReadUpdates()
        self.height = self._writer.height
        self._thread = ThreadPoolExecutor(1, "chain file")
        self._blob_lock = threading.Lock()
        with typed_errors(path):
            self._reader, self._blob_reader = _connect_to_read(path), _connect_to_read(path)

    def replay(self, application: Application) -> Iterator[AuditedBlock]:
        """Bring an application that stands at genesis to the end of the file, checking every block and certificate.

        Raises:
            ChainFileError: a row is missing or does not decode.
            BlockError: a block is not right.
            MissingBlobError: an update that a contract must read is not in the file.
        """
        previous = application.state.genesis.chain_id
        for height in range(1, self.height + 1):
            stored = self.block(height)
            if stored is None:
                raise ChainFileError(str(self.path), f"block {height} is missing")
            block, commit = stored
            check_block(application, previous, block)
            check_commit(application.state.members.committee, block.header, commit, application.memo.verify)
            application.finalize_block(block.batch)
            application.commit()
            self._read.follow(block.batch)
            previous = block_id(block.header)
            yield AuditedBlock(block, commit, application.state)

    def follow(self, batch: Batch) -> tuple[WantedBlob, ...]:
        """The updates that the contract read in a block; ask once for each block, in their order."""
        published = [signed.body for signed in batch.transactions if isinstance(signed.body, Publish)]
        readers = [(device, body.round) for body in published for device in body.selected]
        names = self._read.follow(batch)
        return tuple(
            WantedBlob(name, device, round_, (), for_block=True)
            for name, (device, round_) in zip(names, readers, strict=True)
        )

    async def append(
        self, block: Block, commit: Commit, names: Iterable[bytes], read: Callable[[bytes], bytes | None]
    ) -> None:
        """Append the next block, its certificate, and the updates that the contract read in it, all or nothing.

        Cancelled, it may still be appended: ``close`` waits for it.

        Args:
            block: the next one.
            commit: its certificate.
            names: commitments of the updates.
            read: gives the bytes of an update, or None; called in the thread, one after the other.

        Raises:
            MissingBlobError: an update is not at hand; nothing was written.
            StorageError: the file cannot be written.
        """
        blobs = _Blobs(tuple(dict.fromkeys(names)), read)
        await asyncio.get_running_loop().run_in_executor(self._thread, self._writer.append, block, commit, blobs)
        self.height = block.header.height

    def block(self, height: int) -> tuple[Block, Commit] | None:
        """A block of the file with its certificate, or None.

        Raises:
            ChainFileError: it does not decode.
        """
        row = self._row('SELECT block, "commit" FROM block WHERE height = ?', height)
        return None if row is None else (decode(row[0], Block), decode(row[1], Commit))

    def commit(self, height: int) -> Commit | None:
        """The certificate of a block, or None."""
        row = self._row('SELECT "commit" FROM block WHERE height = ?', height)
        return None if row is None else decode(row[0], Commit)

    def blob(self, commitment: bytes) -> bytes | None:
        """The bytes of an update that a contract has read, or None. Any thread may ask."""
        with self._blob_lock, typed_errors(self.path):
            row = self._blob_reader.execute("SELECT bytes FROM blob WHERE commitment = ?", (commitment,)).fetchone()
        return None if row is None else row[0]

    def close(self) -> None:
        """Move everything into the one file, and let go of it, when a block that is being appended is in it.

        Raises:
            StorageError: the disk is full; nothing is lost.
        """
        self._thread.shutdown()
        with typed_errors(self.path), closing(self._reader), self._blob_lock, closing(self._blob_reader):
            pass
        self._writer.close()

    def _row(self, query: str, key: object) -> tuple[bytes, ...] | None:
        with typed_errors(self.path):
            return self._reader.execute(query, (key,)).fetchone()


class _Blobs(Mapping[bytes, bytes]):
    """Updates that are read when they are asked for: all of a block at once would fill the memory."""

    def __init__(self, names: tuple[bytes, ...], read: Callable[[bytes], bytes | None]) -> None:
        self._names, self._read = names, read

    def __getitem__(self, name: bytes) -> bytes:
        data = self._read(name)
        if data is None:
            raise MissingBlobError(name)
        return data

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def _connect_to_read(path: Path) -> sqlite3.Connection:
    # Where threads share one, a lock lets them in one by one.
    uri = f"{path.resolve().as_uri()}?mode=ro"
    return sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
