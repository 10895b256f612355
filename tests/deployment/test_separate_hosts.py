"""Four folders stand for four hosts: docs/deployment.md, followed by the letter."""

from __future__ import annotations

import json
import os
import signal
import ssl
import stat
import subprocess
import sys
import time
import tomllib
import urllib.request
from base64 import b64decode
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from test_keys_and_genesis import bees, json_of, same_signals

from bees.deployment.hosts import hosts_path, read_hosts
from bees.node.comet_process import find_comet
from bees.node.config import load_config
from bees.node.service import read_genesis
from campaigns.random_network import free_ports

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["same_signals"]

SERVERS = 4
SCENARIO = ("--scenario", "quick")


@pytest.fixture
def cards(tmp_path: Path) -> Path:
    """The members file: the cards as they are, one after the other, and two devices."""
    free = free_ports(2 * SERVERS)
    text = ""
    for k in range(SERVERS):
        where = ("--comet-port", free[k], "--peer-port", free[SERVERS + k], "--http")
        json_of("keys", "server", tmp_path / f"host{k}", "--host", "127.0.0.1", *where)
        text += (tmp_path / f"host{k}" / "server.toml").read_text()
    for k in range(2):
        key = json_of("keys", "new", tmp_path / f"device{k}.key")["public_key"]
        text += f'[[devices]]\npublic_key = "{key}"\nserver = {k}\nsamples = 600\n'
    (tmp_path / "members.toml").write_text(text)
    return tmp_path / "members.toml"


@pytest.fixture
def agreed(tmp_path: Path, cards: Path) -> Path:
    return agree(tmp_path, cards)


def agree(tmp_path: Path, cards: Path) -> Path:
    """The genesis of these cards, signed by all."""
    genesis = tmp_path / "bees.genesis"
    told = json_of("genesis", "new", genesis, "--members", cards, "--block-s", 0.5, *SCENARIO)
    assert told["hosts"] == str(hosts_path(genesis))
    for k in range(SERVERS):
        json_of("genesis", "sign", genesis, "--key", tmp_path / f"host{k}" / "server.key")
    return genesis


def make_homes(folder: Path, genesis: Path, *tls: object) -> list[int]:
    free = free_ports(3 * SERVERS)
    for k in range(SERVERS):
        device, rpc, abci = (f"127.0.0.1:{port}" for port in free[3 * k : 3 * k + 3])
        told = json_of(
            *("genesis", "home", genesis, folder / f"host{k}", "--data", "mnist-7x7"),
            *("--devices", device, "--rpc", rpc, "--abci", abci, *tls),
        )
        assert told["server"] == k
    return free[::3]


def test_a_server_has_all_its_keys_and_its_card_holds_none_of_them(tmp_path: Path):
    code, out, _ = bees("keys", "server", tmp_path / "host", "--host", "edge0.example.org")
    assert code == 0
    card = tomllib.loads((tmp_path / "host" / "server.toml").read_text())["servers"][0]
    assert card["comet"] == "edge0.example.org:26656"
    assert card["peer_url"] == "https://edge0.example.org:7601"
    assert card["public_key"] in out
    assert stat.S_IMODE((tmp_path / "host").stat().st_mode) == 0o700
    secret = [path for path in (tmp_path / "host").rglob("*") if path.is_file() and path.name != "server.toml"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in secret} == {0o600}
    seed = (tmp_path / "host" / "server.key").read_text().strip()
    validator = json.loads((tmp_path / "host/comet/config/priv_validator_key.json").read_text())
    for private in (seed, validator["priv_key"]["value"], b64decode(validator["priv_key"]["value"])[:32].hex()):
        assert private not in out + json.dumps(card)
    assert bees("keys", "server", tmp_path / "host", "--host", "edge0")[0] == 2


def test_all_homes_are_of_one_chain_and_name_one_another(tmp_path: Path, agreed: Path):
    code, out, _ = bees("genesis", "check", agreed)
    assert code == 0
    assert out.count("http://127.0.0.1:") == SERVERS
    make_homes(tmp_path, agreed)
    comets = [(tmp_path / f"host{k}" / "comet/config/genesis.json").read_bytes() for k in range(SERVERS)]
    assert len(set(comets)) == 1
    hosts = read_hosts(agreed, read_genesis(agreed).genesis)
    assert hosts is not None
    for k in range(SERVERS):
        config = tomllib.loads((tmp_path / f"host{k}" / "comet/config/config.toml").read_text())
        others = [f"{h.peer_id}@{h.comet}" for j, h in enumerate(hosts.hosts.hosts) if j != k]
        assert config["p2p"]["persistent_peers"] == ",".join(others)
        assert config["consensus"]["timeout_commit"] == "500ms"
        node = load_config(tmp_path / f"host{k}" / "node.toml")
        assert (node.server, node.peers.urls) == (k, tuple(h.peer_url for h in hosts.hosts.hosts))
        assert node.peers.listen.rpartition(":")[2] == hosts.hosts.hosts[k].peer_url.rpartition(":")[2]
    code, _, err = bees("genesis", "home", agreed, tmp_path / "host0")
    assert (code, "node.toml: exists already" in err.replace("\n", "")) == (2, True)


def test_a_home_is_made_only_of_what_all_have_signed_and_of_ones_own_keys(tmp_path: Path, cards: Path):
    genesis = tmp_path / "bees.genesis"
    json_of("genesis", "new", genesis, "--members", cards, *SCENARIO)

    def complaint() -> str:
        code, _, err = bees("genesis", "home", genesis, tmp_path / "host1")
        assert code == 2
        assert not (tmp_path / "host1/node.toml").exists()
        return err.replace("\n", " ")

    for k in range(SERVERS):
        assert "is not signed by servers" in complaint()
        json_of("genesis", "sign", genesis, "--key", tmp_path / f"host{k}" / "server.key")
    beside = hosts_path(genesis)
    good = beside.read_bytes()
    beside.write_bytes(good.replace(b"127.0.0.1", b"127.0.0.9"))
    assert "is not signed by servers 0, 1, 2, 3" in complaint()
    assert bees("genesis", "check", genesis)[0] == 1
    beside.write_bytes(good[:-1])
    assert "holds no hosts" in complaint()
    beside.unlink()
    assert "is missing" in complaint()
    beside.write_bytes(good)
    keys = tmp_path / "host1/comet/config/priv_validator_key.json"
    own = keys.read_bytes()
    keys.write_bytes((tmp_path / "host2/comet/config/priv_validator_key.json").read_bytes())
    assert "not those that the hosts name for server 1" in complaint()
    keys.write_bytes(b'{"priv_key": 3}')
    assert "holds no Ed25519 key" in complaint()
    keys.write_bytes(own)
    keys.chmod(0o644)
    assert "chmod 600" in complaint()
    keys.chmod(0o600)
    code, _, err = bees("genesis", "home", genesis, tmp_path / "host1", "--devices", "nowhere")
    assert (code, "devices.listen" in err) == (2, True)
    assert not (tmp_path / "host1/node.toml").exists()
    assert bees("genesis", "home", genesis, tmp_path / "host1")[0] == 0
    check_a_home_in_place_of_a_lost_one(tmp_path, genesis)


def check_a_home_in_place_of_a_lost_one(folder: Path, genesis: Path) -> None:
    for server, host, told in ((1, "host2", "in this genesis already"), (4, "host2", "there is no server 4")):
        code, _, err = bees("genesis", "home", genesis, folder / host, "--replaces", server)
        assert (code, told in err.replace("\n", " ")) == (2, True), err
    json_of("keys", "server", folder / "new1", "--host", "127.0.0.1", "--http")
    assert json_of("genesis", "home", genesis, folder / "new1", "--replaces", 1)["server"] == 1
    first, second = (load_config(folder / host / "node.toml") for host in ("host1", "new1"))
    assert (first.next_key, second.next_key) == ("", second.key)
    assert (second.server, second.peers.urls) == (1, first.peers.urls)


@pytest.mark.parametrize(
    ("was", "becomes", "told"),
    [
        ("validator_key = ", "# ", "servers[0].validator_key"),
        ('comet = "127', 'comet = "ftp://127', "servers[0].comet"),
        ("peer_id = ", "# ", "servers[0].peer_id"),
    ],
)
def test_a_card_that_lacks_a_part_is_named(tmp_path: Path, cards: Path, was: str, becomes: str, told: str):
    cards.write_text(cards.read_text().replace(was, becomes, 1))
    code, _, err = bees("genesis", "new", tmp_path / "g", "--members", cards, *SCENARIO)
    assert (code, told in err.replace("\n", "")) == (2, True), err
    assert not list(tmp_path.glob("g*"))


def test_two_servers_cannot_have_one_card(tmp_path: Path, cards: Path):
    text = cards.read_text()
    ids = [line for line in text.splitlines() if line.startswith("peer_id")]
    cards.write_text(text.replace(ids[1], ids[0]))
    code, _, err = bees("genesis", "new", tmp_path / "g", "--members", cards, *SCENARIO)
    assert (code, "servers[1].peer_id: is also that of server 0" in err.replace("\n", " ")) == (2, True), err


def test_tls_and_its_certificate_go_together(tmp_path: Path, cards: Path):
    cards.write_text(cards.read_text().replace("http:", "https:"))
    genesis = tmp_path / "bees.genesis"
    json_of("genesis", "new", genesis, "--members", cards, *SCENARIO)
    for k in range(SERVERS):
        json_of("genesis", "sign", genesis, "--key", tmp_path / f"host{k}" / "server.key")
    code, _, err = bees("genesis", "home", genesis, tmp_path / "host0")
    assert (code, "--certificate" in err) == (2, True)
    tls = ("--certificate", tmp_path / "a.pem", "--certificate-key", tmp_path / "a.key")
    assert bees("genesis", "home", genesis, tmp_path / "host0", *tls)[0] == 0
    assert load_config(tmp_path / "host0/node.toml").peers.certificate == str(tmp_path / "a.pem")


def test_four_hosts_that_speak_tls_agree_on_blocks_and_certify_them(
    tmp_path: Path, cards: Path, certificate: tuple[str, str], needs_comet: None
):
    cards.write_text(cards.read_text().replace("http:", "https:"))
    pem, key = certificate
    tls = ("--certificate", pem, "--certificate-key", key, "--authority", pem)
    apis = make_homes(tmp_path, agree(tmp_path, cards), *tls)
    trusted = ssl.create_default_context(cafile=pem)
    environment = {**os.environ, "NPROC": "1", "JAX_PLATFORMS": "cpu", "BEES_COMETBFT": str(find_comet())}
    program = "import sys; from bees.cli import main; sys.argv[0] = 'bees'; main()"
    with ExitStack() as stack:
        nodes: list[subprocess.Popen[bytes]] = []
        for k in range(SERVERS):
            log = stack.enter_context((tmp_path / f"host{k}.log").open("wb"))
            arguments = [sys.executable, "-c", program, "node", "--config", str(tmp_path / f"host{k}/node.toml")]
            nodes.append(subprocess.Popen(arguments, stdout=log, stderr=log, env=environment, start_new_session=True))
            stack.callback(nodes[-1].wait)
            stack.callback(nodes[-1].kill)
        until = time.monotonic() + 150
        while any(height_at(port, trusted) < 5 for port in apis):
            assert time.monotonic() < until, (tmp_path / "host0.log").read_text()[-2000:]
            time.sleep(0.3)
        for node in nodes:
            node.send_signal(signal.SIGTERM)
        assert [node.wait(20) for node in nodes] == [0] * SERVERS
    for k in range(SERVERS):
        code, told, _ = bees("verify", tmp_path / f"host{k}/data/chain.db", "--json")
        assert (code, json.loads(told)["blocks"] >= 1) == (0, True), told  # certified by signatures over TLS
        assert stat.S_IMODE((tmp_path / f"host{k}/data").stat().st_mode) == 0o700


def height_at(port: int, trusted: ssl.SSLContext) -> int:
    try:
        with urllib.request.urlopen(f"https://127.0.0.1:{port}/v1/round", timeout=2, context=trusted) as answer:
            return json.loads(answer.read())["height"]
    except OSError:
        return 0
