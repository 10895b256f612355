"""The paper's reduced model is one setting of the world: its numbers stay what they were, to the last bit."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest

from bees.edge.battery import initial_charge_j
from bees.edge.computation import draw_cycles
from bees.edge.physics import simulate_physics
from bees.edge.topology import build_topology
from bees.scenario_file import load_scenario

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bees.scenario import Scenario

SAMPLES = 600

GOLDEN = {
    "paper": (5.719320896799476, 6282.074393809232, 1496813.9981150927),
    "b-ei": (11.613469348207394, 11575.929656086664, 1491520.142852815),
    "sound": (1.5361774530188612, 24.29138312182063, 1503071.7811257795),
    "quick": (0.4559188064819697, 71.95272184982981, 173658.05756141132),
    "paper battery.device_capacity_j=100": (5.709905243379385, 6035.665201008412, 1479.815161536098),
}
"""Latency, energy and what is left after all blocks, seed 3, as the model without any of the switches gave them."""


def scenario_of(name: str) -> Scenario:
    preset, *changes = name.split()
    return load_scenario(preset, [*changes, "seed=3"])


@pytest.mark.parametrize("name", GOLDEN)
def test_the_numbers_are_what_they_were_before_there_were_switches(name: str) -> None:
    history = simulate_physics(scenario_of(name), SAMPLES)
    # Other machines round the last digit of a power or a logarithm differently.
    measured = (history.cumulative_latency_s[-1], history.cumulative_energy_j[-1], history.charge_j.sum())
    assert measured == pytest.approx(GOLDEN[name], rel=1e-12)


def printed_formulas(scenario: Scenario) -> tuple[list[float], list[float], NDArray[np.float64]]:
    """Latency and energy of each block when nobody offloads, straight from Eq. 4 to 9 in one place."""
    radio, computation = scenario.radio, scenario.computation
    world = build_topology(scenario.topology, scenario.seed)
    charge_j = initial_charge_j(scenario.battery, world.devices, scenario.seed)
    p, N0 = 10.0 ** (radio.transmit_power_db / 10.0), 10.0 ** (radio.noise_psd_dbm_per_hz / 10.0) * 1e-3
    latency_s, energy_j = [], []
    for t in range(1, scenario.blocks + 1):
        charged = charge_j > 0
        sharers = np.count_nonzero(charged) if radio.sharing == "contending" else world.server_capacity
        b = np.where(charged, radio.bandwidth_hz / sharers, 0.0)
        snr = np.divide(p * world.distance_m**-radio.path_loss_exponent, N0 * b, out=np.zeros_like(b), where=b > 0)
        rate = b * (np.log1p(snr) / math.log(2))
        t_T = np.divide(np.full_like(rate, radio.update_bytes * 8.0), rate, out=np.zeros_like(rate), where=charged)
        C = draw_cycles(computation, world.devices, scenario.seed, t).device
        t_C = computation.local_iterations * C * np.full(world.devices, SAMPLES) / computation.cpu_frequency_hz
        kappa, f = computation.effective_capacitance, computation.cpu_frequency_hz
        E = p * t_T + kappa * computation.local_iterations * C * np.full(world.devices, SAMPLES) * f**2
        arrives = charged & (charge_j >= E)
        latency_s.append(float(np.max(t_C + t_T, where=arrives, initial=0.0)))
        spent_j = np.where(charged, np.minimum(E, charge_j), 0.0)
        energy_j.append(float(spent_j.sum()))
        charge_j = np.maximum(charge_j - spent_j, 0.0)
    return latency_s, energy_j, charge_j


@pytest.mark.parametrize("name", ["paper", "b-ei", "paper-200", "paper battery.device_capacity_j=100"])
def test_the_presets_are_the_printed_formulas_to_the_last_bit(name: str) -> None:
    scenario = scenario_of(name)
    history = simulate_physics(scenario, SAMPLES)
    latency_s, energy_j, charge_j = printed_formulas(scenario)
    assert history.latency_s.tolist() == latency_s
    assert history.energy_j.tolist() == energy_j
    assert np.array_equal(history.charge_j, charge_j)


def test_what_the_paper_leaves_out_costs_nothing() -> None:
    history = simulate_physics(scenario_of("paper"), SAMPLES)
    assert not history.backhaul_bytes.any()
    assert not history.raw_bytes.any()
    assert not history.server_energy_j.any()
    assert (history.arrived == 100).all()
    assert (history.participated == history.charged).all()
