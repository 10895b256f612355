"""A sample of the campaign: 20 servers of which 6 lie; the same seed gives the same history, wherever it is played."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from functools import cache

import pytest
from msgspec.structs import replace

from bees.faults.history import HistoryResult, run_history
from bees.faults.plan import Liar, Partition, draw_plan
from bees.faults.play import NOTHING_RAISES, play

SAMPLE = range(100, 108)


@cache
def sampled(seed: int) -> HistoryResult:
    return run_history(draw_plan(seed))


@pytest.mark.parametrize("seed", SAMPLE)
def test_no_invariant_breaks_with_6_liars_of_20(seed: int) -> None:
    result = sampled(seed)
    assert result.violation == "", result.detail
    assert result.rounds - result.skipped >= 2
    assert sum(result.counts.values()) > 0, "a history in which nothing goes wrong shows nothing"


def test_the_same_seed_gives_the_same_history_in_another_process_too() -> None:
    here = [run_history(draw_plan(seed, servers=8)) for seed in range(3)]
    assert here == [run_history(draw_plan(seed, servers=8)) for seed in range(3)]
    assert len({result.digest for result in here}) == 3
    code = (
        "from bees.faults.history import run_history\nfrom bees.faults.plan import draw_plan\n"
        "for seed in reversed(range(3)): print(run_history(draw_plan(seed, servers=8)).digest)"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "4000"}
    told = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert told.stdout.split() == [result.digest for result in reversed(here)]


def test_who_was_cut_off_catches_up_while_liars_ask_without_end() -> None:
    drawn = draw_plan(3, servers=8)
    liars = tuple(Liar(liar.index, ("flood of questions",)) for liar in drawn.liars)
    late = min(set(range(8)) - {liar.index for liar in liars})
    cut_off = Partition((late,), 0, 6_000_000)
    plan = replace(drawn, liars=liars, lying_devices=(), heals_at_us=6_000_000, loss=0.1, events=(cut_off,))
    result = run_history(plan)
    assert result.violation == "", result.detail
    assert result.counts["flood of questions"] > 0
    assert result.heights >= 10


def test_crashes_lose_writes_often_enough_to_matter() -> None:
    counts = sum((Counter(sampled(seed).counts) for seed in SAMPLE), Counter[str]())
    assert counts["crash that lost writes"] > 0.2 * counts["crash"]


def test_a_change_of_contract_comes_into_force_and_a_conviction_ends() -> None:
    liars = tuple(Liar(liar.index, ("two attestations",)) for liar in draw_plan(4, servers=8).liars)
    plan = replace(draw_plan(4, servers=8), liars=liars, penalty_rounds=0, deploys=True)
    result = run_history(plan)
    assert result.violation == "", result.detail
    assert result.counts["contract replaced"] == 1
    assert result.counts["conviction over"] > 0
    lasting = run_history(replace(plan, penalty_rounds=50, deploys=False))
    assert not {"contract replaced", "conviction over"} & lasting.counts.keys()


def test_a_liar_is_removed_and_a_key_replaced_whatever_fails_meanwhile() -> None:
    for seed in range(6):
        result = run_history(replace(draw_plan(seed, servers=8), amends=True))
        assert result.violation == "", result.detail
        assert result.counts["members amended"] == 2
    assert "members amended" not in run_history(draw_plan(0, servers=8)).counts


def test_an_error_in_a_history_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> None:
        raise ZeroDivisionError("an unforeseen one")

    monkeypatch.setattr("bees.faults.play.run_history", fail)
    result = play(draw_plan(5)).result
    assert (result.seed, result.violation) == (5, f"{NOTHING_RAISES}: ZeroDivisionError")
    assert "an unforeseen one" in result.detail
    assert "in fail" in result.detail


def test_waiting_for_more_rounds_takes_longer() -> None:
    plan = replace(draw_plan(1, servers=8), rounds=1)
    assert run_history(plan).rounds < run_history(replace(plan, rounds=3)).rounds
