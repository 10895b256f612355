"""Where the servers of a chain are, and the keys of their CometBFTs: agreed on like the genesis, in a file beside it.

The genesis itself knows nothing of the engine. So the servers sign this second list with the same keys: nobody can slip
validators of his own into a server's CometBFT. From it and from its keys, each host makes its home by itself.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

from msgspec import Meta

from bees.core.canonical import Record, decode, encode
from bees.core.errors import CodecError, InputError
from bees.core.hashes import digest
from bees.core.keys import is_signed_by
from bees.deployment.founding import UNSIGNED
from bees.key_file import read_public_key
from bees.ledger.genesis import Hash, Positive, PublicKey, Signature  # msgspec reads the annotations

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from bees.core.keys import SigningKey
    from bees.deployment.founding import NewMembers, NewServer
    from bees.ledger.genesis import Genesis

SUFFIX = ".hosts"
"""Beside ``bees.genesis`` stands ``bees.genesis.hosts``."""

_PARTS = {
    "peer_id": re.compile(r"[0-9a-f]{40}"),
    "comet": re.compile(r"(\[[0-9a-fA-F:]+\]|[A-Za-z0-9.-]+):[0-9]{1,5}"),
    "peer_url": re.compile(r"https?://(\[[0-9a-fA-F:]+\]|[A-Za-z0-9.-]+):[0-9]{1,5}"),
}
_LINE = Annotated[str, Meta(max_length=300)]


class Host(Record, frozen=True):
    """What the others must know of a server's host.

    Attributes:
        validator_key: with which its CometBFT votes.
        peer_id: name of its CometBFT among peers.
        comet: host:port where the other CometBFTs reach it.
        peer_url: where the other servers pull updates from it.
    """

    validator_key: PublicKey
    peer_id: _LINE
    comet: _LINE
    peer_url: _LINE


class Hosts(Record, frozen=True):
    """The hosts of a chain.

    Attributes:
        chain_id: of the genesis.
        founded_s: when CometBFT's chain begins, in seconds since 1970.
        block_ms: pause between two blocks.
        hosts: in the order of the servers.
    """

    chain_id: Hash
    founded_s: Positive
    block_ms: Positive
    hosts: tuple[Host, ...]

    @property
    def founded(self) -> datetime:
        """When CometBFT's chain begins."""
        return datetime.fromtimestamp(self.founded_s, UTC)


class SignedHosts(Record, frozen=True):
    """The hosts, and the signature of every server under them.

    Attributes:
        hosts: what is signed.
        signatures: in the order of the servers.
    """

    hosts: Hosts
    signatures: tuple[Signature, ...]


def draft_hosts(genesis: Genesis, members: NewMembers, founded_s: int, block_ms: int) -> SignedHosts | None:
    """The hosts that the members name, not signed yet; None where no server names its own.

    Raises:
        InputError: one server names its host and another does not, or what it names is none.
    """
    if not any(server.validator_key for server in members.servers):
        return None
    hosts = tuple(_host(k, server) for k, server in enumerate(members.servers))
    for part in ("validator_key", "peer_id", "comet", "peer_url"):
        values = [getattr(host, part) for host in hosts]
        twice = next((k for k, value in enumerate(values) if value in values[:k]), None)
        if twice is not None:
            raise InputError(f"servers[{twice}].{part}", f"is also that of server {values.index(values[twice])}")
    return SignedHosts(Hosts(genesis.chain_id, founded_s, block_ms, hosts), (UNSIGNED,) * len(hosts))


def sign_hosts(signed: SignedHosts, genesis: Genesis, key: SigningKey) -> SignedHosts:
    """The hosts with one more server's signature; its key says which.

    Raises:
        InputError: the key is none of the servers'.
    """
    keys = [record.public_key for record in genesis.servers]
    if key.public_key not in keys:
        raise InputError("--key", f"{key.public_key.hex()} is no server of this genesis")
    signatures = list(signed.signatures)
    signatures[keys.index(key.public_key)] = key.sign(_signing_bytes(signed.hosts))
    return SignedHosts(signed.hosts, tuple(signatures))


def merge_hosts(signed: SignedHosts, copies: Iterable[SignedHosts], genesis: Genesis) -> SignedHosts:
    """The hosts with the valid signatures of all copies, which servers have signed apart from one another.

    Raises:
        InputError: a copy lists other hosts.
    """
    for copy in copies:
        if copy.hosts != signed.hosts:
            raise InputError("copy", "lists other hosts, so what was signed is not one and the same")
        unsigned = {*unsigned_hosts(signed, genesis)} - {*unsigned_hosts(copy, genesis)}
        both = enumerate(zip(signed.signatures, copy.signatures, strict=True))
        signatures = (other if server in unsigned else own for server, (own, other) in both)
        signed = SignedHosts(signed.hosts, tuple(signatures))
    return signed


def unsigned_hosts(signed: SignedHosts, genesis: Genesis) -> tuple[int, ...]:
    """Servers that have not signed, or not these hosts."""
    message = _signing_bytes(signed.hosts)
    return tuple(
        index
        for index, (record, signature) in enumerate(zip(genesis.servers, signed.signatures, strict=True))
        if not is_signed_by(record.public_key, message, signature)
    )


def hosts_path(genesis: Path) -> Path:
    """Where the hosts of a genesis file stand."""
    return genesis.with_name(genesis.name + SUFFIX)


def read_hosts(path: Path, genesis: Genesis) -> SignedHosts | None:
    """The hosts beside a genesis file, signed by all or not; None where there are none.

    Args:
        path: of the genesis file.
        genesis: in it.

    Raises:
        InputError: they cannot be read, or are another chain's.
    """
    where = hosts_path(path)
    try:
        signed = decode(where.read_bytes(), SignedHosts)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InputError(str(where), f"cannot be read: {error.strerror}") from None
    except CodecError as error:
        raise InputError(str(where), f"holds no hosts: {error}") from None
    if signed.hosts.chain_id != genesis.chain_id:
        raise InputError(str(where), "holds the hosts of another genesis")
    if not len(signed.hosts.hosts) == len(signed.signatures) == len(genesis.servers):
        raise InputError(str(where), f"holds {len(signed.hosts.hosts)} hosts for {len(genesis.servers)} servers")
    for index, host in enumerate(signed.hosts.hosts):
        _check(index, host)
    return signed


def hosts_bytes(signed: SignedHosts) -> bytes:
    """The content of a file of hosts."""
    return encode(signed)


def _host(index: int, server: NewServer) -> Host:
    key = read_public_key(f"servers[{index}].validator_key", server.validator_key)
    host = Host(key, server.peer_id, server.comet, server.peer_url)
    _check(index, host)
    return host


def _check(index: int, host: Host) -> None:
    for part, pattern in _PARTS.items():
        value = str(getattr(host, part))
        if not pattern.fullmatch(value):
            problem = f"{value[:80]!r} is none; `bees keys server` writes them all"
            raise InputError(f"servers[{index}].{part}", problem)


def _signing_bytes(hosts: Hosts) -> bytes:
    return b"bees hosts\0" + digest("hosts", encode(hosts))
