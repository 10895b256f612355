"""BLAKE3 with domain separation: a hash of one kind of thing never equals a hash of another kind."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from blake3 import blake3

if TYPE_CHECKING:
    from typing_extensions import Buffer

HASH_BYTES = 32


@lru_cache(maxsize=256)
def _context(domain: str) -> str:
    return f"bees v1 {domain}"


def digest(domain: str, *parts: Buffer) -> bytes:
    """BLAKE3 in key-derivation mode over ``parts``, 32 bytes.

    Each part but the last must have a fixed length within its domain, so that two lists of parts never spell
    the same bytes.

    Args:
        domain: what is being hashed, such as ``"header"``.
        parts: bytes-like objects, hashed one after the other without a copy.
    """
    if len(parts) == 1:
        return blake3(_bytes(parts[0]), derive_key_context=_context(domain)).digest()
    hasher = blake3(derive_key_context=_context(domain))
    for part in parts:
        hasher.update(_bytes(part))
    return hasher.digest()


def _bytes(part: Buffer) -> bytes | memoryview:
    """A view of the bytes, also of an array of numbers."""
    return part if isinstance(part, bytes) else memoryview(part).cast("B")
