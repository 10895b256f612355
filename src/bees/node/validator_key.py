"""The key with which a server's CometBFT votes, when it is replaced: made beside the old one, then put in its place.

The record of the votes that were cast stays where it is. Only which key casts the next one changes.
"""

from __future__ import annotations

import json
import os
from base64 import b64decode
from typing import TYPE_CHECKING

from bees.core.errors import InputError, KeyFileError, StorageError
from bees.core.keys import PUBLIC_KEY_BYTES
from bees.engines.disk import explain
from bees.key_file import named_public_key
from bees.node.comet import VALIDATOR_KEY, CometKey, read_key, validator_document, write_private

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bees.ledger.membership import ValidatorChange

_LARGEST_FILE_BYTES = 1 << 20


def write_validator_key(path: Path, seed: bytes) -> CometKey:
    """Write a validator's key into a new file of mode 0600, as CometBFT has it.

    Args:
        path: must not exist.
        seed: 32 secret bytes.

    Raises:
        KeyFileError: the path exists, or cannot be written.
    """
    key = CometKey.from_seed(seed)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            os.fchmod(descriptor, 0o600)
            file.write(validator_document(key))
            file.flush()
            os.fsync(descriptor)
    except FileExistsError:
        raise KeyFileError(str(path), "exists already, and a key is never overwritten: choose another name") from None
    except OSError as error:
        raise KeyFileError(str(path), f"cannot be written: {error.strerror}") from error
    return key


def installed_key(home: Path) -> CometKey:
    """With which a CometBFT votes.

    Raises:
        KeyFileError: it cannot be read.
    """
    return read_key(home / VALIDATOR_KEY)


def install_key(home: Path, key: CometKey) -> None:
    """Have a CometBFT that does not run vote with this key from its next start on.

    Raises:
        StorageError: it cannot be written; then the old one is still in place.
    """
    try:
        write_private(home / VALIDATOR_KEY, validator_document(key))
    except OSError as error:
        raise StorageError(str(home), explain(error)) from error


def named_validator(option: str, text: str) -> bytes:
    """The public key of a validator: its digits, a file of them that ends in ``.pub``, or CometBFT's file of the key.

    Raises:
        InputError: it is none; ``option`` is named.
        KeyFileError: the file of a private key cannot be read.
    """
    from pathlib import Path  # noqa: PLC0415  # else only needed by the type checker

    if text.endswith(".json"):
        return read_key(Path(text)).public_key
    return named_public_key(option, text)


def founding_validators(path: Path) -> tuple[bytes, ...]:
    """The public keys in CometBFT's ``genesis.json``, in the order of the servers.

    Raises:
        InputError: it cannot be read, or names none.
    """
    try:
        with path.open("rb") as file:
            listed = json.loads(file.read(_LARGEST_FILE_BYTES))["validators"]
        keys = tuple(b64decode(one["pub_key"]["value"], validate=True) for one in listed)
    except OSError as error:
        raise InputError(str(path), f"cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, RecursionError):
        keys = ()
    if not keys or any(len(key) != PUBLIC_KEY_BYTES for key in keys):
        raise InputError(str(path), "names no validators: it should be CometBFT's config/genesis.json")
    return keys


def validator_now(founder: bytes, changes: Sequence[ValidatorChange]) -> bytes | None:
    """The public key of a server's validator after these changes, or None where it was removed.

    Args:
        founder: its key in CometBFT's genesis.
        changes: of all servers, in order.
    """
    key: bytes | None = founder
    for change in changes:
        if change.old == key:
            key = change.new
    return key
