"""What Byzantine participants know and share: their keys, all that they have heard, and whom they tell which lie."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bees.ledger.transactions import Publish, Update

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

    from bees.core.keys import SigningKey
    from bees.engines.messages import Proposal
    from bees.engines.replica import Replica
    from bees.ledger.application import Application
    from bees.ledger.genesis import Genesis
    from bees.ledger.state import State
    from bees.ledger.transactions import Signed

_HEARD_LIMIT = 400


@dataclass
class Coalition:
    """All liars of a history: the worst case is that they act as one.

    Attributes:
        genesis: that everybody agrees on.
        keys: of the lying servers, by index.
        left: the servers that are told one thing, while all others are told another.
        inflates: whether false attestations are too high, or too low.
        rng: what the liars draw from.
    """

    genesis: Genesis
    keys: dict[int, SigningKey]
    left: frozenset[int]
    inflates: bool
    rng: np.random.Generator
    _proposed: dict[tuple[int, int], list[Proposal]] = field(default_factory=dict[tuple[int, int], "list[Proposal]"])
    _heard: deque[Signed] = field(default_factory=lambda: deque["Signed"](maxlen=_HEARD_LIMIT))

    def note_proposal(self, proposal: Proposal) -> None:
        """Remember the different proposals of a round of consensus."""
        known = self._proposed.setdefault((proposal.height, proposal.consensus_round), [])
        if all(proposal.block != other.block for other in known):
            known.append(proposal)

    def proposals(self, height: int, consensus_round: int) -> list[Proposal]:
        """The different proposals of a round of consensus that a liar has heard or made."""
        return self._proposed.get((height, consensus_round), [])

    def blocks_at(self, height: int) -> list[bytes]:
        """All blocks that were proposed at a height, in any round of consensus."""
        return [p.block for (h, _), proposals in self._proposed.items() if h == height for p in proposals]

    def note_transaction(self, signed: Signed) -> None:
        """Remember a transaction, to replay it later."""
        self._heard.append(signed)

    def any_heard(self) -> Signed | None:
        """One of the transactions that a liar has heard."""
        return self._heard[int(self.rng.integers(len(self._heard)))] if self._heard else None

    def commitments_of(self, round_: int) -> list[bytes]:
        """What the Updates of a round that a liar has heard commit to."""
        bodies = (signed.body for signed in self._heard)
        return sorted({body.commitment for body in bodies if isinstance(body, Update) and body.round == round_})

    def publish_of(self, round_: int) -> Signed | None:
        """A Publish of a round that a liar has heard."""
        return next((s for s in self._heard if isinstance(s.body, Publish) and s.body.round == round_), None)

    def update_of_another(self, device: int, round_: int) -> Update | None:
        """An Update of this round that another device has signed, if a liar has heard one."""
        bodies = (signed.body for signed in self._heard)
        return next((b for b in bodies if isinstance(b, Update) and b.round == round_ and b.device != device), None)


@dataclass
class Liar:
    """One Byzantine server, as its behaviours see it. It runs the honest program too, and changes what leaves.

    Attributes:
        index: of the server.
        coalition: to which it belongs.
        key: its own.
        find_replica: gives its ledger and consensus, which see the truth; another one after a restart.
    """

    index: int
    coalition: Coalition
    key: SigningKey
    find_replica: Callable[[], Replica]

    @property
    def application(self) -> Application:
        """Its ledger."""
        return self.find_replica().application

    @property
    def last_block(self) -> bytes:
        """Id of its last block."""
        return self.find_replica().last_block

    @property
    def state(self) -> State:
        """After its last block."""
        return self.application.state

    @property
    def genesis(self) -> Genesis:
        """That everybody agrees on."""
        return self.coalition.genesis

    def is_left(self, receiver: int) -> bool:
        """Whether the receiver is told the first of two stories."""
        return receiver in self.coalition.left


@dataclass
class LyingDevice:
    """One Byzantine device, as its behaviours see it.

    Attributes:
        index: u_k.
        coalition: to which it belongs.
        key: its own.
    """

    index: int
    coalition: Coalition
    key: SigningKey
