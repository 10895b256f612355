"""What ``--resume`` takes and what it leaves; kills at random moments are in ``tests/campaigns/test_kills.py``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

BEES = Path(sys.executable).with_name("bees")
RUN = ["run", "quick", "--set", "blocks=4", "-q"]


def bees(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [str(BEES), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "whole"
    done = bees(*RUN, "--out", folder)
    assert done.returncode == 0, done.stderr
    return folder


def test_a_finished_run_may_be_resumed_and_stays_the_same(whole: Path):
    folder = whole
    before = (folder / "rounds.jsonl").read_bytes()
    assert bees("run", "--resume", folder, "-q").returncode == 0
    assert (folder / "rounds.jsonl").read_bytes() == before


def test_resume_takes_no_other_scenario_and_no_folder_that_is_none(whole: Path, tmp_path: Path):
    folder = whole
    assert bees("run", "quick", "--resume", folder).returncode == 2
    missing = bees("run", "--resume", tmp_path / "nowhere")
    assert missing.returncode == 2
    assert "nowhere" in missing.stderr
