"""A crash at any byte of the write-ahead log loses nothing that was committed before the bytes that are missing.

What SIGKILL leaves is whole, since the system still writes what the process handed over. What a power cut leaves may
be any prefix of what was not yet synced, with torn or stale bytes behind it; these are tried here, one by one.
"""

from __future__ import annotations

import random
import shutil
import struct
from bisect import bisect_right
from typing import TYPE_CHECKING, NamedTuple

import pytest
from crashes import log_of, write_and_crash

from bees.core.errors import ChainFileError
from bees.core.fixed_point import words_to_bytes
from bees.engines import chain_file
from bees.engines.audit import export_chain, verify_chain
from bees.engines.chain_file import ChainReader, ChainWriter
from bees.engines.restore import restore

if TYPE_CHECKING:
    from pathlib import Path

    from small_world import World

LOG_HEADER_BYTES = 32
FRAME_BYTES = 24 + 4096


class Crash(NamedTuple):
    """A chain file, its log, and how long the log was after each block."""

    file: bytes
    log: bytes
    lengths: list[int]

    def committed(self, length: int) -> int:
        """Height that ``length`` bytes of the log hold."""
        return bisect_right(self.lengths, length) - 1

    def cuts(self) -> list[int]:
        """Every page boundary and every commit, the bytes around them, and some others."""
        ends = [*range(LOG_HEADER_BYTES, len(self.log) + 1, FRAME_BYTES), *self.lengths]
        near = {end + off for end in ends for off in (-1, 0, 1)}
        draw = random.Random(5)
        return sorted({n for n in near if 0 <= n <= len(self.log)} | {draw.randrange(len(self.log)) for _ in range(40)})

    def place(self, folder: Path, log: bytes) -> Path:
        """What a reader finds after a crash that left this log."""
        folder.mkdir(exist_ok=True)
        path = folder / "chain.db"
        path.write_bytes(self.file)
        log_of(path).write_bytes(log)
        return path


@pytest.fixture
def crash(world: World, tmp_path: Path) -> Crash:
    path = tmp_path / "chain.db"
    lengths = write_and_crash(world, path, rounds=2)
    return Crash(path.read_bytes(), log_of(path).read_bytes(), lengths)


def test_a_log_cut_at_any_byte_keeps_every_block_that_was_committed_before(
    world: World, crash: Crash, tmp_path: Path
) -> None:
    assert {crash.committed(cut) for cut in crash.cuts()} == set(range(7))
    for cut in crash.cuts():
        path = crash.place(tmp_path / "cut", crash.log[:cut])
        with ChainWriter.resume(path) as writer:
            assert writer.height == crash.committed(cut)
        assert not log_of(path).exists()
        verdict = verify_chain(path, world.machine)
        assert (verdict.valid, verdict.blocks) == (True, crash.committed(cut)), verdict.reason


def test_torn_and_stale_bytes_behind_the_last_sync_change_nothing(world: World, crash: Crash, tmp_path: Path) -> None:
    draw = random.Random(6)
    for cut in draw.sample(crash.cuts(), 40):
        missing = len(crash.log) - cut
        for rubbish in (bytes(missing), draw.randbytes(missing), crash.log[:missing]):
            path = crash.place(tmp_path / "torn", crash.log[:cut] + rubbish)
            with ChainReader(path) as reader:
                # A page that is lost to a hole may have been the same bytes: then nothing is lost.
                assert reader.tip()[0] >= crash.committed(cut)
            assert verify_chain(path, world.machine).valid


def test_pages_that_reached_the_disk_out_of_order_take_nothing_with_them(
    world: World, crash: Crash, tmp_path: Path
) -> None:
    frames = range(LOG_HEADER_BYTES, len(crash.log), FRAME_BYTES)
    for start in frames:
        holed = crash.log[:start] + bytes(FRAME_BYTES) + crash.log[start + FRAME_BYTES :]
        path = crash.place(tmp_path / "holed", holed)
        with ChainWriter.resume(path) as writer:
            assert writer.height == crash.committed(start)
        assert verify_chain(path, world.machine).valid


def test_a_chain_cut_at_any_block_goes_on_to_the_same_bytes(
    make_world: type[World], crash: Crash, tmp_path: Path
) -> None:
    exports: set[bytes] = set()
    for cut in crash.lengths:
        path = crash.place(tmp_path / "on", crash.log[: cut + FRAME_BYTES // 2])
        world = make_world()
        engine = world.engine()
        stored = len(list(restore(path, engine, world.blobs)))
        engine.close()
        replayed = world.engine()
        made = [block for _ in range(2) for block in world.play_round(replayed)]
        replayed.close()
        with ChainWriter.resume(path) as writer:
            for block in made[stored:]:
                writer.append(block.block, block.commit, world.read_by(block))
        with (tmp_path / "export").open("wb") as out:
            export_chain(path, out)
        exports.add((tmp_path / "export").read_bytes())
    assert len(exports) == 1


def test_a_checkpoint_that_was_cut_is_done_again(world: World, crash: Crash, tmp_path: Path) -> None:
    """A crash while the log is moved into the file: the file is half new, and the log still whole."""
    path = crash.place(tmp_path / "whole", crash.log)
    with ChainWriter.resume(path):
        pass
    after = path.read_bytes()
    draw = random.Random(8)
    pages = len(after) // 4096
    for _ in range(20):
        mixed = bytearray(crash.file.ljust(len(after), b"\0"))
        for page in draw.sample(range(pages), draw.randint(1, pages)):
            mixed[page * 4096 : (page + 1) * 4096] = after[page * 4096 : (page + 1) * 4096]
        path = crash.place(tmp_path / "mixed", crash.log)
        path.write_bytes(mixed)
        with ChainWriter.resume(path) as writer:
            assert writer.height == 6
        assert path.read_bytes()[100:] == after[100:]
        assert verify_chain(path, world.machine).valid


class Killed(BaseException):
    """Stands in for SIGKILL: nobody catches it, and nothing is tidied up."""


@pytest.mark.parametrize("kept", [0, 1, 100, 4096, 9000])
def test_a_file_whose_making_was_cut_is_not_there_and_is_made_anew(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: int
) -> None:
    path, words = tmp_path / "chain.db", words_to_bytes(world.initial)

    def die(folder: Path) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(chain_file, "sync_folder", die)
        with pytest.raises(Killed):
            ChainWriter.create(path, world.signed, words)
    draft = path.rename(tmp_path / "chain.db.draft")  # as it was just before it got its name
    draft.write_bytes(draft.read_bytes()[:kept])
    draft.with_name("chain.db.draft-journal").write_bytes(struct.pack(">I", 7) * 200)
    with ChainWriter.create(path, world.signed, words) as writer:
        assert writer.height == 0
    assert [left.name for left in tmp_path.iterdir()] == ["chain.db"]
    assert verify_chain(path, world.machine).valid


def test_a_file_that_got_its_name_and_no_more_can_be_gone_on_with(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "chain.db"

    def die(_path: Path) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(chain_file, "_connect_to_write", die)
        with pytest.raises(Killed):
            ChainWriter.create(path, world.signed, words_to_bytes(world.initial))
    shutil.copyfile(path, tmp_path / "copy.db")
    with ChainWriter.resume(path) as writer:
        assert writer.height == 0
    assert verify_chain(path, world.machine).valid
    with pytest.raises(ChainFileError, match="exists already"):
        ChainWriter.create(tmp_path / "copy.db", world.signed, words_to_bytes(world.initial))
