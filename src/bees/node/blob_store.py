"""The bytes of updates on disk: a file each, in a folder for each round. Bounded, whole or absent, pruned by round.

Any thread may use the store: a lock guards its list of updates, and is never held while the disk works. Each
``IncomingBlob`` belongs to whoever receives it, and is used by one thread at a time.
"""

from __future__ import annotations

import shutil
import threading
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING, BinaryIO, cast

from bees.core.errors import StorageError
from bees.engines.chain_file import typed_errors
from bees.engines.disk import sync_file, sync_folder
from bees.ledger.commitments import commit_to_update

if TYPE_CHECKING:
    from collections.abc import Generator

_INCOMING = "incoming"


class IncomingBlob:
    """Bytes on their way into the store.

    Attributes:
        path: where they are for now.
        size: how many have come.
    """

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self.path = path
        self.size = 0
        self._file = file

    def write(self, chunk: bytes) -> None:
        """Append.

        Raises:
            StorageError: the disk is full or fails.
        """
        with typed_errors(self.path):
            self._file.write(chunk)
        self.size += len(chunk)

    def sync(self) -> None:
        """Have what has come survive a power cut.

        Raises:
            StorageError: the disk is full or fails.
        """
        with typed_errors(self.path):
            sync_file(self._file)

    def close(self) -> None:
        """Let go of the file, and remove it unless it was kept.

        Raises:
            StorageError: the disk fails.
        """
        with typed_errors(self.path):
            try:
                self._file.close()
            finally:
                self.path.unlink(missing_ok=True)


class DiskBlobStore:
    """Updates by commitment.

    Args:
        folder: made if it is not there; what a crash has left half written in it is removed.
        limit_bytes: of all updates together.

    Raises:
        StorageError: the folder cannot be used.
    """

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self.folder = folder
        self.limit_bytes = limit_bytes
        self._rounds: dict[bytes, int] = {}
        self._sizes: dict[bytes, int] = {}
        self._lock = threading.Lock()
        with typed_errors(folder):
            shutil.rmtree(folder / _INCOMING, ignore_errors=True)
            (folder / _INCOMING).mkdir(parents=True)
            for path in folder.glob("*/*"):
                self._note(path)

    @property
    def size_bytes(self) -> int:
        """Of all updates together."""
        with self._lock:
            return sum(self._sizes.values())

    def __len__(self) -> int:
        return len(self._rounds)

    def __contains__(self, commitment: bytes) -> bool:
        return commitment in self._rounds

    def commitments(self) -> tuple[bytes, ...]:
        """Of all updates that are here."""
        with self._lock:
            return tuple(self._rounds)

    def round_of(self, commitment: bytes) -> int | None:
        """The round of an update that is here, or None."""
        return self._rounds.get(commitment)

    def get(self, commitment: bytes) -> bytes | None:
        """The bytes, or None."""
        round_ = self._rounds.get(commitment)
        if round_ is None:
            return None
        path = self._path(commitment, round_)
        try:
            return path.read_bytes()
        except FileNotFoundError:
            self._forget(commitment)
            return None
        except OSError as error:
            raise StorageError(str(path), str(error)) from error

    def put(self, device: int, round_: int, data: bytes) -> bytes:
        """Keep an update, and return its commitment.

        Raises:
            StorageError: the limit is reached, or the disk fails.
        """
        commitment = commit_to_update(device, round_, data)
        with self.receive() as incoming:
            incoming.write(data)
            self.keep(incoming, commitment, round_)
        return commitment

    @contextmanager
    def receive(self) -> Generator[IncomingBlob]:
        """A file that takes bytes as they come; unless it is kept in time, it is removed.

        Raises:
            StorageError: the disk is full or fails.
        """
        # Only what the disk says is typed here: bytes come from a network, whose failures are OSErrors as well.
        with typed_errors(self.folder):
            file = NamedTemporaryFile(dir=self.folder / _INCOMING, delete=False)  # noqa: SIM115  # closed below
        incoming = IncomingBlob(Path(file.name), cast("BinaryIO", file))
        try:
            yield incoming
        finally:
            incoming.close()

    def keep(self, incoming: IncomingBlob, commitment: bytes, round_: int, *, beyond_limit: bool = False) -> None:
        """Have received bytes survive a power cut, and give them their name.

        Args:
            incoming: the bytes.
            commitment: their name.
            round_: t.
            beyond_limit: keep them although the limit is reached, since the chain cannot go on without them.

        Raises:
            StorageError: the limit is reached, or the disk fails.
        """
        if commitment in self._rounds:
            return
        with self._room_for(commitment, incoming.size, beyond_limit=beyond_limit):
            path = self._path(commitment, round_)
            incoming.sync()
            with typed_errors(path.parent):
                path.parent.mkdir(exist_ok=True)
                incoming.path.rename(path)
                sync_folder(path.parent)
            self._rounds[commitment] = round_

    def prune(self, last_round: int) -> int:
        """Forget the updates of rounds up to ``last_round``; returns how many.

        What contracts read stays in the chain file; all else is not needed to replay the chain.
        """
        with self._lock:
            doomed = [(name, round_) for name, round_ in self._rounds.items() if round_ <= last_round]
        for commitment, round_ in doomed:
            path = self._path(commitment, round_)
            with typed_errors(path), suppress(FileNotFoundError):
                path.unlink()
            self._forget(commitment)
        for home in self.folder.glob("[0-9]*"):
            if int(home.name) <= last_round:
                with suppress(OSError):
                    home.rmdir()
        return len(doomed)

    @contextmanager
    def _room_for(self, commitment: bytes, size: int, *, beyond_limit: bool) -> Generator[None]:
        """Room for an update while it is given its name, so that two at once do not take the same."""
        with self._lock:
            if not beyond_limit and sum(self._sizes.values()) + size > self.limit_bytes:
                problem = f"its limit of {self.limit_bytes} bytes is reached; raise storage.blob_limit_mb in node.toml"
                raise StorageError(str(self.folder), problem)
            self._sizes[commitment] = size
        try:
            yield
        finally:
            with self._lock:
                if commitment not in self._rounds:
                    self._sizes.pop(commitment, None)

    def _forget(self, commitment: bytes) -> None:
        with self._lock:
            self._rounds.pop(commitment, None)
            self._sizes.pop(commitment, None)

    def _path(self, commitment: bytes, round_: int) -> Path:
        return self.folder / f"{round_:012d}" / commitment.hex()

    def _note(self, path: Path) -> None:
        """Take a file of an earlier life in; whoever reads it checks it against its name."""
        with suppress(ValueError):
            commitment, round_ = bytes.fromhex(path.name), int(path.parent.name)
            self._rounds[commitment], self._sizes[commitment] = round_, path.stat().st_size
