"""LODCO against what Mao, Zhang and Letaief prove of it, and against trying all clocks and powers."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bees.edge.lodco import DROP, IDLE, LOCAL, OFFLOAD, Lodco, decide_slot, simulate_lodco

MAO = Lodco()
GAIN = 1e-4 * 50**-4


def test_theta_is_the_bound_of_the_paper() -> None:
    # kappa W f_max^2 = 1.66e-4 J, p_max tau = 2e-3 J, E_max = 2e-3 J; V phi / E_min = 1.6e-2 J
    assert MAO.largest_discharge_j == pytest.approx(2e-3)
    assert MAO.theta_j == pytest.approx(18e-3)


def scalar_objectives(queue_j: float, gain: float) -> tuple[float, float]:
    """The least drift plus penalty of executing at home and of offloading, by trying clocks and powers one by one."""
    W, L = 737_500.0, 1000.0
    local = offload = math.inf
    for step in range(1, 4001):
        f = 1.5e9 * step / 4000
        energy_j, delay_s = 1e-28 * W * f * f, W / f
        if 2e-5 <= energy_j <= 2e-3 and delay_s <= 2e-3:
            local = min(local, -queue_j * energy_j + 1.6e-4 * delay_s)
        p = math.exp(math.log(1e-7) * (1 - step / 4000))
        delay_s = L / (1e6 * math.log2(1 + gain * p / 1e-13))
        energy_j = p * delay_s
        if 2e-5 <= energy_j <= 2e-3 and delay_s <= 2e-3:
            offload = min(offload, -queue_j * energy_j + 1.6e-4 * delay_s)
    return local, offload


@settings(deadline=None, max_examples=60)
@given(battery_j=st.floats(0, 20e-3), strength=st.floats(0.01, 8))
def test_no_clock_and_no_power_beats_the_closed_forms(battery_j: float, strength: float) -> None:
    gain = GAIN * strength
    slot = decide_slot(MAO, np.array([battery_j]), np.array([gain]), np.zeros(1), np.ones(1, bool))
    local, offload = scalar_objectives(battery_j - MAO.theta_j, gain)
    best = min(local, offload, 1.6e-4 * 2e-3)
    assert slot.objective[0] <= best + 1e-12
    # And the grid comes as near as its steps allow, so the closed form claims nothing that cannot be had.
    assert slot.objective[0] >= best - 1e-2 * max(abs(best), 1e-7)


@pytest.mark.parametrize(("initial_j", "actions"), [(6e-3, {OFFLOAD, DROP, IDLE}), (17.5e-3, {LOCAL, OFFLOAD, IDLE})])
def test_the_battery_is_never_overdrawn_and_never_grows_beyond_theta_and_a_harvest(
    initial_j: float, actions: set[int]
) -> None:
    run = simulate_lodco(MAO, devices=100, slots=200, seed=1, initial_j=initial_j)
    assert (run.spent_j <= run.battery_j[:-1] + 1e-15).all()
    assert run.battery_j.min() >= -1e-15
    assert run.battery_j.max() <= MAO.theta_j + MAO.most_harvest_j
    assert actions <= set(np.unique(run.action))


def test_whatever_is_executed_stays_within_its_limits() -> None:
    run = simulate_lodco(MAO, devices=100, slots=100, seed=2, initial_j=18e-3)
    executed = (run.action == LOCAL) | (run.action == OFFLOAD)
    assert executed.any()
    assert run.spent_j[executed].min() >= MAO.least_energy_j * (1 - 1e-9)
    assert run.spent_j[executed].max() <= MAO.most_energy_j * (1 + 1e-9)
    assert run.cost_s[executed].max() <= MAO.deadline_s * (1 + 1e-9)


def test_a_larger_v_buys_a_lower_cost_with_a_fuller_battery() -> None:
    small, large = (
        simulate_lodco(replace(MAO, V=V), devices=50, slots=300, seed=3, initial_j=replace(MAO, V=V).theta_j)
        for V in (2e-5, 1.6e-4)
    )
    assert large.cost_s[150:].mean() < small.cost_s[150:].mean()
    assert large.battery_j[150:].mean() > small.battery_j[150:].mean()


def test_a_full_battery_takes_no_harvest_and_spends_freely() -> None:
    slot = decide_slot(MAO, np.array([1.0]), np.array([GAIN]), np.array([1e-6]), np.ones(1, bool))
    assert slot.harvested_j[0] == 0
    assert slot.action[0] == LOCAL
    assert slot.delay_s[0] == pytest.approx(MAO.cycles / MAO.most_frequency_hz)
    assert slot.spent_j[0] == pytest.approx(1e-28 * MAO.cycles * MAO.most_frequency_hz**2)


def test_an_empty_battery_drops_its_task() -> None:
    slot = decide_slot(MAO, np.zeros(1), np.array([GAIN]), np.array([1e-6]), np.ones(1, bool))
    assert (slot.action[0], slot.spent_j[0], slot.harvested_j[0]) == (DROP, 0.0, 1e-6)


def test_without_a_task_nothing_is_spent() -> None:
    slot = decide_slot(MAO, np.array([15e-3]), np.array([GAIN]), np.zeros(1), np.zeros(1, bool))
    assert (slot.action[0], slot.spent_j[0], slot.delay_s[0]) == (IDLE, 0.0, 0.0)


def test_a_task_too_large_for_any_clock_or_power_is_dropped() -> None:
    slot = decide_slot(replace(MAO, task_bits=1e9), np.array([1.0]), np.array([GAIN]), np.zeros(1), np.ones(1, bool))
    assert slot.action[0] == DROP
