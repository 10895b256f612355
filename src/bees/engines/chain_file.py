"""The chain file: one SQLite database that holds all that is needed to replay a chain, and nothing else.

Each block is appended in one transaction with ``synchronous=FULL``: a crash at any byte loses nothing that was
committed. A new file gets its name when it holds its genesis, so that a file that is there can be gone on with.
Readers never write, not even beside the file.
"""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Self

from bees.core.canonical import decode, encode
from bees.core.errors import ChainFileError, CodecError, StorageError
from bees.engines.disk import explain, explain_sqlite, sync_folder
from bees.ledger.block import block_id
from bees.ledger.commitments import hash_model
from bees.ledger.genesis import SignedGenesis

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping
    from types import TracebackType

    from bees.ledger.block import Block, Commit

APPLICATION_ID = 0x62656573  # "bees"
SCHEMA_VERSION = 1

_LARGE_MODEL_BYTES, _LARGE_PAGE_BYTES = 10**6, 2**16
"""Updates of megabytes cost seven times the CPU time in SQLite's usual pages of 4 KiB: each page is a call or two."""

TABLES: Mapping[str, str] = {
    "genesis": "CREATE TABLE genesis(id INTEGER PRIMARY KEY CHECK(id = 0), genesis BLOB NOT NULL) STRICT",
    "block": 'CREATE TABLE block(height INTEGER PRIMARY KEY, block BLOB NOT NULL, "commit" BLOB NOT NULL) STRICT',
    "blob": "CREATE TABLE blob(commitment BLOB PRIMARY KEY NOT NULL, bytes BLOB NOT NULL) STRICT",
    "tip": "CREATE TABLE tip(id INTEGER PRIMARY KEY CHECK(id = 0), height INTEGER NOT NULL, block_id BLOB NOT NULL) STRICT",  # noqa: E501  # SQLite stores this spelling, and the audit compares it
}


@dataclass(frozen=True)
class StoredBlock:
    """A row of the chain file, as it stands there.

    Attributes:
        height: its key.
        block: canonical bytes of the Block.
        commit: canonical bytes of the Commit.
    """

    height: int
    block: bytes
    commit: bytes


class ChainWriter:
    """Appends blocks to a chain file. Use it as a context manager: closing leaves one file behind.

    Attributes:
        path: the file.
        height: of the last block.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection, height: int) -> None:
        self.path = path
        self.height = height
        self._connection = connection

    @classmethod
    def create(cls, path: Path, signed: SignedGenesis, initial_model: bytes) -> ChainWriter:
        """Start a chain file.

        Args:
            path: where there is no file yet.
            signed: the genesis.
            initial_model: words of w_g(0) as raw little-endian int32.

        Raises:
            ChainFileError: the file exists, or the words are not those of the genesis.
            StorageError: it cannot be written.
        """
        if path.exists():
            raise ChainFileError(str(path), "exists already; choose another name")
        if hash_model(initial_model) != signed.genesis.initial_model:
            raise ChainFileError(str(path), "the words of w_g(0) are not those that the genesis names")
        with typed_errors(path):
            _make(path, signed, initial_model)
            return cls(path, _connect_to_write(path), 0)

    @classmethod
    def resume(cls, path: Path) -> ChainWriter:
        """Go on with a chain file.

        Raises:
            ChainFileError: it is none.
            StorageError: it cannot be read or written.
        """
        with ChainReader(path) as reader:
            reader.check_schema()
            height = reader.tip()[0]
        with typed_errors(path):
            return cls(path, _connect_to_write(path), height)

    def append(self, block: Block, commit: Commit, blobs: Mapping[bytes, bytes]) -> None:
        """Append a block, its commit and the updates that the contract read in it, all or nothing.

        Args:
            block: the next one.
            commit: its quorum of precommits.
            blobs: bytes by commitment.

        Raises:
            ChainFileError: it is not the next block.
            StorageError: it cannot be written, such as to a full disk; the file is as it was before.
        """
        height = block.header.height
        if height != self.height + 1:
            raise ChainFileError(str(self.path), f"block {height} does not follow block {self.height}")
        with typed_errors(self.path), self._connection as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("INSERT INTO block VALUES(?, ?, ?)", (height, encode(block), encode(commit)))
            connection.executemany("INSERT INTO blob VALUES(?, ?)", blobs.items())
            connection.execute("UPDATE tip SET height = ?, block_id = ?", (height, block_id(block.header)))
        self.height = height

    def close(self) -> None:
        """Move everything into the one file, and let go of it.

        Raises:
            StorageError: the disk is full; the write-ahead log then stays beside the file, and nothing is lost.
        """
        with typed_errors(self.path):
            try:
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            finally:
                self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class ChainReader:
    """Reads a chain file, and changes nothing. Use it as a context manager.

    What it reads is as it stands in the file: ``bees.engines.audit`` says whether it is right.

    Attributes:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        """Open the file.

        Raises:
            ChainFileError: there is none, or it is not SQLite.
            StorageError: the disk does not let it be read, or holds no copy of it where a writer has crashed.
        """
        self.path = path
        self._open = ExitStack()
        with typed_errors(path):
            if not path.is_file():
                raise ChainFileError(str(path), "there is no such file")
            try:
                # "immutable" keeps SQLite from taking locks and from writing -wal and -shm files.
                uri = self._copied().as_uri() if _has_log(path) else f"{path.resolve().as_uri()}?mode=ro&immutable=1"
                connection = sqlite3.connect(uri, uri=True, isolation_level=None)
                self._connection = self._open.enter_context(closing(connection))
                _harden(self._connection)
            except (sqlite3.Error, OSError, MemoryError):
                self.close()
                raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        self._open.close()

    def check_schema(self) -> None:
        """Refuse a file with other tables than a chain file has.

        Raises:
            ChainFileError: naming what differs.
        """
        with typed_errors(self.path):
            if self._one("PRAGMA application_id") != APPLICATION_ID:
                raise ChainFileError(str(self.path), "is a database, but not a chain file")
            if self._one("PRAGMA user_version") != SCHEMA_VERSION:
                raise ChainFileError(str(self.path), f"its schema is not version {SCHEMA_VERSION}")
            found = self._connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_schema").fetchall()
        expected: set[tuple[str | None, ...]] = {("table", name, name, sql) for name, sql in TABLES.items()}
        expected.add(("index", "sqlite_autoindex_blob_1", "blob", None))
        for row in sorted(map(repr, set(found) ^ expected)):
            raise ChainFileError(str(self.path), f"its schema differs from a chain file's: {row}")

    def check_integrity(self) -> None:
        """Refuse a file that SQLite finds damaged, or whose rows are not what the tables promise.

        Raises:
            ChainFileError: the first thing found.
        """
        with typed_errors(self.path):
            found = self._one("PRAGMA integrity_check(1)")
        if found != "ok":
            raise ChainFileError(str(self.path), f"the database is damaged: {found}")

    def genesis(self) -> SignedGenesis:
        """The genesis.

        Raises:
            ChainFileError: there is none, or more than one, or it does not decode.
        """
        with typed_errors(self.path):
            rows = self._connection.execute("SELECT id, genesis FROM genesis").fetchall()
        if len(rows) != 1 or rows[0][0] != 0 or not isinstance(rows[0][1], bytes):
            raise ChainFileError(str(self.path), f"it needs one genesis, and has {len(rows)} rows of it")
        try:
            return decode(rows[0][1], SignedGenesis)
        except CodecError as error:
            raise ChainFileError(str(self.path), f"genesis: {error}") from error

    def blocks(self) -> Iterator[StoredBlock]:
        """The blocks by height, from 1 and without a gap.

        Raises:
            ChainFileError: a height is missing or a row is not readable; what came before was.
        """
        rows = self._rows('SELECT height, block, "commit" FROM block ORDER BY height')
        for expected, (height, block, commit) in enumerate(rows, start=1):
            if height != expected:
                raise ChainFileError(str(self.path), f"block {expected} is missing, block {height} comes next")
            if not isinstance(block, bytes) or not isinstance(commit, bytes):
                raise ChainFileError(str(self.path), f"block {height} is no bytes")
            yield StoredBlock(expected, block, commit)

    def blob(self, commitment: bytes) -> bytes | None:
        """The bytes stored under a commitment, or None."""
        with typed_errors(self.path):
            row = self._connection.execute("SELECT bytes FROM blob WHERE commitment = ?", (commitment,)).fetchone()
        return row[0] if row and isinstance(row[0], bytes) else None

    def blob_names(self) -> list[bytes]:
        """The commitments of all stored blobs.

        Raises:
            ChainFileError: one cannot be read.
        """
        with typed_errors(self.path):
            return [name for (name,) in self._connection.execute("SELECT commitment FROM blob")]

    def tip(self) -> tuple[int, bytes]:
        """Height and id of the last block, as the file claims.

        Raises:
            ChainFileError: there is no such row, or more than one.
        """
        with typed_errors(self.path):
            rows = self._connection.execute("SELECT id, height, block_id FROM tip").fetchall()
        if len(rows) != 1 or rows[0][0] != 0 or not isinstance(rows[0][1], int):
            raise ChainFileError(str(self.path), f"it needs one tip, and has {len(rows)} rows of it")
        return rows[0][1], rows[0][2]

    def _rows(self, query: str) -> Iterator[tuple[object, ...]]:
        with typed_errors(self.path):
            cursor = self._connection.execute(query)
        while True:
            with typed_errors(self.path):
                row = cursor.fetchone()
            if row is None:
                return
            yield row

    def _one(self, query: str) -> object:
        row = self._connection.execute(query).fetchone()
        return row[0] if row else None

    def _copied(self) -> Path:
        """A copy of a file whose writer crashed, since reading its write-ahead log would change it."""
        target = Path(self._open.enter_context(TemporaryDirectory(prefix="bees-"))) / "chain.db"
        shutil.copyfile(self.path, target)
        shutil.copyfile(_log(self.path), _log(target))
        return target


def settle(path: Path) -> None:
    """Move what a crashed writer has left in its write-ahead log into the chain file, as only its next writer may.

    Raises:
        ChainFileError: it is no database.
        StorageError: it cannot be written.
    """
    with typed_errors(path):
        if _has_log(path):
            with closing(sqlite3.connect(path, isolation_level=None)) as connection:
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


@contextmanager
def typed_errors(path: Path) -> Generator[None]:
    """Turn whatever SQLite or the file system complains about into an error of ours.

    Raises:
        StorageError: it is about the disk or the memory of this machine.
        ChainFileError: it is about what the file holds.
    """
    try:
        yield
    except sqlite3.Error as error:
        problem = explain_sqlite(error)
        if problem is not None:
            raise StorageError(str(path), problem) from error
        raise ChainFileError(str(path), str(error) or type(error).__name__) from error
    except OSError as error:
        raise StorageError(str(path), explain(error)) from error
    except MemoryError as error:
        raise StorageError(str(path), "this machine has no memory left for it") from error
    except (OverflowError, UnicodeError) as error:
        raise ChainFileError(str(path), str(error)) from error


def _make(path: Path, signed: SignedGenesis, initial_model: bytes) -> None:
    """Make a file that holds its genesis from the moment that it is there under its name."""
    draft = path.with_name(f"{path.name}.draft")
    _discard(draft)
    try:
        with closing(sqlite3.connect(draft, isolation_level=None)) as connection:
            _fill(connection, signed, initial_model)
        draft.rename(path)
        sync_folder(path.parent)
    except (sqlite3.Error, OSError):
        _discard(draft)
        raise


def _discard(draft: Path) -> None:
    for leftover in (draft, draft.with_name(f"{draft.name}-journal")):
        leftover.unlink(missing_ok=True)


def _fill(connection: sqlite3.Connection, signed: SignedGenesis, initial_model: bytes) -> None:
    connection.execute("PRAGMA synchronous = FULL")
    if len(initial_model) >= _LARGE_MODEL_BYTES:
        connection.execute(f"PRAGMA page_size = {_LARGE_PAGE_BYTES}")
    with connection:
        connection.execute("BEGIN")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        for statement in TABLES.values():
            connection.execute(statement)
        connection.execute("INSERT INTO genesis VALUES(0, ?)", (encode(signed),))
        connection.execute("INSERT INTO blob VALUES(?, ?)", (signed.genesis.initial_model, initial_model))
        connection.execute("INSERT INTO tip VALUES(0, 0, ?)", (signed.genesis.chain_id,))


def _connect_to_write(path: Path) -> sqlite3.Connection:
    # A node appends in a thread of its own, and closes when that has ended.
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _harden(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA query_only = ON")
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA cell_size_check = ON")
    connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()


def _log(path: Path) -> Path:
    return path.with_name(path.name + "-wal")


def _has_log(path: Path) -> bool:
    log = _log(path)
    return log.is_file() and log.stat().st_size > 0
