"""A signer that never signs two different things for one duty, not even after a restart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from bees.core.errors import DoubleSignError, MissingBlobError
from bees.core.hashes import digest
from bees.ledger.transactions import Signed, signing_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

    from bees.core.keys import Signs
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


class AnswerJournal(Journal, Protocol):
    """A journal that also keeps the answers, to give the same one again after a restart."""

    def answer(self, duty: RoundDuty) -> Signed | None:
        """What was answered to the duty, or None."""
        ...

    def keep_answer(self, duty: RoundDuty, signed: Signed) -> None:
        """Keep an answer."""
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

    key: Signs
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


def answer_once(journal: AnswerJournal, duty: RoundDuty, make: Callable[[], Signed | None]) -> Signed | None:
    """What a server answers to a duty: once signed, the same again, also after a restart.

    Args:
        journal: keeps the answers.
        duty: what is answered.
        make: signs an answer; None where there is no such duty.

    Returns:
        The answer; None where there is none, or none can be given: bytes are missing yet, or a crash has taken the
        answer but not its digest.
    """
    known = journal.answer(duty)
    if known is not None:
        return known
    try:
        signed = make()
    except (DoubleSignError, MissingBlobError):
        return None
    if signed is not None:
        journal.keep_answer(duty, signed)
    return signed
