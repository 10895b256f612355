"""A proposed change of contract as a file: it goes from server to server, and each adds its approval.

The file holds the signed genesis, so whoever has it can check all approvals with nothing else. Nothing in it is secret,
and nothing is believed: the genesis names the chain by its hash, the approvals bind that, the nonce and the code.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import msgspec

from bees.core.canonical import decode, encode
from bees.core.errors import CodecError, InputError, LedgerError
from bees.engines.chain_file import ChainReader
from bees.ledger.commitments import hash_contract
from bees.ledger.genesis import SignedGenesis, check_genesis
from bees.ledger.transactions import Approval
from bees.protocol.deployment import valid_approvals
from bees.run_folder import CHAIN, write_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from bees.ledger.genesis import Genesis

FORMAT = "bees contract proposal 1"
LARGEST_FILE_BYTES = 64 * 2**20
_SQLITE_MAGIC = b"SQLite format 3\0"


@dataclass(frozen=True)
class Proposal:
    """A contract that servers approve, or not.

    Attributes:
        signed: the genesis of the chain.
        nonce: how many Deploys came before it.
        code: the WebAssembly module.
        approvals: valid ones, ascending by server.
    """

    signed: SignedGenesis
    nonce: int
    code: bytes
    approvals: tuple[Approval, ...] = ()

    @property
    def genesis(self) -> Genesis:
        """Of the chain."""
        return self.signed.genesis

    @property
    def code_hash(self) -> bytes:
        """The name of the contract on the chain."""
        return hash_contract(self.code)

    def with_approvals(self, approvals: Iterable[Approval]) -> Proposal:
        """The proposal with these approvals besides, as far as they are valid."""
        gathered = valid_approvals(self.genesis, self.nonce, self.code, [*self.approvals, *approvals])
        return replace(self, approvals=gathered)

    def is_same_as(self, other: Proposal) -> bool:
        """Whether both propose the same code for the same place in the same chain."""
        return (self.genesis.chain_id, self.nonce, self.code) == (other.genesis.chain_id, other.nonce, other.code)


class _Approval(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    server: int
    signature: str


class _Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    format: str
    chain_id: str
    nonce: int
    code_hash: str
    code: bytes
    genesis: bytes
    approvals: tuple[_Approval, ...] = ()


def write_proposal(path: Path, proposal: Proposal) -> None:
    """Write a proposal, whole or not at all.

    Raises:
        OutputError: it cannot be written.
    """
    document = _Document(
        FORMAT,
        proposal.genesis.chain_id.hex(),
        proposal.nonce,
        proposal.code_hash.hex(),
        proposal.code,
        encode(proposal.signed),
        tuple(_Approval(approval.server, approval.signature.hex()) for approval in proposal.approvals),
    )
    write_bytes(path.parent, path.name, msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n")


def read_proposal(path: Path) -> Proposal:
    """A proposal; approvals that are not valid are dropped.

    Raises:
        InputError: it is none, or contradicts itself.
    """
    try:
        document = msgspec.json.decode(read_bounded(path), type=_Document)
        signatures = [Approval(one.server, bytes.fromhex(one.signature)) for one in document.approvals]
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise InputError(str(path), f"is no proposal of a contract: {error}") from error
    if document.format != FORMAT:
        raise InputError(str(path), f"says that it is {document.format[:80]!r}, not {FORMAT!r}")
    proposal = Proposal(_genesis_of(str(path), document.genesis), document.nonce, document.code)
    said, found = (document.chain_id, document.code_hash), (proposal.genesis.chain_id.hex(), proposal.code_hash.hex())
    if said != found:
        raise InputError(str(path), "its chain_id or code_hash is not that of its genesis or code: it was altered")
    if not 0 <= proposal.nonce < 2**63:
        raise InputError(str(path), f"its nonce is {proposal.nonce}")
    return proposal.with_approvals(signatures)


def read_genesis_file(path: Path) -> SignedGenesis:
    """The signed genesis in a run's folder, a chain file, or a file that ``bees prove --genesis-out`` has written.

    Raises:
        InputError: there is none, or not all servers have signed it.
        ChainFileError: the chain file cannot be read.
    """
    file = path / CHAIN if path.is_dir() else path
    data = read_bounded(file, len(_SQLITE_MAGIC) if _is_chain(file) else LARGEST_FILE_BYTES)
    if data != _SQLITE_MAGIC:
        return _genesis_of(str(path), data)
    with ChainReader(file) as reader:
        reader.check_schema()
        return _checked(str(path), reader.genesis())


def read_bounded(path: Path, limit: int = LARGEST_FILE_BYTES) -> bytes:
    """The first bytes of a file.

    Raises:
        InputError: it is no file, or cannot be read.
    """
    if not path.is_file():
        raise InputError(str(path), "there is no such file")
    try:
        with path.open("rb") as file:
            return file.read(limit)
    except OSError as error:
        raise InputError(str(path), f"cannot be read: {error.strerror}") from error


def _is_chain(path: Path) -> bool:
    return read_bounded(path, len(_SQLITE_MAGIC)) == _SQLITE_MAGIC


def _genesis_of(source: str, data: bytes) -> SignedGenesis:
    try:
        return _checked(source, decode(data, SignedGenesis))
    except CodecError as error:
        raise InputError(source, f"holds no genesis: {error}") from error


def _checked(source: str, signed: SignedGenesis) -> SignedGenesis:
    try:
        check_genesis(signed)
    except LedgerError as error:
        raise InputError(source, str(error)) from error
    return signed
