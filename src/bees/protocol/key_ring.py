"""The keys that a server holds: the one that the chain names, and its next one where the servers replace it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bees.core.errors import NoKeyError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bees.core.keys import SigningKey
    from bees.ledger.committee import Committee


class KeyRing:
    """Signs with the key that is in force.

    Args:
        server: index of the server.
        keys: at least one; the first is in force until a committee names another.

    Attributes:
        server: index of the server.
        keys: all of them.
    """

    def __init__(self, server: int, keys: Sequence[SigningKey]) -> None:
        self.server = server
        self.keys = tuple(keys)
        self._current = self.keys[0]

    @property
    def public_key(self) -> bytes:
        """Of the key in force."""
        return self._current.public_key

    def sign(self, message: bytes) -> bytes:
        """The signature of the key in force."""
        return self._current.sign(message)

    @property
    def by_chance(self) -> tuple[SigningKey, ...]:
        """All keys, the one in force first: for whoever may not know yet, or not any more, which one counts."""
        return self._current, *(key for key in self.keys if key.public_key != self._current.public_key)

    def open_sealed(self, sealed: bytes) -> bytes | None:
        """What was sealed to one of the keys; None where it was not, or was altered."""
        opened = (key.open_sealed(sealed) for key in self.keys)
        return next((data for data in opened if data is not None), None)

    def named_in(self, committee: Committee) -> SigningKey | None:
        """The key that a committee names as the server's, or None where this ring does not hold it."""
        named = committee.key(self.server)
        return next((key for key in self.keys if key.public_key == named), None)

    @property
    def waits(self) -> bool:
        """Whether it holds more than one key, so that one of them may still have to be named."""
        return len(self.keys) > 1

    def follow(self, committee: Committee) -> None:
        """From now on, sign with the key that the committee names, or wait for it.

        Raises:
            NoKeyError: it names none that is here, and no other is to be waited for; or the server was removed.
        """
        key = self.named_in(committee)
        if key is None and self.waits and committee.key(self.server) is not None:
            return
        if key is None:
            is_removed = committee.key(self.server) is None
            done = "removed it from the chain" if is_removed else "replaced its key by one that is not at hand"
            raise NoKeyError(f"server {self.server}: the servers have {done}", is_removed)
        self._current = key
