"""What servers are asked to approve: another contract, or a change of the members; whoever reads it can check it.

A proposal carries the signed genesis and the proofs of every committee since. So it says by itself who must approve,
and nothing in it is believed: the genesis names the chain by its hash, each committee is proved by the one before, and
approvals bind the chain, the nonce and what changes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Self

from bees.core.keys import is_signed_by
from bees.ledger.commitments import hash_contract
from bees.ledger.membership import amend
from bees.ledger.proofs import Committees
from bees.ledger.refusals import AmendError
from bees.protocol import amendment, deployment

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bees.core.keys import Signs
    from bees.engines.standing import Standing
    from bees.ledger.committee import Committee
    from bees.ledger.genesis import Genesis, SignedGenesis
    from bees.ledger.membership import Change
    from bees.ledger.proofs import CommitteeProof
    from bees.ledger.state import State
    from bees.ledger.transactions import Approval, Signed


@dataclass(frozen=True)
class ProvedChain:
    """A chain, as far as it must be known to tell who approves.

    Attributes:
        signed: its genesis, signed by all.
        proofs: one for each change of the committee, in order.
    """

    signed: SignedGenesis
    proofs: tuple[CommitteeProof, ...] = ()

    @property
    def genesis(self) -> Genesis:
        """The agreement."""
        return self.signed.genesis

    @classmethod
    def of(cls, standing: Standing) -> ProvedChain:
        """A chain where it stands."""
        return cls(standing.signed, standing.proofs)

    @cached_property
    def committee(self) -> Committee:
        """The servers that count after the last proof.

        Raises:
            ProofError: a proof does not show what it claims.
        """
        known = Committees(self.genesis).follow(self.proofs, is_signed_by)
        return known.changes[-1][1] if known.changes else self.genesis.committee


@dataclass(frozen=True)
class Proposal(ABC):
    """What is proposed to the servers of a chain.

    Attributes:
        chain: whose servers approve.
        nonce: how many changes of its kind came before it.
        approvals: valid ones, ascending by server.
    """

    chain: ProvedChain
    nonce: int
    approvals: tuple[Approval, ...]

    @property
    @abstractmethod
    def subject(self) -> object:
        """What changes."""

    @abstractmethod
    def valid(self, approvals: Iterable[Approval]) -> tuple[Approval, ...]:
        """One approval of each server that has really given one."""

    @abstractmethod
    def approval(self, key: Signs) -> Approval:
        """A server's approval; a TransactionError where the key is no server's."""

    @abstractmethod
    def transaction(self, carrier: Signs) -> Signed:
        """The transaction, signed by whoever carries it; a TransactionError where too few have approved."""

    @abstractmethod
    def problem_in(self, state: State) -> str | None:
        """Why the chain could not take it in this state, whoever has approved; None where it could."""

    def problem_at(self, standing: Standing) -> str | None:
        """Why the chain could not take it where it stands, whoever has approved; None where it could."""
        state = standing.state
        if state.genesis.chain_id != self.chain.genesis.chain_id:
            return f"is for another chain, {self.chain.genesis.chain_id.hex()}"
        if state.members.committee != self.chain.committee:
            return "was made when other servers counted; propose it again"
        return self.problem_in(state)

    def with_approvals(self, approvals: Iterable[Approval]) -> Self:
        """The proposal with these approvals besides, as far as they are valid."""
        return replace(self, approvals=self.valid([*self.approvals, *approvals]))

    def is_same_as(self, other: Proposal) -> bool:
        """Whether both propose the same for the same place in the same chain."""
        own, others = self.chain.genesis.chain_id, other.chain.genesis.chain_id
        return (own, self.nonce, self.subject) == (others, other.nonce, other.subject)

    def joined(self, other: Proposal) -> Self:
        """What this one and another copy of it hold together."""
        return self.with_approvals(other.approvals)


@dataclass(frozen=True)
class ContractProposal(Proposal):
    """Another contract.

    Attributes:
        code: the WebAssembly module.
    """

    code: bytes

    @property
    def subject(self) -> object:
        """What changes."""
        return self.code

    @property
    def code_hash(self) -> bytes:
        """The name of the contract on the chain."""
        return hash_contract(self.code)

    def problem_in(self, state: State) -> str | None:
        """Why the chain could not take it in this state; None where it could."""
        return _problem_of_nonce(self.nonce, state.deploys)

    def valid(self, approvals: Iterable[Approval]) -> tuple[Approval, ...]:
        """One approval of each server that has really given one."""
        return deployment.valid_approvals(*self._what, approvals)

    def approval(self, key: Signs) -> Approval:
        """A server's approval; a DeployError where the key is no server's."""
        return deployment.approve(*self._what, key)

    def transaction(self, carrier: Signs) -> Signed:
        """The Deploy, signed by whoever carries it; a DeployError where too few have approved."""
        return deployment.assemble(*self._what, self.approvals, carrier)

    @property
    def _what(self) -> tuple[bytes, Committee, int, bytes]:
        return self.chain.genesis.chain_id, self.chain.committee, self.nonce, self.code


@dataclass(frozen=True)
class AmendProposal(Proposal):
    """A change of the members.

    Attributes:
        change: what changes.
        consent: signature of the new key, or None where there is none yet, or nobody new.
    """

    change: Change
    consent: bytes | None

    @property
    def subject(self) -> object:
        """What changes."""
        return self.change

    @property
    def lacks_consent(self) -> bool:
        """Whether the new key has still to sign."""
        return self.change.public_key is not None and self.consent is None

    def problem_in(self, state: State) -> str | None:
        """Why the chain could not take it in this state; None where it could."""
        try:
            amend(state.members if state.next_members is None else state.next_members, self.change)
        except AmendError as error:
            return error.problem
        return _problem_of_nonce(self.nonce, state.amendments)

    def valid(self, approvals: Iterable[Approval]) -> tuple[Approval, ...]:
        """One approval of each server that has really given one."""
        return amendment.valid_approvals(*self._what, approvals)

    def approval(self, key: Signs) -> Approval:
        """A server's approval; an AmendError where the key is no server's."""
        return amendment.approve(*self._what, key)

    def consented(self, key: Signs) -> AmendProposal:
        """The proposal with the consent of the new key; an AmendError where it is another key, or nobody new."""
        chain_id = self.chain.genesis.chain_id
        return self.with_consent(amendment.consent(chain_id, self.nonce, self.change, key))

    def with_consent(self, signature: bytes) -> AmendProposal:
        """The proposal with a signature as its consent, as far as it is the new key's."""
        is_consent = amendment.is_consent(self.chain.genesis.chain_id, self.nonce, self.change, signature)
        return replace(self, consent=signature) if is_consent else self

    def joined(self, other: Proposal) -> Self:
        """What this one and another copy of it hold together."""
        theirs = other.consent if isinstance(other, AmendProposal) else None
        return replace(super().joined(other), consent=self.consent or theirs)

    def transaction(self, carrier: Signs) -> Signed:
        """The Amend, signed by whoever carries it; an AmendError where approvals or the consent are missing."""
        return amendment.assemble(*self._what, self.consent, self.approvals, carrier)

    @property
    def _what(self) -> tuple[bytes, Committee, int, Change]:
        return self.chain.genesis.chain_id, self.chain.committee, self.nonce, self.change


def _problem_of_nonce(nonce: int, so_far: int) -> str | None:
    return None if nonce == so_far else f"is change number {nonce}, but the chain has had {so_far}; propose it again"
