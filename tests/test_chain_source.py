"""The chain that somebody names: a folder, a chain file, or a genesis."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from bees.chain_source import read_standing
from bees.core.canonical import encode
from bees.core.errors import ChainFileError, InputError
from bees.engines.standing import Standing
from tests.file_chain import FileChain

if TYPE_CHECKING:
    from pathlib import Path


def test_a_folder_a_chain_file_and_a_genesis(tmp_path: Path):
    chain = FileChain(tmp_path)
    (tmp_path / "bees.genesis").write_bytes(encode(chain.world.signed))
    chain.block()
    assert read_standing(chain.path).state == read_standing(tmp_path).state == chain.state
    assert read_standing(tmp_path / "bees.genesis") == Standing.at_genesis(chain.world.signed)


def test_what_is_no_chain_is_refused(tmp_path: Path):
    chain = FileChain(tmp_path)
    signed = chain.world.signed
    unsigned = replace(signed, signatures=(bytes(64), *signed.signatures[1:]))
    for name, data, told in (
        ("none", None, "no such file"),
        ("junk", b"junk", "holds no genesis"),
        ("unsigned", encode(unsigned), "server 0 has not signed this genesis"),
    ):
        if data is not None:
            (tmp_path / name).write_bytes(data)
        with pytest.raises(InputError, match=told):
            read_standing(tmp_path / name)
    (tmp_path / "cut").write_bytes(chain.path.read_bytes()[:1000])
    with pytest.raises(ChainFileError):
        read_standing(tmp_path / "cut")
