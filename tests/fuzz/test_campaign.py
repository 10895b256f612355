from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING

import pytest

from campaigns import fuzz
from campaigns.fuzz_corpus import keep, kept_inputs, minimise, replace_kept
from campaigns.fuzz_seeds import seeds
from campaigns.fuzz_wasm import mutate_module

if TYPE_CHECKING:
    from pathlib import Path

ENDED_WELL = """#2	INITED cov: 3 ft: 3 corp: 1/1b exec/s: 0 rss: 63Mb
#1656922	DONE   cov: 34 ft: 56 corp: 1/1b lim: 4096 exec/s: 276153 rss: 63Mb
Done 1656922 runs in 6 second(s)
stat::number_of_executed_units: 1656922
stat::peak_rss_mb:              63
"""
CRASHED = """#512	pulse  cov: 20 ft: 30 corp: 4/9b lim: 4096 exec/s: 256 rss: 80Mb
 === Uncaught Python exception: ===
BrokenPropertyError: a refusal is not one line
Traceback (most recent call last):
  File "fuzz_process.py", line 36, in one_input
==12== ERROR: libFuzzer: fuzz target exited
stat::number_of_executed_units: 700
"""


def test_a_log_gives_its_numbers():
    assert fuzz.read_log(ENDED_WELL, 0, 9.5) == fuzz.Slice(1656922, 6.0, 34, 56, 63, "")


def test_a_crash_is_a_finding_with_its_exception():
    found = fuzz.read_log(CRASHED, 77, 2.5)
    assert (found.executions, found.seconds, found.coverage) == (700, 2.5, 20)
    assert found.problem == "BrokenPropertyError: a refusal is not one line"


@pytest.mark.parametrize(
    ("log", "problem"),
    [
        ("==7== ERROR: libFuzzer: timeout after 10 seconds\n", "libFuzzer: timeout after 10 seconds"),
        ("", "the process ended with -9: no output"),
    ],
)
def test_a_hang_and_a_silent_death_are_findings_too(log: str, problem: str):
    assert fuzz.read_log(log, -9, 10.0).problem == problem


def test_minimising_keeps_what_reaches_more_and_drops_what_does_not():
    good = seeds()["commit"][0]
    chosen = minimise("commit", [good, good + b"\0", b"", good[:-1]], 10_000)
    assert good in chosen
    assert len(chosen) < 4
    assert minimise("commit", [good], len(good) - 1) == []


def test_kept_inputs_are_read_back(tmp_path: Path):
    keep("idx", [b"abc", b""], tmp_path)
    assert sorted(kept_inputs("idx", tmp_path).values()) == [b"", b"abc"]


def test_a_new_corpus_replaces_the_old_one_but_for_what_was_found(tmp_path: Path):
    keep("idx", [b"old"], tmp_path)
    (tmp_path / "idx" / "found-1").write_bytes(b"harm")
    replace_kept("idx", [b"\0\0\x08\x01\0\0\0\1a"], tmp_path)
    assert sorted(kept_inputs("idx", tmp_path).values()) == [b"\0\0\x08\x01\0\0\0\1a", b"harm"]


def test_most_mutated_modules_are_read_as_modules():
    rng = random.Random(3)
    mutated = [mutate_module(rng.choice(seeds()["contract"]), rng) for _ in range(60)]
    assert all(module is not None and module.startswith(b"\0asm") for module in mutated)
    assert len(set(mutated)) > 40


def test_the_evidence_is_written_after_every_slice(tmp_path: Path):
    pytest.importorskip("atheris", reason="the fuzzer has no wheel for every platform")
    campaign = fuzz.Campaign(tmp_path / "work", ["idx"], "python -m campaigns.fuzz", tmp_path)
    campaign.run_slice("idx", 1)
    results = json.loads((tmp_path / "fuzz.json").read_text())["results"]
    assert results["findings"] == 0, results
    assert results["targets"]["idx"]["executions"] > 1000


def test_what_a_target_lets_out_ends_up_among_the_findings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    campaign = fuzz.Campaign(tmp_path / "work", ["idx"], "python -m campaigns.fuzz", tmp_path)

    def crash(name: str, seconds: int, started: float) -> fuzz.Slice:
        (tmp_path / "work" / "findings" / name / "crash-1").write_bytes(b"x")
        return fuzz.Slice(9, 1.0, 2, 3, 40, "ValueError: x")

    monkeypatch.setattr(campaign, "_fuzz", crash)
    monkeypatch.setattr(fuzz, "version", lambda _: "0")  # atheris need not be there
    campaign.run_slice("idx", 1)
    assert campaign.tallies["idx"].findings == [{"input": "findings/idx/crash-1", "problem": "ValueError: x"}]
    assert json.loads((tmp_path / "fuzz.json").read_text())["results"]["findings"] == 1
