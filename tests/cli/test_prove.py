"""``bees prove`` and ``bees check`` as a user meets them: their output, their files and their exit codes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load, save

from bees.cli.main import run_command


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    returncode: int
    stdout: str
    stderr: str


def bees(*arguments: str | Path) -> Done:
    """Run a command within this process, as ``bees`` would: a process of its own costs more than all that it does."""
    out, err = StringIO(), StringIO()
    handler = signal.getsignal(signal.SIGTERM)
    try:
        with redirect_stdout(out), redirect_stderr(err):
            code = run_command([str(argument) for argument in arguments])
    finally:
        signal.signal(signal.SIGTERM, handler)
    return Done(code, out.getvalue(), err.getvalue())


def json_of(*arguments: str | Path) -> Any:
    done = bees(*arguments, "--json")
    assert done.returncode == 0, done.stderr + done.stdout
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run, its genesis and a proof of each round. Small steps keep all weights within what float32 holds exactly."""
    folder = tmp_path_factory.mktemp("proofs")
    steps = ["--set", "blocks=2", "--set", "learning.learning_rate=0.01"]
    json_of("run", "quick", *steps, "--out", folder / "run")
    json_of("prove", folder / "run", "--round", "1", "--out", folder / "w1.proof", "--genesis-out", folder / "genesis")
    json_of("prove", folder / "run", "--out", folder / "w2.proof", "--model-out", folder / "w2.words")
    return folder


@pytest.fixture(scope="module")
def rows(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "run" / "rounds.jsonl").read_text().splitlines()]


def test_a_proof_shows_what_the_run_says_of_the_round(folder: Path, rows: list[dict[str, Any]]):
    for round_, row in enumerate(rows, start=1):
        report = json_of("check", folder / f"w{round_}.proof", "--genesis", folder / "genesis", "--round", str(round_))
        assert (report["round"], report["model"], report["main_node"]) == (round_, row["model"], row["main_node"])
        assert report["skipped"] is False
        assert report["signatures"] >= report["quorum"] == 3
        assert report["proof_bytes"] == (folder / f"w{round_}.proof").stat().st_size


def test_prove_says_what_it_proves(folder: Path, tmp_path: Path, rows: list[dict[str, Any]]):
    text = bees("prove", folder / "run", "--height", "5", "--out", tmp_path / "proof").stdout
    assert "round 1, proved at height 5" in text
    assert rows[0]["model"] in text
    size = (tmp_path / "proof").stat().st_size
    assert f"proof, {size:,} bytes" in text
    report = json_of("prove", folder / "run", "--round", "1", "--out", tmp_path / "other")
    assert (report["height"], report["round"], report["model"]) == (3, 1, rows[0]["model"])
    assert report["proof_bytes"] == (tmp_path / "other").stat().st_size


def test_the_genesis_can_be_had_alone_and_its_chain_id_compared(folder: Path, tmp_path: Path):
    report = json_of("prove", folder / "run" / "chain.db", "--genesis-out", tmp_path / "genesis")
    assert report["chain_id"] == json_of("verify", folder / "run")["chain_id"]
    assert (tmp_path / "genesis").read_bytes() == (folder / "genesis").read_bytes()
    proof = ["check", folder / "w1.proof", "--genesis", folder / "genesis", "--expect-genesis"]
    trusted = bees(*proof, report["chain_id"])
    assert trusted.returncode == 0
    assert trusted.stderr == ""
    assert bees(*proof, "00" * 32).returncode == 1
    assert bees(*proof, "xyz").returncode == 2
    assert "compare its chain id" in bees(*proof[:-1]).stderr


def test_a_device_learns_whether_its_update_was_selected(folder: Path):
    check = ["check", folder / "w2.proof", "--genesis", folder / "genesis", "--device"]
    selected = json_of(*check[:-1])["selected"]
    assert 0 < len(selected) < 12
    for device in range(12):
        assert json_of(*check, str(device))["device"] == {"index": device, "selected": device in selected}
    out = next(device for device in range(12) if device not in selected)
    assert f"device {selected[0]} was among those selected in round 2" in bees(*check, str(selected[0])).stdout
    assert f"device {out} was not among those selected in round 2" in bees(*check, str(out)).stdout
    unknown = bees(*check, "12")
    assert unknown.returncode == 2
    assert "registers 12" in unknown.stderr


def test_the_model_itself_is_checked(folder: Path, tmp_path: Path):
    check = ["check", folder / "w2.proof", "--genesis", folder / "genesis", "--model"]
    right = folder / "run" / "global.safetensors"
    assert "is w_g(2)" in bees(*check, right).stdout
    assert "is w_g(2)" in bees(*check, folder / "w2.words").stdout
    old = bees("check", folder / "w1.proof", *check[2:], right)
    assert old.returncode == 1
    assert "not w_g(1)" in old.stderr

    arrays = load(right.read_bytes())
    first = min(arrays)
    nudged, large, odd = tmp_path / "n.safetensors", tmp_path / "l.safetensors", tmp_path / "o.safetensors"
    nudged.write_bytes(save({**arrays, first: arrays[first] + np.float32(2**-20)}))
    large.write_bytes(save({**arrays, first: arrays[first] + np.float32(8.0)}))
    odd.write_bytes(save({"other": arrays[first]}))
    broken = tmp_path / "b.safetensors"
    broken.write_bytes(right.read_bytes()[:100])
    words = tmp_path / "words"
    words.write_bytes((folder / "w2.words").read_bytes()[:-4])
    for path, code, named in (
        (nudged, 1, "not w_g(2)"),
        (large, 2, "--model-out"),
        (odd, 1, "arrays are not those"),
        (broken, 2, "no .safetensors"),
        (words, 1, "not w_g(2)"),
        (tmp_path / "nowhere", 2, "cannot be read"),
    ):
        done = bees(*check, path)
        assert (done.returncode, named in done.stderr) == (code, True), (path, done.stderr)


def test_a_forged_or_other_proof_is_refused_with_one_line(folder: Path, tmp_path: Path):
    right = (folder / "w2.proof").read_bytes()
    wrong = tmp_path / "wrong"
    for data in (right[:-1], right + b"\0", right[:200] + bytes([right[200] ^ 1]) + right[201:], b"", b"no proof"):
        wrong.write_bytes(data)
        done = bees("check", wrong, "--genesis", folder / "genesis")
        assert done.returncode == 1
        assert "proof refused" in done.stderr
        assert done.stdout == ""
    other = bees("check", folder / "w2.proof", "--genesis", folder / "genesis", "--round", "1", "--json")
    assert other.returncode == 1
    assert json.loads(other.stdout)["error"] == "ProofError"
    assert bees("check", folder / "w2.proof", "--genesis", folder / "w2.proof").returncode == 1
    unsigned = (folder / "genesis").read_bytes()
    wrong.write_bytes(unsigned[:-1] + bytes([unsigned[-1] ^ 1]))
    done = bees("check", folder / "w2.proof", "--genesis", wrong)
    assert done.returncode == 1
    assert "has not signed" in done.stderr


def test_bad_input_gets_one_line_and_exit_code_2_and_leaves_no_file(folder: Path, tmp_path: Path):
    run, out = folder / "run", tmp_path / "out"
    for arguments, named in (
        ((run, "--out", out, "--height", "99"), "no block 99"),
        ((run, "--out", out, "--height", "2"), "no round is closed at height 2"),
        ((run, "--out", out, "--round", "3", "--genesis-out", tmp_path / "genesis"), "round 3 is not closed"),
        ((run, "--out", out, "--round", "1", "--height", "3"), "alternative"),
        ((run,), "--out"),
        ((run, "--out", out, "--genesis-out", out), "name of its own"),
        ((run, "--out", folder / "w1.proof"), "exists already"),
        ((run, "--out", tmp_path / "no" / "folder"), "cannot be written"),
        ((tmp_path, "--out", out), "neither a chain file"),
    ):
        done = bees("prove", *arguments)
        assert done.returncode == 2, done.stderr
        assert named in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []
    assert bees("check", tmp_path / "nowhere", "--genesis", folder / "genesis").returncode == 2


def test_help_teaches_with_an_example():
    for command in ("prove", "check"):
        done = bees(command, "--help")
        assert done.returncode == 0
        assert "bees check w3.proof" in done.stdout
        assert command in bees("--help").stdout


def test_a_process_ends_with_the_exit_code(folder: Path, tmp_path: Path):
    proof, genesis, forged = folder / "w1.proof", folder / "genesis", tmp_path / "forged"
    forged.write_bytes(proof.read_bytes()[:-1])
    for path, code in ((proof, 0), (forged, 1), (tmp_path / "nowhere", 2)):
        command = [str(Path(sys.executable).with_name("bees")), "check", str(path), "--genesis", str(genesis)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == code
        assert "Traceback" not in done.stderr
