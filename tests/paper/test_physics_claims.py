"""Section IV-C, end-to-end latency and energy consumption: Figures 5 to 8, from the edge world alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from bees.edge.physics import simulate_physics
from bees.scenario_file import load_scenario

if TYPE_CHECKING:
    from bees.edge.history import PhysicsHistory

MNIST_TRAINING_SAMPLES = 60_000
ENERGY_J = {100: 6294, 150: 7631, 200: 8895}
LATENCY_S = 5.71


def history(preset: str, devices: int, *changes: str, seed: int = 0) -> PhysicsHistory:
    scenario = load_scenario(preset, [*changes, f"topology.devices={devices}", f"seed={seed}"])
    return simulate_physics(scenario, MNIST_TRAINING_SAMPLES // devices)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("devices", ENERGY_J)
def test_fig_6_to_8_energy_after_50_blocks_is_within_2_percent(devices: int, seed: int):
    measured = history("paper", devices, seed=seed).cumulative_energy_j[-1]
    assert measured == pytest.approx(ENERGY_J[devices], rel=0.02)


@pytest.mark.parametrize("seed", range(5))
def test_fig_5_latency_after_50_blocks_is_within_3_percent(seed: int):
    assert history("paper", 100, seed=seed).cumulative_latency_s[-1] == pytest.approx(LATENCY_S, rel=0.03)


def test_fig_5_latency_grows_linearly_with_the_block_index():
    latency = history("paper", 100).cumulative_latency_s
    blocks = np.arange(1, len(latency) + 1)
    line = np.polyval(np.polyfit(blocks, latency, 1), blocks)
    assert np.abs(latency - line).max() < 0.02 * latency[-1]


@pytest.mark.parametrize("devices", ENERGY_J)
def test_bees_stays_below_b_ei_and_the_gap_grows(devices: int):
    bees, b_ei = history("paper", devices), history("b-ei", devices)
    for mine, baseline in (
        (bees.cumulative_latency_s, b_ei.cumulative_latency_s),
        (bees.cumulative_energy_j, b_ei.cumulative_energy_j),
    ):
        gap = baseline - mine
        assert (gap > 0).all()
        assert (np.diff(gap) > 0).all()


def test_the_gap_comes_from_contention_alone_and_not_from_offloading():
    bees, alike = history("paper", 100), history("b-ei", 100, "radio.sharing=per_user_channel")
    assert bees.offloaded.sum() == 0
    assert np.array_equal(bees.cumulative_energy_j, alike.cumulative_energy_j)
    assert np.array_equal(bees.cumulative_latency_s, alike.cumulative_latency_s)


@pytest.mark.parametrize("policy", ["latency", "energy", "battery"])
def test_no_rational_policy_offloads_80_mb_at_the_papers_constants(policy: str):
    assert history("paper", 100, f"offloading.policy={policy}").offloaded.sum() == 0


def test_raw_mnist_data_of_a_ue_is_less_than_a_hundredth_of_the_published_80_mb():
    scenario = load_scenario("paper")
    assert scenario.radio.raw_data_bytes / 100 > (MNIST_TRAINING_SAMPLES // 100) * 28 * 28


def test_u_3_7_ues_on_20_servers_cannot_make_150_or_200():
    topology = load_scenario("paper").topology
    assert topology.servers * topology.devices_per_server_max == 140


STICKY = ("offloading.raw_data_sent=once", "offloading.lookahead=run", "offloading.policy=energy")


def test_offloading_pays_where_raw_data_of_their_real_size_are_sent_once():
    home, away = history("paper", 100), history("paper", 100, *STICKY, "radio.raw_data_reading=actual")
    assert away.offloaded.sum() == 5000
    assert away.cumulative_energy_j[-1] < home.cumulative_energy_j[-1] / 10
    assert away.cumulative_latency_s[-1] < home.cumulative_latency_s[-1] / 10
    assert away.raw_bytes.sum() == MNIST_TRAINING_SAMPLES * 28 * 28


def test_80_mb_are_too_dear_even_if_they_are_sent_once():
    assert history("paper", 100, *STICKY).offloaded.sum() == 0
