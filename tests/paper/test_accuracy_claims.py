"""Section IV-C, accuracy and robustness: Figures 3 and 4; and that the run behind them is the same with one thread.

What the paper claims and does not come out is held here too: these tests say what is true of this system.
"""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import msgspec
import pytest

from bees.engines.audit import iter_chain, verify_chain
from bees.experiment import prepare_learning
from bees.ledger.block import block_id
from bees.run_folder import read_rounds
from bees.scenario_file import load_scenario
from bees.study.learning_only import learning_rounds

BEES = Path(sys.executable).with_name("bees")
COMPARED = 12
"""Blocks that one thread repeats."""
CONFINES = hasattr(os, "sched_setaffinity")
needs_cores = pytest.mark.skipif(not CONFINES, reason="a process cannot be confined to cores here")


def run_paper(folder: Path, threads: int, *options: str) -> Path:
    confined = ["--threads", str(threads)] if CONFINES else []
    command = [str(BEES), "run", "paper", *confined, *options, "--out", str(folder), "-q"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def bees_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The whole system in the paper's scenario, with two threads."""
    return run_paper(tmp_path_factory.mktemp("runs") / "two", 2)


@pytest.fixture(scope="module")
def bees_run_on_one_thread(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_paper(tmp_path_factory.mktemp("runs") / "one", 1, "--set", f"blocks={COMPARED}")


@pytest.fixture(scope="module")
def bees_accuracy(bees_run: Path) -> float:
    return read_rounds(bees_run)[-1].accuracy


@cache
def learned_accuracy(preset: str, devices: int) -> float:
    """After the last block, by the training and the contract of the full run, without its ledger."""
    scenario = load_scenario(preset, [f"topology.devices={devices}"])
    return [accuracy for accuracy, _ in learning_rounds(scenario, prepare_learning(scenario))][-1]


def test_the_model_of_the_paper_has_80_kb():
    model = prepare_learning(load_scenario("paper")).model.description
    assert model.parameters == 19_885
    assert model.update_bytes == pytest.approx(80e3, rel=0.01)


def test_fig_3_bees_reaches_89_percent_after_50_blocks(bees_accuracy: float):
    assert bees_accuracy == pytest.approx(0.89, abs=0.02)


def test_fig_3_bees_ends_above_b_ei(bees_accuracy: float):
    assert bees_accuracy > learned_accuracy("b-ei", 100)


def test_fig_4_halving_the_ues_costs_bees_at_most_2_points(bees_accuracy: float):
    assert learned_accuracy("paper", 50) > bees_accuracy - 0.02


@needs_cores
def test_one_thread_and_two_give_the_same_model_after_every_block(bees_run: Path, bees_run_on_one_thread: Path):
    two, one = read_rounds(bees_run)[:COMPARED], read_rounds(bees_run_on_one_thread)
    assert [row.block for row in one] == list(range(1, COMPARED + 1))
    assert len({row.model for row in one}) == COMPARED
    assert msgspec.json.encode(one) == msgspec.json.encode(two)


@needs_cores
def test_they_leave_the_same_chain(bees_run: Path, bees_run_on_one_thread: Path):
    two, one = (
        [block_id(entry.block.header) for entry in iter_chain(folder / "chain.db")]
        for folder in (bees_run, bees_run_on_one_thread)
    )
    assert len(one) > COMPARED
    assert two[: len(one)] == one
    verdict = verify_chain(bees_run / "chain.db")
    assert verdict.valid
    assert verdict.model == read_rounds(bees_run)[-1].model
