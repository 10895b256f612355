"""``bees node`` and ``bees device`` with bad input: one clear line, exit code 2, and no traceback."""

from __future__ import annotations

import signal
from contextlib import redirect_stderr, redirect_stdout
from importlib import util
from io import StringIO
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from msgspec.structs import replace

from bees.cli.main import run_command
from bees.core.canonical import encode
from bees.core.errors import InputError
from bees.core.fixed_point import words_to_bytes
from bees.core.hashes import digest
from bees.core.seeds import stream_key
from bees.faults.world import shared_world
from bees.key_file import write_key_file
from bees.node.config import load_config
from bees.node.service import read_key_ring

if TYPE_CHECKING:
    from pathlib import Path


def bees(*arguments: object) -> tuple[int, str]:
    err = StringIO()
    with redirect_stdout(StringIO()), redirect_stderr(err):
        code = run_command([str(argument) for argument in arguments])
    return code, " ".join(err.getvalue().split())


@pytest.fixture(autouse=True)
def same_process():
    handler = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, handler)
    structlog.reset_defaults()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    world = shared_world(4, 4)
    (tmp_path / "bees.genesis").write_bytes(encode(world.signed))
    (tmp_path / "w0.words").write_bytes(words_to_bytes(world.initial_model))
    write_key_file(tmp_path / "other.key", bytes(32))
    (tmp_path / "node.toml").write_text(
        'server = 0\nkey = "other.key"\ngenesis = "bees.genesis"\ninitial_model = "w0.words"\nfolder = "data"\n'
        '[devices]\nlisten = "127.0.0.1:1"\n[peers]\nlisten = "127.0.0.1:2"\nurls = ["", "", "", ""]\n'
    )
    return tmp_path


def test_what_is_wrong_with_a_node_is_told_in_a_line(home: Path):
    config = home / "node.toml"
    code, err = bees("node", "--config", home / "none.toml")
    assert (code, "cannot be read" in err) == (2, True)
    code, err = bees("node", "--config", config)
    assert (code, "is none of this genesis', not that of server 0" in err) == (2, True), err
    code, err = bees("node", "--config", config, "--log-level", "loud")
    assert (code, "no level" in err) == (2, True)
    (home / "other.key").chmod(0o640)
    code, err = bees("node", "--config", config)
    assert (code, "chmod 600" in err) == (2, True)
    (home / "bees.genesis").write_bytes(b"junk")
    code, err = bees("node", "--config", config)
    assert (code, "is no genesis" in err) == (2, True)
    assert not (home / "data").exists()


def test_without_the_extra_one_line_says_how_to_get_it(home: Path, monkeypatch: pytest.MonkeyPatch):
    find = util.find_spec

    def without(name: str, package: str | None = None) -> Any:
        return None if name == "aiohttp" else find(name, package)

    monkeypatch.setattr(util, "find_spec", without)
    for command in (("node", "--config", home / "node.toml"), ("devnet", "up"), ("devnet", "status")):
        code, err = bees(*command)
        assert (code, "pip install 'bees-edge[node]'" in err) == (2, True), err


def test_keys_of_others_are_told_from_coming_ones(home: Path):
    world = shared_world(4, 4)
    config = load_config(home / "node.toml")
    for index, (kind, own) in enumerate((("server", world.server_keys[2]), ("device", world.device_keys[1]))):
        seed = digest("simulated key", stream_key(2024, kind, 2 - index))
        assert write_key_file(home / f"{kind}.key", seed).public_key == own.public_key
        theirs = replace(config, next_key=str(home / f"{kind}.key"))
        with pytest.raises(InputError, match=f"next_key: is that of {kind} {2 - index}, not that of server 0"):
            read_key_ring(theirs, world.genesis)
    with pytest.raises(InputError, match=r"key: is none of this genesis'.*stands in next_key too"):
        read_key_ring(config, world.genesis)
    with pytest.raises(InputError, match="server: 4 is none of the 4 servers"):
        read_key_ring(replace(config, server=4), world.genesis)
    assert read_key_ring(replace(config, next_key=config.key), world.genesis).waits
    # Where there is a chain, it may name the key that the genesis does not.
    (home / "data").mkdir()
    (home / "data" / "chain.db").touch()
    assert not read_key_ring(config, world.genesis).waits


def test_what_is_wrong_with_a_device_is_told_in_a_line(home: Path):
    genesis = ("--genesis", home / "bees.genesis")
    key = ("--key", home / "other.key", "--data", home)
    code, err = bees("device", "--node", "http://127.0.0.1:1", *key, *genesis)
    assert (code, "is no device of chain" in err) == (2, True), err
    code, err = bees("device", "--node", "nowhere", *key, *genesis)
    assert code == 2, err
    code, err = bees("device", "--node", "http://a", *key, "--key", home / "b.key", *genesis)
    assert (code, "1 folders for 2 keys" in err) == (2, True)
    code, err = bees("device", "--node", "http://a", *key, *genesis, "--offload-rounds", 3)
    assert (code, "--offload: is missing" in err) == (2, True), err
    code, err = bees("devnet", "up", "-k", 3, "--own-devices", 1, "--offload", 3)
    assert (code, "3 of 2 devices cannot offload" in err) == (2, True), err
    code, err = bees("devnet", "status", "--dir", home)
    assert (code, "holds no network" in err) == (2, True)
