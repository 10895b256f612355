from __future__ import annotations

import json
from pathlib import Path

import msgspec
import numpy as np
import pytest
from typer.testing import CliRunner

import bees
from bees.cli.study import study as cli
from bees.core.errors import InputError, OutputError
from bees.edge.physics import simulate_physics
from bees.report.offloading_figures import DIAGRAMS
from bees.study import offloading
from bees.study.offloading import (
    DiagramRow,
    LearningTask,
    PolicyRow,
    PolicyTask,
    Row,
    describe,
    diagram_tasks,
    learning_tasks,
    measure,
    measure_learning,
    planned,
    policy_tasks,
    study_offloading,
    summarise,
)
from bees.study.offloading_worlds import LEARNT, POLICIES, WORLDS, run_course, scenario_of
from bees.study.rows import read_rows

TINY = (
    "blocks=3",
    "learning.dataset=mnist-7x7",
    "learning.hidden=4",
    "learning.selection_set=test",
    "topology.devices=6",
    "topology.servers=4",
    "ledger.top_m=3",
    "topology.devices_per_server_min=1",
    "topology.devices_per_server_max=3",
)
PAIR = ("local", "offload")
FEW = {name: WORLDS[name] for name in ("paper", "sticky", "small batteries")}


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(offloading, "WORLDS", FEW)
    monkeypatch.setattr(offloading, "POLICIES", PAIR)
    monkeypatch.setattr(offloading, "LEARNT", ())


def study(path: Path, notes: list[str] | None = None, jobs: int = 1) -> list[Row]:
    return study_offloading(path, range(1), (notes if notes is not None else []).append, jobs=jobs, changes=TINY)


def test_a_study_goes_on_where_it_was_cut(few: None, tmp_path: Path):
    path = tmp_path / "rows.jsonl"
    whole = study(path)
    assert len(whole) == planned(range(1))
    data = path.read_bytes()
    notes: list[str] = []
    assert study(path, notes) == whole
    assert set(notes) == {"known already"}
    path.write_bytes(data[:-40])
    assert study(path) == whole
    assert path.read_bytes() == data


def test_a_broken_line_and_a_file_that_cannot_be_written_are_named(tmp_path: Path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"type": "policy"}\n')
    with pytest.raises(InputError, match="line 1"):
        study(path)
    with pytest.raises(OutputError, match="cannot be written"):
        study(path / "rows.jsonl")


def test_every_world_takes_every_policy_and_every_pair_that_is_learnt_is_one():
    assert {(world, policy) for world, policy in LEARNT} <= {(w, p) for w in WORLDS for p in POLICIES}
    for world in WORLDS:
        row = measure(PolicyTask(world, "optimum", 0, TINY))[0]
        assert isinstance(row, PolicyRow)
        assert row.refused is None, world
    tasks = [*diagram_tasks(()), *policy_tasks(range(2), ())]
    assert len(set(tasks)) == len(tasks)


def test_a_policy_that_refuses_a_world_says_so_in_its_row(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(WORLDS, "crowd", ("paper", ("radio.sharing=tdma", "topology.servers=1")))
    changes = ("topology.devices=20", "topology.devices_per_server_max=30", "topology.devices_per_server_min=1")
    row = measure(PolicyTask("crowd", "optimum", 0, changes))[0]
    assert isinstance(row, PolicyRow)
    assert row.refused is not None
    assert "at most 12 UEs" in row.refused
    assert summarise([row]) == []


def test_a_course_is_the_physics_of_the_run_and_tells_who_was_left_before_the_end():
    scenario = scenario_of("sticky", "latency", 0)
    course, history = run_course(scenario), simulate_physics(scenario, 600)
    for name in ("latency_s", "energy_j", "raw_samples_shared", "charged"):
        assert [row[name] for row in course.rows] == list(getattr(history, name)), name
    assert course.ended_at is None
    assert course.pattern == run_course(scenario_of("paper", "local", 0)).pattern
    dead = run_course(scenario_of("small batteries", "offload", 0))
    assert dead.ended_at == len(dead.rows) == len(dead.arrivals) + 1
    assert (dead.rows[-1]["arrived"], dead.charged_at_end) == (0, 0)


def test_pairs_in_which_the_same_ues_arrive_learn_the_same_and_are_trained_once():
    pairs = (("paper", "local"), ("sticky", "offload"))
    runs = [bees.run(scenario_of(world, policy, 0, TINY)) for world, policy in pairs]
    assert [row.model for row in runs[0].rounds] == [row.model for row in runs[1].rounds]
    rows = list(measure_learning(LearningTask(pairs, 0, TINY, "pattern")))
    for (world, policy), run, row in zip(pairs, runs, rows, strict=True):
        assert (row.world, row.policy, row.trained_as) == (world, policy, pairs[0])
        assert list(row.accuracy) == list(run.accuracy)
        assert list(row.total_energy_j) == pytest.approx(list(run.total_energy_j))
        assert list(row.total_latency_s) == pytest.approx(list(run.total_latency_s))
        assert describe(row)
    policies: list[Row] = [measure(PolicyTask(world, policy, 0, TINY))[0] for world, policy in LEARNT]
    tasks = learning_tasks(policies, range(1), TINY)
    assert sum(len(task.pairs) for task in tasks if isinstance(task, LearningTask)) == len(LEARNT)


def test_an_accuracy_ends_where_nobody_is_left():
    changes = (*TINY, "battery.device_capacity_j=3.5")
    row = next(iter(measure_learning(LearningTask((("small batteries", "local"),), 0, changes, ""))))
    course = run_course(scenario_of("small batteries", "local", 0, changes))
    assert len(row.accuracy) == len(row.total_energy_j) == len(course.arrivals)


def test_the_command_writes_rows_and_figures_and_goes_on(few: None, tmp_path: Path):
    changes = [part for change in TINY for part in ("--set", change)]
    command = ["offloading", "--out", str(tmp_path / "rows.jsonl"), "--json", *changes]
    first, again = (CliRunner().invoke(cli, command) for _ in range(2))
    assert (first.exit_code, first.stdout) == (0, again.stdout)
    document = json.loads(first.stdout)
    assert [Path(figure).name for figure in document["figures"]] == [f"{name}.svg" for name in DIAGRAMS]
    assert all(Path(figure).is_file() for figure in document["figures"])
    assert {(row["world"], row["policy"]) for row in document["policies"]} == {(w, p) for w in FEW for p in PAIR}


def test_rows_come_back_from_the_file(few: None, tmp_path: Path):
    path = tmp_path / "rows.jsonl"
    rows = study(path)
    assert read_rows(path, Row) == rows
    diagrams = [row for row in rows if isinstance(row, DiagramRow)]
    assert len(diagrams) == len(diagram_tasks(()))
    assert all(set("".join(row.cells)) <= set("0123") for row in diagrams)
    assert np.all([msgspec.json.decode(msgspec.json.encode(row), type=type(row)) == row for row in rows])
