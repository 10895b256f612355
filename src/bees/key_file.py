"""Private keys on disk: one key per file, its 32-byte seed in hexadecimal, readable by its owner alone."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from bees.core.errors import InputError, KeyFileError
from bees.core.keys import PUBLIC_KEY_BYTES, SigningKey

SEED_BYTES = 32
PUBLIC_SUFFIX = ".pub"
"""Of a file with the digits of a public key, as ``bees keys show`` prints them."""
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_LONGEST_BYTES = 2 * SEED_BYTES + 1
"""The digits and a line break."""


def write_key_file(path: Path, seed: bytes) -> SigningKey:
    """Write a new key file of mode 0600, and return its key.

    Args:
        path: must not exist.
        seed: 32 secret bytes.

    Raises:
        KeyFileError: the path exists or cannot be written, or the seed has another length.
    """
    if len(seed) != SEED_BYTES:
        raise KeyFileError(str(path), f"a seed has {SEED_BYTES} bytes, not {len(seed)}")
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "wb") as file:  # noqa: PTH123  # a descriptor has no path
            # Whatever the umask takes away, the owner can read it.
            os.fchmod(descriptor, 0o600)
            file.write(seed.hex().encode() + b"\n")
            file.flush()
            os.fsync(descriptor)
    except FileExistsError:
        raise KeyFileError(str(path), "exists already, and a key is never overwritten: choose another name") from None
    except OSError as error:
        raise KeyFileError(str(path), f"cannot be written: {error.strerror}") from error
    return SigningKey.from_seed(seed)


def read_key_file(path: Path) -> SigningKey:
    """The key in a file that only its owner may read.

    Raises:
        KeyFileError: it cannot be read, others may read it, or it holds something else. What it holds is never told.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # a pipe would wait for its writer
        with open(descriptor, "rb") as file:  # noqa: PTH123  # a descriptor has no path
            mode = os.fstat(descriptor).st_mode
            text = file.read(_LONGEST_BYTES + 1) if stat.S_ISREG(mode) else b""
    except OSError as error:
        raise KeyFileError(str(path), f"cannot be read as a key: {error.strerror}") from error
    if not stat.S_ISREG(mode):
        raise KeyFileError(str(path), "is no file, so it cannot be a key")
    if mode & _OTHERS:
        raise KeyFileError(str(path), f"others may read it (mode {stat.S_IMODE(mode):04o}): chmod 600 {path}")
    return SigningKey.from_seed(_seed(path, text))


def named_public_key(option: str, text: str) -> bytes:
    """The public key that somebody names: its digits, a file of them that ends in ``.pub``, or a private key's file.

    The suffix keeps a private key, which has as many digits, from being taken for a public one.

    Raises:
        InputError: the digits are no key; ``option`` is named.
        KeyFileError: the private key's file cannot be read.
    """
    path = Path(text)
    if path.suffix == PUBLIC_SUFFIX:
        try:
            return read_public_key(option, path.read_text("ascii").strip())
        except (OSError, ValueError) as error:
            raise InputError(str(path), f"cannot be read as a public key: {error}") from error
    if len(text) == 2 * PUBLIC_KEY_BYTES and not path.exists():
        return read_public_key(option, text)
    return read_key_file(path).public_key


def read_public_key(source: str, digits: str) -> bytes:
    """A public key from its hexadecimal digits.

    Raises:
        InputError: they are none; ``source`` is named.
    """
    try:
        key = bytes.fromhex(digits)
    except ValueError:
        key = b""
    if len(key) != PUBLIC_KEY_BYTES:
        raise InputError(source, f"{digits[:80]!r} is no public key: `bees keys show` prints one")
    return key


def _seed(path: Path, text: bytes) -> bytes:
    digits = text.removesuffix(b"\n")
    try:
        seed = bytes.fromhex(digits.decode("ascii")) if len(digits) == 2 * SEED_BYTES else b""
    except ValueError:
        seed = b""
    if len(seed) != SEED_BYTES:
        raise KeyFileError(str(path), f"holds no key: a key is {2 * SEED_BYTES} hexadecimal digits, and nothing else")
    return seed
