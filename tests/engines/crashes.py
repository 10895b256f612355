"""Chain files as a crash leaves them."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from bees.core.fixed_point import words_to_bytes
from bees.engines.chain_file import ChainWriter

if TYPE_CHECKING:
    from pathlib import Path

    from small_world import World


def log_of(path: Path) -> Path:
    """The write-ahead log beside a chain file."""
    return path.with_name(f"{path.name}-wal")


def write_and_crash(world: World, path: Path, rounds: int = 1) -> list[int]:
    """Leave the write-ahead log beside the file; returns how long the log was after each committed block."""
    live = path.parent / "live"
    live.mkdir()
    engine = world.engine()
    lengths = [0]
    with ChainWriter.create(live / "chain.db", world.signed, words_to_bytes(world.initial)) as writer:
        for _ in range(rounds):
            for made in world.play_round(engine):
                writer.append(made.block, made.commit, world.read_by(made))
                lengths.append(log_of(live / "chain.db").stat().st_size)
        shutil.copyfile(live / "chain.db", path)
        shutil.copyfile(log_of(live / "chain.db"), log_of(path))
    shutil.rmtree(live)
    return lengths
