"""A genesis for keys that their owners made: drafted once, then signed by every server in turn."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
import numpy as np
from msgspec.structs import replace

from bees.core.canonical import encode
from bees.core.errors import InputError
from bees.core.fixed_point import quantise
from bees.core.keys import SIGNATURE_BYTES, is_signed_by
from bees.experiment import split_data
from bees.founding import Members, Task, found
from bees.key_file import read_public_key
from bees.learning.models import build_model, initial_weights
from bees.ledger.genesis import SignedGenesis, sign_genesis
from bees.toml_file import read_toml_bytes
from bees.transport.genesis_file import read_genesis_file

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from bees.core.fixed_point import Words
    from bees.core.keys import SigningKey
    from bees.experiment import SplitData
    from bees.ledger.genesis import Genesis
    from bees.scenario import Scenario

_ABSENT = "cannot be read: there is no such file"
_MEMBERS_BYTES = 16 << 20
"""About 100,000 devices."""

UNSIGNED = bytes(SIGNATURE_BYTES)
"""Stands in a draft where a server has not signed yet."""


class NewServer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A server to be.

    Attributes:
        public_key: of its BEES key, in hexadecimal digits.
        validator_key: of its CometBFT, in hexadecimal digits.
        peer_id: name of its CometBFT among peers.
        comet: host:port where the other CometBFTs reach it.
        peer_url: where the other servers pull updates from it.
    """

    public_key: str
    validator_key: str = ""
    peer_id: str = ""
    comet: str = ""
    peer_url: str = ""


class NewDevice(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A device to be.

    Attributes:
        public_key: in hexadecimal digits.
        server: index of its nearest server.
        samples: the most that it may claim to train on.
    """

    public_key: str
    server: int
    samples: int


class NewMembers(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file of members.

    Attributes:
        servers: in their order.
        devices: in their order.
        name: of the chain, for people.
    """

    servers: tuple[NewServer, ...]
    devices: tuple[NewDevice, ...]
    name: str = ""


@dataclass(frozen=True)
class Draft:
    """A genesis before it is signed.

    Attributes:
        genesis: what is to be signed.
        initial_model: words of w_g(0).
    """

    genesis: Genesis
    initial_model: Words

    @property
    def unsigned(self) -> SignedGenesis:
        """The genesis with empty places for the signatures."""
        return SignedGenesis(self.genesis, (UNSIGNED,) * len(self.genesis.servers))


def read_members(path: Path) -> NewMembers:
    """The TOML file that lists servers and devices.

    Raises:
        InputError: it cannot be read, or is not as it should be.
    """
    source = str(path)
    text = read_toml_bytes(source, source, "list of members", InputError, lambda: _ABSENT, _MEMBERS_BYTES)
    try:
        return msgspec.convert(tomllib.loads(text.decode()), NewMembers)
    except (ValueError, RecursionError, msgspec.ValidationError) as error:
        raise InputError(str(path), f"is no list of members: {error}") from None


def network_knobs(servers: int, devices: int) -> list[str]:
    """What a real network changes in a scenario, as ``key=value``: who there is, and phases that leave time to train.

    A phase closes as soon as it is complete; these lengths, in blocks, are for when somebody does not come.

    Args:
        servers: N.
        devices: K.
    """
    each = max(1, 2 * -(-devices // servers))
    return [
        f"topology.servers={servers}",
        f"topology.devices={devices}",
        "topology.devices_per_server_min=1",
        f"topology.devices_per_server_max={each}",
        f"topology.server_capacity={each}",
        f"ledger.top_m={min(10, devices)}",
        "ledger.collect_heights=60",
        # When two thirds of it are over, a server attests what it holds; it can pull ten updates per block at least.
        f"ledger.attest_heights={8 + devices // 5}",
        "ledger.publish_heights=5",
        f"ledger.publish_ranks={servers}",
    ]


def draft_genesis(scenario: Scenario, members: NewMembers, data: SplitData | None = None) -> Draft:
    """The genesis that a scenario and these keys stand for.

    Args:
        scenario: model, evaluation set, contract, phases, costs.
        members: who takes part.
        data: of the scenario, where it is loaded already.

    Raises:
        InputError: a key is none.
        ScenarioError: the scenario contradicts itself.
        DatasetError: its data cannot be read.
    """
    data = data or split_data(scenario)
    model = build_model(scenario.learning, data.dataset)
    words = quantise(initial_weights(model, scenario.seed), model.description.exponent)
    description = replace(model.description, update_encoding=scenario.learning.update_encoding)
    task = Task(description, words, data.selection_set.hash, len(data.selection_set))
    counted = Members(
        len(members.servers),
        np.array([device.server for device in members.devices], dtype=np.int64),
        np.array([device.samples for device in members.devices], dtype=np.int64),
    )
    simulated = found(scenario, counted, task).genesis.genesis
    genesis = replace(
        simulated,
        name=members.name or scenario.name,
        servers=tuple(
            replace(record, public_key=read_public_key(f"servers[{k}].public_key", new.public_key))
            for k, (record, new) in enumerate(zip(simulated.servers, members.servers, strict=True))
        ),
        devices=tuple(
            replace(record, public_key=read_public_key(f"devices[{k}].public_key", new.public_key))
            for k, (record, new) in enumerate(zip(simulated.devices, members.devices, strict=True))
        ),
    )
    return Draft(genesis, words)


def add_signature(signed: SignedGenesis, key: SigningKey) -> SignedGenesis:
    """The genesis with one more server's signature; its key says which.

    Raises:
        InputError: the key is none of the servers'.
    """
    keys = [record.public_key for record in signed.genesis.servers]
    if key.public_key not in keys:
        raise InputError("--key", f"{key.public_key.hex()} is no server of this genesis")
    own = sign_genesis(signed.genesis, (key,)).signatures[0]
    signatures = list(signed.signatures)
    signatures[keys.index(key.public_key)] = own
    return SignedGenesis(signed.genesis, tuple(signatures))


def merge_signatures(signed: SignedGenesis, copies: Iterable[SignedGenesis]) -> SignedGenesis:
    """The genesis with the valid signatures of all copies, which servers have signed apart from one another.

    Raises:
        InputError: a copy is of another genesis.
    """
    for copy in copies:
        if copy.genesis.chain_id != signed.genesis.chain_id:
            raise InputError("copy", f"is of chain {copy.genesis.chain_id.hex()}, not {signed.genesis.chain_id.hex()}")
        unsigned = {*unsigned_servers(signed)} - {*unsigned_servers(copy)}
        both = enumerate(zip(signed.signatures, copy.signatures, strict=True))
        signatures = (other if server in unsigned else own for server, (own, other) in both)
        signed = SignedGenesis(signed.genesis, tuple(signatures))
    return signed


def unsigned_servers(signed: SignedGenesis) -> tuple[int, ...]:
    """Servers that have not signed, or not this genesis."""
    # What is signed is the ledger's own affair; a signature of all is checked by ``check_genesis``.
    message = b"bees genesis\0" + signed.genesis.chain_id
    return tuple(
        index
        for index, (record, signature) in enumerate(zip(signed.genesis.servers, signed.signatures, strict=True))
        if not is_signed_by(record.public_key, message, signature)
    )


def read_draft(path: Path) -> SignedGenesis:
    """A genesis file, signed by all or not.

    Raises:
        InputError: it cannot be read, or is no genesis.
    """
    signed = read_genesis_file(path)
    if len(signed.signatures) != len(signed.genesis.servers):
        raise InputError(str(path), "has another number of signatures than of servers")
    return signed


def genesis_bytes(signed: SignedGenesis) -> bytes:
    """The content of a genesis file."""
    return encode(signed)
