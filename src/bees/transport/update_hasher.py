"""The commitment of an update whose bytes arrive bit by bit."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from blake3 import blake3

if TYPE_CHECKING:
    from typing_extensions import Buffer


class UpdateHasher:
    """``bees.ledger.commitments.commit_to_update``, without all bytes at hand at once.

    Args:
        device: u_k.
        round_: t.
    """

    def __init__(self, device: int, round_: int) -> None:
        self._hasher = blake3(struct.pack("<QQ", device, round_), derive_key_context="bees v1 update")

    def add(self, chunk: Buffer) -> None:
        """The next bytes of the update."""
        self._hasher.update(chunk)

    @property
    def commitment(self) -> bytes:
        """Of all bytes so far, 32 bytes."""
        return self._hasher.digest()
