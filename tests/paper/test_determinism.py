"""The paper's scenario from end to end, with one thread and with two: every w_g is the same, bit by bit."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from bees.engines.audit import verify_chain
from bees.run_folder import read_rounds

BEES = Path(sys.executable).with_name("bees")
BLOCKS = 50


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    made = tuple(tmp_path_factory.mktemp("runs") / f"threads-{threads}" for threads in (1, 2))
    for threads, folder in zip((1, 2), made, strict=True):
        command = [str(BEES), "run", "paper", "--threads", str(threads), "--out", str(folder), "-q"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
        assert done.returncode == 0, done.stderr
    return made[0], made[1]


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="a process cannot be confined to cores here")
def test_one_thread_and_two_give_the_same_model_after_every_block(folders: tuple[Path, Path]):
    one, two = (read_rounds(folder) for folder in folders)
    assert [row.block for row in one] == list(range(1, BLOCKS + 1))
    assert [row.model for row in one] == [row.model for row in two]
    assert len({row.model for row in one}) == BLOCKS
    assert msgspec.json.encode(one) == msgspec.json.encode(two)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="a process cannot be confined to cores here")
def test_they_leave_the_same_chain(folders: tuple[Path, Path]):
    one, two = (verify_chain(folder / "chain.db") for folder in folders)
    assert one.valid
    assert one == two
    assert one.model == read_rounds(folders[0])[-1].model
