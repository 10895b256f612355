"""Makes proofs from a chain file: replays it as far as the proof needs, so that nothing is proved that is not right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bees.core.errors import InputError, VirtualMachineError
from bees.core.fixed_point import words_to_bytes
from bees.engines.audit import FUEL_CAP, initial_words, shipped_machine
from bees.engines.chain_file import ChainReader
from bees.ledger.aggregation import ContractExecutor
from bees.ledger.genesis import check_genesis
from bees.ledger.proofs import prove_committee, prove_model
from bees.ledger.replay import replay

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from bees.contract.vm import VirtualMachine
    from bees.ledger.committee import Committee
    from bees.ledger.genesis import Genesis, SignedGenesis
    from bees.ledger.proofs import CommitteeProof, ModelProof
    from bees.ledger.replay import AuditedBlock


@dataclass(frozen=True)
class ProvedModel:
    """A proof, and what it is about.

    Attributes:
        proof: of how the last closed round ended.
        words: of w_g(t) as raw little-endian int32; None where the replay has not computed them, as on a chain
            whose main nodes alone execute the contract.
        committees: by which it is checked: a proof for each change of the servers before its block.
    """

    proof: ModelProof
    words: bytes | None
    committees: tuple[CommitteeProof, ...] = ()


def read_signed_genesis(path: Path) -> SignedGenesis:
    """The genesis of a chain file, for a device.

    Raises:
        ChainFileError: the file cannot be read.
        GenesisError: not every server has signed it, or it contradicts itself.
    """
    with ChainReader(path) as reader:
        reader.check_schema()
        signed = reader.genesis()
    check_genesis(signed)
    return signed


def prove_from_file(
    path: Path,
    *,
    height: int | None = None,
    round_: int | None = None,
    machine: Callable[[Genesis], VirtualMachine] | None = None,
) -> ProvedModel:
    """The proof of the last closed round after a block.

    Args:
        path: the chain file; it is not changed.
        height: of the block; by default the last one.
        round_: instead of a height, t of the round to prove; the block is the first after which it is closed.
        machine: makes the virtual machine that the genesis describes; by default the one of this package.

    Raises:
        InputError: no such block or round, or no round is closed yet.
        ChainFileError: the file cannot be read.
        BeesError: a block on the way is not right.
    """
    with ChainReader(path) as reader:
        executor, blocks = replayed(reader, machine or shipped_machine)
        committees: list[CommitteeProof] = []
        last = _find(_following(blocks, committees), str(path), height, round_)
    outcome = last.state.outcome
    if outcome is None:
        raise InputError(str(path), f"no round is closed at height {last.state.height}: nothing is to prove yet")
    words = executor.models.get(outcome.model)
    proof = prove_model(last.state, last.block.header, last.commit)
    before = tuple(change for change in committees if change.header.height < proof.header.height)
    return ProvedModel(proof, None if words is None else words_to_bytes(words), before)


def replayed(
    reader: ChainReader, machine: Callable[[Genesis], VirtualMachine] = shipped_machine
) -> tuple[ContractExecutor, Iterator[AuditedBlock]]:
    """The blocks of a chain file, each checked when it is asked for, and what executes their contracts.

    Args:
        reader: of the file, open until the last block is read.
        machine: makes the virtual machine that the genesis describes.

    Raises:
        ChainFileError: the file cannot be read.
        VirtualMachineError: the genesis allows a call of the contract more fuel than is spent unasked.
        BeesError: a block is not right.
    """
    reader.check_schema()
    signed = reader.genesis()
    limit = signed.genesis.virtual_machine.fuel_limit
    if limit > FUEL_CAP:
        raise VirtualMachineError(f"not replayed: the genesis allows {limit} units of fuel for one call of a contract")
    executor = ContractExecutor(machine(signed.genesis), reader.blob, initial_words(reader, signed))
    return executor, replay(signed, ((row.block, row.commit) for row in reader.blocks()), executor)


def _following(blocks: Iterable[AuditedBlock], proofs: list[CommitteeProof]) -> Iterator[AuditedBlock]:
    """The blocks; and for each after which other servers count, a proof of them."""
    committee: Committee | None = None
    for audited in blocks:
        before = audited.state.genesis.committee if committee is None else committee
        committee = audited.state.members.committee
        if committee != before:
            proofs.append(prove_committee(audited.state, audited.block.header, audited.commit))
        yield audited


def _find(blocks: Iterable[AuditedBlock], source: str, height: int | None, round_: int | None) -> AuditedBlock:
    last = None
    for last in blocks:
        closed = 0 if last.state.outcome is None else last.state.outcome.round
        if last.state.height == height or closed == round_:
            return last
    if last is None:
        raise InputError(source, "has no blocks, so nothing is to prove yet")
    if height is not None:
        raise InputError(source, f"has {last.state.height} blocks, and no block {height}")
    if round_ is not None:
        raise InputError(source, f"the last closed round is {last.state.round - 1}; round {round_} is not closed")
    return last
