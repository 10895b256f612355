"""A proposal as a file: it goes from server to server, and each adds its approval. Nothing in it is secret."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from bees.chain_source import genesis_of, read_bounded
from bees.core.canonical import decode, encode
from bees.core.errors import CodecError, InputError, ProofError
from bees.core.keys import PUBLIC_KEY_BYTES
from bees.ledger.membership import Change, ValidatorChange
from bees.ledger.proofs import CommitteeProof
from bees.ledger.transactions import Approval
from bees.proposal import AmendProposal, ContractProposal, ProvedChain
from bees.run_folder import BROKEN_JSON, write_bytes

if TYPE_CHECKING:
    from pathlib import Path

    from bees.proposal import Proposal

FORMAT = "bees proposal 2"
_NONCE_LIMIT = 2**63


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pass


class _Contract(_Table, frozen=True, tag_field="kind", tag="contract"):
    code_hash: str
    code: bytes


class _Validator(_Table, frozen=True):
    old: str
    new: str | None


class _Members(_Table, frozen=True, tag_field="kind", tag="members"):
    participant: Literal["server", "device"]
    index: int
    public_key: str | None
    validator: _Validator | None
    consent: str | None


class _Approval(_Table, frozen=True):
    server: int
    signature: str


class _Document(_Table, frozen=True):
    format: str
    chain_id: str
    nonce: int
    change: _Contract | _Members
    approvals: tuple[_Approval, ...]
    genesis: bytes
    committees: tuple[bytes, ...]


class _Format(msgspec.Struct, frozen=True):
    format: str = ""


def write_proposal(path: Path, proposal: Proposal) -> None:
    """Write a proposal, whole or not at all.

    Raises:
        OutputError: it cannot be written.
    """
    document = _Document(
        FORMAT,
        proposal.chain.genesis.chain_id.hex(),
        proposal.nonce,
        _spelled(proposal),
        tuple(_Approval(approval.server, approval.signature.hex()) for approval in proposal.approvals),
        encode(proposal.chain.signed),
        tuple(encode(proof) for proof in proposal.chain.proofs),
    )
    write_bytes(path.parent, path.name, msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n")


def read_contract_proposal(path: Path) -> ContractProposal:
    """A proposal of another contract; approvals that are not valid are dropped.

    Raises:
        InputError: it is none, or contradicts itself.
    """
    proposal = read_proposal(path)
    if not isinstance(proposal, ContractProposal):
        raise InputError(str(path), "proposes a change of the members: bees amend")
    return proposal


def read_amend_proposal(path: Path) -> AmendProposal:
    """A proposal to change the members; approvals and a consent that are not valid are dropped.

    Raises:
        InputError: it is none, or contradicts itself.
    """
    proposal = read_proposal(path)
    if not isinstance(proposal, AmendProposal):
        raise InputError(str(path), "proposes another contract: bees contract")
    return proposal


def read_proposal(path: Path) -> Proposal:
    """A proposal of either kind; approvals and a consent that are not valid are dropped.

    Raises:
        InputError: it is none, or contradicts itself.
    """
    source, data = str(path), read_bounded(path)
    try:
        format_ = msgspec.json.decode(data, type=_Format).format
        if format_ != FORMAT:
            raise InputError(source, f"says that it is {format_[:80]!r}, not {FORMAT!r}; propose it again")
        document = msgspec.json.decode(data, type=_Document)
        signatures = [Approval(one.server, bytes.fromhex(one.signature)) for one in document.approvals]
        bare = _bare(_chain_of(source, document), document)
    except (*BROKEN_JSON, ValueError) as error:
        raise InputError(source, f"is no proposal: {error}") from error
    if not 0 <= document.nonce < _NONCE_LIMIT:
        raise InputError(source, f"its nonce is {document.nonce}")
    return bare.with_approvals(signatures)


def _spelled(proposal: Proposal) -> _Contract | _Members:
    match proposal:
        case ContractProposal():
            return _Contract(proposal.code_hash.hex(), proposal.code)
        case AmendProposal(change=change):
            old = change.validator
            return _Members(
                change.kind,
                change.index,
                _hex(change.public_key),
                None if old is None else _Validator(old.old.hex(), _hex(old.new)),
                _hex(proposal.consent),
            )
        case _:
            raise TypeError(type(proposal).__name__)


def _chain_of(source: str, document: _Document) -> ProvedChain:
    signed = genesis_of(source, document.genesis)
    if signed.genesis.chain_id.hex() != document.chain_id:
        raise InputError(source, "its chain_id is not that of its genesis: it was altered")
    try:
        chain = ProvedChain(signed, tuple(decode(proof, CommitteeProof) for proof in document.committees))
        _ = chain.committee
    except (CodecError, ProofError) as error:
        raise InputError(source, f"does not prove who must approve: {error}") from error
    return chain


def _bare(chain: ProvedChain, document: _Document) -> Proposal:
    """What is proposed, without approvals; a ValueError where it cannot be."""
    match document.change:
        case _Contract(code_hash=said, code=code):
            contract = ContractProposal(chain, document.nonce, (), code)
            if contract.code_hash.hex() != said:
                raise ValueError("its code_hash is not that of its code: it was altered")
            return contract
        case _Members() as told:
            proposal = AmendProposal(chain, document.nonce, (), _change(chain, told), None)
            return proposal if told.consent is None else proposal.with_consent(bytes.fromhex(told.consent))


def _change(chain: ProvedChain, told: _Members) -> Change:
    listed = chain.genesis.servers if told.participant == "server" else chain.genesis.devices
    if not 0 <= told.index < len(listed):
        raise ValueError(f"no {told.participant} {told.index} in the genesis")
    validator = told.validator
    public_key = None if told.public_key is None else _key(told.public_key)
    if validator is None:
        return Change(told.participant, told.index, public_key, None)
    new = None if validator.new is None else _key(validator.new)
    return Change(told.participant, told.index, public_key, ValidatorChange(_key(validator.old), new))


def _key(text: str) -> bytes:
    key = bytes.fromhex(text)
    if len(key) != PUBLIC_KEY_BYTES:
        raise ValueError(f"{text[:80]!r} is no public key")
    return key


def _hex(data: bytes | None) -> str | None:
    return None if data is None else data.hex()
