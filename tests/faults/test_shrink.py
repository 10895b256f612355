"""The shrinker, on predicates of which the smallest plan is known, and on one true history."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from bees.faults.plan import Crash, Liar, Offline, Partition, Plan, draw_plan
from bees.faults.plan_file import problems
from bees.faults.shrink import shrink

if TYPE_CHECKING:
    from collections.abc import Callable


def judge_by(breaks: Callable[[Plan], bool]) -> Callable[[Plan], str]:
    return lambda plan: "toy" if breaks(plan) else ""


def crowded(seed: int = 3) -> Plan:
    """A plan in which much goes wrong."""
    drawn = draw_plan(seed)
    honest = sorted(set(range(20)) - {liar.index for liar in drawn.liars})
    return replace(
        drawn,
        loss=0.3,
        duplication=0.05,
        longest_delay_us=80_000,
        heals_at_us=5_000_000,
        lying_devices=(Liar(1, ("no model", "two updates")), Liar(4, ("withheld bytes",))),
        events=(
            Crash(honest[0], 100, 900_000),
            Crash(honest[5], 200, 800_000),
            Partition((1, 2, 3, 17), 5, 4_000_000),
            Offline(6, 0, 1_000),
        ),
    )


def test_nothing_is_left_but_what_is_needed() -> None:
    plan = crowded()
    wanted = plan.events[1]
    smallest = shrink(
        plan,
        "toy",
        500,
        judge_by(lambda p: wanted in p.events and any("no model" in x.behaviours for x in p.lying_devices)),
    )
    assert smallest.events == (wanted,)
    assert [liar.behaviours for liar in smallest.lying_devices] == [("no model",)]
    assert smallest.liars == ()
    assert smallest.delegating == ()
    assert (smallest.loss, smallest.duplication, smallest.longest_delay_us, smallest.rounds) == (0.0, 0.0, 2_000, 1)
    assert smallest.heals_at_us == 1_000_000  # a crashed server is back before that


def test_liars_that_are_needed_together_stay_together() -> None:
    plan = draw_plan(1, faulty=8)
    smallest = shrink(plan, "toy", 500, judge_by(lambda p: len(p.liars) >= 8))
    assert len(smallest.liars) == 8
    assert all(len(liar.behaviours) == 1 for liar in smallest.liars)
    assert smallest.servers == 20, "more liars than the rest withstands prove nothing about fewer servers"


def test_a_weak_quorum_keeps_its_servers() -> None:
    smallest = shrink(draw_plan(1, weak_quorum=True), "toy", 500, judge_by(lambda _: True))
    assert smallest.servers == 20


def test_servers_go_while_the_rest_withstands_the_liars() -> None:
    plan = crowded()
    smallest = shrink(
        plan, "toy", 500, judge_by(lambda p: len(p.liars) >= 2 and any(isinstance(e, Crash) for e in p.events))
    )
    assert (len(smallest.liars), smallest.servers) == (2, 8)
    assert list(problems(smallest)) == []


def test_another_violation_is_not_taken_for_the_same() -> None:
    plan = crowded()
    assert shrink(plan, "toy", 100, lambda p: "toy" if p == plan else "another") == plan


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10_000), budget=st.integers(0, 60), needed=st.integers(0, 6))
def test_the_budget_holds_and_every_plan_tried_is_possible(seed: int, budget: int, needed: int) -> None:
    tried: list[Plan] = []
    counted: list[int] = []

    def judge(plan: Plan) -> str:
        tried.append(plan)
        return "toy" if len(plan.liars) >= needed else ""

    def note(played: int, best: Plan) -> None:
        counted.append(played)
        assert len(best.liars) >= needed

    plan = draw_plan(seed)
    smallest = shrink(plan, "toy", budget, judge, note)
    assert len(tried) <= budget
    assert counted == list(range(1, len(tried) + 1))
    assert len(set(tried)) == len(tried), "no history is played twice"
    assert all(not list(problems(each)) for each in tried)
    assert len(smallest.liars) >= needed
    assert shrink(plan, "toy", budget, judge) == smallest, "the same plan is shrunk to the same one"
