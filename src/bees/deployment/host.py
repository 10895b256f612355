"""One server's host: its keys and the card that tells the others of it, then its home, once all have signed."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec
from msgspec.structs import replace

from bees.core.errors import InputError
from bees.deployment.founding import NewServer, read_draft, unsigned_servers
from bees.deployment.hosts import hosts_path, read_hosts, unsigned_hosts
from bees.key_file import SEED_BYTES, read_key_file, write_key_file
from bees.ledger.genesis import check_genesis
from bees.node.comet import CometKey, CometSettings, comet_genesis, read_keys, write_keys, write_settings
from bees.node.config import (
    CometSection,
    DevicesSection,
    NodeConfig,
    PeersSection,
    ScoringSection,
    load_config,
    write_config,
)
from bees.run_folder import new_folder, write_bytes, write_text

if TYPE_CHECKING:
    from bees.deployment.hosts import Hosts
    from bees.ledger.genesis import SignedGenesis

KEY, CARD, CONFIG, COMET = "server.key", "server.toml", "node.toml", "comet"
GENESIS, MODEL = "bees.genesis", "bees.genesis.model"


@dataclass(frozen=True)
class Local:
    """What is of this host alone.

    Attributes:
        devices: host:port where devices are listened for.
        rpc: host:port where CometBFT answers the node.
        abci: host:port where the node listens for CometBFT.
        data: the evaluation set: ``mnist``, ``mnist-7x7`` or an .npz file.
        certificate: PEM file for both listeners, or "".
        certificate_key: PEM file of its private key, or "".
        authority: PEM file of the authority of the others' certificates; "": those of the system.
    """

    devices: str = "0.0.0.0:7600"
    rpc: str = "127.0.0.1:26657"
    abci: str = "127.0.0.1:26658"
    data: str = "mnist"
    certificate: str = ""
    certificate_key: str = ""
    authority: str = ""


def new_host(folder: Path, comet: str, peer_url: str) -> NewServer:
    """Make a folder with all keys of a server, and the card that the others need.

    Args:
        folder: must not exist.
        comet: host:port where the other CometBFTs will reach this one.
        peer_url: where the other servers will pull updates from this one.

    Raises:
        OutputError: the folder exists, or cannot be written.
    """
    validator, node = (CometKey.from_seed(secrets.token_bytes(SEED_BYTES)) for _ in range(2))
    with new_folder(folder) as draft:
        draft.chmod(0o700)
        key = write_key_file(draft / KEY, secrets.token_bytes(SEED_BYTES))
        write_keys(draft / COMET, validator, node)
        card = NewServer(key.public_key.hex(), validator.public_key.hex(), node.node_id, comet, peer_url)
        lines = "".join(f"{name} = {msgspec.json.encode(value).decode()}\n" for name, value in card_of(card).items())
        write_text(draft, CARD, f"[[servers]]\n{lines}")
    return card


def card_of(server: NewServer) -> dict[str, str]:
    """The fields of a card by name."""
    return msgspec.to_builtins(server)


def make_home(genesis: Path, folder: Path, local: Local, replaced: int | None = None) -> int:
    """Make a host ready for ``bees node``: CometBFT's configuration, copies of the agreement, and ``node.toml``.

    Args:
        genesis: file that all have signed; its model and its hosts stand beside it.
        folder: from ``new_host``.
        local: what is of this host alone.
        replaced: the server whose host this one replaces, with keys that the servers have still to agree on (Amend);
            None where the genesis names its key.

    Returns:
        The index of the server.

    Raises:
        InputError: something is missing, unsigned, or another server's; or there is a node.toml already.
        GenesisError: the genesis contradicts itself.
        KeyFileError: a key is missing, or others may read it.
    """
    if (folder / CONFIG).exists():
        raise InputError(str(folder / CONFIG), "exists already; move it away to have it written anew")
    signed, hosts = _agreement(genesis)
    server = _own_index(folder, signed, hosts) if replaced is None else _replaced_index(folder, signed, replaced)
    if hosts.hosts[server].peer_url.startswith("https:") != bool(local.certificate):
        problem = f"is {hosts.hosts[server].peer_url}, so the listeners need "
        problem += "no certificate" if local.certificate else "--certificate and --certificate-key"
        raise InputError("peer_url", problem)
    write_settings(folder / COMET, _comet_settings(hosts, server, local), _comet_genesis(signed, hosts))
    for source, name in ((genesis, GENESIS), (genesis.with_name(genesis.name + ".model"), MODEL)):
        _copy(source, folder, name)
    config = _node_config(hosts, server, local)
    if replaced is not None:
        config = replace(config, next_key=KEY)
    write_text(folder, CONFIG, write_config(config))
    try:
        load_config(folder / CONFIG)
    except InputError:
        (folder / CONFIG).unlink()
        raise
    return server


def _agreement(path: Path) -> tuple[SignedGenesis, Hosts]:
    signed = read_draft(path)
    hosts = read_hosts(path, signed.genesis)
    if hosts is None:
        problem = "is missing; `bees genesis new` writes it when every server in the members file has its whole card"
        raise InputError(str(hosts_path(path)), problem)
    for where, missing in ((path, unsigned_servers(signed)), (hosts_path(path), unsigned_hosts(hosts, signed.genesis))):
        if missing:
            who = ", ".join(map(str, missing))
            raise InputError(str(where), f"is not signed by servers {who}: bees genesis sign {path} --key FILE")
    check_genesis(signed)
    return signed, hosts.hosts


def _own_index(folder: Path, signed: SignedGenesis, hosts: Hosts) -> int:
    key = read_key_file(folder / KEY)
    keys = [record.public_key for record in signed.genesis.servers]
    if key.public_key not in keys:
        raise InputError(str(folder / KEY), f"{key.public_key.hex()} is no server of this genesis")
    server = keys.index(key.public_key)
    validator, node = read_keys(folder / COMET)
    named = hosts.hosts[server]
    if (validator.public_key, node.node_id) != (named.validator_key, named.peer_id):
        raise InputError(str(folder / COMET), f"its keys are not those that the hosts name for server {server}")
    return server


def _replaced_index(folder: Path, signed: SignedGenesis, server: int) -> int:
    """The index of a server whose host is lost; the keys are new, so nothing but their being there can be checked."""
    servers = signed.genesis.servers
    if server >= len(servers):
        raise InputError("--replaces", f"there is no server {server}: the genesis names {len(servers)}")
    key = read_key_file(folder / KEY)
    if key.public_key in [record.public_key for record in servers]:
        raise InputError(str(folder / KEY), "is in this genesis already: leave --replaces out")
    read_keys(folder / COMET)
    return server


def _comet_settings(hosts: Hosts, server: int, local: Local) -> CometSettings:
    names = [host.comet.rpartition(":")[0] for host in hosts.hosts]
    port = hosts.hosts[server].comet.rpartition(":")[2]
    return CometSettings(
        abci_address=f"tcp://{local.abci}",
        p2p_address=f"tcp://0.0.0.0:{port}",
        rpc_address=f"tcp://{local.rpc}",
        peers=tuple(f"{host.peer_id}@{host.comet}" for k, host in enumerate(hosts.hosts) if k != server),
        moniker=f"server-{server}",
        commit_s=hosts.block_ms / 1000,
        is_local=len(set(names)) < len(names),
    )


def _comet_genesis(signed: SignedGenesis, hosts: Hosts) -> dict[str, object]:
    return comet_genesis(signed.genesis, [host.validator_key for host in hosts.hosts], hosts.founded)


def _node_config(hosts: Hosts, server: int, local: Local) -> NodeConfig:
    def absolute(name: str) -> str:
        return str(Path(name).absolute()) if name else ""

    urls = tuple(host.peer_url for host in hosts.hosts)
    certificate, private = absolute(local.certificate), absolute(local.certificate_key)
    port = urlsplit(urls[server]).port
    return NodeConfig(
        server=server,
        key=KEY,
        genesis=GENESIS,
        initial_model=MODEL,
        folder="data",
        devices=DevicesSection(local.devices, certificate, private),
        peers=PeersSection(f"0.0.0.0:{port}", certificate, private, urls=urls, authority=absolute(local.authority)),
        comet=CometSection(rpc=f"http://{local.rpc}", abci=f"tcp://{local.abci}", home=COMET),
        scoring=ScoringSection(absolute(local.data) if local.data.endswith(".npz") else local.data),
    )


def _copy(source: Path, folder: Path, name: str) -> None:
    try:
        data = source.read_bytes()
    except OSError as error:
        raise InputError(str(source), f"cannot be read: {error.strerror}") from None
    if source.resolve() != (folder / name).resolve():
        write_bytes(folder, name, data)
