"""Campaigns: the number of processes changes nothing, and what was played is not played again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from bees.core.errors import InputError
from bees.faults.campaign import CODE, RESULTS, SETTINGS, VIOLATIONS, Results, Settings, run_campaign
from bees.faults.plan_file import read_plan
from bees.faults.play import Played, play
from bees.faults.summary import summarise

if TYPE_CHECKING:
    from pathlib import Path

    from bees.faults.plan import Plan

SMALL = Settings(servers=5, devices=3)
OTHER = Settings(servers=5, devices=3, faulty=0)
TIMES = "cpu_seconds_per_history"


def summary_of(results: Results, seeds: range) -> dict[str, object]:
    return {name: value for name, value in summarise(results, seeds).items() if name != TIMES}


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Results:
    results = Results(tmp_path_factory.mktemp("one"), SMALL)
    assert run_campaign(results, range(8))
    return results


def test_one_process_and_two_find_the_same(played: Results, tmp_path: Path) -> None:
    two = Results(tmp_path / "two", SMALL)
    assert run_campaign(two, range(8), jobs=2)
    assert summary_of(two, range(8)) == summary_of(played, range(8))


def test_the_summary_counts_what_was_played(played: Results) -> None:
    found = summarise(played, range(8))
    histories = [each.result for each in played.played.values()]
    assert found["histories"] == 8
    assert found["rounds_closed"] == sum(h.rounds for h in histories)
    assert found["convictions"]["histories"] == sum(bool(h.convicted) for h in histories)
    for name, fault in found["faults_injected"].items():
        assert fault["times"] == sum(h.counts.get(name, 0) for h in histories)
        assert fault["histories"] == sum(h.counts.get(name, 0) > 0 for h in histories)
    for counts in found["convictions"]["by_behaviour"].values():
        assert 0 <= counts["convicted"] <= counts["had_it"]
    assert found[TIMES]["largest"] >= found[TIMES]["95th_percentile"] >= found[TIMES]["median"] > 0
    assert summarise(played, range(0))["histories"] == 0


def test_a_campaign_that_was_killed_goes_on_and_ends_alike(
    played: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed = Results(tmp_path, SMALL)
    assert run_campaign(killed, range(4))
    with (tmp_path / RESULTS).open("ab") as file:
        file.write(b'{"result":{"seed":4,"dig')
    resumed = Results(tmp_path, SMALL)
    assert sorted(resumed.played) == [0, 1, 2, 3]
    fresh: list[None] = []
    assert run_campaign(resumed, range(8), on_history=lambda: fresh.append(None))
    assert len(fresh) == 4
    assert summary_of(Results(tmp_path, SMALL), range(8)) == summary_of(played, range(8))
    monkeypatch.setattr("bees.faults.campaign.play", None)
    assert run_campaign(Results(tmp_path, SMALL), range(8)), "nothing is left to play"


def test_it_stops_early_and_keeps_the_plans_that_break_something(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_seed_2(plan: Plan) -> Played:
        played = play(plan)
        broken = "agreement" if plan.seed == 2 else ""
        return Played(replace(played.result, violation=broken), played.cpu_s)

    monkeypatch.setattr("bees.faults.campaign.play", break_seed_2)
    results = Results(tmp_path, SMALL)
    assert not run_campaign(results, range(200), stop_after=1)
    assert sorted(results.played) == [0, 1, 2]
    assert [played.result.seed for played in results.broken] == [2]
    assert read_plan(tmp_path / VIOLATIONS / "seed-2.json") == SMALL.plan(2)
    assert summarise(results, range(200))["violations"] == {"agreement": {"histories": 1, "first_seeds": [2]}}
    assert not run_campaign(Results(tmp_path, SMALL), range(200), stop_after=1), "once found, it is found"


def test_a_folder_of_another_campaign_is_refused(played: Results, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="name another folder"):
        Results(played.folder, OTHER)
    Results(tmp_path, SMALL)
    (tmp_path / CODE).write_text("another")
    with pytest.raises(InputError, match="other code"):
        Results(tmp_path, SMALL)
    (tmp_path / SETTINGS).write_bytes(b"{")
    with pytest.raises(InputError, match="broken"):
        Results(tmp_path, SMALL)


def test_results_that_are_broken_in_the_middle_are_refused(tmp_path: Path) -> None:
    Results(tmp_path, SMALL)
    (tmp_path / RESULTS).write_bytes(b"{}\n")
    with pytest.raises(InputError, match="broken"):
        Results(tmp_path, SMALL)
