"""The kept counterexamples break what they broke when they were found: the checks can fail."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from bees.faults.history import run_history
from bees.faults.play import play
from campaigns.counterexamples import HUNTS, Hunt, kept_plans

NAMES = {hunt.name: hunt for hunt in HUNTS}


def test_every_hunt_has_its_counterexample() -> None:
    assert kept_plans().keys() == NAMES.keys()


@pytest.mark.parametrize("hunt", HUNTS, ids=NAMES)
def test_it_still_breaks_the_same_invariant(hunt: Hunt) -> None:
    plan = kept_plans()[hunt.name]
    result = play(plan).result
    assert result.violation == hunt.invariant, (
        f"{result.violation or 'nothing'} breaks; if what replicas say has changed on purpose, find it again with: "
        "python -m campaigns.faults --counterexamples-only"
    )
    assert (plan.servers, plan.weak_quorum) == (hunt.settings.servers, hunt.settings.weak_quorum)
    assert len(plan.liars) <= (hunt.settings.faulty or 0)


def test_one_liar_less_than_a_fork_needs_is_withstood() -> None:
    plan = kept_plans()["quorum-13-fork"]
    assert run_history(plan).violation == "agreement"
    for at in range(len(plan.liars)):
        fewer = (*plan.liars[:at], *plan.liars[at + 1 :])
        assert run_history(replace(plan, liars=fewer)).violation != "agreement"
