from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import bees
from bees import runner
from bees.core.errors import DatasetError, NoDeviceLeftError, OutputError, ScenarioError, ScenarioFileError
from bees.engines.audit import verify_chain
from bees.run_folder import read_json, read_rounds, read_scenario
from bees.runner import run, run_into_folder

if TYPE_CHECKING:
    from pathlib import Path

    from bees.results import RoundRow, RunResult

SMALL = ["blocks=3", "learning.hidden=4", "topology.devices=6", "topology.devices_per_server_max=3"]
TINY = bees.load_scenario("quick", SMALL)


def into(path: Path, **options: Any) -> RunResult:
    return run_into_folder(TINY, path, command="bees run tiny", **options)


def stop_after(block: int):
    def stop(row: RoundRow) -> None:
        if row.block == block:
            raise KeyboardInterrupt

    return stop


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RunResult]:
    path = tmp_path_factory.mktemp("runs") / "whole"
    return path, into(path)


def test_a_result_has_a_row_and_arrays_for_every_block(whole: tuple[Path, RunResult]):
    result = whole[1]
    assert [row.block for row in result.rounds] == [1, 2, 3]
    assert {array.shape for array in result.devices.as_arrays().values()} == {(3, 6)}
    assert result.scenario == TINY
    assert result.weights.dtype == np.float32
    assert result.weights.shape == (result.model.parameters,)


def test_sums_and_arrays_agree_with_the_rows(whole: tuple[Path, RunResult]):
    result = whole[1]
    trace = result.devices
    for t, row in enumerate(result.rounds):
        assert row.energy_j == pytest.approx(trace.energy_j[t].sum())
        assert row.energy_j == pytest.approx(row.computation_energy_j + row.transmission_energy_j)
        assert row.latency_s == pytest.approx((trace.compute_time_s[t] + trace.transmit_time_s[t]).max())
        assert row.active_devices == trace.active[t].sum()
        assert row.offloading_devices == (trace.offloads[t] & trace.active[t]).sum()
    assert list(result.total_energy_j) == pytest.approx(np.cumsum([row.energy_j for row in result.rounds]))
    assert list(result.total_latency_s) == pytest.approx(np.cumsum([row.latency_s for row in result.rounds]))
    assert np.diff(trace.charge_j, axis=0) == pytest.approx(-trace.energy_j[1:])


def test_in_memory_and_into_a_folder_are_the_same_run(whole: tuple[Path, RunResult]):
    seen: list[RoundRow] = []
    result = run(TINY, on_round=seen.append)
    assert result.rounds == whole[1].rounds == tuple(seen)
    assert np.array_equal(result.weights, whole[1].weights)


def test_a_finished_folder_tells_the_whole_run(whole: tuple[Path, RunResult]):
    path, result = whole
    assert read_scenario(path) == TINY
    assert read_rounds(path) == result.rounds
    assert read_json(path, "status.json")["status"] == "finished"
    verdict = verify_chain(path / "chain.db")
    assert (verdict.valid, verdict.round, verdict.model) == (True, 3, result.rounds[-1].model)


def test_a_preset_or_file_may_stand_for_the_scenario(whole: tuple[Path, RunResult], tmp_path: Path):
    result = run(whole[0] / "scenario.toml")
    assert result.rounds == whole[1].rounds
    (tmp_path / "many.toml").write_text('extends = "quick"\nlearning.dataset = "nowhere.npz"\n')
    with pytest.raises(DatasetError, match=r"many\.toml: learning\.dataset = 'nowhere\.npz': no such file"):
        run(str(tmp_path / "many.toml"))
    with pytest.raises(ScenarioFileError, match="quick"):
        run("quik")


def test_the_phases_are_timed(whole: tuple[Path, RunResult]):
    seconds = whole[1].phase_seconds
    assert {"sense", "train", "quantise", "sign", "hold", "evaluate", "verify", "contract", "write"} <= seconds.keys()
    assert all(value >= 0 for value in seconds.values())


def test_an_interrupted_run_leaves_a_chain_that_verifies_and_goes_on_to_the_same_end(
    whole: tuple[Path, RunResult], tmp_path: Path
):
    path = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        into(path, on_round=stop_after(2))
    assert read_json(path, "status.json") == {"status": "interrupted", "blocks_done": 2, "blocks": 3}
    assert read_rounds(path) == whole[1].rounds[:2]
    assert not (path / "chain.db-wal").exists()
    verdict = verify_chain(path / "chain.db")
    assert (verdict.valid, verdict.round) == (True, 2)

    result = into(path, resumes=True)
    assert result.rounds == read_rounds(path) == whole[1].rounds
    assert np.array_equal(result.weights, whole[1].weights)
    assert np.array_equal(result.devices.charge_j, whole[1].devices.charge_j)
    assert read_json(path, "status.json")["status"] == "finished"
    assert verify_chain(path / "chain.db") == verify_chain(whole[0] / "chain.db")


def test_a_run_that_fails_says_why(tmp_path: Path):
    scenario = bees.load_scenario("quick", [*SMALL, "battery.device_capacity_j=0.5"])
    with pytest.raises(NoDeviceLeftError) as caught:
        run_into_folder(scenario, tmp_path / "run", command="bees run tiny")
    status = read_json(tmp_path / "run", "status.json")
    assert (status["status"], status["error"], status["blocks_done"]) == ("failed", "NoDeviceLeftError", 0)
    assert status["message"] == str(caught.value)
    assert read_rounds(tmp_path / "run") == ()
    assert verify_chain(tmp_path / "run" / "chain.db").valid


def test_a_run_in_which_nobody_s_update_arrives_leaves_skipped_rounds_and_a_chain_that_verifies(tmp_path: Path):
    dark = ["battery.device_capacity_j=0.2", "battery.harvest_w=0.1"]
    scenario = bees.load_scenario("quick", [*SMALL, *dark])
    result = run_into_folder(scenario, tmp_path / "run", command="bees run tiny")
    assert [(row.active_devices, row.main_node) for row in result.rounds] == [(0, None)] * scenario.blocks
    assert len({row.model for row in result.rounds}) == 1
    verdict = verify_chain(tmp_path / "run" / "chain.db")
    assert (verdict.valid, verdict.round) == (True, scenario.blocks)


@pytest.mark.parametrize("change", ["learning.dataset=nowhere.npz", "topology.devices=6001"])
def test_a_run_that_cannot_begin_leaves_no_folder(tmp_path: Path, change: str):
    scenario = bees.load_scenario("quick", [*SMALL, "topology.servers=300", change])
    with pytest.raises((DatasetError, ScenarioError)):
        run_into_folder(scenario, tmp_path / "run", command="bees run tiny")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("error", [MemoryError("too much"), ZeroDivisionError("a policy's own"), SystemExit(3)])
def test_whatever_ends_a_run_is_told(tmp_path: Path, error: BaseException):
    def fail(row: RoundRow) -> None:
        if row.block == 2:
            raise error

    with pytest.raises(type(error)):
        into(tmp_path / "run", on_round=fail)
    assert read_json(tmp_path / "run", "status.json") == {
        "status": "failed",
        "blocks_done": 2,
        "blocks": 3,
        "error": type(error).__name__,
        "message": str(error),
    }
    assert verify_chain(tmp_path / "run" / "chain.db").valid


def test_the_status_tells_how_far_a_run_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(runner, "STATUS_INTERVAL_S", 0.0)
    seen: list[dict[str, Any]] = []
    into(tmp_path / "run", on_round=lambda _row: seen.append(read_json(tmp_path / "run", "status.json")))
    assert seen == [{"status": "running", "blocks_done": done, "blocks": 3} for done in (1, 2, 3)]


def test_the_status_is_not_written_more_than_once_a_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(runner, "monotonic", lambda: 7.0)
    seen: list[int] = []
    into(tmp_path / "run", on_round=lambda _row: seen.append(read_json(tmp_path / "run", "status.json")["blocks_done"]))
    assert seen == [0, 0, 0]
    assert read_json(tmp_path / "run", "status.json")["blocks_done"] == 3


def test_a_folder_that_exists_is_not_touched(whole: tuple[Path, RunResult]):
    before = {path.name: path.read_bytes() for path in whole[0].iterdir() if path.is_file()}
    with pytest.raises(OutputError, match="exists already"):
        into(whole[0])
    assert {path.name: path.read_bytes() for path in whole[0].iterdir() if path.is_file()} == before
