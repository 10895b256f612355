from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

import msgspec
import numpy as np
import pytest

import bees
from bees.engines.audit import verify_chain
from bees.experiment import split_data
from bees.reproduce import runner
from bees.reproduce.runner import Job, Measured, jobs_of, measure
from bees.run_folder import read_json, read_rounds

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bees.reproduce.curves import Reproduction

TINY = ["blocks=2", "learning.dataset=mnist-7x7", "learning.hidden=4", "learning.clients_per_chunk=50"]
COMMAND = "bees reproduce"


class Steps(list[tuple[str, int]]):
    """The progress that was told."""

    def __call__(self, name: str, new: int) -> None:
        self.append((name, new))

    def blocks(self) -> int:
        return sum(new for _, new in self)


def never(*_arguments: Any, **_options: Any) -> NoReturn:
    raise AssertionError("it was measured already")


@pytest.fixture(scope="module")
def fewer_runs() -> Iterator[None]:
    """100 and 50 UEs stand for all that train: a folder is kept of the first, and none of the second."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner, "TRAINED_DEVICES", (50, 100))
        yield


@pytest.fixture(scope="module")
def steps() -> Steps:
    return Steps()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("reproduction")


@pytest.fixture(scope="module")
def measured(fewer_runs: None, folder: Path, steps: Steps) -> Reproduction:
    return measure(folder, [0], COMMAND, steps, TINY)


def measure_once(folder: Path, job: Job, *changes: str, on_step: Any = lambda _name, _new: None) -> Measured:
    return runner._measure_once(folder, job, job.scenario([*TINY, *changes]), COMMAND, on_step)


# What there is to measure


def test_the_figures_need_ten_runs_per_seed():
    jobs = jobs_of([0, 1])
    assert len(jobs) == len({job.name for job in jobs}) == 20
    assert {job.scheme for job in jobs} == {"BEES", "B-EI"}
    assert {job.devices for job in jobs if job.trains} == {50, 75, 100}
    assert {job.devices for job in jobs if not job.trains} == {150, 200}
    assert [job.name for job in jobs[:2]] == ["bees-k100-s0", "b-ei-k100-s0"]


def test_a_jobs_own_devices_seed_and_name_stand_above_changes():
    job = Job("B-EI", 75, 3, trains=True)
    scenario = job.scenario(["topology.devices=20", "seed=8", "blocks=7", "radio.bandwidth_hz=1e6"])
    assert (scenario.topology.devices, scenario.seed, scenario.name) == (75, 3, "b-ei-k75-s3")
    assert (scenario.blocks, scenario.radio.bandwidth_hz) == (7, 1e6)
    assert scenario.ledger.contract == "argmax"


def test_where_only_physics_is_run_the_papers_samples_are_equally_distributed():
    for devices in (150, 200):
        held = split_data(Job("BEES", devices, 0, trains=False).scenario([])).samples
        assert set(held.tolist()) == {60_000 // devices}


# Measuring


def test_every_scheme_and_size_has_its_curves(measured: Reproduction):
    assert [(curve.scheme, curve.devices) for curve in measured.curves] == [
        (scheme, devices) for scheme in ("BEES", "B-EI") for devices in (50, 100, 150, 200)
    ]
    assert measured.blocks == 2
    for curve in measured.curves:
        assert curve.seeds == (0,)
        assert [len(row) for row in (*curve.latency_s, *curve.energy_j)] == [2, 2]
        assert [len(row) for row in curve.accuracy] == ([2] if curve.devices <= 100 else [])
    assert measured.seconds > 0


def test_the_curves_are_those_of_the_runs_that_are_kept(measured: Reproduction, folder: Path):
    assert sorted(path.name for path in (folder / "runs").iterdir()) == ["b-ei-k100-s0", "bees-k100-s0"]
    for scheme, name in (("BEES", "bees-k100-s0"), ("B-EI", "b-ei-k100-s0")):
        rows, curve = read_rounds(folder / "runs" / name), measured.curve(scheme, 100)
        assert curve.accuracy == (tuple(row.accuracy for row in rows),)
        assert curve.latency_s == (tuple(row.total_latency_s for row in rows),)
        assert curve.energy_j == (tuple(row.total_energy_j for row in rows),)
        assert verify_chain(folder / "runs" / name / "chain.db").valid
        assert read_json(folder / "runs" / name, "environment.json")["command"] == COMMAND


OVERRIDES = {
    "tiny data": [],
    "unequal shares": ["learning.partition=quantity_skew"],
    "samples held out": ["learning.selection_set=validation", "learning.validation_samples=3000"],
    "the size of own samples": ["radio.raw_data_reading=actual", "offloading.policy=offload"],
}


@pytest.mark.parametrize("changes", OVERRIDES.values(), ids=OVERRIDES.keys())
def test_physics_alone_is_what_the_full_run_would_have(tmp_path: Path, changes: list[str]):
    (tmp_path / "curves").mkdir()
    job = Job("BEES", 150, 0, trains=False)
    alone = measure_once(tmp_path, job, *changes)
    whole = bees.run(job.scenario([*TINY, *changes]))
    assert alone.energy_j == tuple(whole.total_energy_j.tolist())
    assert alone.latency_s == tuple(whole.total_latency_s.tolist())
    assert np.diff(alone.energy_j).min() > 0


def test_every_block_of_every_run_is_told(measured: Reproduction, steps: Steps):
    assert steps.blocks() == 2 * len(measured.curves)
    assert [new for name, new in steps if name == "bees-k50-s0"] == [1, 1]


# Resuming


def test_nothing_is_measured_twice(measured: Reproduction, folder: Path, steps: Steps, monkeypatch: pytest.MonkeyPatch):
    for name in ("run", "run_into_folder", "simulate_physics"):
        monkeypatch.setattr(runner, name, never)
    again = Steps()
    assert measure(folder, [0], COMMAND, again, TINY) == measured
    assert again.blocks() == steps.blocks()


def test_a_run_whose_curves_were_cut_is_run_again_into_a_folder_of_its_own(measured: Reproduction, folder: Path):
    path = folder / "curves" / "bees-k100-s0.json"
    path.write_bytes(path.read_bytes()[:-9])
    before = (folder / "runs" / "bees-k100-s0" / "rounds.jsonl").read_bytes()
    again = measure(folder, [0], COMMAND, Steps(), TINY)
    assert again.curves == measured.curves
    assert (folder / "runs" / "bees-k100-s0" / "rounds.jsonl").read_bytes() == before
    assert (folder / "runs" / "bees-k100-s0-2" / "rounds.jsonl").read_bytes() == before


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"{}", b'{"scenario": "\xff', b"\xff", b'{"scenario": 1}', b"null"]
)
def test_a_broken_curve_is_measured_again(tmp_path: Path, content: bytes):
    (tmp_path / "curves").mkdir()
    job = Job("BEES", 150, 0, trains=False)
    path = tmp_path / "curves" / "bees-k150-s0.json"
    path.write_bytes(content)
    one = measure_once(tmp_path, job)
    assert len(one.energy_j) == 2
    assert msgspec.json.decode(path.read_bytes(), type=Measured) == one


def test_a_curve_cut_at_any_byte_is_measured_again(tmp_path: Path):
    (tmp_path / "curves").mkdir()
    job, path = Job("BEES", 150, 0, trains=False), tmp_path / "curves" / "bees-k150-s0.json"
    whole = measure_once(tmp_path, job)
    data = path.read_bytes()
    for length in range(0, len(data), 41):
        path.write_bytes(data[:length])
        again = measure_once(tmp_path, job)
        assert (again.energy_j, again.latency_s) == (whole.energy_j, whole.latency_s)


def test_the_curve_of_another_scenario_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "curves").mkdir()
    job = Job("BEES", 150, 0, trains=False)
    usual = measure_once(tmp_path, job)
    other = measure_once(tmp_path, job, "radio.bandwidth_hz=1e6")
    assert other.energy_j != usual.energy_j
    monkeypatch.setattr(runner, "simulate_physics", never)
    assert measure_once(tmp_path, job, "radio.bandwidth_hz=1e6") == other
