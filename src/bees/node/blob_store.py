"""The bytes of updates on disk: a file each, in a folder for each round. Bounded, whole or absent, pruned by round."""

from __future__ import annotations

import shutil
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
        with typed_errors(folder):
            shutil.rmtree(folder / _INCOMING, ignore_errors=True)
            (folder / _INCOMING).mkdir(parents=True)
            for path in folder.glob("*/*"):
                self._note(path)

    @property
    def size_bytes(self) -> int:
        """Of all updates together."""
        return sum(self._sizes.values())

    def __len__(self) -> int:
        return len(self._rounds)

    def __contains__(self, commitment: bytes) -> bool:
        return commitment in self._rounds

    def commitments(self) -> tuple[bytes, ...]:
        """Of all updates that are here."""
        return tuple(self._rounds)

    def round_of(self, commitment: bytes) -> int | None:
        """The round of an update that is here, or None."""
        return self._rounds.get(commitment)

    def get(self, commitment: bytes) -> bytes | None:
        """The bytes, or None."""
        if commitment not in self._rounds:
            return None
        try:
            return self._path(commitment).read_bytes()
        except FileNotFoundError:
            self._forget(commitment)
            return None
        except OSError as error:
            raise StorageError(str(self._path(commitment)), str(error)) from error

    def put(self, device: int, round_: int, data: bytes) -> bytes:
        """Keep an update, and return its commitment.

        Raises:
            StorageError: the limit is reached, or the disk fails.
        """
        commitment = commit_to_update(device, round_, data)
        with self.receive() as incoming:
            incoming.write(data)
            incoming.sync()
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
        """Give received and synced bytes their name.

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
        if not beyond_limit and self.size_bytes + incoming.size > self.limit_bytes:
            problem = f"its limit of {self.limit_bytes} bytes is reached; raise storage.blob_limit_mb in node.toml"
            raise StorageError(str(self.folder), problem)
        home = self.folder / f"{round_:012d}"
        with typed_errors(home):
            home.mkdir(exist_ok=True)
            incoming.path.rename(home / commitment.hex())
            sync_folder(home)
        self._rounds[commitment], self._sizes[commitment] = round_, incoming.size

    def prune(self, last_round: int) -> int:
        """Forget the updates of rounds up to ``last_round``; returns how many.

        What contracts read stays in the chain file; all else is not needed to replay the chain.
        """
        doomed = [commitment for commitment, round_ in self._rounds.items() if round_ <= last_round]
        for commitment in doomed:
            path = self._path(commitment)
            with typed_errors(path), suppress(FileNotFoundError):
                path.unlink()
            self._forget(commitment)
        for home in self.folder.glob("[0-9]*"):
            if int(home.name) <= last_round:
                with suppress(OSError):
                    home.rmdir()
        return len(doomed)

    def _forget(self, commitment: bytes) -> None:
        del self._rounds[commitment], self._sizes[commitment]

    def _path(self, commitment: bytes) -> Path:
        return self.folder / f"{self._rounds[commitment]:012d}" / commitment.hex()

    def _note(self, path: Path) -> None:
        """Take a file of an earlier life in; whoever reads it checks it against its name."""
        with suppress(ValueError):
            commitment, round_ = bytes.fromhex(path.name), int(path.parent.name)
            self._rounds[commitment], self._sizes[commitment] = round_, path.stat().st_size
