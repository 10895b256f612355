"""The audit of a chain file: replays it from the file alone, and trusts nothing but the genesis."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bees.contract.description import DEFAULT_FUEL_LIMIT
from bees.contract.vm import VirtualMachine
from bees.core.canonical import decode, encode
from bees.core.errors import BeesError, ChainFileError, CodecError, MissingBlobError, StorageError, VirtualMachineError
from bees.core.fixed_point import bytes_to_words
from bees.engines.blobs import ReadUpdates
from bees.engines.chain_file import ChainReader
from bees.ledger.aggregation import ContractExecutor
from bees.ledger.block import Block, Commit, block_id
from bees.ledger.commitments import hash_contract, hash_model
from bees.ledger.evidence import check_result
from bees.ledger.membership import Members
from bees.ledger.replay import replay
from bees.ledger.transactions import Publish

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import BinaryIO

    from bees.core.fixed_point import Words
    from bees.engines.chain_file import StoredBlock
    from bees.ledger.genesis import Genesis, SignedGenesis
    from bees.ledger.state import State

FUEL_CAP = 100 * DEFAULT_FUEL_LIMIT
"""The most fuel per call of a contract that an auditor spends unasked: about a minute of plain computation."""

_EXPORT_MAGIC = b"bees chain export 1\n"


@dataclass(frozen=True)
class ChainVerdict:
    """What an audit has found.

    Attributes:
        valid: whether the whole file is right.
        blocks: how many blocks from the first on are right.
        first_bad: height of the first block that is not, 0 for the genesis; None when all blocks are right, or
            the file as a whole is unreadable.
        reason: what is wrong, in one line; empty when nothing is.
        chain_id: of the genesis, in hex; empty when there is none.
        round: the last closed communication round.
        model: hash of the last w_g, in hex; empty when the genesis is bad.
        warning: what a reader must know beside the verdict, such as another version of the runtime; or empty.
        contract: hash of the contract in force, in hex; empty when the genesis is bad.
        deploys: how many changes of contract there were.
        amendments: how many changes of the members there were.
        servers: those that count after the last block, ascending; empty when the genesis is bad.
        devices: those that take part after the last block, ascending; likewise.
    """

    valid: bool
    blocks: int
    first_bad: int | None
    reason: str
    chain_id: str = ""
    round: int = 0
    model: str = ""
    warning: str = ""
    contract: str = ""
    deploys: int = 0
    amendments: int = 0
    servers: tuple[int, ...] = ()
    devices: tuple[int, ...] = ()


@dataclass(frozen=True)
class ChainEntry:
    """A block for the reader of a chain.

    Attributes:
        block: header and transactions.
        commit: the quorum that committed it.
        read: commitments of the updates that the contract read in it.
    """

    block: Block
    commit: Commit
    read: tuple[bytes, ...]


@dataclass
class _Progress:
    """How far an audit has come; what stands here at the first error tells where that is."""

    at: int | None = None
    blocks: int = 0
    chain_id: str = ""
    round: int = 0
    model: str = ""
    warning: str = ""
    contract: str = ""
    deploys: int = 0
    amendments: int = 0
    servers: tuple[int, ...] = ()
    devices: tuple[int, ...] = ()

    def follow(self, state: State) -> None:
        """A block is right; this is the state after it."""
        self.blocks, self.round, self.model = state.height, state.round - 1, state.model.hex()
        self.contract, self.deploys = hash_contract(state.contract).hex(), state.deploys
        self.name_members(state.members)
        self.amendments = state.amendments

    def name_members(self, members: Members) -> None:
        """Who takes part."""
        self.servers = members.committee.members
        self.devices = tuple(device for device, key in enumerate(members.devices) if key is not None)

    def verdict(self, reason: str) -> ChainVerdict:
        """What has been found; without a reason, all is right."""
        at = self.at if reason else None
        found = {name: value for name, value in vars(self).items() if name not in {"at", "blocks"}}
        return ChainVerdict(not reason, self.blocks, at, reason, **found)


def verify_chain(
    path: Path,
    machine: Callable[[Genesis], VirtualMachine] | None = None,
    expected_genesis: bytes | None = None,
    fuel_cap: int = FUEL_CAP,
) -> ChainVerdict:
    """Replay a chain file from its genesis.

    Checked are the database itself, its tables and rows, the genesis' signatures, every block (encoding, links,
    signatures, rounds, Proof of Learning, the contract's result, hashes, commit quorum), that every update which
    a contract read is there and nothing else is.

    Args:
        path: the chain file; it is not changed.
        machine: makes the virtual machine that the genesis describes; by default the one of this
            package, also in another version than the genesis', of which ``warning`` then tells.
        expected_genesis: hash of the genesis that the chain must start from, or None to accept any.
        fuel_cap: the largest fuel limit of a genesis that is judged. A genesis that a stranger has made could
            otherwise have one call of its contract run for years.

    Returns:
        The verdict.

    Raises:
        VirtualMachineError: this machine cannot judge, for want of memory or of the runtime that the genesis pins,
            or since the genesis' fuel limit is above ``fuel_cap``. It says nothing of the chain.
        StorageError: the disk does not let the file be read. It says nothing of the chain either.
    """
    progress = _Progress()
    try:
        with ChainReader(path) as reader:
            _check_chain(reader, machine or shipped_machine, expected_genesis, fuel_cap, progress)
            progress.at = None
            reader.check_integrity()
    except (VirtualMachineError, StorageError):
        raise
    except MemoryError as error:
        raise VirtualMachineError("this machine has no memory left to judge the chain with") from error
    except BeesError as error:
        return progress.verdict(str(error))
    return progress.verdict("")


def iter_chain(path: Path) -> Iterator[ChainEntry]:
    """The blocks of a chain file in order, decoded but not verified.

    Raises:
        ChainFileError: the file or a block in it cannot be read.
    """
    with ChainReader(path) as reader:
        reader.check_schema()
        follow = ReadUpdates()
        for stored in reader.blocks():
            yield _decoded(reader, stored, follow)


def export_chain(path: Path, out: BinaryIO) -> int:
    """Write what a chain file says in one canonical spelling.

    After a magic line: the signed genesis, the words of w_g(0), and for each block the block, its commit, the
    number of updates that the contract read in it and their bytes. Each is preceded by its length, or is a
    count, as a little-endian 64-bit integer.

    Args:
        path: the chain file.
        out: a binary file to write to.

    Returns:
        Number of blocks.

    Raises:
        ChainFileError: the file cannot be read, or an update is missing.
    """
    with ChainReader(path) as reader:
        reader.check_schema()
        signed = reader.genesis()
        out.write(_EXPORT_MAGIC)
        _write(out, encode(signed))
        _write(out, _blob(reader, signed.genesis.initial_model))
        follow, count = ReadUpdates(), 0
        for count, stored in enumerate(reader.blocks(), start=1):  # noqa: B007  # the last count is returned
            read = _decoded(reader, stored, follow).read
            _write(out, stored.block)
            _write(out, stored.commit)
            out.write(struct.pack("<Q", len(read)))
            for commitment in read:
                _write(out, _blob(reader, commitment))
        return count


def _check_chain(
    reader: ChainReader,
    make_machine: Callable[[Genesis], VirtualMachine],
    expected_genesis: bytes | None,
    fuel_cap: int,
    progress: _Progress,
) -> None:
    reader.check_schema()
    progress.at = 0
    signed = reader.genesis()
    progress.chain_id = signed.genesis.chain_id.hex()
    if expected_genesis is not None and signed.genesis.chain_id != expected_genesis:
        raise ChainFileError(str(reader.path), f"it starts from another genesis, {progress.chain_id[:16]}")
    _check_fuel(signed.genesis.virtual_machine.fuel_limit, fuel_cap)
    machine = make_machine(signed.genesis)
    progress.warning = machine.version_difference or ""
    executor = ContractExecutor(machine, reader.blob, initial_words(reader, signed))
    progress.model = signed.genesis.initial_model.hex()
    progress.contract = hash_contract(signed.genesis.contract).hex()
    progress.name_members(Members.of(signed.genesis))
    try:
        last, referenced = _replay(reader, signed, executor, progress)
    except MissingBlobError as error:
        # To the ledger, bytes that were not committed to are no bytes; a reader wants to know which it is.
        is_there = reader.blob(error.commitment) is not None
        problem = f"update {error.commitment.hex()[:16]} is {'altered' if is_there else 'missing'}"
        raise ChainFileError(str(reader.path), problem) from error
    progress.at = None
    _check_no_more(reader, last, referenced)


def _replay(
    reader: ChainReader, signed: SignedGenesis, executor: ContractExecutor, progress: _Progress
) -> tuple[tuple[int, bytes], set[bytes]]:
    """Replay all blocks; returns height and id of the last one, and the commitments that contracts read."""
    last, follow, referenced = (0, signed.genesis.chain_id), ReadUpdates(), {signed.genesis.initial_model}

    def stored() -> Iterator[tuple[bytes, bytes]]:
        rows = reader.blocks()
        while True:
            # Reading the next row may already find it bad.
            progress.at = progress.blocks + 1
            row = next(rows, None)
            if row is None:
                return
            yield row.block, row.commit

    progress.at = 0
    before: State | None = None
    for audited in replay(signed, stored(), executor):
        if before is not None and signed.genesis.verification == "main_node":
            _check_main_node(before, audited.block, executor)
        before = audited.state
        progress.follow(before)
        referenced.update(follow.follow(audited.block.batch))
        last = (audited.state.height, block_id(audited.block.header))
    return last, referenced


def _check_main_node(before: State, block: Block, executor: ContractExecutor) -> None:
    """Do what the servers of such a chain have not done: execute the contract, and compare the main node's word."""
    for signed in block.batch.transactions:
        if isinstance(signed.body, Publish):
            check_result(before, signed.body, executor)


def _check_no_more(reader: ChainReader, last: tuple[int, bytes], referenced: set[bytes]) -> None:
    """Refuse rows that no block accounts for."""
    path, tip = str(reader.path), reader.tip()
    if tip != last:
        raise ChainFileError(path, f"its tip says block {tip[0]}, but block {last[0]} is the last one that is there")
    names = reader.blob_names()
    if len(names) != len(set(names)) or set(names) != referenced:
        strays = len(set(names) - referenced)
        raise ChainFileError(path, f"it holds {strays} updates that no contract read")


def _check_fuel(limit: int, cap: int) -> None:
    if limit > cap:
        raise VirtualMachineError(
            f"not judged: the genesis allows {limit} units of fuel for one call of a contract, which may take too long"
            f" here; if you trust it, call verify_chain with fuel_cap={limit} (it is {cap})"
        )


def initial_words(reader: ChainReader, signed: SignedGenesis) -> Words:
    """The words of w_g(0), shape (P,), as the genesis names them.

    Raises:
        ChainFileError: they are not in the file, or others are.
        ModelShapeError: they do not fit the model.
    """
    data = _blob(reader, signed.genesis.initial_model)
    if hash_model(data) != signed.genesis.initial_model:
        raise ChainFileError(str(reader.path), "the words of w_g(0) are not those that the genesis names")
    signed.genesis.model.check(data)
    return bytes_to_words(data)


def _blob(reader: ChainReader, commitment: bytes) -> bytes:
    data = reader.blob(commitment)
    if data is None:
        raise ChainFileError(str(reader.path), f"update {commitment.hex()[:16]} is missing")
    return data


def _decoded(reader: ChainReader, stored: StoredBlock, follow: ReadUpdates) -> ChainEntry:
    try:
        block, commit = decode(stored.block, Block), decode(stored.commit, Commit)
    except CodecError as error:
        raise ChainFileError(str(reader.path), f"block {stored.height}: {error}") from error
    return ChainEntry(block, commit, follow.follow(block.batch))


def _write(out: BinaryIO, data: bytes) -> None:
    out.write(struct.pack("<Q", len(data)))
    out.write(data)


def shipped_machine(genesis: Genesis) -> VirtualMachine:
    """The one of this package, also in another version than the genesis pins."""
    return VirtualMachine(genesis.virtual_machine, accept_other_version=True)
