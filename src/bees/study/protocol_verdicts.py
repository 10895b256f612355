"""What the ledger's own code says of one lie, asked at the moment when it arrives at an honest participant."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bees.core.canonical import decode
from bees.core.errors import BeesError, CodecError
from bees.engines.messages import Decision, Proposal, Vote, proposal_bytes
from bees.ledger.block import Block, check_commit, vote_bytes
from bees.ledger.replay import check_block
from bees.ledger.transactions import Attest
from bees.protocol.device import check_global_model
from bees.protocol.messages import GiveUpdate, Gossip, RoundNews
from bees.protocol.server import held_updates

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from bees.engines.replica import Replica
    from bees.faults.node import Node
    from bees.faults.world import FaultWorld
    from bees.ledger.state import State
    from bees.ledger.transactions import Signed

TAKEN = ""
"""Nothing is wrong with the message by itself; whether it has an effect is a matter of counting."""
KNOWN_ALREADY = "known already"
TOO_LATE = "too late"
WRONG_SIGNATURE = "BadSignatureError"
"""The name of the error by which the ledger refuses a transaction for it; the engine drops votes without one."""
NO_BLOCK = "no block"
WRONG_BYTES = "not what was committed, or no model"


def judge_at_server(node: Node, payload: object) -> str:
    """Why this server refuses the message, by the name of the error where there is one; ``TAKEN`` if it does not."""
    match payload:
        case Gossip(signed):
            return _judge_transaction(node.replica, signed)
        case Vote():
            return _judge_vote(node.replica, payload)
        case Proposal():
            return _judge_proposal(node.replica, payload)
        case Decision():
            return _judge_decision(node.replica, payload)
        case GiveUpdate():
            return _judge_bytes(node.state, payload)
        case _:
            return TAKEN


def judge_at_device(world: FaultWorld, known_round: int, payload: object) -> str:
    """Why a device that knows of ``known_round`` refuses the message; ``TAKEN`` if it does not."""
    if not isinstance(payload, RoundNews):
        return TAKEN
    if payload.open_round.round <= known_round:
        return TOO_LATE
    verify = world.checks.memo.verify
    return _refusal(lambda: check_global_model(world.genesis, payload.open_round, payload.words, payload.proof, verify))


def is_counted_statement(payload: object, liars: Collection[int]) -> bool:
    """Whether a liar says something that others may outvote: a vote, a proposal, or an attestation of its own."""
    match payload:
        case Vote(server=author) | Proposal(proposer=author):
            return author in liars
        case Gossip(signed) if isinstance(signed.body, Attest):
            return signed.body.server in liars
        case _:
            return False


def _refusal(check: Callable[[], None]) -> str:
    try:
        check()
    except BeesError as error:
        return type(error).__name__
    return TAKEN


def _judge_transaction(replica: Replica, signed: Signed) -> str:
    if replica.mempool.get(signed.signature) == signed:
        return KNOWN_ALREADY
    return _refusal(lambda: replica.application.check_tx(signed))


def _judge_vote(replica: Replica, vote: Vote) -> str:
    if vote.height <= replica.height:
        return TOO_LATE
    chain_id = replica.application.state.genesis.chain_id
    message = vote_bytes(chain_id, vote.height, vote.consensus_round, vote.kind, vote.block)
    return _judge_signature(replica, vote.server, message, vote.signature)


def _judge_proposal(replica: Replica, proposal: Proposal) -> str:
    if proposal.height <= replica.height:
        return TOO_LATE
    where = (proposal.height, proposal.consensus_round, proposal.valid_round)
    message = proposal_bytes(replica.application.state.genesis.chain_id, *where, proposal.block)
    verdict = _judge_signature(replica, proposal.proposer, message, proposal.signature)
    block = _block_of(proposal.block)
    if verdict or block is None:
        return verdict or NO_BLOCK
    return _refusal(lambda: check_block(replica.application, replica.last_block, block))


def _judge_decision(replica: Replica, decision: Decision) -> str:
    if decision.height <= replica.height:
        return TOO_LATE
    block, application = _block_of(decision.block), replica.application
    if block is None:
        return NO_BLOCK
    committee, verify = application.state.members.committee, application.memo.verify
    return _refusal(lambda: check_commit(committee, block.header, decision.commit, verify))


def _judge_bytes(state: State, given: GiveUpdate) -> str:
    if all(update.commitment != given.commitment for update in state.updates.values()):
        return TOO_LATE
    held = held_updates(state, lambda commitment: given.data if commitment == given.commitment else None)
    return TAKEN if held else WRONG_BYTES


def _judge_signature(replica: Replica, server: int, message: bytes, signature: bytes) -> str:
    public_key = replica.application.state.genesis.servers[server].public_key
    return TAKEN if replica.application.memo.verify(public_key, message, signature) else WRONG_SIGNATURE


def _block_of(data: bytes) -> Block | None:
    try:
        return decode(data, Block)
    except CodecError:
        return None
