"""``bees attack`` as a user meets it: a real process, its output, its exit code."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

BEES = Path(sys.executable).with_name("bees")
GRID = """
base = "quick"
changes = ["learning.hidden=4"]
blocks = 1
seeds = [0]
fractions = [0.25]
heterogeneity = ["iid"]
attacks = [{ name = "sign_flip" }, { name = "label_flip" }]
defences = [{ contract = "fedavg", top_m = 4, label = "BEES" }]
"""


def bees(*arguments: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [str(BEES), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, **options)


def test_a_grid_leaves_rows_table_and_figure_and_is_not_run_twice(tmp_path: Path):
    (tmp_path / "mine.toml").write_text(GRID)
    first = bees("attack", "--grid", "mine.toml", "--jobs", "2", cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    assert "25% of the devices attack, iid" in first.stdout
    rows = tmp_path / "runs" / "attack-mine.jsonl"
    written = rows.read_bytes()
    assert written.count(b"\n") == 2
    again = bees("attack", "--grid", "mine.toml", "--json", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    document = json.loads(again.stdout)
    assert rows.read_bytes() == written
    assert document["rows"] == "runs/attack-mine.jsonl"
    assert [cell["attack"] for cell in document["cells"]] == ["sign_flip", "label_flip"]
    assert document["cells"][0]["final_accuracy"]["mean"] == document["runs"][0]["accuracy"][-1]
    assert [Path(name).name for name in document["files"]] == ["attacks_iid.svg", "attacks.md"]
    assert all((tmp_path / name).stat().st_size > 0 for name in document["files"])


def test_bad_input_is_one_line_and_exit_code_2(tmp_path: Path):
    (tmp_path / "mine.toml").write_text(GRID.replace("sign_flip", "sign_flop"))
    for arguments, problem in (
        (("--grid", "mine.toml"), "attacks[0].name"),
        (("--grid", "nothing.toml"), "no such grid or file"),
        (("--set", "seed=1"), "change seeds in the grid"),
        (("--set", "radio.bandwith_hz=1"), "did you mean 'bandwidth_hz'"),
        (("--full", "--grid", "quick"), "--full"),
        (("--jobs", "0"), "--jobs"),
    ):
        done = bees("attack", *arguments, cwd=tmp_path)
        assert done.returncode == 2, arguments
        assert problem in done.stderr
        assert "Traceback" not in done.stderr
        assert done.stderr.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_the_list_says_how_large_the_grids_are(tmp_path: Path):
    done = bees("attack", "--list", "--json", "--jobs", "2", cwd=tmp_path)
    grids = {grid["grid"]: grid for grid in json.loads(done.stdout)["grids"]}
    assert grids["default"]["cells"] == 136
    assert grids["quick"]["hours"] < grids["default"]["hours"] < 2 < grids["full"]["hours"]
    assert "default" in bees("attack", "--list", cwd=tmp_path).stdout


def test_a_packaged_grid_can_be_taken_to_begin_an_own_one(tmp_path: Path):
    shown = bees("attack", "--show", cwd=tmp_path)
    (tmp_path / "mine.toml").write_text(shown.stdout)
    listed = json.loads(bees("attack", "--list", "--grid", "mine.toml", "--json", cwd=tmp_path).stdout)["grids"]
    cells = {grid["grid"]: grid["cells"] for grid in listed}
    assert cells["mine.toml"] == cells["default"]
    assert bees("attack", "--show", "--grid", "mine.toml", cwd=tmp_path).returncode == 2


def test_ctrl_c_keeps_what_was_measured_and_leaves_no_process(tmp_path: Path):
    (tmp_path / "mine.toml").write_text(GRID.replace("seeds = [0]", f"seeds = {list(range(200))}"))
    rows = tmp_path / "rows.jsonl"
    command = [str(BEES), "attack", "--grid", "mine.toml", "--jobs", "2", "--out", str(rows)]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, start_new_session=True)
    deadline = time.monotonic() + 120
    while not (rows.exists() and rows.read_bytes()) and time.monotonic() < deadline:
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130, told
    assert told.strip() == "bees: interrupted"
    assert rows.read_bytes().count(b"\n") >= 1
    for line in rows.read_bytes().splitlines():
        json.loads(line)


def test_a_label_is_shown_as_it_is_written(tmp_path: Path):
    label = "[/nope] [red]"
    (tmp_path / "mine.toml").write_text(GRID.replace('"BEES"', f'"{label}"').replace(', { name = "label_flip" }', ""))
    done = bees("attack", "--grid", "mine.toml", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert label in done.stdout


def test_help_tells_the_defaults_that_depend_on_other_options(tmp_path: Path):
    shown = " ".join(bees("attack", "--help", cwd=tmp_path, env={**os.environ, "COLUMNS": "200"}).stdout.split())
    for default in ("runs/attack-GRID.jsonl", "the folder figures beside the file", "one per core"):
        assert f"[default: {default}]" in shown
