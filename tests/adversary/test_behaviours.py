"""Every behaviour really happens in some short history, and the honest withstand it."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from bees.adversary.protocol.behaviours import DEVICE_BEHAVIOURS, SERVER_BEHAVIOURS
from bees.faults.history import HistoryResult, run_history
from bees.faults.plan import Liar, Plan, draw_plan

SEEDS = range(8)
PROVABLE = ("wrong publish", "two publishes")
"""What the liar's own signature proves, and all are told of, so that it loses its turns."""


def calm(seed: int) -> Plan:
    """8 servers of which 2 are Byzantine, and nothing else goes wrong."""
    drawn = draw_plan(seed, servers=8, devices=3)
    return replace(drawn, loss=0.0, duplication=0.0, lying_devices=(), events=())


def first_with(name: str, plans: list[Plan]) -> HistoryResult:
    for plan in plans:
        result = run_history(plan)
        assert result.violation == "", result.detail
        if result.counts.get(name):
            return result
    raise AssertionError(f"{name} has never happened")


@pytest.mark.parametrize("behaviour", SERVER_BEHAVIOURS)
def test_a_server_lies_and_the_rest_withstands_it(behaviour: str) -> None:
    plans = [
        replace(calm(seed), liars=tuple(Liar(liar.index, (behaviour,)) for liar in calm(seed).liars), loss=0.1)
        for seed in SEEDS
    ]
    result = first_with(behaviour, plans)
    assert result.rounds > result.skipped


@pytest.mark.parametrize("behaviour", DEVICE_BEHAVIOURS)
def test_a_device_lies_and_the_rest_withstands_it(behaviour: str) -> None:
    """A server in league with it tells it what it hears, and does no harm of its own."""
    accomplices = (Liar(0, ()),)
    plans = [
        replace(calm(seed), liars=accomplices, delegating=(), lying_devices=(Liar(1, (behaviour,)),)) for seed in SEEDS
    ]
    result = first_with(f"device: {behaviour}", plans)
    assert result.rounds > result.skipped


@pytest.mark.parametrize("behaviour", PROVABLE)
def test_whoever_contradicts_itself_is_convicted(behaviour: str) -> None:
    for seed in SEEDS:
        plan = calm(seed)
        result = run_history(replace(plan, liars=tuple(Liar(liar.index, (behaviour,)) for liar in plan.liars)))
        assert result.violation == "", result.detail
        if any(name.startswith("server") for name in result.convicted):
            return
    raise AssertionError("nobody was convicted")
