from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bees.core.errors import ChainFileError, MissingBlobError
from bees.engines.audit import verify_chain
from bees.engines.blobs import MemoryBlobStore
from bees.engines.chain_file import ChainWriter
from bees.engines.restore import restore

if TYPE_CHECKING:
    from pathlib import Path

    from small_world import World


def write(world: World, path: Path, rounds: int) -> None:
    world.write_chain(path, rounds)


@pytest.mark.parametrize("share", [True, False])
def test_a_chain_that_was_stopped_goes_on_as_if_it_had_not_been(
    make_world: type[World], tmp_path: Path, share: bool
) -> None:
    whole = make_world()
    write(whole, tmp_path / "whole.db", 3)
    write(make_world(), tmp_path / "stopped.db", 2)

    world = make_world()  # with an empty blob store, as after a restart
    engine = world.engine(share_checks=share)
    assert len(list(restore(tmp_path / "stopped.db", engine, world.blobs))) == 6
    assert len(world.blobs) == 0
    with ChainWriter.resume(tmp_path / "stopped.db") as writer:
        for made in world.play_round(engine):
            writer.append(made.block, made.commit, world.read_by(made))
    ends = [verify_chain(tmp_path / name, world.machine) for name in ("whole.db", "stopped.db")]
    assert ends[0] == ends[1]
    assert ends[0].valid


def test_blocks_of_another_genesis_are_refused(make_world: type[World], tmp_path: Path) -> None:
    write(make_world(), tmp_path / "chain.db", 1)
    other = make_world(seed=8)
    with pytest.raises(ChainFileError, match="another genesis"):
        list(restore(tmp_path / "chain.db", other.engine(), other.blobs))


def test_what_is_no_chain_file_is_refused(world: World, tmp_path: Path) -> None:
    (tmp_path / "chain.db").write_bytes(b"junk")
    with pytest.raises(ChainFileError):
        list(restore(tmp_path / "chain.db", world.engine(), world.blobs))


def test_an_update_that_does_not_reach_the_contract_is_named(make_world: type[World], tmp_path: Path) -> None:
    write(make_world(), tmp_path / "chain.db", 1)
    world = make_world()
    with pytest.raises(MissingBlobError):
        list(restore(tmp_path / "chain.db", world.engine(), blobs=MemoryBlobStore()))  # not the one that runners read
