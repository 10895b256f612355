"""What replicas say to one another about a height, and the bytes that they sign."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from msgspec import Meta

from bees.core.canonical import Record, encode
from bees.core.hashes import digest
from bees.ledger.block import Commit, VoteKind
from bees.ledger.genesis import Hash, Natural, Positive, Signature

if TYPE_CHECKING:
    from bees.core.keys import SigningKey

ValidRound = Annotated[int, Meta(ge=-1, le=2**63 - 1)]


class Proposal(Record, frozen=True, tag="proposal"):
    """PROPOSAL(h, round, v, vr) of the paper.

    Attributes:
        height: h.
        consensus_round: round of consensus, from 0.
        valid_round: vr, the round in which v gathered a quorum of prevotes, or -1 for a fresh v.
        block: v, the canonical bytes of a Block.
        proposer: who signs.
        signature: over ``proposal_bytes``.
    """

    height: Positive
    consensus_round: Natural
    valid_round: ValidRound
    block: bytes
    proposer: Natural
    signature: Signature


class Vote(Record, frozen=True, tag="vote"):
    """PREVOTE(h, round, id(v)) or PRECOMMIT(h, round, id(v)) of the paper.

    Attributes:
        height: h.
        consensus_round: round of consensus.
        kind: prevote or precommit.
        block: id(v), or None for nil.
        server: who signs.
        signature: over ``bees.ledger.block.vote_bytes``.
    """

    height: Positive
    consensus_round: Natural
    kind: VoteKind
    block: Hash | None
    server: Natural
    signature: Signature


class HeldVotes(Record, frozen=True):
    """Whose votes for one block a replica holds.

    Attributes:
        consensus_round: round of consensus.
        kind: prevote or precommit.
        block: that was voted for, or None for nil.
        servers: bit k of byte k // 8 is set for server k.
    """

    consensus_round: Natural
    kind: VoteKind
    block: Hash | None
    servers: bytes


class Status(Record, frozen=True, tag="status"):
    """Says "I am still at this height, and hold this", and so asks for what was lost.

    It is not signed: all it can bring about is an answer.

    Attributes:
        height: that the replica works on.
        server: who asks.
        proposals: rounds of consensus whose proposal it holds.
        votes: that it holds.
    """

    height: Positive
    server: Natural
    proposals: tuple[Natural, ...] = ()
    votes: tuple[HeldVotes, ...] = ()


class Decision(Record, frozen=True, tag="decision"):
    """A committed block, for a replica that missed how it came about.

    Attributes:
        height: h.
        block: the canonical bytes of the Block.
        commit: the quorum of precommits.
    """

    height: Positive
    block: bytes
    commit: Commit


Message = Proposal | Vote | Status | Decision


class ConsensusRecord(Record, frozen=True):
    """What a replica must not forget of the height that it works on; on disk before any of its messages leaves.

    A replica that restarts from it cannot contradict what it said before the crash.

    Attributes:
        height: h_p.
        consensus_round: round_p.
        step: step_p.
        locked_block, locked_round: lockedValue_p and lockedRound_p; None and -1 for none.
        valid_block, valid_round: validValue_p and validRound_p; None and -1 for none.
        sent: all that it has signed at this height.
    """

    height: Positive
    consensus_round: Natural
    step: Natural
    locked_block: bytes | None
    locked_round: ValidRound
    valid_block: bytes | None
    valid_round: ValidRound
    sent: tuple[Proposal | Vote, ...]


def proposal_bytes(chain_id: bytes, height: int, consensus_round: int, valid_round: int, block: bytes) -> bytes:
    """What a proposer signs; its domain differs from that of votes and transactions."""
    named = digest("proposed block", block)
    return b"bees proposal\0" + encode((chain_id, height, consensus_round, valid_round, named))


def sign_proposal(
    key: SigningKey, chain_id: bytes, height: int, consensus_round: int, valid_round: int, block: bytes, proposer: int
) -> Proposal:
    """The signed proposal."""
    signature = key.sign(proposal_bytes(chain_id, height, consensus_round, valid_round, block))
    return Proposal(height, consensus_round, valid_round, block, proposer, signature)
