"""What a disk may do to a file: be full, be read-only, fail, lose power. In words, and against the last."""

from __future__ import annotations

import errno
import os
import sqlite3
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from pathlib import Path

_FULL = "free some space; nothing that was committed is lost"
_RIGHTS = "change the rights, or choose another place"
_READ_ONLY = "choose a place that can be written"
_IN_THE_WAY = "a file stands where a folder is needed; choose another place"
_FIXES = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EFBIG: "raise the limit on file sizes (ulimit -f); nothing that was committed is lost",
    errno.EACCES: _RIGHTS,
    errno.EPERM: _RIGHTS,
    errno.EROFS: _READ_ONLY,
    errno.ENOTDIR: _IN_THE_WAY,
    errno.EEXIST: _IN_THE_WAY,
    errno.EIO: "the disk fails; save what you can",
}
_SQLITE_FIXES = {
    sqlite3.SQLITE_FULL: _FULL,
    sqlite3.SQLITE_READONLY: _READ_ONLY,
    sqlite3.SQLITE_PERM: _RIGHTS,
    sqlite3.SQLITE_CANTOPEN: "see that its folder is there and that you may read and write in it",
    sqlite3.SQLITE_IOERR: "the disk fails, or a limit on file sizes is reached; nothing that was committed is lost",
    sqlite3.SQLITE_BUSY: "another process is writing it; wait for its end",
    sqlite3.SQLITE_LOCKED: "another process is writing it; wait for its end",
    sqlite3.SQLITE_PROTOCOL: "another process is writing it; wait for its end",
    sqlite3.SQLITE_NOMEM: "this machine has no memory left",
}


def explain(error: OSError) -> str:
    """The reason of an operating system's refusal, and the fix where there is one."""
    reason, fix = error.strerror or str(error), _FIXES.get(error.errno or 0)
    return f"{reason}; {fix}" if fix else reason


def explain_sqlite(error: sqlite3.Error) -> str | None:
    """What the disk has refused SQLite, and the fix; None where the complaint is about the file's content."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_OK)  # Python's own complaints carry none
    # A file that ends too early is cut: that is content, however the disk is.
    fix = None if code == sqlite3.SQLITE_IOERR_SHORT_READ else _SQLITE_FIXES.get(code & 0xFF)
    return fix and f"{error}; {fix}"


def sync_file(file: BinaryIO) -> None:
    """Have everything that was written to a file survive a power cut."""
    file.flush()
    os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Have a folder's names survive a power cut, where the system lets one say so."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
