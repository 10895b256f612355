"""A run that is killed at any moment goes on to the very chain that an undisturbed run has."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

BEES = Path(sys.executable).with_name("bees")
RUN = ["run", "quick", "--set", "blocks=40", "-q"]
KILLS = 3


def bees(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [str(BEES), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def kill_after(command: list[str | Path], seconds: float) -> int:
    """Start the command and kill it, so that it has no chance to tidy up; returns how it ended."""
    process = subprocess.Popen([str(BEES), *map(str, command)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    return process.returncode


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    folder = tmp_path_factory.mktemp("runs") / "whole"
    start = time.monotonic()
    done = bees(*RUN, "--out", folder)
    assert done.returncode == 0, done.stderr
    return folder, time.monotonic() - start


def test_a_run_that_was_killed_goes_on_to_the_same_chain_and_rows(whole: tuple[Path, float], tmp_path: Path):
    undisturbed, seconds = whole
    folder = tmp_path / "killed"
    draw = random.Random(7)
    ends = [kill_after([*RUN, "--out", folder], seconds * draw.uniform(0.4, 0.8))]
    resume: list[str | Path] = ["run", "--resume", folder, "-q"]
    ends += [kill_after(resume, seconds * draw.uniform(0.4, 0.8)) for _ in range(KILLS - 1)]
    assert -signal.SIGKILL in ends
    last = bees("run", "--resume", folder, "-q")
    assert last.returncode == 0, last.stderr
    assert bees("verify", folder).returncode == 0
    assert (folder / "rounds.jsonl").read_bytes() == (undisturbed / "rounds.jsonl").read_bytes()
    exports = [tmp_path / "a", tmp_path / "b"]
    for run, export in zip((folder, undisturbed), exports, strict=True):
        assert bees("chain", run, "--export", export).returncode == 0
    assert exports[0].read_bytes() == exports[1].read_bytes()


def test_a_finished_run_may_be_resumed_and_stays_the_same(whole: tuple[Path, float]):
    folder, _ = whole
    before = (folder / "rounds.jsonl").read_bytes()
    assert bees("run", "--resume", folder, "-q").returncode == 0
    assert (folder / "rounds.jsonl").read_bytes() == before


def test_resume_takes_no_other_scenario_and_no_folder_that_is_none(whole: tuple[Path, float], tmp_path: Path):
    folder, _ = whole
    assert bees("run", "quick", "--resume", folder).returncode == 2
    missing = bees("run", "--resume", tmp_path / "nowhere")
    assert missing.returncode == 2
    assert "nowhere" in missing.stderr
