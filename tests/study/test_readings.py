from __future__ import annotations

from pathlib import Path

import pytest

from bees.core.errors import InputError, OutputError
from bees.study.readings import Setting, default_grid, read_rows, search, summarise_rows

TINY = ["blocks=2", "learning.dataset=mnist-7x7", "learning.hidden=4"]
SETTINGS = (Setting(learning_rate=0.1), Setting(partition="iid"))


def study(path: Path, seeds: int = 1, notes: list[str] | None = None):
    return search(path, SETTINGS, range(seeds), (notes if notes is not None else []).append, TINY)


def test_a_study_writes_a_row_per_setting_and_seed_and_goes_on_where_it_was(tmp_path: Path):
    path = tmp_path / "rows.jsonl"
    first = study(path)
    assert [(row.setting, row.seed) for row in first] == [(setting, 0) for setting in SETTINGS]
    notes: list[str] = []
    assert study(path, notes=notes) == first
    assert set(notes) == {"known already"}
    assert path.read_bytes().count(b"\n") == 2


def test_a_line_that_was_cut_is_run_again(tmp_path: Path):
    path = tmp_path / "rows.jsonl"
    whole = study(path)
    path.write_bytes(path.read_bytes()[:-30])
    assert read_rows(path) == whole[:1]
    assert study(path) == whole


def test_a_broken_line_is_named(tmp_path: Path):
    path = tmp_path / "rows.jsonl"
    path.write_text("{}\n")
    with pytest.raises(InputError, match="line 1"):
        read_rows(path)


def test_the_nearest_setting_comes_first():
    rows = read_rows(Path(__file__).parents[2] / "docs" / "studies" / "readings.jsonl")
    summaries = summarise_rows(rows)
    distances = [summary["distance"] for summary in summaries]
    assert distances == sorted(distances)
    assert len(summaries) == len({row.setting for row in rows})


def test_rows_of_other_runs_do_not_count_as_known(tmp_path: Path):
    path = tmp_path / "rows.jsonl"
    study(path)
    longer = search(path, SETTINGS[:1], range(1), [].append, ["blocks=3", *TINY[1:]])
    assert [row.blocks for row in longer] == [2, 2, 3]


def test_a_file_that_cannot_be_written_is_found_out_at_once(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        study(tmp_path / "file" / "rows.jsonl")


def test_the_grid_has_no_setting_twice():
    grid = default_grid()
    assert len(set(grid)) == len(grid)
