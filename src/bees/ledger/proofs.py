"""Proof of w_g(t) for whoever does not follow the chain, such as a device: one committed header, one leaf of the state.

A device trusts the genesis and nothing else. The commit shows that more than 2N/3 of the genesis' servers stand
behind the header; the header names the state after its block; the Merkle path shows how the round ended in that state.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bees.core.canonical import Record, encode
from bees.core.errors import ProofError
from bees.ledger.block import Commit, Header, check_commit
from bees.ledger.merkle import MerklePath, check_path
from bees.ledger.refusals import CommitError
from bees.ledger.state import Outcome, State, state_tree

if TYPE_CHECKING:
    from bees.ledger.block import Verifier
    from bees.ledger.genesis import Genesis

OUTCOME_LEAF = "outcome"


class ModelProof(Record, frozen=True):
    """Shows how a round ended, and so which model w_g(t) is.

    Attributes:
        header: of a block after which the round was the last closed one.
        commit: the quorum that committed the block.
        outcome: what is proved.
        path: from the outcome's leaf to the header's app hash.
    """

    header: Header
    commit: Commit
    outcome: Outcome
    path: MerklePath


def prove_model(state: State, header: Header, commit: Commit) -> ModelProof:
    """The proof of the last closed round's w_g.

    Its path is that of ``Application.query("outcome")``; a state, being frozen, can also be asked later.

    Args:
        state: after the block, with a closed round.
        header: of the block.
        commit: of the block.

    Raises:
        ProofError: no round is closed yet, or the header does not name this state.
    """
    if state.outcome is None:
        raise ProofError("no round is closed yet, so w_g(0) of the genesis is the global model")
    tree = state_tree(state)
    if tree.root != header.app_hash:
        raise ProofError(f"block {header.height} leads to another state")
    return ModelProof(header, commit, state.outcome, tree.prove(OUTCOME_LEAF))


def check_model_proof(genesis: Genesis, proof: ModelProof, verify: Verifier) -> Outcome:
    """What a proof shows, from the genesis alone.

    Which round that is, is in the answer: an old proof stays true, so the caller must compare the round.

    Args:
        genesis: the device's own.
        proof: decoded from bytes that anyone may have sent.
        verify: tells whether a (public key, message, signature) is valid.

    Returns:
        how the round ended.

    Raises:
        ProofError: another chain, no quorum, or a path that leads elsewhere.
    """
    if proof.header.chain_id != genesis.chain_id:
        raise ProofError("its header belongs to another chain")
    try:
        check_commit(genesis, proof.header, proof.commit, verify)
    except CommitError as error:
        raise ProofError(str(error)) from error
    check_path(proof.header.app_hash, OUTCOME_LEAF, encode(proof.outcome), proof.path)
    return proof.outcome
