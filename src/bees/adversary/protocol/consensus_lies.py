"""Lies on consensus: two proposals, two votes, blocks that are none, silence, censorship, floods, forged decisions.

Each is what "Byzantine" means in Buchman, Kwon and Milosevic (2018): the liar signs whatever it wants with its own
key, and sends different things to different replicas. It cannot sign for others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from bees.core.canonical import decode, encode
from bees.core.errors import CodecError
from bees.core.hashes import digest
from bees.engines.messages import Decision, Proposal, Status, Vote, sign_proposal
from bees.ledger.block import Batch, Block, Commit, CommitSignature, Header, block_id, vote_bytes
from bees.ledger.transactions import Signed
from bees.protocol.messages import Gossip

if TYPE_CHECKING:
    from bees.adversary.protocol.coalition import Liar
    from bees.ledger.block import VoteKind

Sends = list[tuple[int, object]]

_ROUNDS_WITHOUT_BLOCK = 2
_TIMES_ASKED = 3


def stay_silent(_liar: Liar, _receiver: int, payload: object) -> tuple[object, ...]:
    """Take no part in consensus."""
    return () if isinstance(payload, Proposal | Vote | Decision) else (payload,)


def propose_twice(liar: Liar, receiver: int, payload: object) -> tuple[object, ...]:
    """Propose one block to some, and another, as valid, to the others."""
    if not isinstance(payload, Proposal) or payload.proposer != liar.index or liar.is_left(receiver):
        return (payload,)
    other = _proposal_of(liar, payload, _other_block(liar, payload))
    liar.coalition.note_proposal(other)
    return (other,)


def vote_twice(liar: Liar, receiver: int, payload: object) -> tuple[object, ...]:
    """Vote for what the receiver was proposed, so that both halves find their quorum if liars can make it one."""
    if not isinstance(payload, Vote) or payload.server != liar.index:
        return (payload,)
    proposals = liar.coalition.proposals(payload.height, payload.consensus_round)
    known = [block_id(block.header) for p in proposals if (block := _block_of(p.block)) is not None]
    if len(known) < 2:  # noqa: PLR2004  # two stories
        choice = payload.block if liar.is_left(receiver) else None
    else:
        choice = known[0] if liar.is_left(receiver) else known[1]
    message = vote_bytes(liar.genesis.chain_id, payload.height, payload.consensus_round, payload.kind, choice)
    return (replace(payload, block=choice, signature=liar.key.sign(message)),)


def propose_garbage(liar: Liar, _receiver: int, payload: object) -> tuple[object, ...]:
    """Propose bytes that are no block, or a block that leads to another state or holds what nobody has signed."""
    if not isinstance(payload, Proposal) or payload.proposer != liar.index:
        return (payload,)
    block = _block_of(payload.block)
    kind = (payload.height + payload.consensus_round) % 3
    if block is None or kind == 0:
        garbage = digest("garbage", payload.block)
    elif kind == 1:
        garbage = encode(Block(replace(block.header, app_hash=bytes(32)), block.batch))
    else:
        forged = Batch((*block.batch.transactions, *(Signed(s.body, bytes(64)) for s in block.batch.transactions[:1])))
        garbage = encode(Block(replace(block.header, transactions=forged.root), forged))
    return (_proposal_of(liar, payload, garbage),)


def censor(liar: Liar, _receiver: int, payload: object) -> tuple[object, ...]:
    """Propose only empty blocks, and pass nothing on."""
    if isinstance(payload, Gossip):
        return ()
    if isinstance(payload, Proposal) and payload.proposer == liar.index and payload.valid_round == -1:
        return (_proposal_of(liar, payload, _block(liar, ())),)
    return (payload,)


def flood(liar: Liar) -> Sends:
    """Vote in rounds of consensus that are far away, for blocks that do not exist."""
    height, rng = liar.state.height + 1, liar.coalition.rng
    sends: Sends = []
    for _ in range(4):
        consensus_round = int(rng.integers(1 << 40)) if rng.random() < 0.5 else int(rng.integers(4))  # noqa: PLR2004
        name = digest("no block", rng.bytes(8))
        kind: VoteKind = "prevote" if rng.random() < 0.5 else "precommit"  # noqa: PLR2004  # a coin
        signature = liar.key.sign(vote_bytes(liar.genesis.chain_id, height, consensus_round, kind, name))
        vote = Vote(height, consensus_round, kind, name, liar.index, signature)
        sends += [(receiver, vote) for receiver in range(len(liar.genesis.servers))]
    return sends


def vote_for_nothing(liar: Liar) -> Sends:
    """Vote for no block in the next rounds of consensus, beside whatever else the liar votes for."""
    height = liar.state.height + 1
    kinds: tuple[VoteKind, ...] = ("prevote", "precommit")
    votes = [
        Vote(
            height, at, kind, None, liar.index, liar.key.sign(vote_bytes(liar.genesis.chain_id, height, at, kind, None))
        )
        for at in range(_ROUNDS_WITHOUT_BLOCK)
        for kind in kinds
    ]
    return [(receiver, vote) for vote in votes for receiver in range(len(liar.genesis.servers))]


def ask_again_and_again(liar: Liar) -> Sends:
    """Ask for the last block and for all votes on the next one, more often than anybody who lags behind."""
    last = liar.state.height
    heights = (max(1, last), last + 1)
    asked = [Status(height, liar.index) for height in heights for _ in range(_TIMES_ASKED)]
    return [(receiver, status) for status in asked for receiver in range(len(liar.genesis.servers))]


def vote_for_others(liar: Liar) -> Sends:
    """Send votes in the name of honest servers, which their signatures do not bear out."""
    height, rng = liar.state.height + 1, liar.coalition.rng
    victim = int(rng.integers(len(liar.genesis.servers)))
    signature = liar.key.sign(vote_bytes(liar.genesis.chain_id, height, 0, "precommit", None))
    vote = Vote(height, 0, "precommit", None, victim, signature)
    return [(receiver, vote) for receiver in range(len(liar.genesis.servers))]


def forge_decision(liar: Liar, _receiver: int, payload: object) -> tuple[object, ...]:
    """Answer who lags behind with another valid block of that height, which only the liars have signed."""
    if not isinstance(payload, Decision):
        return (payload,)
    for data in liar.coalition.blocks_at(payload.height):
        block = _block_of(data)
        if block is not None and data != payload.block:
            return (Decision(payload.height, data, _commit_of_liars(liar, block, payload.commit.consensus_round)),)
    return ()


def _commit_of_liars(liar: Liar, block: Block, consensus_round: int) -> Commit:
    height, name = block.header.height, block_id(block.header)
    message = vote_bytes(liar.genesis.chain_id, height, consensus_round, "precommit", name)
    signatures = tuple(CommitSignature(k, key.sign(message)) for k, key in sorted(liar.coalition.keys.items()))
    return Commit(height, consensus_round, name, signatures)


def _other_block(liar: Liar, proposal: Proposal) -> bytes:
    """A block that is as valid, of other transactions; the same one if there is none."""
    block = _block_of(proposal.block)
    if block is None or proposal.valid_round != -1:
        return proposal.block
    return _block(liar, block.batch.transactions[: len(block.batch.transactions) // 2])


def _block(liar: Liar, transactions: tuple[Signed, ...]) -> bytes:
    batch = liar.application.prepare_proposal(transactions)
    app_hash = liar.application.execute(batch).app_hash
    header = Header(liar.genesis.chain_id, liar.state.height + 1, liar.last_block, batch.root, app_hash)
    return encode(Block(header, batch))


def _proposal_of(liar: Liar, like: Proposal, block: bytes) -> Proposal:
    chain_id = liar.genesis.chain_id
    return sign_proposal(liar.key, chain_id, like.height, like.consensus_round, like.valid_round, block, liar.index)


def _block_of(data: bytes) -> Block | None:
    try:
        return decode(data, Block)
    except CodecError:
        return None
