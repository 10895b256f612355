"""The genesis as a file: read in the same way by servers, devices and whoever drafts one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bees.core.canonical import decode
from bees.core.errors import CodecError, InputError
from bees.ledger.genesis import SignedGenesis

if TYPE_CHECKING:
    from pathlib import Path


def read_genesis_file(path: Path) -> SignedGenesis:
    """A genesis, signed by all or not: ``bees.ledger.genesis.check_genesis`` tells.

    Raises:
        InputError: it cannot be read, or is no genesis.
    """
    try:
        return decode(path.read_bytes(), SignedGenesis)
    except OSError as error:
        raise InputError(str(path), f"cannot be read: {error.strerror}") from None
    except CodecError as error:
        raise InputError(str(path), f"is no genesis: {error}") from None
