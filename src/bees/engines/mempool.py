"""Transactions that wait for a block, as many of each author as an honest one can need.

What is let in is signed by its author and could be in the next block, so an author can fill its own room only: no flood
keeps out what others have to say. Where an author gives two answers to one duty, both are kept, since the block may
take either; a third says nothing new.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import MutableMapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bees.core.errors import TransactionError
from bees.ledger.evidence import author_of, question_of
from bees.ledger.transactions import Amend, Delegate, Deploy, Evidence, Update

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator

    from bees.ledger.transactions import Signed, Transaction

ANSWERS_KEPT = 2
"""How many transactions of one author are kept for one duty, or against one accused."""
BYTES_KEPT = {"Deploy": 1 << 23}
"""How many bytes of one author's transactions of a kind are kept; for kinds that are not named, ``BYTES_OF_A_KIND``."""
BYTES_OF_A_KIND = 1 << 18


@dataclass(eq=False)
class MempoolFullError(TransactionError):
    """There is no more room for what this author says."""

    kind: str
    limit: str

    @property
    def message(self) -> str:
        """What is full."""
        return f"too much waits of this author: {self.limit} of {self.kind}"


class Mempool(MutableMapping[bytes, "Signed"]):
    """Transactions by signature, in the order in which they came.

    Attributes:
        server: whose mempool it is; what it has signed itself is always kept.
    """

    def __init__(self, server: int) -> None:
        self.server = server
        self._waiting: dict[bytes, Signed] = {}
        self._answers: Counter[Hashable] = Counter()
        self._bytes: Counter[Hashable] = Counter()

    def __len__(self) -> int:
        return len(self._waiting)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._waiting)

    def __getitem__(self, signature: bytes) -> Signed:
        return self._waiting[signature]

    def __setitem__(self, signature: bytes, signed: Signed) -> None:
        """Take in a transaction that was checked, its signature included."""
        self.pop(signature, None)
        self._waiting[signature] = signed
        self._answers[_question(signed.body)] += 1
        self._bytes[_heap(signed.body)] += len(signed.encoding)

    def __delitem__(self, signature: bytes) -> None:
        signed = self._waiting.pop(signature)
        self._answers[_question(signed.body)] -= 1
        self._bytes[_heap(signed.body)] -= len(signed.encoding)

    def holds(self, signed: Signed) -> bool:
        """Whether just this transaction waits, and not another one under a copied signature."""
        return self._waiting.get(signed.signature) == signed

    def check_room(self, signed: Signed) -> None:
        """Refuse what there is no room for; cheaper than checking the transaction itself.

        Raises:
            MempoolFullError: its author has filled its room.
        """
        if _author(signed.body) == ("server", self.server):
            return
        kind = type(signed.body).__name__
        if self._answers[_question(signed.body)] >= ANSWERS_KEPT:
            raise MempoolFullError(kind, f"{ANSWERS_KEPT} for one duty")
        most = BYTES_KEPT.get(kind, BYTES_OF_A_KIND)
        if self._bytes[_heap(signed.body)] + len(signed.encoding) > most:
            raise MempoolFullError(kind, f"{most} bytes")

    def keep(self, is_wanted: Callable[[Signed], bool]) -> None:
        """Forget all that is not wanted any more."""
        waiting, self._waiting = self._waiting, {}
        self._answers.clear()
        self._bytes.clear()
        for signed in waiting.values():
            if is_wanted(signed):
                self[signed.signature] = signed


def _author(body: Transaction) -> tuple[str, int]:
    if isinstance(body, Evidence | Deploy | Amend):
        return "server", body.server
    return author_of(body)


def _question(body: Transaction) -> Hashable:
    match body:
        case Evidence():
            return "Evidence", _author(body), author_of(body.first.body)
        case Deploy() | Amend():
            return type(body).__name__, _author(body), body.nonce
        case _:
            return question_of(body)


def _heap(body: Transaction) -> Hashable:
    """What shares one limit of bytes; a server's Updates for others have a limit for each device."""
    device = body.device if isinstance(body, Update | Delegate) else None
    return type(body).__name__, _author(body), device
