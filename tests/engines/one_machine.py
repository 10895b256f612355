"""One replica's consensus machine by itself, and the messages that tests hand it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bees.core.hashes import digest
from bees.core.keys import SigningKey, is_signed_by
from bees.engines.messages import Proposal, Vote, sign_proposal
from bees.engines.tendermint import NO_ACTIONS, Actions, Consensus, Height, Step, Timeout
from bees.ledger.block import vote_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bees.engines.tally import SignatureCheck

CHAIN = bytes(32)
KEYS = [SigningKey.simulated(3, "server", k) for k in range(7)]


def name_of(block: Any):
    """What ``FakeHost`` calls a block."""
    return digest("test block", block)


class FakeHost:
    """Blocks are any bytes; those in ``refused`` are not valid."""

    def __init__(self, me: int, refused: set[bytes] | frozenset[bytes] = frozenset()):
        self.me = me
        self.refused = set(refused)
        self.checked = []
        self.judged: list[bytes] = []
        self.proposed = 0

    def propose(self):
        self.proposed += 1
        return b"block of %d, number %d" % (self.me, self.proposed)

    def identify(self, block: Any):
        return None if block == b"garbage" else name_of(block)

    def is_valid(self, block: Any):
        self.judged.append(block)
        return block not in self.refused

    def sign(self, message: bytes):
        return KEYS[self.me].sign(message)

    def check_signatures(self, checks: Sequence[SignatureCheck]):
        self.checked += checks
        return [is_signed_by(*check) for check in checks]


def machine(me: int = 0, n: int = 4, host: FakeHost | None = None):
    """A replica of height 1, not started; the proposer of round r is r modulo n."""
    host = host or FakeHost(me)
    public_keys = tuple(key.public_key for key in KEYS[:n])
    at = Height(CHAIN, 1, me, dict(enumerate(public_keys)), 2 * n // 3 + 1, lambda r: r % n)
    return Consensus(at, host)


def vote(server: int, kind: Any, block: Any, consensus_round: int = 0, height: int = 1, key: SigningKey | None = None):
    """A signed vote."""
    name = None if block is None else name_of(block)
    message = vote_bytes(CHAIN, height, consensus_round, kind, name)
    return Vote(height, consensus_round, kind, name, server, (key or KEYS[server]).sign(message))


def proposal(
    block: Any,
    consensus_round: int = 0,
    valid_round: int = -1,
    proposer: int | None = None,
    n: int = 4,
    key: SigningKey | None = None,
):
    """A signed proposal, by default of the round's proposer."""
    proposer = consensus_round % n if proposer is None else proposer
    return sign_proposal(key or KEYS[proposer], CHAIN, 1, consensus_round, valid_round, block, proposer)


def votes(actions: Actions):
    """The votes that are to be broadcast: kind, round and name of the block."""
    return [(m.kind, m.consensus_round, m.block) for m in actions.broadcast if isinstance(m, Vote)]


def feed(consensus: Consensus, *messages: Proposal | Vote) -> Actions:
    """Hand over messages one by one; what the last one leads to."""
    actions = NO_ACTIONS
    for message in messages:
        actions = consensus.receive(message)
    return actions


def timeout(step: Step, consensus_round: int = 0, height: int = 1):
    """A timeout that is over."""
    return Timeout(height, consensus_round, step)


A, B = b"A", b"B"


def locked_on_a(me: int = 3):
    """A machine that is locked on A in round 0, now in round 1."""
    consensus = machine(me=me)
    consensus.start()
    feed(consensus, proposal(A), vote(0, "prevote", A), vote(1, "prevote", A))
    assert (consensus.locked_block, consensus.locked_round) == (A, 0)
    feed(consensus, vote(0, "precommit", None), vote(1, "precommit", None))
    consensus.expire(timeout(Step.PRECOMMIT))
    assert consensus.round == 1
    return consensus
