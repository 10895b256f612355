from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

if TYPE_CHECKING:
    from numpy.typing import NDArray

from bees.core.errors import ScenarioError
from bees.edge.offloading import POLICIES, Choices, decide, find_policy
from bees.scenario import PolicyName

positive = st.floats(0, 1e6)


@st.composite
def choices(draw: st.DrawFn) -> Choices:
    n = draw(st.integers(1, 8))
    arrays = [np.array(draw(st.lists(positive, min_size=n, max_size=n))) for _ in range(5)]
    return Choices(*arrays, capacity_j=draw(st.floats(1, 1e6)), battery_threshold=draw(st.floats(0, 1)))


def taken(decision: NDArray[Any], offload: NDArray[Any], local: NDArray[Any]) -> NDArray[Any]:
    return np.where(decision, offload, local)


def test_the_registry_has_every_policy_that_a_scenario_may_name() -> None:
    assert set(POLICIES) == set(get_args(PolicyName))


@settings(deadline=None, max_examples=100)
@given(choices())
def test_latency_is_the_smaller_time_for_each(given_choices: Choices) -> None:
    decision = decide(find_policy("latency"), given_choices)
    best_s = np.minimum(given_choices.offload_time_s, given_choices.local_time_s)
    assert (taken(decision, given_choices.offload_time_s, given_choices.local_time_s) == best_s).all()


@settings(deadline=None, max_examples=100)
@given(choices())
def test_energy_is_the_smaller_energy_for_each(given_choices: Choices) -> None:
    decision = decide(find_policy("energy"), given_choices)
    best_j = np.minimum(given_choices.offload_energy_j, given_choices.local_energy_j)
    assert (taken(decision, given_choices.offload_energy_j, given_choices.local_energy_j) == best_j).all()


@settings(deadline=None, max_examples=100)
@given(choices())
def test_battery_offloads_below_its_threshold(given_choices: Choices) -> None:
    decision = decide(find_policy("battery"), given_choices)
    limit_j = given_choices.battery_threshold * given_choices.capacity_j
    assert decision.tolist() == [charge < limit_j for charge in given_choices.charge_j]


@settings(deadline=None, max_examples=20)
@given(choices())
def test_local_and_offload_do_not_look(given_choices: Choices) -> None:
    assert not decide(find_policy("local"), given_choices).any()
    assert decide(find_policy("offload"), given_choices).all()


@pytest.mark.parametrize("name", ["latency", "energy"])
def test_on_a_tie_the_data_stays_home(name: str) -> None:
    same = np.ones(3)
    assert not POLICIES[name](Choices(same, same, same, same, same, capacity_j=1.0, battery_threshold=0.2)).any()


def test_an_unknown_policy_is_refused_with_a_suggestion() -> None:
    with pytest.raises(ScenarioError, match=r"offloading\.policy = 'latancy'.*did you mean 'latency'"):
        find_policy("latancy")


@pytest.mark.parametrize("returned", [np.zeros(2, bool), np.zeros(3), True, np.zeros((3, 1), bool)])
def test_a_callable_that_does_not_decide_is_refused(returned: Any) -> None:
    ones = np.ones(3)
    with pytest.raises(ScenarioError, match="an array of 3 booleans is needed"):
        decide(lambda _: returned, Choices(ones, ones, ones, ones, ones, capacity_j=1.0, battery_threshold=0.0))
