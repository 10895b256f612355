"""The commands as a user meets them: a real process, its output, its exit code."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from bees.cli.main import run_command

BEES = Path(sys.executable).with_name("bees")


def bees(*arguments: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [str(BEES), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, **options)


def json_of(done: subprocess.CompletedProcess[str]) -> Any:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "quick"
    summary = json_of(bees("run", "quick", "--set", "blocks=4", "--out", folder, "--json"))
    assert summary["blocks"] == 4
    return folder


def test_a_run_leaves_what_the_architecture_promises(quick: Path):
    names = {path.name for path in quick.iterdir()}
    promised = {"scenario.toml", "environment.json", "status.json", "rounds.jsonl", "devices.npz", "chain.db"}
    assert promised | {"global.safetensors", "summary.json", "figures", "report.html"} <= names
    assert json.loads((quick / "status.json").read_text())["status"] == "finished"
    assert len((quick / "rounds.jsonl").read_text().splitlines()) == 4


def test_the_chain_of_a_run_verifies(quick: Path):
    verdict = json_of(bees("verify", quick, "--json"))
    assert verdict["valid"] is True
    assert verdict["first_bad"] is None
    assert verdict["blocks"] == 12
    assert "valid" in bees("verify", quick).stdout


def test_the_last_model_on_the_chain_is_the_one_in_the_rows(quick: Path):
    last = json.loads((quick / "rounds.jsonl").read_text().splitlines()[-1])
    assert json_of(bees("verify", quick, "--json"))["model"] == last["model"]


def test_verify_takes_the_trusted_chain_id(quick: Path):
    chain_id = json_of(bees("verify", quick, "--json"))["chain_id"]
    assert bees("verify", quick, "--genesis", chain_id).returncode == 0
    wrong = bees("verify", quick, "--genesis", "00" * 32)
    assert wrong.returncode == 1
    assert bees("verify", quick, "--genesis", "xyz").returncode == 2


def test_an_altered_chain_fails_with_exit_code_1_and_names_the_block(quick: Path, tmp_path: Path):
    copy = tmp_path / "chain.db"
    data = bytearray((quick / "chain.db").read_bytes())
    middle = data.index(b"publish")
    data[middle + 20] ^= 1
    copy.write_bytes(data)
    done = bees("verify", copy, "--json")
    verdict = json.loads(done.stdout)
    assert done.returncode == 1
    assert verdict["valid"] is False
    assert verdict["first_bad"] == 3
    assert verdict["reason"]
    assert "Traceback" not in done.stderr


def test_a_cut_chain_fails(quick: Path, tmp_path: Path):
    copy = tmp_path / "chain.db"
    copy.write_bytes((quick / "chain.db").read_bytes()[:50_000])
    assert bees("verify", copy).returncode == 1


def test_chain_lists_blocks_and_shows_one(quick: Path):
    listed = json_of(bees("chain", quick, "--json"))
    assert [block["height"] for block in listed] == list(range(1, 13))
    block = json_of(bees("chain", quick, "3", "--json"))
    assert [transaction["type"] for transaction in block["transactions"]] == ["Publish"]
    genesis = json_of(bees("chain", quick, "0", "--json"))
    assert len(genesis["servers"]) == 4
    assert "12" in bees("chain", quick).stdout
    missing = bees("chain", quick, "99")
    assert missing.returncode == 2
    assert "no block 99" in missing.stderr


def test_the_export_is_the_same_each_time_and_never_overwrites(quick: Path, tmp_path: Path):
    first, second = tmp_path / "a", tmp_path / "b"
    json_of(bees("chain", quick, "--export", first, "--json"))
    json_of(bees("chain", quick, "--export", second, "--json"))
    assert first.read_bytes() == second.read_bytes()
    assert bees("chain", quick, "--export", first).returncode == 2


def test_report_can_be_written_again(quick: Path):
    path = Path(json_of(bees("report", quick, "--json"))["report"])
    assert path.read_text().startswith("<!doctype html>")


def test_hashes_do_not_depend_on_threads(quick: Path, tmp_path: Path):
    cores = json.loads((quick / "environment.json").read_text())["cores"]
    other = "1" if cores > 1 else "2"
    done = bees("run", "quick", "--set", "blocks=4", "--threads", other, "--out", tmp_path / "other", "-q")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "other" / "rounds.jsonl").read_bytes() == (quick / "rounds.jsonl").read_bytes()


def test_an_output_folder_that_exists_is_refused(quick: Path):
    done = bees("run", "quick", "--out", quick)
    assert done.returncode == 2
    assert str(quick) in done.stderr
    assert "exists" in done.stderr


BAD = {
    "radio.bandwidth_hz=-1": "radio.bandwidth_hz",
    "radio.bandwith_hz=1": "did you mean",
    "topology.servers=0": "topology.servers",
    "topology.devices=100000": "topology.devices",
    "ledger.top_m=50": "ledger.top_m",
    "offloading.policy=lokal": "did you mean 'local'",
    "learning.partition=iit": "did you mean 'iid'",
    "learning.dataset=nowhere.npz": "nowhere.npz",
}


@pytest.mark.parametrize(("change", "named"), BAD.items())
def test_bad_input_gets_one_line_and_exit_code_2(change: str, named: str, tmp_path: Path):
    done = bees("run", "quick", "--set", change, "--out", tmp_path / "run")
    assert done.returncode == 2
    assert named in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("text", ["blocks = ", "[radio]\nbandwith_hz = 1", "blocks = 'x'", "\x00"])
def test_a_broken_scenario_file_gets_one_line(text: str, tmp_path: Path):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    done = bees("run", path, "--out", tmp_path / "run")
    assert done.returncode == 2
    assert "mine.toml" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_an_unknown_preset_suggests_one():
    done = bees("run", "quik")
    assert done.returncode == 2
    assert "quick" in done.stderr


def test_errors_are_json_when_asked():
    done = bees("run", "quik", "--json")
    assert done.returncode == 2
    assert json.loads(done.stdout)["error"] == "ScenarioFileError"


def test_a_usage_error_is_one_line_and_exit_code_2():
    done = bees("verify")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(os.name != "posix", reason="Ctrl-C is a signal here")
def test_ctrl_c_leaves_a_status_that_says_so_and_a_chain_that_verifies(tmp_path: Path):
    folder = tmp_path / "run"
    command = [str(BEES), "run", "quick", "--set", "blocks=100000", "--out", str(folder), "-q"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    rows = folder / "rounds.jsonl"
    deadline = time.monotonic() + 120
    while not (rows.exists() and rows.stat().st_size > 2000):
        assert process.poll() is None, process.stderr and process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in stderr
    assert json.loads((folder / "status.json").read_text())["status"] == "interrupted"
    verdict = json_of(bees("verify", folder, "--json"))
    assert verdict["valid"]
    assert verdict["blocks"] > 0


def test_presets_can_be_listed_printed_and_run_again(tmp_path: Path):
    assert "paper" in bees("presets").stdout.split()
    text = bees("presets", "quick").stdout
    path = tmp_path / "mine.toml"
    path.write_text(text)
    assert bees("presets", path).stdout == text
    assert json_of(bees("presets", "--json"))["knobs"]


def test_doctor_finds_this_machine_healthy():
    assert json_of(bees("doctor", "--json"))["healthy"] is True


def test_help_teaches():
    text = bees("--help").stdout
    assert "bees run quick" in text
    assert "Exit codes" in text
    for command in ("run", "reproduce", "study", "verify", "chain", "report", "bench", "doctor", "presets"):
        assert command in text
        assert run_command([command, "--help"]) == 0


def test_shell_completion_is_offered():
    assert "--install-completion" in bees("--help").stdout


def test_reproduce_prints_its_contract_and_leaves_reports(tmp_path: Path):
    tiny = ["blocks=2", "learning.dataset=mnist-7x7", "learning.hidden=4"]
    changes = [part for change in tiny for part in ("--set", change)]
    facts = json_of(bees("reproduce", *changes, "--out", tmp_path / "rep", "--json"))
    assert facts["claims"]
    for claim in facts["claims"]:
        assert {"claim", "published", "measured", "unit", "difference", "verdict"} <= claim.keys()
        assert claim["verdict"] in {"reproduced", "fitted", "not reproduced"}
    assert json.loads((tmp_path / "rep" / "summary.json").read_text())["claims"] == facts["claims"]
    assert {path.name for path in (tmp_path / "rep" / "figures").glob("*.svg")} >= {"figure_3.svg", "figure_8.svg"}
    assert (tmp_path / "rep" / "runs" / "bees-k100-s0" / "report.html").is_file()
    again = json_of(bees("reproduce", *changes, "--resume", tmp_path / "rep", "--json"))
    assert again["claims"] == facts["claims"]


def test_bench_prints_its_contract():
    report = json_of(bees("bench", "quick", "--rounds", "2", "--json"))
    assert {"round_s", "phases", "ledger_share", "ledger_ms_per_replica", "peak_memory_mb"} <= report.keys()
    assert {"train", "evaluate", "sign", "verify", "contract", "commit"} <= report["phases"].keys()
    assert 0 < report["ledger_share"] < 1
