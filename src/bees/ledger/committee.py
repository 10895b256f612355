"""The servers whose signatures count, and how many of them it takes."""

from __future__ import annotations

from functools import cached_property
from typing import Annotated

from msgspec import Meta

from bees.core.canonical import Record

PublicKey = Annotated[bytes, Meta(min_length=32, max_length=32)]


class Committee(Record, frozen=True, dict=True):
    """The servers of a chain at some height.

    Attributes:
        keys: public key of each server of the genesis, or None for one that was removed.
    """

    keys: tuple[PublicKey | None, ...]

    @cached_property
    def members(self) -> tuple[int, ...]:
        """Servers that are not removed, ascending."""
        return tuple(server for server, key in enumerate(self.keys) if key is not None)

    @property
    def quorum(self) -> int:
        """The fewest signatures that commit a block: more than 2N/3, so two quorums share an honest server."""
        return 2 * len(self.members) // 3 + 1

    def key(self, server: int) -> PublicKey | None:
        """The key of a server; None where there is no such server, or not any more."""
        return self.keys[server] if 0 <= server < len(self.keys) else None
