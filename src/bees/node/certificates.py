"""Commit certificates: servers sign the headers that CometBFT has decided, until more than 2N/3 have.

CometBFT's own commit proves an app hash in the next header only, and in its own encoding. A server's signature
under a *decided* BEES header says the same in ours: no two headers of one height are ever signed by a quorum, since
CometBFT decides one and an honest server signs no other. So a chain file needs no CometBFT to be audited.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING

import structlog

from bees.core.canonical import Record
from bees.engines.chain_file import typed_errors
from bees.ledger.block import Commit, CommitSignature, block_id, vote_bytes
from bees.ledger.genesis import Hash, Natural, Positive, Signature

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bees.core.keys import Signs
    from bees.ledger.block import Header, Verifier
    from bees.ledger.committee import Committee

CERTIFIED_ROUND = 0
"""The consensus round that a certificate names: CometBFT's own rounds are none of the auditor's affair."""
_HEIGHTS_AHEAD = 64
"""How far beyond its own height a server keeps the signatures of others; later ones are pulled when it is there."""
_PRUNED_EVERY = 256

_log = structlog.get_logger(__name__)


class HeaderSignature(Record, frozen=True):
    """One server says that a block is decided.

    Attributes:
        height: of the block.
        block_id: hash of its header.
        server: who signs.
        signature: under ``vote_bytes(chain_id, height, 0, "precommit", block_id)``.
    """

    height: Positive
    block_id: Hash
    server: Natural
    signature: Signature


def sign_header(header: Header, server: int, key: Signs) -> HeaderSignature:
    """The server's signature under a decided header."""
    name = block_id(header)
    message = vote_bytes(header.chain_id, header.height, CERTIFIED_ROUND, "precommit", name)
    return HeaderSignature(header.height, name, server, key.sign(message))


def is_authentic(chain_id: bytes, committee: Committee, signature: HeaderSignature, verify: Verifier) -> bool:
    """Whether the server that it names has signed it, and counts."""
    key = committee.key(signature.server)
    message = vote_bytes(chain_id, signature.height, CERTIFIED_ROUND, "precommit", signature.block_id)
    return key is not None and verify(key, message, signature.signature)


def signatures_of(commit: Commit) -> list[HeaderSignature]:
    """A certificate, taken apart again."""
    return [HeaderSignature(commit.height, commit.block_id, vote.server, vote.signature) for vote in commit.signatures]


class SignedHeaders:
    """What this server has signed, on disk before it leaves: one header per height, also after a crash.

    Any thread may use it, and ``close`` waits for who does.

    Attributes:
        path: an SQLite file of its own.
    """

    def __init__(self, path: Path) -> None:
        """Open the file, or make it.

        Raises:
            StorageError: it cannot be written.
        """
        self.path = path
        with typed_errors(path):
            self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = FULL")
            self._connection.execute(
                "CREATE TABLE IF NOT EXISTS signed(height INTEGER PRIMARY KEY, block_id BLOB NOT NULL) STRICT"
            )
            row = self._connection.execute("SELECT max(height) FROM signed").fetchone()
        self._highest: int = row[0] or 0
        self._lock = Lock()

    def may_sign(self, height: int, name: bytes) -> bool:
        """Whether this header may be signed: it was before, or none of its height or of a later one was.

        Of a height whose record is gone, because it was certified long ago, nothing is signed again; nor of one for
        which this server has signed a wrong header, before it was put right.

        Raises:
            StorageError: the file cannot be read.
        """
        if height > self._highest:
            return True
        with self._lock, typed_errors(self.path):
            row = self._connection.execute("SELECT block_id FROM signed WHERE height = ?", (height,)).fetchone()
        if row is not None and row[0] != name:
            _log.error("not signed: this server has signed another header before", height=height)
        return row is not None and row[0] == name

    def remember(self, height: int, name: bytes) -> None:
        """Write down that a header is about to be signed.

        Raises:
            StorageError: it cannot be written; then nothing may be signed.
        """
        if height <= self._highest:
            return
        with self._lock, typed_errors(self.path):
            self._connection.execute("INSERT INTO signed VALUES(?, ?)", (height, name))
        self._highest = height

    def forget(self, certified: int) -> None:
        """Drop what a certificate has taken the place of, now and then; the newest height always stays."""
        if certified % _PRUNED_EVERY == 0:
            with self._lock, typed_errors(self.path):
                self._connection.execute(
                    "DELETE FROM signed WHERE height <= ? AND height < ?", (certified, self._highest)
                )

    def close(self) -> None:
        """Let go of the file.

        Raises:
            StorageError: the disk fails.
        """
        with self._lock, typed_errors(self.path), closing(self._connection):
            pass


@dataclass
class Collector:
    """The signatures that are gathered for the headers which are not certified yet.

    It keeps one signature of each server and height within a window, so that a liar cannot fill it.

    Attributes:
        chain_id: of the genesis.
        committee: the servers that sign the next header to be decided, as far as is known.
        verify: tells whether a (public key, message, signature) is valid.
    """

    chain_id: bytes
    committee: Committee
    verify: Verifier
    _heard: dict[int, dict[int, HeaderSignature]] = field(default_factory=dict[int, dict[int, HeaderSignature]])
    _decided: dict[int, tuple[bytes, Committee]] = field(default_factory=dict[int, "tuple[bytes, Committee]"])

    def decide(self, header: Header, committee: Committee) -> None:
        """From now on, count the signatures of this height for this header.

        Args:
            header: that is decided.
            committee: the servers that count in the state before it.
        """
        if committee != self.committee:
            self.committee = committee
            self._drop_forgeries(header.height)
        self._decided[header.height] = block_id(header), committee

    def take(self, signature: HeaderSignature, certified: int, height: int) -> bool:
        """Keep a signature, if it is of use.

        Args:
            signature: from anybody.
            certified: the last height with a certificate.
            height: the last height that is decided here.

        Returns:
            Whether it is kept: it is authentic, in the window, and says something new.
        """
        if not certified < signature.height <= height + _HEIGHTS_AHEAD:
            return False
        of_height = self._heard.setdefault(signature.height, {})
        known, (name, committee) = of_height.get(signature.server), self._expected(signature.height)
        if known is not None and (known.block_id == signature.block_id or signature.block_id != name):
            return False
        if not is_authentic(self.chain_id, committee, signature, self.verify):
            return False
        of_height[signature.server] = signature
        return True

    def held(self, height: int) -> list[HeaderSignature]:
        """What is gathered for a height, ascending by server."""
        return [signature for _, signature in sorted(self._heard.get(height, {}).items())]

    def certificate(self, height: int) -> Commit | None:
        """The commit of a decided height, once more than 2N/3 servers have signed its header."""
        name, committee = self._expected(height)
        votes = [s for s in self.held(height) if s.block_id == name]
        if name is None or len(votes) < committee.quorum:
            return None
        return Commit(height, CERTIFIED_ROUND, name, tuple(CommitSignature(s.server, s.signature) for s in votes))

    def are_too_many(self, height: int, dissenters: Sequence[int]) -> bool:
        """Whether so many servers have signed another header that no certificate can come for the one decided here."""
        _, committee = self._expected(height)
        return len(dissenters) > len(committee.members) - committee.quorum

    def dissenters(self, height: int) -> tuple[int, ...]:
        """Servers that have signed another header than the one which is decided here."""
        name, _ = self._expected(height)
        return tuple(s.server for s in self.held(height) if name is not None and s.block_id != name)

    def forget(self, certified: int) -> None:
        """Drop what is certified."""
        for height in [h for h in self._heard if h <= certified]:
            del self._heard[height]
        for height in [h for h in self._decided if h <= certified]:
            del self._decided[height]

    def _expected(self, height: int) -> tuple[bytes | None, Committee]:
        return self._decided.get(height, (None, self.committee))

    def _drop_forgeries(self, first_height: int) -> None:
        """Signatures of headers to come were checked with keys that do not count any more."""
        for height, of_height in self._heard.items():
            if height >= first_height:
                for signature in list(of_height.values()):
                    if not is_authentic(self.chain_id, self.committee, signature, self.verify):
                        del of_height[signature.server]
