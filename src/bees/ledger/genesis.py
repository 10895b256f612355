"""Genesis: everything that the servers agree on before the first block."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Literal

from msgspec import Meta

from bees.contract.description import VirtualMachineDescription  # msgspec reads the annotation
from bees.core.canonical import Record, encode
from bees.core.errors import GenesisError
from bees.core.hashes import digest
from bees.core.keys import SigningKey, is_signed_by
from bees.core.model import ModelDescription  # likewise
from bees.ledger.committee import Committee, PublicKey

if TYPE_CHECKING:
    from collections.abc import Callable

Hash = Annotated[bytes, Meta(min_length=32, max_length=32)]
Signature = Annotated[bytes, Meta(min_length=64, max_length=64)]
Natural = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Positive = Annotated[int, Meta(ge=1, le=2**63 - 1)]

VerificationReading = Literal["all_servers", "main_node"]
"""Who verifies updates and executes the contract: every server, or the main node alone, as the paper has it."""

PolReading = Literal["capacity_over_battery", "capacity_times_battery", "loss_reduction", "round_robin"]

_SAMPLE_TOTAL_LIMIT = 2**32
"""Eq. 3 sums n_m q_m in int64, which is exact while the n_m sum to less than this; contracts take counts as u32."""


class ServerRecord(Record, frozen=True):
    """An edge server s_k.

    Attributes:
        public_key: of its Ed25519 key.
        capacity_hz: c_k of Eq. 2.
        battery_mj: the budget that B_k starts from, in millijoule.
    """

    public_key: PublicKey
    capacity_hz: Positive
    battery_mj: Natural


class DeviceRecord(Record, frozen=True):
    """A device u_k.

    Attributes:
        public_key: of its Ed25519 key.
        server: index of its nearest server.
        sample_cap: the largest n_k that it may claim.
    """

    public_key: PublicKey
    server: Natural
    sample_cap: Positive


class PhaseLengths(Record, frozen=True):
    """When a phase closes although it is not complete, in heights.

    Attributes:
        collect: length of COLLECT.
        attest: length of ATTEST.
        publish: turn of each rank in PUBLISH.
        publish_ranks: ranks that get a turn before the round is skipped.
    """

    collect: Positive
    attest: Positive
    publish: Positive
    publish_ranks: Positive


class DutyCosts(Record, frozen=True):
    """What duties cost a server's account, in millijoule, whether they are done or not: silence saves nothing.

    Attributes:
        attest_mj: one attestation.
        publish_mj: one turn to publish.
        harvest_mj: what every account gains per round.
    """

    attest_mj: Natural
    publish_mj: Natural
    harvest_mj: Natural


class Genesis(Record, frozen=True, dict=True):
    """The agreement that a chain starts from.

    Attributes:
        name: for people.
        servers: s_1 to s_N; also the validators, power 1 each.
        devices: u_1 to u_K.
        model: the arrays of w.
        initial_model: hash of w_g(0).
        evaluation_set: hash of the samples on which updates are scored.
        evaluation_samples: T, how many they are.
        contract: WebAssembly code of the first contract.
        top_m: M, how many updates the contract is asked to select.
        pol: the reading of Proof of Learning.
        phases: lengths of the three phases.
        costs: of duties.
        penalty_rounds: for how many rounds after its offence a convicted participant has no turn.
        verification: who verifies updates and executes the contract.
        virtual_machine: the runtime that executes contracts, and its limits.
    """

    name: str
    servers: tuple[ServerRecord, ...]
    devices: tuple[DeviceRecord, ...]
    model: ModelDescription
    initial_model: Hash
    evaluation_set: Hash
    evaluation_samples: Positive
    contract: bytes
    top_m: Positive
    pol: PolReading
    phases: PhaseLengths
    costs: DutyCosts
    penalty_rounds: Natural
    verification: VerificationReading
    virtual_machine: VirtualMachineDescription

    @cached_property
    def chain_id(self) -> bytes:
        """The genesis' hash: whatever is signed binds it, so nothing signed is good for another chain."""
        return digest("genesis", encode(self))

    @cached_property
    def committee(self) -> Committee:
        """The servers that commit the first blocks, and all others until the chain amends its members."""
        return Committee(tuple(server.public_key for server in self.servers))


class SignedGenesis(Record, frozen=True):
    """A genesis and the signature of every server under it, in the order of the servers."""

    genesis: Genesis
    signatures: tuple[Signature, ...]


def sign_genesis(genesis: Genesis, server_keys: tuple[SigningKey, ...]) -> SignedGenesis:
    """The genesis with the signatures of all its servers."""
    return SignedGenesis(genesis, tuple(key.sign(_signing_bytes(genesis)) for key in server_keys))


def check_genesis(signed: SignedGenesis, verify: Callable[[bytes, bytes, bytes], bool] = is_signed_by) -> None:
    """Refuse a genesis that contradicts itself, or that not every server has signed.

    Args:
        signed: the genesis and its signatures.
        verify: tells whether a (public key, message, signature) is valid.

    Raises:
        GenesisError: naming the field at fault.
    """
    genesis = signed.genesis
    _check_participants(genesis)
    _check_model(genesis.model)
    if genesis.evaluation_samples >= _SAMPLE_TOTAL_LIMIT:
        raise GenesisError("evaluation_samples", f"must be less than {_SAMPLE_TOTAL_LIMIT}")
    if len(signed.signatures) != len(genesis.servers):
        raise GenesisError("signatures", f"{len(signed.signatures)} for {len(genesis.servers)} servers")
    message = _signing_bytes(genesis)
    for index, (server, signature) in enumerate(zip(genesis.servers, signed.signatures, strict=True)):
        if not verify(server.public_key, message, signature):
            raise GenesisError("signatures", f"server {index} has not signed this genesis")


def _check_participants(genesis: Genesis) -> None:
    if not genesis.servers:
        raise GenesisError("servers", "a chain needs at least one server")
    if not genesis.devices:
        raise GenesisError("devices", "a chain needs at least one device")
    keys = [record.public_key for record in (*genesis.servers, *genesis.devices)]
    if len(set(keys)) != len(keys):
        raise GenesisError("public_key", "two participants share one key")
    stray = [index for index, device in enumerate(genesis.devices) if device.server >= len(genesis.servers)]
    if stray:
        raise GenesisError("devices", f"device {stray[0]} belongs to a server that does not exist")
    if sum(device.sample_cap for device in genesis.devices) >= _SAMPLE_TOTAL_LIMIT:
        raise GenesisError("devices", f"the sample caps must sum to less than {_SAMPLE_TOTAL_LIMIT}")


def _check_model(model: ModelDescription) -> None:
    if any(size < 1 for array in model.arrays for size in array.shape):
        raise GenesisError("model", "an array has a dimension below 1")
    if model.parameters < 1 or not 0 <= model.exponent <= 30:  # noqa: PLR2004  # bits of a word
        raise GenesisError("model", "needs at least one parameter, and an exponent of 0 to 30")


def _signing_bytes(genesis: Genesis) -> bytes:
    return b"bees genesis\0" + genesis.chain_id
