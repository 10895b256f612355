"""What a participant has signed, on disk before the signature leaves it: a SQLite file that survives kill -9.

A ``Signer`` asks it before it signs. Beside the digest of each answer it keeps the answer itself for some rounds, so
that a participant that restarts says the same again instead of nothing.
"""

from __future__ import annotations

import sqlite3
from threading import Lock
from typing import TYPE_CHECKING, Self

from bees.core.canonical import decode
from bees.core.errors import DoubleSignError
from bees.engines.chain_file import typed_errors
from bees.ledger.transactions import Signed

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from bees.protocol.signer import RoundDuty

ROUNDS_KEPT = 1000
"""Rounds of which digests are kept. For older ones the journal lets nothing be signed at all."""
_ANSWERS_KEPT = 3

_SCHEMA = """
CREATE TABLE IF NOT EXISTS duty(kind TEXT NOT NULL, round INTEGER NOT NULL, digest BLOB NOT NULL,
  PRIMARY KEY(kind, round)) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS answer(kind TEXT NOT NULL, round INTEGER NOT NULL, signed BLOB NOT NULL,
  PRIMARY KEY(kind, round)) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS floor(id INTEGER PRIMARY KEY CHECK(id = 0), round INTEGER NOT NULL) STRICT;
INSERT OR IGNORE INTO floor VALUES(0, 0);
"""


class DiskJournal:
    """A ``Journal`` for ``bees.protocol.signer.Signer``. Use it as a context manager.

    Only one process may have it open: two that sign with one key could sign twice.

    Args:
        path: of the file, made if it is not there.

    Raises:
        StorageError: it cannot be written, or another process has it.
        ChainFileError: it is another kind of file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = Lock()
        with typed_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=1)
            try:
                self._connection.execute("PRAGMA locking_mode = EXCLUSIVE")
                self._connection.execute("PRAGMA journal_mode = WAL")
                self._connection.execute("PRAGMA synchronous = FULL")
                self._connection.executescript(_SCHEMA)
                self._floor = int(self._connection.execute("SELECT round FROM floor").fetchone()[0])
                # The lock is taken by the first write, and kept until the end.
                self._connection.execute("UPDATE floor SET round = round")
            except (sqlite3.Error, TypeError):
                self._connection.close()
                raise

    def signed_for(self, duty: RoundDuty) -> bytes | None:
        """Digest of what was signed for the duty, or None.

        Raises:
            DoubleSignError: the round is so old that the journal has forgotten what was signed in it.
        """
        kind, round_ = duty
        if round_ < self._floor:
            raise DoubleSignError(kind, round_)
        return self._one("SELECT digest FROM duty WHERE kind = ? AND round = ?", duty)

    def remember(self, duty: RoundDuty, digest_: bytes) -> None:
        """Write the digest down; it is on disk when this returns."""
        _, round_ = duty
        with self._lock, typed_errors(self.path), self._connection as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("INSERT INTO duty VALUES(?, ?, ?)", (*duty, digest_))
            floor = max(self._floor, round_ - ROUNDS_KEPT)
            if floor > self._floor:
                connection.execute("UPDATE floor SET round = ?", (floor,))
                connection.execute("DELETE FROM duty WHERE round < ?", (floor,))
        self._floor = floor

    def answer(self, duty: RoundDuty) -> Signed | None:
        """What was answered to a duty of the last rounds, or None."""
        data = self._one("SELECT signed FROM answer WHERE kind = ? AND round = ?", duty)
        return None if data is None else decode(data, Signed)

    def keep_answer(self, duty: RoundDuty, signed: Signed) -> None:
        """Keep an answer, to send it again after a restart."""
        with self._lock, typed_errors(self.path), self._connection as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("INSERT OR REPLACE INTO answer VALUES(?, ?, ?)", (*duty, signed.encoding))
            connection.execute("DELETE FROM answer WHERE round < ?", (duty[1] - _ANSWERS_KEPT,))

    def close(self) -> None:
        """Let go of the file."""
        with self._lock, typed_errors(self.path):
            self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _one(self, query: str, duty: RoundDuty) -> bytes | None:
        with self._lock, typed_errors(self.path):
            row = self._connection.execute(query, duty).fetchone()
        return row[0] if row else None
