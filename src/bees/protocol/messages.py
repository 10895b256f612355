"""What servers and devices say to one another beside blocks: transactions, news of the round, bytes of updates.

Whatever carries them must know who sends: that the ``server`` which wants bytes is the one that asks is what keeps a
single liar from asking in the name of f+1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from bees.core.fixed_point import Words
    from bees.ledger.proofs import CommitteeProof, ModelProof
    from bees.ledger.transactions import Signed
    from bees.protocol.device import OpenRound


class Gossip(NamedTuple):
    """A transaction on its way to whoever proposes the next block."""

    signed: Signed


class AskRound(NamedTuple):
    """A device asks a server for the round after the last one that it knows."""

    device: int
    known_round: int


class RoundNews(NamedTuple):
    """A server's answer: the open round, w_g(t-1) with its proof (None in round 1), and proofs of all committees."""

    open_round: OpenRound
    words: Words
    proof: ModelProof | None
    committees: tuple[CommitteeProof, ...] = ()


class WantUpdate(NamedTuple):
    """A server asks a device or another server for the bytes of an update that the chain has taken."""

    server: int
    commitment: bytes


class GiveUpdate(NamedTuple):
    """The bytes of an update; whoever takes them checks them against the commitment on the chain."""

    commitment: bytes
    data: bytes


SideMessage = Gossip | AskRound | RoundNews | WantUpdate | GiveUpdate
