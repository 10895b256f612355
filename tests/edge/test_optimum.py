from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bees.core.errors import ScenarioError
from bees.edge.offloading import POLICIES, Choices, decide
from bees.edge.optimum import (
    MOST_COUPLED,
    all_options,
    best_decision_of_each_group,
    best_joint_decision,
    block_cost,
)
from bees.edge.outcome import realise
from bees.edge.reference_joint import Cell, CellDevice
from bees.scenario import Radio, ServerQueue, Sharing

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from bees.edge.situation import Situation

    Make = Callable[..., Situation]

INSTANCES = 10_000
WORLDS: list[tuple[Sharing, ServerQueue]] = [
    ("per_user_channel", "none"),
    ("per_user_channel", "fifo"),
    ("equal_share", "shared"),
    ("full_band", "fifo"),
    ("tdma", "none"),
    ("tdma", "fifo"),
    ("min_time", "shared"),
    ("min_energy", "fifo"),
]
"""An eighth of the instances each; a cell is an instance."""


def choices_of(situation: Situation, rng: np.random.Generator, weight: float) -> Choices:
    K = situation.devices
    local, offload = (realise(situation, np.full(K, d)) for d in (False, True))
    return Choices(
        local.time_s,
        offload.time_s,
        local.energy_j,
        offload.energy_j,
        charge_j=rng.uniform(0, 1, K),
        capacity_j=1.0,
        battery_threshold=0.5,
        harvest_j=1e-3,
        blocks_left=30,
        latency_weight=weight,
        lyapunov_v_j2_per_s=0.01,
        lyapunov_theta_j=0.5,
        situation=situation,
    )


def cost_of_each_cell(situation: Situation, decision: NDArray[np.bool_], weight: float) -> NDArray[np.float64]:
    outcome = realise(situation, decision)
    slowest_s = np.zeros(situation.cells)
    np.maximum.at(slowest_s, situation.cell, outcome.time_s)
    energy_j = np.bincount(situation.cell, outcome.energy_j, situation.cells)
    return weight * slowest_s + (1 - weight) * energy_j


def world(make_situation: Make, number: int) -> Situation:
    sharing, queue = WORLDS[number]
    rng = np.random.default_rng(number)
    sizes = rng.integers(1, 5, INSTANCES // len(WORLDS))
    raw_sent = rng.random(int(sizes.sum())) < 0.2
    return make_situation(sizes, seed=number, radio=Radio(sharing=sharing), server_queue=queue, raw_sent=raw_sent)


@pytest.mark.parametrize("weight", [0.0, 0.5, 1.0])
def test_no_policy_beats_the_optimum_on_10_000_random_instances(make_situation: Make, weight: float) -> None:
    instances = 0
    beaten_by_optimum: set[str] = set()
    for number in range(len(WORLDS)):
        situation = world(make_situation, number)
        rng = np.random.default_rng(number)
        best = cost_of_each_cell(situation, best_decision_of_each_group_by_cell(situation, weight), weight)
        choices = choices_of(situation, rng, weight)
        at_random = rng.random((3, situation.devices)) < 0.5
        rivals = {name: decide(policy, choices) for name, policy in POLICIES.items()}
        rivals |= {f"random {i}": decision for i, decision in enumerate(at_random)}
        for name, decision in rivals.items():
            cost = cost_of_each_cell(situation, decision, weight)
            assert (best <= cost * (1 + 1e-9)).all(), (WORLDS[number], name)
            if (best < cost * (1 - 1e-6)).any():
                beaten_by_optimum.add(name)
        instances += situation.cells
    assert instances == INSTANCES
    # Each rule of thumb loses somewhere, so the comparison could have failed. The joint optimum of all cells may too:
    # it lets a cell take its time that is not the slowest.
    assert beaten_by_optimum >= set(POLICIES) - {"optimum", "energy"}


def best_decision_of_each_group_by_cell(situation: Situation, weight: float) -> NDArray[np.bool_]:
    """Where UEs are decided one by one the groups are smaller than a cell; then the cell is made one group."""
    if situation.server_queue == "none" and situation.radio.sharing == "per_user_channel":
        members = [np.flatnonzero(situation.cell == cell) for cell in range(situation.cells)]
        decision = np.zeros(situation.devices, dtype=bool)
        for ids in members:
            alone = situation.copies(ids, np.zeros(len(ids), int), 1, np.zeros(len(ids), int), 1)
            decision[ids] = best_joint_decision(alone, weight)
        return decision
    return best_decision_of_each_group(situation, weight)


# How min_energy splits a band is held by test_sharing; the scalar reference knows all other worlds.
@pytest.mark.parametrize("number", [i for i, (sharing, _) in enumerate(WORLDS) if sharing != "min_energy"])
def test_enumeration_finds_what_trying_all_in_plain_python_finds(make_situation: Make, number: int) -> None:
    sharing, queue = WORLDS[number]
    for seed in range(4):
        situation = make_situation(np.array([3]), seed=seed, radio=Radio(sharing=sharing), server_queue=queue)
        cell = Cell(sharing, queue, 20e6, situation.power_w, -174.0, 30)
        arrays = (
            situation.gain,
            situation.raw_bytes,
            situation.update_bytes,
            situation.local_compute_s,
            situation.server_compute_s,
            situation.local_compute_j,
        )
        devices = [CellDevice(*(float(array[k]) for array in arrays), raw_sent=False) for k in range(3)]
        for weight in (0.0, 0.3, 1.0):
            found = block_cost(situation, best_joint_decision(situation, weight), weight)
            assert found == pytest.approx(cell.least_cost(devices, weight), rel=1e-7)


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**32),
    sizes=st.lists(st.integers(0, 3), min_size=1, max_size=3).filter(any),
    number=st.integers(0, len(WORLDS) - 1),
    weight=st.floats(0, 1),
    silent=st.booleans(),
)
def test_the_joint_optimum_over_cells_is_the_best_of_all_decisions(
    make_situation: Make, seed: int, sizes: list[int], number: int, weight: float, silent: bool
) -> None:
    sharing, queue = WORLDS[number] if not silent else ("contending", "none")
    K = sum(sizes)
    rng = np.random.default_rng(seed)
    situation = make_situation(
        np.array(sizes),
        seed=seed,
        radio=Radio(sharing=sharing),
        server_queue=queue,
        raw_sent=rng.random(K) < 0.5 * silent,
        takes_part=rng.random(K) < 0.9,
    )
    best = block_cost(situation, best_joint_decision(situation, weight), weight)
    everything = (np.arange(1 << K)[:, None] >> np.arange(K)) % 2 == 1
    costs = [block_cost(situation, decision, weight) for decision in everything]
    assert best == pytest.approx(min(costs), rel=1e-9, abs=1e-15)


def test_only_those_who_affect_one_another_are_tried_together(make_situation: Make) -> None:
    apart = all_options(make_situation(np.full(100, 30)))
    assert apart.members.shape == (3000, 1)
    cells = all_options(make_situation(np.array([2, 5, 1]), server_queue="fifo"))
    assert cells.time_s.shape == (3, 2**5)


def test_too_many_to_try_is_refused_by_the_policy(make_situation: Make) -> None:
    crowd = make_situation(np.array([MOST_COUPLED + 1]), server_queue="shared")
    with pytest.raises(ScenarioError, match=r"offloading\.policy = 'optimum': .* at most 12 UEs, but 13 affect"):
        best_joint_decision(crowd, 0.5)


def test_nobody_takes_part(make_situation: Make) -> None:
    situation: Any = make_situation(np.array([3]), takes_part=np.zeros(3, bool), server_queue="fifo")
    assert not best_joint_decision(situation, 0.5).any()
    assert not best_decision_of_each_group(situation, 0.5).any()


def test_who_is_not_heard_at_all_offloads_no_differently(make_situation: Make) -> None:
    situation = make_situation(np.array([3]), gain=np.array([0.0, 1e-9, 1e-9]), server_queue="fifo")
    alone = make_situation(np.array([3]), gain=np.array([1e-9, 1e-9, 1e-9]), server_queue="fifo")
    assert best_joint_decision(situation, 0.0)[1:].tolist() == best_joint_decision(alone, 0.0)[1:].tolist()
