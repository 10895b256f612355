"""Keys and genesis of a network on separate hosts, as its operators meet them."""

from __future__ import annotations

import json
import signal
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from typing import TYPE_CHECKING, Any

import pytest

from bees.cli.main import run_command
from bees.core.canonical import decode
from bees.core.errors import InputError
from bees.deployment.founding import read_members
from bees.ledger.genesis import SignedGenesis, check_genesis
from bees.node.service import read_genesis, read_initial_model

if TYPE_CHECKING:
    from pathlib import Path


def bees(*arguments: object) -> tuple[int, str, str]:
    out, err = StringIO(), StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = run_command([str(argument) for argument in arguments])
    return code, out.getvalue(), err.getvalue()


def json_of(*arguments: object) -> Any:
    code, out, err = bees(*arguments, "--json")
    assert code == 0, err + out
    return json.loads(out)


@pytest.fixture(autouse=True)
def same_signals():
    handler = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, handler)


@pytest.fixture
def members(tmp_path: Path) -> Path:
    lines: list[str] = []
    for kind, count, more in (("servers", 4, ""), ("devices", 2, "server = 1\nsamples = 600\n")):
        for k in range(count):
            key = json_of("keys", "new", tmp_path / f"{kind}{k}.key")["public_key"]
            lines.append(f'[[{kind}]]\npublic_key = "{key}"\n{more}')
    path = tmp_path / "members.toml"
    path.write_text("\n".join(lines))
    return path


SCENARIO = (
    *("--scenario", "quick", "--set", "ledger.top_m=2"),
    *("--set", "topology.devices=2", "--set", "topology.devices_per_server_max=1"),
)


def test_each_server_signs_in_turn_and_then_a_node_can_start_from_it(tmp_path: Path, members: Path):
    genesis = tmp_path / "bees.genesis"
    drafted = json_of("genesis", "new", genesis, "--members", members, *SCENARIO)
    code, out, _ = bees("genesis", "check", genesis)
    assert code == 1
    assert "missing: the signatures of servers 0, 1, 2, 3" in out
    for k in range(4):
        told = json_of("genesis", "sign", genesis, "--key", tmp_path / f"servers{k}.key")
        assert told["unsigned"] == list(range(k + 1, 4))
    assert bees("genesis", "check", genesis)[0] == 0
    signed = read_genesis(genesis)
    assert signed.genesis.chain_id.hex() == drafted["chain_id"]
    assert (
        signed.genesis.servers[2].public_key.hex() == json_of("keys", "show", tmp_path / "servers2.key")["public_key"]
    )
    assert len(read_initial_model(tmp_path / "bees.genesis.model", signed.genesis)) == signed.genesis.model.parameters


def test_servers_may_sign_copies_apart_from_one_another(tmp_path: Path, members: Path):
    genesis = tmp_path / "bees.genesis"
    json_of("genesis", "new", genesis, "--members", members, *SCENARIO)
    copies = [tmp_path / f"copy{k}" for k in range(4)]
    for k, copy in enumerate(copies):
        copy.write_bytes(genesis.read_bytes())
        json_of("genesis", "sign", copy, "--key", tmp_path / f"servers{k}.key")
    assert json_of("genesis", "merge", genesis, *copies[:3])["unsigned"] == [3]
    assert json_of("genesis", "merge", genesis, copies[3])["unsigned"] == []
    check_genesis(decode(genesis.read_bytes(), SignedGenesis))
    other = tmp_path / "other.genesis"
    json_of("genesis", "new", other, "--members", members, *SCENARIO, "--set", "seed=5")
    code, _, err = bees("genesis", "merge", genesis, other)
    assert (code, "is of chain" in err) == (2, True)


def test_a_signature_of_a_stranger_or_of_another_genesis_does_not_count(tmp_path: Path, members: Path):
    genesis = tmp_path / "bees.genesis"
    json_of("genesis", "new", genesis, "--members", members, *SCENARIO)
    code, _, err = bees("genesis", "sign", genesis, "--key", tmp_path / "devices0.key")
    assert (code, "is no server of this genesis" in err) == (2, True)
    json_of("genesis", "sign", genesis, "--key", tmp_path / "servers0.key")
    signed = decode(genesis.read_bytes(), SignedGenesis)
    with pytest.raises(Exception, match="server 1 has not signed"):
        check_genesis(signed)
    code, _, err = bees("genesis", "new", genesis, "--members", members, *SCENARIO)
    assert (code, "exists" in err) == (2, True)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[[servers]]\npublic_key = 'xyz'\n[[devices]]\npublic_key = ''\nserver = 0\nsamples = 1", "no public key"),
        ("servers = 3", "no list of members"),
        ("[[servers]]\nkey = 1", "no list of members"),
    ],
)
def test_a_wrong_list_of_members_is_told_in_one_line(tmp_path: Path, text: str, told: str):
    path = tmp_path / "members.toml"
    path.write_text(text)
    code, _, err = bees("genesis", "new", tmp_path / "g", "--members", path, *SCENARIO)
    assert code == 2
    assert told in err.replace("\n", " ")
    assert not (tmp_path / "g").exists()


def test_a_list_of_members_is_read_up_to_a_bound_that_a_thousand_devices_do_not_reach(tmp_path: Path):
    path = tmp_path / "members.toml"
    device = f"[[devices]]\npublic_key = '{'ab' * 32}'\nserver = 0\nsamples = 600\n"
    path.write_text(f"[[servers]]\npublic_key = '{'cd' * 32}'\n" + 1000 * device)
    assert len(read_members(path).devices) == 1000
    with path.open("ab") as file:
        file.truncate(17 << 20)
    with pytest.raises(InputError, match="larger than 16384 KiB, so it is no list of members"):
        read_members(path)
    with pytest.raises(InputError, match="there is no such file"):
        read_members(tmp_path / "none.toml")
    path.write_bytes(b"name = '\xff'")
    with pytest.raises(InputError, match="is no list of members"):
        read_members(path)


def test_a_key_is_never_overwritten_and_others_must_not_read_it(tmp_path: Path):
    path = tmp_path / "k.key"
    json_of("keys", "new", path)
    assert bees("keys", "new", path)[0] == 2
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o644)
    assert bees("keys", "show", path)[0] == 2
