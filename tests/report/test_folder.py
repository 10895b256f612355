from __future__ import annotations

import io
import json
import shutil
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pytest

import bees
from bees.core.errors import NoDeviceLeftError, RunFolderError, ScenarioError
from bees.report.folder import read_reproduction, read_run, write_report
from bees.run_folder import RunFolder, environment, write_json
from bees.runner import run_into_folder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bees.reproduce.curves import Reproduction
    from bees.results import RoundRow, RunResult

SCENARIO = bees.load_scenario(
    "quick", ["blocks=2", "learning.hidden=4", "topology.devices=6", "topology.devices_per_server_max=3"]
)
COMMAND = "bees run tiny"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RunResult]:
    path = tmp_path_factory.mktemp("runs") / "finished"
    return path, run_into_folder(SCENARIO, path, command=COMMAND)


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "interrupted"

    def stop(_row: RoundRow) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_into_folder(SCENARIO, path, command=COMMAND, on_round=stop)
    return path


@pytest.fixture
def copy(finished: tuple[Path, RunResult], tmp_path: Path) -> Path:
    return shutil.copytree(finished[0], tmp_path / "copy")


@pytest.fixture
def reproduction(reproduction_of: Callable[[int, int], Reproduction], tmp_path: Path) -> Path:
    path = tmp_path / "reproduction"
    path.mkdir()
    write_reproduction(path, reproduction_of(2, 50))
    write_json(path, "environment.json", environment("bees reproduce"))
    return path


def write_reproduction(folder: Path, reproduction: Reproduction) -> None:
    # The curves that the tests draw hold NumPy's numbers, which msgspec does not write.
    text = json.dumps(reproduction, default=msgspec.structs.asdict)
    (folder / "reproduction.json").write_text(text, encoding="utf-8")


def is_refused(folder: Path, named: str) -> None:
    with pytest.raises(RunFolderError) as caught:
        write_report(folder)
    assert caught.value.exit_code == 2
    assert named in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


# A run


def test_a_finished_run_is_read_back_as_it_was(finished: tuple[Path, RunResult]):
    path, result = finished
    record = read_run(path)
    assert (record.scenario, record.rounds, record.problem) == (SCENARIO, result.rounds, None)
    for name, array in result.devices.as_arrays().items():
        assert np.array_equal(record.devices.as_arrays()[name], array)
    assert (record.provenance.command, record.provenance.version) == (COMMAND, bees.__version__)
    assert record.provenance.seconds == pytest.approx(sum(result.phase_seconds.values()))
    assert record.provenance.seeds == (SCENARIO.seed,)


def test_the_ledger_is_told_from_the_chain_file(finished: tuple[Path, RunResult]):
    path, result = finished
    ledger = read_run(path).ledger
    assert ledger is not None
    assert (ledger.height, ledger.rounds, ledger.skipped) == (6, 2, 0)
    assert ledger.transactions == 2 * (6 + 4 + 1)
    assert sum(ledger.main_nodes.values()) == 2
    assert set(ledger.main_nodes) == {row.main_node for row in result.rounds}


def test_its_report_is_one_page_and_its_figures(copy: Path):
    page = write_report(copy)
    assert page == copy / "report.html"
    text = page.read_text(encoding="utf-8")
    assert text.startswith("<!doctype html>")
    assert "quick" in text
    drawn = {path.suffix for path in (copy / "figures").iterdir()}
    assert drawn == {".svg", ".png"}


def test_an_interrupted_run_is_reported_up_to_where_it_came(interrupted: Path):
    record = read_run(interrupted)
    assert record.problem == "the run is interrupted"
    assert [row.block for row in record.rounds] == [1]
    assert record.devices.charge_j.shape == (1, 6)
    assert record.ledger is not None
    assert (record.ledger.height, record.ledger.rounds) == (3, 1)
    text = write_report(interrupted).read_text(encoding="utf-8")
    assert "the run is interrupted" in text
    assert "1 of 2 blocks" in text


def test_a_run_that_failed_before_its_first_block_is_reported_with_the_reason(tmp_path: Path):
    scenario = bees.load_scenario("quick", ["battery.device_capacity_j=0.5"])
    with pytest.raises(NoDeviceLeftError) as caught:
        run_into_folder(scenario, tmp_path / "run", command=COMMAND)
    record = read_run(tmp_path / "run")
    assert record.rounds == ()
    assert record.ledger is not None
    assert (record.ledger.height, record.ledger.app_hash) == (0, None)
    text = write_report(tmp_path / "run").read_text(encoding="utf-8")
    assert str(caught.value) in text
    assert "ended before its first block" in text


def test_a_run_that_was_killed_is_reported_as_running(tmp_path: Path):
    RunFolder(tmp_path / "run", SCENARIO, COMMAND)
    assert read_run(tmp_path / "run").problem == "the run is running"
    assert "the run is running" in write_report(tmp_path / "run").read_text(encoding="utf-8")


def test_without_chain_the_rest_is_reported(copy: Path):
    (copy / "chain.db").write_bytes(b"junk")
    assert read_run(copy).ledger is None
    (copy / "chain.db").unlink()
    assert read_run(copy).ledger is None
    assert len(read_run(copy).rounds) == 2


# A run's folder that is broken


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path):
    is_refused(tmp_path, "is no run")
    is_refused(tmp_path / "nowhere", "is no run")


@pytest.mark.parametrize("name", ["environment.json", "status.json", "rounds.jsonl", "devices.npz"])
def test_a_missing_file_is_named(copy: Path, name: str):
    (copy / name).unlink()
    is_refused(copy, name)


@pytest.mark.parametrize("content", [b"{", b"\xff", b"[1]", b'{"a": "\xff"}', b"\x00", b'{"a":' + b"[" * 10_000])
@pytest.mark.parametrize("name", ["environment.json", "status.json", "rounds.jsonl"])
def test_broken_json_is_named(copy: Path, name: str, content: bytes):
    (copy / name).write_bytes(content)
    is_refused(copy, name)


def test_a_row_that_was_cut_is_named_by_its_line(copy: Path):
    path = copy / "rounds.jsonl"
    path.write_bytes(path.read_bytes()[:-20])
    is_refused(copy, "rounds.jsonl, line 2")


def test_arrays_that_are_cut_at_any_length_are_named(copy: Path):
    path = copy / "devices.npz"
    data = path.read_bytes()
    for length in [*range(0, len(data) - 1, 97), len(data) - 1]:
        path.write_bytes(data[:length])
        is_refused(copy, "devices.npz")


def test_arrays_with_any_byte_changed_are_named_or_read(copy: Path):
    path, draw = copy / "devices.npz", np.random.default_rng(0)
    data, refused = bytearray(path.read_bytes()), 0
    for position in draw.integers(len(data), size=150):
        data[position] ^= 0xFF
        path.write_bytes(data)
        refused += _is_refused(copy)
        data[position] ^= 0xFF
    assert refused > 50


def _is_refused(folder: Path) -> bool:
    try:
        read_run(folder)
    except RunFolderError as error:
        return "devices.npz" in str(error)
    return False


def saved(**arrays: Any) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def test_arrays_of_another_run_are_refused(copy: Path, finished: tuple[Path, RunResult]):
    right = finished[1].devices.as_arrays()
    energy = right["energy_j"]
    wrong = {
        "lacks charge_j": {name: array for name, array in right.items() if name != "charge_j"},
        "too few blocks": {name: array[:1] for name, array in right.items()},
        "too few devices": {**right, "energy_j": energy[:, 1:]},
        "one dimension": {**right, "energy_j": energy[0]},
        "words": {**right, "energy_j": energy.astype(str)},
        "objects": {**right, "energy_j": energy.astype(object)},
    }
    for arrays in wrong.values():
        (copy / "devices.npz").write_bytes(saved(**arrays))
        is_refused(copy, "devices.npz")
    (copy / "devices.npz").write_bytes(saved(**right))
    assert np.array_equal(read_run(copy).devices.energy_j, energy)


def test_a_broken_scenario_is_named_with_its_key(copy: Path):
    path = copy / "scenario.toml"
    path.write_text(path.read_text().replace("bandwidth_hz = ", "bandwidth_hz = -"))
    with pytest.raises(ScenarioError, match=r"radio\.bandwidth_hz") as caught:
        write_report(copy)
    assert caught.value.exit_code == 2


def test_a_status_with_nonsense_in_it_is_reported_all_the_same(copy: Path):
    write_json(copy, "status.json", {"status": "finished", "seconds": "long"})
    assert read_run(copy).provenance.seconds is None
    write_json(copy, "status.json", {})
    assert read_run(copy).problem == "the run is None"


# A reproduction


def test_a_reproduction_is_read_back_with_its_claims(
    reproduction: Path, reproduction_of: Callable[[int, int], Reproduction]
):
    record = read_reproduction(reproduction)
    assert record.reproduction == reproduction_of(2, 50)
    assert record.provenance.seeds == (0, 1)
    assert record.provenance.command == "bees reproduce"
    assert record.scenarios.keys() == {"BEES", "B-EI"}
    assert record.claims
    assert record.ledger is None


def test_a_reproductions_report_has_the_papers_figures(reproduction: Path):
    text = write_report(reproduction).read_text(encoding="utf-8")
    assert "Reproduction report" in text
    assert {f"figure_{n}.svg" for n in range(3, 9)} <= {path.name for path in (reproduction / "figures").iterdir()}


def test_the_ledger_of_a_reproduction_is_that_of_a_run_that_finished(
    reproduction: Path, finished: tuple[Path, RunResult], interrupted: Path
):
    """An attempt that was interrupted stands before the one that was not."""
    runs = reproduction / "runs"
    shutil.copytree(finished[0], runs / "bees-k100-s0-2")
    shutil.copytree(interrupted, runs / "bees-k100-s0")
    ledger = read_reproduction(reproduction).ledger
    assert ledger is not None
    assert (ledger.height, ledger.rounds) == (6, 2)
    assert ledger == read_run(finished[0]).ledger


def test_attempts_that_left_nothing_whole_do_not_matter(reproduction: Path):
    (reproduction / "runs" / "bees-k100-s0").mkdir(parents=True)
    (reproduction / "runs" / "bees-k100-s1").mkdir()
    (reproduction / "runs" / "bees-k100-s1" / "status.json").write_text("{")
    assert read_reproduction(reproduction).ledger is None


def test_a_reproduction_without_curves_has_no_claims(
    reproduction: Path, reproduction_of: Callable[[int, int], Reproduction]
):
    nothing = msgspec.structs.replace(reproduction_of(1, 2), curves=())
    write_reproduction(reproduction, nothing)
    assert read_reproduction(reproduction).claims == ()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b"\xff", b'{"version": "\xff"}', b'{"curves": 3}'])
def test_a_broken_reproduction_is_named(reproduction: Path, content: bytes):
    (reproduction / "reproduction.json").write_bytes(content)
    is_refused(reproduction, "reproduction.json")


def test_a_reproduction_without_environment_is_refused(reproduction: Path):
    (reproduction / "environment.json").unlink()
    is_refused(reproduction, "environment.json")
