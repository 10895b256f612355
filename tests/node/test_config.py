"""node.toml: what is wrong with it is told in one line that names the key."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bees.core.errors import InputError
from bees.node.config import load_config, write_config

if TYPE_CHECKING:
    from pathlib import Path

GOOD = """
server = 1
key = "server.key"
genesis = "../bees.genesis"
initial_model = "../w0.words"
folder = "data"
[devices]
listen = "0.0.0.0:7600"
[peers]
listen = "[::1]:7601"
urls = ["https://a:7601", ""]
[scoring]
data = "own.npz"
"""


def test_paths_are_relative_to_the_file_and_defaults_are_filled_in(tmp_path: Path):
    path = tmp_path / "node.toml"
    path.write_text(GOOD)
    config = load_config(path)
    assert config.key == str(tmp_path / "server.key")
    assert config.scoring.data == str(tmp_path / "own.npz")
    assert config.devices.uploads_at_once == 32
    assert config.comet.home == ""
    path.write_text(write_config(config))
    assert load_config(path) == config


def test_next_keys_are_files_beside_it_and_a_validators_needs_a_cometbft_of_the_nodes(tmp_path: Path):
    path = tmp_path / "node.toml"
    next_keys = GOOD.replace("server = 1", 'server = 1\nnext_key = "server-1b.key"')
    path.write_text(next_keys + '[comet]\nhome = "comet"\nnext_validator = "next.json"\n')
    config = load_config(path)
    assert config.next_key == str(tmp_path / "server-1b.key")
    assert config.comet.next_validator == str(tmp_path / "next.json")
    path.write_text(write_config(config))
    assert load_config(path) == config
    path.write_text(GOOD + '[comet]\nnext_validator = "next.json"\n')
    with pytest.raises(InputError, match=r"comet\.next_validator needs comet\.home"):
        load_config(path)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("server = 1", "server = -1", "server: "),
        ("server = 1", "", "server is missing"),
        ("[devices]", "[devises]", "devises: no such key; did you mean 'devices'"),
        ('listen = "0.0.0.0:7600"', 'listen = "7600"', "devices.listen: "),
        ('listen = "0.0.0.0:7600"', 'listen = "0.0.0.0:7600"\nburst = 0', "devices.burst: "),
        ('listen = "0.0.0.0:7600"', 'listen = "0.0.0.0:7600"\nbrust = 1', "devices.brust: no such key"),
        ('listen = "0.0.0.0:7600"', 'listen = "a:1"\ncertificate = "c.pem"', "go together"),
        ('urls = ["https://a:7601", ""]', 'urls = ["a:7601"]', "peers.urls"),
        ('data = "own.npz"', "data = 3", "scoring.data: "),
        ("[scoring]", "scoring = 3\n[log]", "not TOML"),
        ("server = 1", "server = ", "not TOML"),
    ],
)
def test_what_is_wrong_is_told_by_its_key(tmp_path: Path, old: str, new: str, told: str):
    path = tmp_path / "node.toml"
    text = GOOD.replace(old, new)
    if told == "not TOML":
        text += "]"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        load_config(path)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_a_file_that_is_not_there_or_huge(tmp_path: Path):
    with pytest.raises(InputError, match="cannot be read"):
        load_config(tmp_path / "node.toml")
    with pytest.raises(InputError, match="is a folder"):
        load_config(tmp_path)
    (tmp_path / "node.toml").write_bytes(b"\xff = 1")
    with pytest.raises(InputError, match="is not TOML"):
        load_config(tmp_path / "node.toml")
    (tmp_path / "node.toml").write_bytes(b"#" * 70_000)
    with pytest.raises(InputError, match="larger than"):
        load_config(tmp_path / "node.toml")
