"""The chain that somebody names on the command line: a run's folder, a chain file, or a signed genesis alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bees.core.canonical import decode
from bees.core.errors import CodecError, InputError, LedgerError
from bees.engines.standing import Standing, standing_of_file
from bees.ledger.genesis import SignedGenesis, check_genesis
from bees.run_folder import CHAIN

if TYPE_CHECKING:
    from pathlib import Path

LARGEST_FILE_BYTES = 64 * 2**20
_SQLITE_MAGIC = b"SQLite format 3\0"


def read_standing(path: Path) -> Standing:
    """Where a chain stands. A chain file is replayed; a genesis alone is taken for a chain that has no blocks.

    Args:
        path: a run's folder, a chain file, or a file that ``bees genesis`` or ``bees prove --genesis-out`` has written.

    Raises:
        InputError: there is none, or not all servers have signed the genesis.
        ChainFileError: the chain file cannot be read.
        BeesError: a block in it is not right.
    """
    file = path / CHAIN if path.is_dir() else path
    if read_bounded(file, len(_SQLITE_MAGIC)) == _SQLITE_MAGIC:
        return standing_of_file(file)
    return Standing.at_genesis(genesis_of(str(path), read_bounded(file)))


def genesis_of(source: str, data: bytes) -> SignedGenesis:
    """A signed genesis from its bytes.

    Raises:
        InputError: they are none, it contradicts itself, or not all servers have signed it; ``source`` is named.
    """
    try:
        signed = decode(data, SignedGenesis)
        check_genesis(signed)
    except CodecError as error:
        raise InputError(source, f"holds no genesis: {error}") from error
    except LedgerError as error:
        raise InputError(source, str(error)) from error
    return signed


def read_bounded(path: Path, limit: int = LARGEST_FILE_BYTES) -> bytes:
    """The first bytes of a file.

    Raises:
        InputError: it is no file, or cannot be read.
    """
    if not path.is_file():
        raise InputError(str(path), "there is no such file")
    try:
        with path.open("rb") as file:
            return file.read(limit)
    except OSError as error:
        raise InputError(str(path), f"cannot be read: {error.strerror}") from error
