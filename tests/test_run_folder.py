from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pytest
from safetensors.numpy import load_file  # pyright: ignore[reportUnknownVariableType]  # untyped PathLike

import bees
from bees.core.errors import NoDeviceLeftError, OutputError, RunFolderError, ScenarioError
from bees.run_folder import (
    RunFolder,
    chain_of,
    default_folder,
    environment,
    make_new_folder,
    new_file,
    new_folder,
    read_json,
    read_rounds,
    read_scenario,
    summarise,
    write_json,
    write_text,
)

if TYPE_CHECKING:
    from bees.results import RunResult

SCENARIO = bees.load_scenario("quick", ["blocks=2", "name=tiny", "seed=3"])
read_only_means_something = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere"
)


@pytest.fixture(scope="module")
def result() -> RunResult:
    return bees.run(SCENARIO)


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path / "run", SCENARIO, "bees run quick")


def status_of(folder: RunFolder) -> dict[str, Any]:
    return read_json(folder.path, "status.json")


# A run's folder


def test_a_new_folder_says_what_is_about_to_run(folder: RunFolder):
    assert read_scenario(folder.path) == SCENARIO
    assert status_of(folder) == {"status": "running", "blocks_done": 0, "blocks": 2}
    assert read_json(folder.path, "environment.json")["command"] == "bees run quick"
    assert read_rounds(folder.path) == ()
    assert folder.chain == folder.path / "chain.db"
    assert not folder.chain.exists()


def test_rows_come_back_as_they_were_written(folder: RunFolder, result: RunResult):
    for row in result.rounds:
        folder.add_round(row)
    assert read_rounds(folder.path) == result.rounds


def test_each_row_is_there_as_soon_as_it_is_added(folder: RunFolder, result: RunResult):
    for count, row in enumerate(result.rounds, start=1):
        folder.add_round(row)
        assert len(read_rounds(folder.path)) == count


def test_a_finished_folder_holds_model_arrays_and_summary(folder: RunFolder, result: RunResult):
    folder.finish(result)
    named = load_file(folder.path / "global.safetensors")
    assert named.keys() == result.arrays().keys()
    assert all(np.array_equal(named[name], array) for name, array in result.arrays().items())
    with np.load(folder.path / "devices.npz", allow_pickle=False) as arrays:
        assert all(np.array_equal(arrays[name], array) for name, array in result.devices.as_arrays().items())
    assert read_json(folder.path, "summary.json") == json.loads(json.dumps(summarise(result)))
    status = status_of(folder)
    assert (status["status"], status["blocks_done"], status["blocks"]) == ("finished", 2, 2)
    assert status["seconds"] == pytest.approx(sum(result.phase_seconds.values()))
    assert not list(folder.path.glob("*.draft"))


def test_a_status_names_the_error_with_its_fields(folder: RunFolder):
    folder.set_status("failed", NoDeviceLeftError(7), blocks_done=6)
    status = status_of(folder)
    assert (status["status"], status["error"], status["blocks_done"]) == ("failed", "NoDeviceLeftError", 6)
    assert "block 7" in status["message"]


def test_a_folder_that_exists_is_refused_and_left_as_it_is(tmp_path: Path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "precious").write_text("data")
    with pytest.raises(OutputError, match="exists already"):
        RunFolder(tmp_path / "run", SCENARIO, "bees run quick")
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["precious"]


def test_a_folder_below_a_file_is_refused(tmp_path: Path):
    (tmp_path / "file").write_text("data")
    with pytest.raises(OutputError, match="cannot be written"):
        RunFolder(tmp_path / "file" / "run", SCENARIO, "bees run quick")


def test_a_row_that_cannot_be_written_is_an_output_error(folder: RunFolder, result: RunResult):
    (folder.path / "rounds.jsonl").unlink()
    (folder.path / "rounds.jsonl").mkdir()
    with pytest.raises(OutputError, match=r"rounds\.jsonl: cannot be written"):
        folder.add_round(result.rounds[0])


def test_a_model_that_cannot_be_written_is_an_output_error(folder: RunFolder, result: RunResult):
    (folder.path / "devices.npz").mkdir()
    with pytest.raises(OutputError, match="cannot be written"):
        folder.finish(result)


def test_the_default_folder_tells_runs_apart():
    name = default_folder(SCENARIO, Path("elsewhere"))
    assert name.parent == Path("elsewhere")
    assert name.name.endswith("-tiny-s3")
    assert default_folder(SCENARIO).parent == Path("runs")


def test_the_environment_names_versions_and_no_machine():
    told = environment("bees run quick")
    assert told["bees"] == bees.__version__
    assert {"jax", "numpy", "wasmtime"} <= told["libraries"].keys()
    assert told.keys() == {"command", "bees", "python", "machine", "system", "cores", "libraries", "started"}
    assert str(Path.cwd()) not in json.dumps(told)


def test_a_summary_holds_the_numbers_of_the_last_row(result: RunResult):
    summary, last = summarise(result), result.rounds[-1]
    assert (summary["name"], summary["seed"], summary["blocks"]) == ("tiny", 3, 2)
    assert (summary["accuracy"], summary["latency_s"], summary["energy_j"], summary["model"]) == (
        last.accuracy, last.total_latency_s, last.total_energy_j, last.model,
    )  # fmt: skip
    assert summary["skipped_rounds"] == 0
    assert summary["seconds_per_round"] == pytest.approx(sum(summary["phase_seconds"].values()) / 2)


# Writing


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path):
    write_text(tmp_path, "note", "first")
    with pytest.raises(ValueError, match="Out of range"):
        write_json(tmp_path, "note", {"accuracy": float("nan")})
    assert (tmp_path / "note").read_text() == "first"
    write_json(tmp_path, "note", {"accuracy": 0.5})
    assert read_json(tmp_path, "note") == {"accuracy": 0.5}
    assert [path.name for path in tmp_path.iterdir()] == ["note"]


def test_a_file_in_a_missing_folder_is_an_output_error(tmp_path: Path):
    with pytest.raises(OutputError, match="cannot be written: No such file"):
        write_text(tmp_path / "nowhere", "note", "text")


def test_new_folders_are_made_with_all_above_them(tmp_path: Path):
    make_new_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()
    with pytest.raises(OutputError, match="exists already"):
        make_new_folder(tmp_path / "a" / "b")


def test_a_new_folder_gets_its_name_when_it_is_filled(tmp_path: Path):
    with new_folder(tmp_path / "a" / "b") as draft:
        (draft / "note").write_text("text")
        assert not (tmp_path / "a" / "b").exists()
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["note"]
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b"]
    with pytest.raises(OutputError, match="exists already; choose another --out"), new_folder(tmp_path / "a" / "b"):
        pass


def test_a_new_folder_that_cannot_be_filled_leaves_nothing_and_is_named(tmp_path: Path):
    def fill() -> None:
        with new_folder(tmp_path / "b") as draft:
            (draft / "note").mkdir()
            write_text(draft, "note", "text")

    with pytest.raises(OutputError, match=r"b: cannot be written: Is a directory") as caught:
        fill()
    assert caught.value.source == str(tmp_path / "b")
    assert not list(tmp_path.iterdir())


def test_of_two_that_make_the_same_folder_the_first_wins(tmp_path: Path):
    def be_second() -> None:
        with new_folder(tmp_path / "b") as draft:
            write_text(draft, "note", "second")
            (tmp_path / "b").mkdir()
            write_text(tmp_path / "b", "note", "first")

    with pytest.raises(OutputError, match="exists already"):
        be_second()
    assert (tmp_path / "b" / "note").read_text() == "first"
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


def test_a_file_that_cannot_be_written_stays_as_it_was_and_leaves_no_draft(tmp_path: Path):
    write_text(tmp_path, "note", "first")
    (tmp_path / "note.draft").symlink_to("/dev/full")
    with pytest.raises(OutputError, match=r"note: cannot be written: No space left on device; free some space"):
        write_text(tmp_path, "note", "second")
    assert (tmp_path / "note").read_text() == "first"
    assert [path.name for path in tmp_path.iterdir()] == ["note"]


def test_a_new_file_never_replaces_one(tmp_path: Path):
    with new_file(tmp_path / "export") as file:
        file.write(b"first")
    with pytest.raises(OutputError, match="exists already"), new_file(tmp_path / "export"):
        pass
    assert (tmp_path / "export").read_bytes() == b"first"


def test_a_new_file_is_removed_when_its_writer_fails(tmp_path: Path):
    def fail() -> None:
        with new_file(tmp_path / "export") as file:
            file.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert not (tmp_path / "export").exists()


def test_a_new_file_in_a_missing_folder_is_an_output_error(tmp_path: Path):
    with pytest.raises(OutputError, match="cannot be written"), new_file(tmp_path / "nowhere" / "export"):
        pass


@read_only_means_something
def test_a_folder_that_may_not_be_written_is_an_output_error(tmp_path: Path):
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="Permission denied"):
        make_new_folder(tmp_path / "run")


# Reading


@pytest.mark.parametrize("cut", [1, 10, 200])
def test_a_last_row_that_was_cut_by_a_crash_is_none(folder: RunFolder, result: RunResult, cut: int):
    for row in result.rounds:
        folder.add_round(row)
    path = folder.path / "rounds.jsonl"
    path.write_bytes(path.read_bytes()[:-cut])
    assert read_rounds(folder.path) == result.rounds[:-1]
    if cut > 1:
        with pytest.raises(RunFolderError, match="line 2"):
            read_rounds(folder.path, may_be_cut=False)


@pytest.mark.parametrize("line", [b"{}", b"not json", b"\xff\xfe", b'{"block": 1', b"[]", b""])
def test_a_broken_row_is_named_by_its_line(folder: RunFolder, result: RunResult, line: bytes):
    folder.add_round(result.rounds[0])
    with (folder.path / "rounds.jsonl").open("ab") as file:
        file.write(line + b"\n")
    with pytest.raises(RunFolderError, match=r"rounds\.jsonl, line 2") as caught:
        read_rounds(folder.path)
    assert caught.value.exit_code == 2


def test_rows_of_an_earlier_version_ask_for_the_run_to_be_repeated(folder: RunFolder, result: RunResult):
    fewer = {k: v for k, v in msgspec.to_builtins(result.rounds[0]).items() if k != "uplink_bytes"}
    (folder.path / "rounds.jsonl").write_bytes(msgspec.json.encode(fewer) + b"\n")
    with pytest.raises(RunFolderError, match=r"`uplink_bytes`; a run of an earlier version .* run again"):
        read_rounds(folder.path)


def test_missing_rows_are_named(folder: RunFolder):
    (folder.path / "rounds.jsonl").unlink()
    with pytest.raises(RunFolderError, match=r"rounds\.jsonl: No such file"):
        read_rounds(folder.path)


@pytest.mark.parametrize("content", [b"", b"[]", b"3", b"{", b"\xff", b'{"a": "\xff"}'])
def test_broken_json_is_named(tmp_path: Path, content: bytes):
    (tmp_path / "status.json").write_bytes(content)
    with pytest.raises(RunFolderError, match=r"status\.json") as caught:
        read_json(tmp_path, "status.json")
    assert caught.value.exit_code == 2


def test_missing_json_is_named(tmp_path: Path):
    with pytest.raises(RunFolderError, match=r"status\.json: No such file"):
        read_json(tmp_path, "status.json")


def test_a_folder_without_scenario_is_no_run(tmp_path: Path):
    with pytest.raises(RunFolderError, match=r"is no run: it has no scenario\.toml"):
        read_scenario(tmp_path)


def test_a_broken_scenario_is_named_with_its_key(folder: RunFolder):
    path = folder.path / "scenario.toml"
    path.write_text(path.read_text().replace("bandwidth_hz", "bandwith_hz"))
    with pytest.raises(ScenarioError, match=r"radio\.bandwith_hz") as caught:
        read_scenario(folder.path)
    assert caught.value.exit_code == 2


def test_a_chain_is_found_by_its_folder_or_by_itself(tmp_path: Path):
    (tmp_path / "chain.db").write_bytes(b"chain")
    assert chain_of(tmp_path) == chain_of(tmp_path / "chain.db") == tmp_path / "chain.db"


@pytest.mark.parametrize("name", ["", "nowhere", "nowhere/chain.db"])
def test_where_no_chain_is_none_is_found(tmp_path: Path, name: str):
    with pytest.raises(RunFolderError, match="neither a chain file nor a folder"):
        chain_of(tmp_path / name)
