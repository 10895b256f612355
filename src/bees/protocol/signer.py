"""A signer that never signs two different things for one duty, not even after a restart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from bees.core.errors import DoubleSignError
from bees.core.hashes import digest
from bees.ledger.transactions import Signed, signing_bytes

if TYPE_CHECKING:
    from bees.core.keys import SigningKey
    from bees.ledger.transactions import Transaction

RoundDuty = tuple[str, int]


class Journal(Protocol):
    """Remembers what was signed. A real one is on disk before ``remember`` returns."""

    def signed_for(self, duty: RoundDuty) -> bytes | None:
        """Digest of what was signed for the duty, or None."""
        ...

    def remember(self, duty: RoundDuty, digest_: bytes) -> None:
        """Write the digest down."""
        ...


class MemoryJournal:
    """A journal for participants that live in one process and end with it."""

    def __init__(self) -> None:
        self._digests: dict[RoundDuty, bytes] = {}

    def signed_for(self, duty: RoundDuty) -> bytes | None:
        """Digest of what was signed for the duty, or None."""
        return self._digests.get(duty)

    def remember(self, duty: RoundDuty, digest_: bytes) -> None:
        """Keep the digests of the newest rounds. A server signs for the open round only, which never goes back."""
        self._digests = {d: known for d, known in self._digests.items() if d[1] >= duty[1] - 1}
        self._digests[duty] = digest_


@dataclass(frozen=True)
class Signer:
    """A key that signs one answer to each duty.

    Attributes:
        key: of the participant.
        journal: written before a signature leaves.
    """

    key: SigningKey
    journal: Journal

    def sign(self, body: Transaction, duty: RoundDuty) -> Signed:
        """The transaction, signed; the same answer may be signed again.

        Args:
            body: the transaction.
            duty: what it answers, such as ``("Attest", round)``.

        Raises:
            DoubleSignError: another answer to this duty was signed before.
        """
        message = signing_bytes(body)
        answer = digest("signed duty", message)
        known = self.journal.signed_for(duty)
        if known is None:
            self.journal.remember(duty, answer)
        elif known != answer:
            raise DoubleSignError(*duty)
        return Signed(body, self.key.sign(message))
