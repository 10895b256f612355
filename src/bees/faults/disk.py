"""A server's disk in a history: writes take time to be safe, and a crash keeps only some of those that were not yet."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bees.core.canonical import decode, encode
from bees.engines.messages import ConsensusRecord, Decision
from bees.ledger.transactions import Signed

if TYPE_CHECKING:
    from collections.abc import Callable

    from bees.protocol.signer import RoundDuty


@dataclass
class Files:
    """What is on a disk, in the encodings in which it would be there.

    Attributes:
        record: the newest ConsensusRecord.
        decisions: by height.
        duties: digest of what was signed, by duty.
        own: transactions that the server has signed, by duty.
        blobs: updates by commitment.
    """

    record: bytes | None = None
    decisions: dict[int, bytes] = field(default_factory=dict[int, bytes])
    duties: dict[tuple[str, int], bytes] = field(default_factory=dict[tuple[str, int], bytes])
    own: dict[tuple[str, int], bytes] = field(default_factory=dict[tuple[str, int], bytes])
    blobs: dict[bytes, bytes] = field(default_factory=dict[bytes, bytes])


class Disk:
    """A ``Store`` for a replica and a ``Journal`` for a signer, whose writes reach the disk in their order.

    Attributes:
        files: as the server sees them.
        write_us: how long a write takes to be safe.
    """

    def __init__(self, now: Callable[[], int], write_us: int = 0) -> None:
        self.files = Files()
        self.write_us = write_us
        self._now = now
        self._safe = Files()
        self._pending: deque[tuple[int, Callable[[Files], None]]] = deque()

    @property
    def safe_at_us(self) -> int:
        """When all that was written is safe; what is sent must wait until then."""
        self._settle()
        return self._pending[-1][0] if self._pending else self._now()

    def crash(self, survives: Callable[[int], int]) -> int:
        """Lose what is not safe, but for the first few writes: as many as ``survives`` says of how many there are.

        Returns:
            How many writes are lost.
        """
        self._settle()
        for _ in range(survives(len(self._pending))):
            self._pending.popleft()[1](self._safe)
        lost = len(self._pending)
        self._pending.clear()
        safe = self._safe
        self.files = Files(safe.record, dict(safe.decisions), dict(safe.duties), dict(safe.own), dict(safe.blobs))
        return lost

    # What a replica writes.

    def save_record(self, record: ConsensusRecord) -> None:
        """Keep it in place of the one before."""
        data = encode(record)
        self._write(lambda files: setattr(files, "record", data))

    def last_record(self) -> ConsensusRecord | None:
        """The one that was saved last."""
        return decode(self.files.record, ConsensusRecord) if self.files.record is not None else None

    def append(self, decision: Decision) -> None:
        """Keep a committed block."""
        data = encode(decision)
        self._write(lambda files: files.decisions.__setitem__(decision.height, data))

    def decision(self, height: int) -> Decision | None:
        """The committed block of a height."""
        data = self.files.decisions.get(height)
        return decode(data, Decision) if data is not None else None

    # What a signer writes.

    def signed_for(self, duty: RoundDuty) -> bytes | None:
        """Digest of what was signed for the duty, or None."""
        return self.files.duties.get(duty)

    def remember(self, duty: RoundDuty, digest_: bytes) -> None:
        """Write the digest down."""
        self._write(lambda files: files.duties.__setitem__(duty, digest_))

    # What a server writes.

    def keep_blob(self, commitment: bytes, data: bytes) -> None:
        """Keep the bytes of an update."""
        self._write(lambda files: files.blobs.__setitem__(commitment, data))

    def blob(self, commitment: bytes) -> bytes | None:
        """The bytes of an update, if they are here."""
        return self.files.blobs.get(commitment)

    def keep_answer(self, duty: RoundDuty, signed: Signed) -> None:
        """Keep a transaction of the server's own, to send it again after a restart."""
        data = signed.encoding
        self._write(lambda files: files.own.__setitem__(duty, data))

    def answer(self, duty: RoundDuty) -> Signed | None:
        """What the server has answered to a duty, or None."""
        data = self.files.own.get(duty)
        return None if data is None else decode(data, Signed)

    def own(self, round_: int) -> list[Signed]:
        """The server's transactions of a round."""
        return [decode(data, Signed) for duty, data in self.files.own.items() if duty[1] == round_]

    def _write(self, change: Callable[[Files], None]) -> None:
        change(self.files)
        if self.write_us == 0 and not self._pending:
            change(self._safe)
        else:
            start = self._pending[-1][0] if self._pending else self._now()
            self._pending.append((max(start, self._now()) + self.write_us, change))

    def _settle(self) -> None:
        while self._pending and self._pending[0][0] <= self._now():
            self._pending.popleft()[1](self._safe)
