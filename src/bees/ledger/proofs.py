"""Proof of w_g(t) for whoever does not follow the chain, such as a device: one committed header, one leaf of the state.

A device trusts the genesis and nothing else. The commit shows that more than 2N/3 of the servers stand behind the
header; the header names the state after its block; the Merkle path shows how the round ended in that state.

Which servers count, the genesis says, until they amend that. The block after which another committee counts is
committed by the committee before, and its state names the next one. So from the genesis on, one such proof for each
change leads to the committee that counts now. Whoever got hold of the replaced keys of more than 2N/3 of a former
committee could lead astray a device that knows no later one; so a device keeps what it has seen proved.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bees.core.canonical import Record, encode
from bees.core.errors import ProofError
from bees.ledger.block import Commit, Header, check_commit
from bees.ledger.committee import Committee
from bees.ledger.merkle import MerklePath, check_path
from bees.ledger.refusals import CommitError
from bees.ledger.state import COMMITTEE_LEAF, Outcome, State, state_tree

if TYPE_CHECKING:
    from collections.abc import Iterable

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


def check_model_proof(
    genesis: Genesis, proof: ModelProof, verify: Verifier, committees: Committees | None = None
) -> Outcome:
    """What a proof shows, from the genesis alone.

    Which round that is, is in the answer: an old proof stays true, so the caller must compare the round.

    Args:
        genesis: the device's own.
        proof: decoded from bytes that anyone may have sent.
        verify: tells whether a (public key, message, signature) is valid.
        committees: that were proved, where the chain has amended that of the genesis.

    Returns:
        how the round ended.

    Raises:
        ProofError: another chain, no quorum, or a path that leads elsewhere.
    """
    _check_header(committees or Committees(genesis), proof, verify)
    check_path(proof.header.app_hash, OUTCOME_LEAF, encode(proof.outcome), proof.path)
    return proof.outcome


class CommitteeProof(Record, frozen=True):
    """Shows which servers count after a block.

    Attributes:
        header: of the block.
        commit: of the committee that counted before it.
        committee: what is proved.
        path: from the committee's leaf to the header's app hash.
    """

    header: Header
    commit: Commit
    committee: Committee
    path: MerklePath


def prove_committee(state: State, header: Header, commit: Commit) -> CommitteeProof:
    """The proof of the committee after a block.

    Args:
        state: after the block, of a chain that has amended its members.
        header: of the block.
        commit: of the block.

    Raises:
        ProofError: the members were never amended, or the header does not name this state.
    """
    tree = state_tree(state)
    if tree.root != header.app_hash:
        raise ProofError(f"block {header.height} leads to another state")
    return CommitteeProof(header, commit, state.members.committee, tree.prove(COMMITTEE_LEAF))


@dataclass(frozen=True)
class Committees:
    """The committees of a chain, as far as somebody who does not follow it has seen them proved.

    Only the newest counts, since the keys of a former one may be stolen by now. It counts for all blocks but the one
    that has brought it: that is committed by the committee before, was checked then, and proves how its round ended.

    Attributes:
        genesis: of the chain.
        changes: header of a block, and the committee that counts after it; ascending.
    """

    genesis: Genesis
    changes: tuple[tuple[Header, Committee], ...] = ()

    @property
    def height(self) -> int:
        """Of the block that has brought the newest committee; 0 where that is the one of the genesis."""
        return self.changes[-1][0].height if self.changes else 0

    @property
    def newest(self) -> Committee:
        """The servers that count now, as far as is known."""
        return self.changes[-1][1] if self.changes else self.genesis.committee

    def committing(self, header: Header) -> Committee:
        """The servers that must have committed a header for it to count."""
        if self.changes and header == self.changes[-1][0]:
            return Committees(self.genesis, self.changes[:-1]).newest
        return self.newest

    def follow(self, proofs: Iterable[CommitteeProof], verify: Verifier) -> Committees:
        """With further changes, each checked by the committee before it.

        Args:
            proofs: one for each change since, in order; decoded from bytes that anyone may have sent.
            verify: tells whether a (public key, message, signature) is valid.

        Raises:
            ProofError: one of them is of another chain, not later than the one before, no change, has no quorum, or a
                path that leads elsewhere.
        """
        known = self
        for proof in proofs:
            if proof.header.height <= known.height:
                raise ProofError(f"block {proof.header.height} is not later than the last change of the committee")
            if proof.committee == known.newest:
                raise ProofError(f"block {proof.header.height} has changed nothing")
            _check_header(known, proof, verify)
            check_path(proof.header.app_hash, COMMITTEE_LEAF, encode(proof.committee), proof.path)
            known = Committees(self.genesis, (*known.changes, (proof.header, proof.committee)))
        return known


def _check_header(committees: Committees, proof: ModelProof | CommitteeProof, verify: Verifier) -> None:
    header = proof.header
    if header.chain_id != committees.genesis.chain_id:
        raise ProofError("its header belongs to another chain")
    try:
        check_commit(committees.committing(header), header, proof.commit, verify)
    except CommitError as error:
        raise ProofError(str(error)) from error
