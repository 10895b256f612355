"""What the disk does is told apart from what a chain file holds."""

from __future__ import annotations

import errno
import os
import sqlite3
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from crashes import write_and_crash

from bees.core.errors import ChainFileError, StorageError
from bees.engines.audit import verify_chain
from bees.engines.chain_file import ChainReader, typed_errors
from bees.engines.disk import explain, explain_sqlite
from bees.engines.restore import restore

if TYPE_CHECKING:
    from small_world import World

DISK_CODES = (
    sqlite3.SQLITE_IOERR_READ,
    sqlite3.SQLITE_IOERR_FSYNC,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_NOMEM,
)
CONTENT_CODES = (
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_CONSTRAINT,
    sqlite3.SQLITE_ERROR,
    sqlite3.SQLITE_IOERR_SHORT_READ,
)


def complaint(code: int) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("a complaint")
    error.sqlite_errorcode = code
    return error


@pytest.mark.parametrize("code", DISK_CODES)
def test_what_the_disk_refuses_is_a_storage_error_with_a_fix(tmp_path: Path, code: int) -> None:
    with pytest.raises(StorageError, match=r"c\.db: a complaint; \w+") as caught, typed_errors(tmp_path / "c.db"):
        raise complaint(code)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("code", CONTENT_CODES)
def test_what_the_file_holds_is_a_chain_file_error(tmp_path: Path, code: int) -> None:
    with pytest.raises(ChainFileError) as caught, typed_errors(tmp_path / "c.db"):
        raise complaint(code)
    assert type(caught.value) is ChainFileError
    assert caught.value.exit_code == 1


def test_a_complaint_of_python_itself_is_no_disk_failure() -> None:
    assert explain_sqlite(sqlite3.ProgrammingError("closed")) is None


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EIO, errno.EFBIG, errno.ENOTDIR])
def test_each_common_refusal_comes_with_a_fix(number: int) -> None:
    assert explain(OSError(number, "no")).startswith("no; ")


def test_a_refusal_without_a_fix_is_told_as_it_is() -> None:
    assert explain(OSError(errno.EISDIR, "Is a directory")) == "Is a directory"
    assert explain(OSError("odd")) == "odd"


def test_no_room_for_a_copy_says_nothing_of_the_chain(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "chain.db"
    write_and_crash(world, path)
    assert verify_chain(path, world.machine).valid
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "file"))
    with pytest.raises(StorageError, match="a file stands where a folder is needed"):
        verify_chain(path, world.machine)


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="this system knows no users")
def test_a_file_that_may_not_be_read_is_not_called_invalid(world: World) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = world.write_chain(Path(folder) / "chain.db").path
        Path(folder).chmod(0o755)
        path.chmod(0)
        with without_root(), pytest.raises(StorageError, match="may read and write"):
            verify_chain(path, world.machine)
        path.chmod(0o600)
        assert verify_chain(path, world.machine).valid


class without_root:  # noqa: N801  # reads as a word
    """For a while, be nobody in particular if we are root, to whom every file is open."""

    def __enter__(self) -> None:
        self._is_root = os.geteuid() == 0
        if self._is_root:
            os.seteuid(65534)

    def __exit__(self, *_: object) -> None:
        if self._is_root:
            os.seteuid(0)


class FailingConnection:
    """A connection to a disk that fails after some statements."""

    def __init__(self, real: sqlite3.Connection, after: int) -> None:
        self._real, self._left = real, after

    def execute(self, *arguments: object) -> sqlite3.Cursor:
        self._left -= 1
        if self._left < 0:
            raise complaint(sqlite3.SQLITE_IOERR_READ)
        return self._real.execute(*arguments)  # type: ignore[arg-type]


STATEMENTS_OF_AN_AUDIT = 13


@pytest.mark.parametrize("after", range(STATEMENTS_OF_AN_AUDIT))
def test_a_disk_that_fails_at_any_statement_yields_no_verdict(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    path = world.write_chain(tmp_path / "chain.db").path
    open_reader = ChainReader.__init__

    def open_on_a_failing_disk(self: ChainReader, of: Path) -> None:
        open_reader(self, of)
        self._connection = FailingConnection(self._connection, after)  # type: ignore[assignment]

    monkeypatch.setattr(ChainReader, "__init__", open_on_a_failing_disk)
    with pytest.raises(StorageError, match="disk fails"):
        verify_chain(path, world.machine)


def test_a_resumed_run_leaves_no_copies_of_a_crashed_chain(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "chain.db"
    write_and_crash(world, path)
    spare = tmp_path / "spare"
    spare.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(spare))
    blocks = restore(path, world.engine(), world.blobs)
    next(blocks)
    assert not list(spare.iterdir())
