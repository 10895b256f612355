"""A sample of the campaign of kills, and that it would see what it looks for."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

import bees
from bees.core.seeds import generator
from bees.runner import run_into_folder
from campaigns.kills import Kill, Tally, Whole, _block_hashes, _export, _History, deal_kills

if TYPE_CHECKING:
    from pathlib import Path

ROUNDS = 4
KILLS = 4


def test_runs_that_are_killed_and_resumed_end_as_if_nothing_had_been(tmp_path: Path):
    seen: list[Kill] = []
    whole, tally = deal_kills(KILLS, ROUNDS, 3, tmp_path, seen.append)
    assert whole.rounds == ROUNDS
    assert len(whole.blocks) == 3 * ROUNDS
    results = tally.as_results()
    assert tally.holds, results
    assert (results["kills"], results["blocks_lost"], results["divergent_hashes"]) == (KILLS, 0, 0)
    assert len(seen) == KILLS
    assert results["histories"] >= 1


# What the campaign looks for


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    for name, seed, blocks in (("whole", 0, 3), ("short", 0, 2), ("other", 1, 3)):
        scenario = bees.load_scenario("quick", [f"blocks={blocks}", f"seed={seed}"])
        run_into_folder(scenario, folder / name, command="bees run quick")
    return folder


def history_of(runs: Path, left: str, tmp_path: Path) -> tuple[_History, Tally, Path]:
    """A history in which a kill has left a copy of a run's folder."""
    run = runs / "whole"
    whole = Whole(_block_hashes(run / "chain.db"), (run / "rounds.jsonl").read_bytes(), b"", 1.0, 1.0, 1.0)
    tally = Tally()
    folder = tmp_path / "history-0"
    shutil.copytree(runs / left, folder)
    return _History([], tmp_path, whole, tally, generator(0, "kills")), tally, folder


def test_the_same_blocks_are_found_well(runs: Path, tmp_path: Path):
    history, _, _ = history_of(runs, "whole", tmp_path)
    assert history._look("row") == Kill("row", "after the last block", 9, 0, 0, "")


def test_a_block_that_a_row_promised_and_that_is_not_there_is_lost(runs: Path, tmp_path: Path):
    history, tally, folder = history_of(runs, "short", tmp_path)
    shutil.copyfile(runs / "whole" / "rounds.jsonl", folder / "rounds.jsonl")
    tally.kills.append(history._look("row"))
    assert (tally.kills[0].height, tally.kills[0].lost) == (6, 3)
    assert not tally.holds


def test_a_chain_that_is_shorter_than_after_the_last_kill_has_lost_blocks(runs: Path, tmp_path: Path):
    history, _, folder = history_of(runs, "whole", tmp_path)
    assert history._look("row").lost == 0
    shutil.copytree(runs / "short", folder, dirs_exist_ok=True)
    assert history._look("row").lost == 3
    shutil.rmtree(folder)
    assert history._look("row").lost == 9


def test_blocks_of_another_run_diverge(runs: Path, tmp_path: Path):
    history, tally, _ = history_of(runs, "other", tmp_path)
    tally.kills.append(history._look("row"))
    assert tally.kills[0].divergent == 9
    assert not tally.holds


def test_a_chain_that_does_not_verify_is_told(runs: Path, tmp_path: Path):
    history, tally, folder = history_of(runs, "whole", tmp_path)
    data = bytearray((folder / "chain.db").read_bytes())
    at = data.rindex(_export(folder / "chain.db")[-64:])
    data[at] ^= 1
    (folder / "chain.db").write_bytes(data)
    tally.kills.append(history._look("row"))
    assert tally.kills[0].problem
    assert not tally.holds


def test_a_process_that_fails_unkilled_and_a_run_that_ends_otherwise_do_not_hold():
    assert Tally().holds
    assert not Tally(failures=["bees: is no run"]).holds
    assert not Tally(unlike=1).holds
