from __future__ import annotations

import os
import sqlite3
from typing import TYPE_CHECKING

import pytest
from crashes import write_and_crash

from bees.core.canonical import encode
from bees.core.errors import ChainFileError, StorageError
from bees.core.fixed_point import words_to_bytes
from bees.engines.audit import verify_chain
from bees.engines.chain_file import ChainReader, ChainWriter
from campaigns.random_world import random_world

if TYPE_CHECKING:
    from pathlib import Path

    from small_world import World


@pytest.fixture
def chain(world: World, tmp_path: Path):
    return world.write_chain(tmp_path / "chain.db").path


def snapshot(folder: Path):
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir()}


def test_one_file_remains_and_it_holds_everything(world: World, chain: Path) -> None:
    assert [path.name for path in chain.parent.iterdir()] == ["chain.db"]
    with ChainReader(chain) as reader:
        reader.check_schema()
        reader.check_integrity()
        assert reader.genesis() == world.signed
        assert [stored.height for stored in reader.blocks()] == [1, 2, 3, 4, 5, 6]
        assert reader.tip()[0] == 6
        assert reader.blob(world.genesis.initial_model) == words_to_bytes(world.initial)
        assert len(reader.blob_names()) == 1 + 2 * world.top_m
        assert reader.blob(bytes(32)) is None


def test_reading_changes_nothing_not_even_in_a_folder_that_could_be_written(chain: Path) -> None:
    before = snapshot(chain.parent)
    with ChainReader(chain) as reader:
        list(reader.blocks())
        reader.check_integrity()
        assert snapshot(chain.parent) == before
    assert snapshot(chain.parent) == before


def test_a_read_only_file_in_a_read_only_folder_can_be_read(chain: Path) -> None:
    chain.chmod(0o400)
    chain.parent.chmod(0o500)
    try:
        with ChainReader(chain) as reader:
            assert len(list(reader.blocks())) == 6
    finally:
        chain.parent.chmod(0o700)


def test_odd_characters_in_the_name_are_no_options(world: World, tmp_path: Path) -> None:
    path = tmp_path / "a?mode=rw#100% é.db"
    world.write_chain(path, rounds=1)
    with ChainReader(path) as reader:
        assert len(list(reader.blocks())) == 3


def test_a_crashed_writers_blocks_are_all_there_and_reading_leaves_its_log_alone(world: World, tmp_path: Path) -> None:
    path = tmp_path / "chain.db"
    write_and_crash(world, path)
    before = snapshot(tmp_path)
    assert "chain.db-wal" in before
    with ChainReader(path) as reader:
        assert reader.tip()[0] == 3
        assert len(list(reader.blocks())) == 3
    assert snapshot(tmp_path) == before
    assert verify_chain(path, world.machine).valid


def test_writing_can_go_on_after_a_close_and_after_a_crash(world: World, tmp_path: Path) -> None:
    path = tmp_path / "chain.db"
    write_and_crash(world, path)
    engine = world.engine()
    world.play_round(engine)
    with ChainWriter.resume(path) as writer:
        assert writer.height == 3
        for made in world.play_round(engine):
            writer.append(made.block, made.commit, world.read_by(made))
    assert [p.name for p in tmp_path.iterdir()] == ["chain.db"]
    verdict = verify_chain(path, world.machine)
    assert (verdict.valid, verdict.blocks, verdict.round) == (True, 6, 2)


def test_a_block_is_appended_wholly_or_not_at_all(world: World, tmp_path: Path) -> None:
    path = tmp_path / "chain.db"
    made = world.engine().next_block()
    with ChainWriter.create(path, world.signed, words_to_bytes(world.initial)) as writer:
        clash = {world.genesis.initial_model: b"again"}
        with pytest.raises(ChainFileError, match="UNIQUE"):
            writer.append(made.block, made.commit, clash)
        assert writer.height == 0
        writer.append(made.block, made.commit, {})
    assert verify_chain(path, world.machine).blocks == 1


def test_only_the_next_block_can_be_appended(world: World, tmp_path: Path) -> None:
    engine = world.engine()
    engine.next_block()
    second = engine.next_block()
    writer = ChainWriter.create(tmp_path / "c.db", world.signed, words_to_bytes(world.initial))
    with writer, pytest.raises(ChainFileError, match="block 2 does not follow block 0"):
        writer.append(second.block, second.commit, {})


def test_a_full_disk_is_a_typed_error_and_loses_nothing(world: World, tmp_path: Path) -> None:
    path = tmp_path / "chain.db"
    engine = world.engine()
    first, second = engine.next_block(), engine.next_block()
    with ChainWriter.create(path, world.signed, words_to_bytes(world.initial)) as writer:
        writer.append(first.block, first.commit, {})
        pages = writer._connection.execute("PRAGMA page_count").fetchone()[0]
        writer._connection.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(StorageError, match="full; free some space"):
            writer.append(second.block, second.commit, {bytes(32): bytes(10**6)})
    verdict = verify_chain(path, world.machine)
    assert (verdict.valid, verdict.blocks) == (True, 1)


@pytest.mark.parametrize(("parameters", "page_bytes"), [(1000, 4096), (250_000, 65_536)])
def test_large_models_have_large_pages(tmp_path: Path, parameters: int, page_bytes: int) -> None:
    made = random_world(1, 1, parameters)
    ChainWriter.create(tmp_path / "chain.db", made.signed, words_to_bytes(made.initial_model)).close()
    with ChainReader(tmp_path / "chain.db") as reader:
        reader.check_schema()
        reader.check_integrity()
        assert reader._connection.execute("PRAGMA page_size").fetchone() == (page_bytes,)
        assert reader.blob(made.genesis.initial_model) == words_to_bytes(made.initial_model)


def test_a_file_is_never_overwritten(world: World, chain: Path) -> None:
    with pytest.raises(ChainFileError, match="exists already"):
        ChainWriter.create(chain, world.signed, words_to_bytes(world.initial))


def test_the_words_must_be_those_of_the_genesis(world: World, tmp_path: Path) -> None:
    with pytest.raises(ChainFileError, match=r"w_g\(0\)"):
        ChainWriter.create(tmp_path / "c.db", world.signed, b"other")
    assert not (tmp_path / "c.db").exists()


def test_a_folder_that_is_not_there_is_a_typed_error(world: World, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="its folder is there"):
        ChainWriter.create(tmp_path / "none" / "c.db", world.signed, words_to_bytes(world.initial))
    with pytest.raises(ChainFileError, match="no such file"):
        ChainReader(tmp_path / "c.db")
    with pytest.raises(ChainFileError, match="no such file"):
        ChainReader(tmp_path)


@pytest.mark.parametrize("content", [b"", bytes(4096), b"hello", b"SQLite format 3\0", os.urandom(5000)])
def test_what_is_no_database_is_a_typed_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "c.db"
    path.write_bytes(content)
    with pytest.raises(ChainFileError), ChainReader(path) as reader:
        reader.check_schema()


@pytest.mark.parametrize(
    ("statement", "complaint"),
    [
        ("DROP TABLE tip", "schema"),
        ("CREATE TABLE extra(x)", "schema"),
        ("CREATE INDEX extra ON block(block)", "schema"),
        ("CREATE VIEW extra AS SELECT 1", "schema"),
        ("CREATE TRIGGER t AFTER INSERT ON block BEGIN SELECT 1; END", "schema"),
        ("ALTER TABLE tip RENAME COLUMN height TO depth", "schema"),
        ("PRAGMA application_id = 1", "not a chain file"),
        ("PRAGMA user_version = 2", "version"),
    ],
)
def test_another_schema_is_refused(chain: Path, statement: str, complaint: str) -> None:
    tamper(chain, statement)
    with pytest.raises(ChainFileError, match=complaint), ChainReader(chain) as reader:
        reader.check_schema()


def tamper(path: Path, statement: str, *values: object):
    connection = sqlite3.connect(path)
    with connection:
        connection.execute(statement, values)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


def test_missing_and_doubled_single_rows_are_refused(chain: Path) -> None:
    tamper(chain, "DELETE FROM tip")
    tamper(chain, "DELETE FROM genesis")
    with ChainReader(chain) as reader:
        with pytest.raises(ChainFileError, match="one tip"):
            reader.tip()
        with pytest.raises(ChainFileError, match="one genesis"):
            reader.genesis()


def test_a_genesis_that_does_not_decode_is_refused(world: World, chain: Path) -> None:
    tamper(chain, "UPDATE genesis SET genesis = ?", encode(world.signed)[:-1])
    with ChainReader(chain) as reader, pytest.raises(ChainFileError, match="genesis"):
        reader.genesis()


def test_a_gap_is_named(chain: Path) -> None:
    tamper(chain, "DELETE FROM block WHERE height = 4")
    with ChainReader(chain) as reader, pytest.raises(ChainFileError, match="block 4 is missing, block 5 comes next"):
        list(reader.blocks())
