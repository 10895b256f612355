"""Worlds in which no update can ever arrive are refused before the first block, by the key at fault."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bees.core.errors import ScenarioError
from bees.edge.channel import data_rate_bits_per_s, noise_power_w, transmission_time_s, transmit_power_w
from bees.edge.computation import computation_time_s, local_iterations
from bees.edge.optimum import check_coupled
from bees.edge.sharing import JOINT_SHARINGS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bees.edge.topology import World
    from bees.scenario import Scenario


def check_feasible(
    scenario: Scenario,
    gain: NDArray[np.float64],
    samples: NDArray[np.int64],
    raw_bytes: NDArray[np.float64],
    update_bytes: float,
) -> None:
    """Refuse a radio that carries nothing, and a deadline that nobody can meet even with the whole band to itself.

    Args:
        scenario: the experiment.
        gain: h_k without fading, shape (K,).
        samples: n_k, shape (K,).
        raw_bytes: L_k of Eq. 6 for an offloading UE, shape (K,).
        update_bytes: L_k of Eq. 6 for one that computes.

    Raises:
        ScenarioError: names the key.
    """
    radio = scenario.radio
    rate = best_rate_bits_per_s(scenario, gain)
    # With fading the mean may be beaten, but no fading makes something of nothing.
    if not (rate > 0).any():
        problem = "no UE gets a single bit to its server: raise it, bring the UEs nearer, or let less of it be lost"
        raise ScenarioError("scenario", problem, "radio.transmit_power_db", radio.transmit_power_db)
    deadline_s = scenario.timing.deadline_s
    if deadline_s == 0:
        return
    fastest_s = float(least_time_s(scenario, rate, samples, raw_bytes, update_bytes).min())
    if fastest_s > deadline_s:
        problem = (
            f"no update can arrive in time: the fastest UE needs {fastest_s:.3g} s with the whole band to itself; "
        )
        problem += "raise it, or set 0 for no deadline"
        raise ScenarioError("scenario", problem, "timing.deadline_s", deadline_s)


def best_rate_bits_per_s(scenario: Scenario, gain: NDArray[np.float64]) -> NDArray[np.float64]:
    """r_k with the whole band to itself, bit/s, shape (K,)."""
    B = np.array(scenario.radio.bandwidth_hz)
    return data_rate_bits_per_s(B, transmit_power_w(scenario.radio), gain, noise_power_w(scenario.radio, B))


def least_time_s(
    scenario: Scenario,
    rate_bits_per_s: NDArray[np.float64],
    samples: NDArray[np.int64],
    raw_bytes: NDArray[np.float64],
    update_bytes: float,
) -> NDArray[np.float64]:
    """What the faster choice of each UE takes at least, seconds, shape (K,); under fading, computing alone."""
    computation = scenario.computation
    iterations = local_iterations(computation, scenario.learning.epochs)
    local_s, server_s = (
        computation_time_s(iterations, np.array(cycles), samples, hertz)
        for cycles, hertz in (
            (computation.cycles_per_sample_min, computation.cpu_frequency_hz),
            (computation.server_cycles_per_sample_min, computation.server_cpu_frequency_hz),
        )
    )
    if scenario.radio.fading != "none":
        return np.minimum(local_s, server_s)
    # Raw data that were sent once need not be sent again.
    raw_s = 0.0 if scenario.offloading.raw_data_sent == "once" else transmission_time_s(raw_bytes, rate_bits_per_s)
    update_s = transmission_time_s(update_bytes, rate_bits_per_s)
    return np.minimum(local_s + update_s, server_s + raw_s)


def check_optimum(scenario: Scenario, world: World) -> None:
    """Refuse a policy ``optimum`` that would have too many joint decisions to try in some block of the run.

    Args:
        scenario: the experiment.
        world: who is where.

    Raises:
        ScenarioError: names the policy.
    """
    sharing, queue = scenario.radio.sharing, scenario.computation.server_queue
    once = scenario.offloading.raw_data_sent == "once"
    if sharing == "contending" and once:
        check_coupled(world.devices)
    elif sharing in JOINT_SHARINGS or queue != "none" or (sharing == "equal_share" and once):
        check_coupled(int(world.devices_per_server.max()))
