from __future__ import annotations

from dataclasses import replace
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


def one(local: tuple[float, float], offload: tuple[float, float], charge_j: float = 1.0, **more: Any) -> Choices:
    (local_s, local_j), (offload_s, offload_j) = local, offload
    arrays = [np.array([value]) for value in (local_s, offload_s, local_j, offload_j, charge_j)]
    return Choices(*arrays, capacity_j=1.0, battery_threshold=0.2, **more)


@settings(deadline=None, max_examples=100)
@given(choices(), st.floats(0, 1))
def test_weighted_is_the_smaller_sum_and_its_ends_are_latency_and_energy(given_choices: Choices, w: float) -> None:
    view = replace(given_choices, latency_weight=w)
    for k, offloads in enumerate(decide(find_policy("weighted"), view)):
        sums = [
            w * float(time_s[k]) + (1 - w) * float(energy_j[k])
            for time_s, energy_j in (
                (view.local_time_s, view.local_energy_j),
                (view.offload_time_s, view.offload_energy_j),
            )
        ]
        assert offloads == (sums[1] < sums[0])
    for weight, name in ((1.0, "latency"), (0.0, "energy")):
        ends = decide(find_policy("weighted"), replace(given_choices, latency_weight=weight))
        assert np.array_equal(ends, decide(find_policy(name), given_choices))


@pytest.mark.parametrize(
    ("view", "offloads"),
    [
        # Both last to the end: the faster.
        (one((2.0, 0.01), (1.0, 0.02), blocks_left=10), True),
        (one((1.0, 0.02), (2.0, 0.01), blocks_left=10), False),
        # Only the frugal one lasts: it, however slow.
        (one((1.0, 0.2), (9.0, 0.1), blocks_left=10), True),
        (one((9.0, 0.1), (1.0, 0.2), blocks_left=10), False),
        # Harvest covers what the slower costs: it lasts for ever.
        (one((1.0, 0.2), (9.0, 0.1), blocks_left=1000, harvest_j=0.1), True),
        # Harvest covers both.
        (one((1.0, 0.2), (9.0, 0.1), blocks_left=1000, harvest_j=0.2), False),
    ],
)
def test_lifetime_is_as_fast_as_the_battery_allows(view: Choices, offloads: bool) -> None:
    assert decide(find_policy("lifetime"), view).tolist() == [offloads]


def test_no_policy_keeps_the_last_device_alive_longer_than_lifetime() -> None:
    rng = np.random.default_rng(0)
    K = 40
    times = rng.uniform(0.1, 2, (2, K))
    energies = 0.22 - 0.1 * times  # haste costs energy
    lived: dict[str, int] = {}
    for name in ("local", "offload", "latency", "energy", "weighted", "battery", "lyapunov", "lifetime"):
        charge_j, block = np.full(K, 1.0), 0
        while (charge_j > 0).any():
            view = Choices(
                times[0],
                times[1],
                energies[0],
                energies[1],
                charge_j,
                1.0,
                0.2,
                blocks_left=200 - block,
                lyapunov_theta_j=0.5,
            )
            charge_j = charge_j - np.where(decide(find_policy(name), view), energies[1], energies[0])
            block += 1
        lived[name] = block
    assert lived["lifetime"] == max(lived.values())
    assert lived["lifetime"] > lived["latency"]


def test_lyapunov_saves_while_the_battery_is_short_and_hurries_while_it_is_full() -> None:
    def decided(charge_j: float, V: float) -> list[bool]:
        view = one((1.0, 0.5), (5.0, 0.1), charge_j, lyapunov_theta_j=0.5, lyapunov_v_j2_per_s=V)
        return decide(find_policy("lyapunov"), view).tolist()

    assert decided(charge_j=0.1, V=0.01) == [True]
    assert decided(charge_j=0.9, V=0.01) == [False]
    # The larger V, the more a second counts.
    assert decided(charge_j=0.1, V=10.0) == [False]


@settings(deadline=None, max_examples=60)
@given(choices(), st.floats(0, 10), st.floats(0, 1e6))
def test_lyapunov_is_drift_plus_penalty(given_choices: Choices, V: float, theta_j: float) -> None:
    view = replace(given_choices, lyapunov_v_j2_per_s=V, lyapunov_theta_j=theta_j)
    for k, offloads in enumerate(decide(find_policy("lyapunov"), view)):
        short_j = max(theta_j - float(view.charge_j[k]), 0.0)
        local = V * float(view.local_time_s[k]) + short_j * float(view.local_energy_j[k])
        offload = V * float(view.offload_time_s[k]) + short_j * float(view.offload_energy_j[k])
        assert offloads == (offload < local)


@pytest.mark.parametrize("name", sorted(set(POLICIES) - {"optimum"}))
def test_a_choice_that_never_ends_is_no_reason_for_nan(name: str) -> None:
    with np.errstate(all="raise"):
        for weight in (0.0, 0.5, 1.0):
            view = one((np.inf, np.inf), (1.0, 0.1), latency_weight=weight, lyapunov_theta_j=1.0)
            assert decide(find_policy(name), view).shape == (1,)


def test_the_optimum_needs_the_whole_block() -> None:
    with pytest.raises(ScenarioError, match=r"offloading\.policy = 'optimum': needs to see the whole block"):
        decide(find_policy("optimum"), one((1.0, 1.0), (1.0, 1.0)))
