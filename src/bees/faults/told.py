"""What honest servers have told others, which they must stand by whatever a crash has taken from them."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from bees.engines.messages import Decision, Proposal, Status, Vote
from bees.ledger.evidence import question_of
from bees.ledger.transactions import Amend, Attest, Deploy, Evidence
from bees.protocol.messages import Gossip

if TYPE_CHECKING:
    from collections.abc import Hashable

    from bees.ledger.transactions import Signed


class Told:
    """What has left each server, kept beside it: its own disk is not asked."""

    def __init__(self) -> None:
        self._statements: dict[Hashable, object] = {}
        self._heights: defaultdict[int, int] = defaultdict(int)
        self._attested: dict[int, Attest] = {}
        self._last: dict[int, object] = {}

    def note(self, sender: int, payload: object) -> str:
        """Take note of what an honest server sends.

        Returns:
            How it contradicts what the server has told before, or an empty string.
        """
        if self._last.get(sender) is payload:
            # One message goes to many, one after the other.
            return ""
        self._last[sender] = payload
        match payload:
            case Vote() if payload.server == sender:
                self._has_reached(sender, payload.height - 1)
                duty = (sender, payload.kind, payload.height, payload.consensus_round)
                return self._stand_by(duty, payload.block)
            case Proposal() if payload.proposer == sender:
                self._has_reached(sender, payload.height - 1)
                duty = (sender, "proposal", payload.height, payload.consensus_round)
                return self._stand_by(duty, (payload.valid_round, payload.block))
            case Status() | Decision():
                self._has_reached(sender, payload.height - isinstance(payload, Status))
            case Gossip(signed):
                return self._note_transaction(sender, signed)
            case _:
                pass
        return ""

    def height(self, server: int) -> int:
        """Height of the highest block that it has told others to have committed."""
        return self._heights[server]

    def attested(self, server: int) -> Attest | None:
        """The last Attest that it has sent."""
        return self._attested.get(server)

    def _note_transaction(self, sender: int, signed: Signed) -> str:
        body = signed.body
        if isinstance(body, Evidence | Deploy | Amend) or getattr(body, "server", None) != sender:
            return ""
        kind, author, *_ = question = question_of(body)
        if author != ("server", sender):
            return ""
        if isinstance(body, Attest):
            self._attested[sender] = body
        return self._stand_by((sender, *question), body) and f"two answers to its duty of {kind}, round {question[2]}"

    def _stand_by(self, duty: Hashable, statement: object) -> str:
        known = self._statements.setdefault(duty, statement)
        return "" if known == statement else f"two different statements for {duty}"

    def _has_reached(self, server: int, height: int) -> None:
        self._heights[server] = max(self._heights[server], height)
