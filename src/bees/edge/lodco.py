"""LODCO: dynamic offloading for harvesting devices, by Lyapunov's drift plus penalty.

Mao, Zhang and Letaief, "Dynamic Computation Offloading for Mobile-Edge Computing with Energy Harvesting Devices", IEEE
JSAC 2016. In each slot a device that has a task executes it at a clock f of its choice, sends it at a power p of its
choice, or drops it. The *virtual queue* is the battery less a constant, ``B~ = B - theta``. Each slot minimises::

    B~ (harvested - spent) + V (delay, or phi if the task is dropped)

so V trades delay against how large a battery it takes, and nothing needs to be known of what comes later. With ``theta
>= E~max + V phi / E_min`` no decision ever asks for more than the battery holds, and the battery never exceeds
``theta`` and one harvest. The policy ``lyapunov`` is the same rule for BEES's UEs, whose clock and power are given.

All functions take arrays that broadcast.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bees.core.seeds import generator

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Array = NDArray[np.float64]

LOCAL, OFFLOAD, DROP, IDLE = 0, 1, 2, 3
"""What a device does in a slot; it is idle when it has no task."""

_BISECTIONS = 50


@dataclass(frozen=True)
class Lodco:
    """The constants of Mao et al., section VI, as defaults.

    Attributes:
        task_bits: L, size of a task.
        cycles_per_bit: X; a task takes ``W = L X`` cycles.
        slot_s: tau.
        deadline_s: tau_d, by which a task must be executed.
        drop_cost_s: phi, what a dropped task counts.
        bandwidth_hz: omega.
        noise_w: sigma.
        capacitance: kappa.
        most_frequency_hz: f_max.
        most_power_w: p_max.
        most_energy_j: E_max, that the battery can give in one slot.
        least_energy_j: E_min, the least that an executed task takes.
        V: weight of the delay, J^2/s.
        most_harvest_j: E_H_max; a slot brings U(0, E_H_max).
        gain_at_one_metre: g0; the channel is Exp(g0 d^-4).
        distance_m: d.
        request_probability: rho, that a slot brings a task.
    """

    task_bits: float = 1000.0
    cycles_per_bit: float = 737.5
    slot_s: float = 2e-3
    deadline_s: float = 2e-3
    drop_cost_s: float = 2e-3
    bandwidth_hz: float = 1e6
    noise_w: float = 1e-13
    capacitance: float = 1e-28
    most_frequency_hz: float = 1.5e9
    most_power_w: float = 1.0
    most_energy_j: float = 2e-3
    least_energy_j: float = 2e-5
    V: float = 1.6e-4
    most_harvest_j: float = 48e-6
    gain_at_one_metre: float = 1e-4
    distance_m: float = 50.0
    request_probability: float = 0.6

    @property
    def cycles(self) -> float:
        """W, CPU cycles of a task."""
        return self.task_bits * self.cycles_per_bit

    @property
    def largest_discharge_j(self) -> float:
        """``E~max = min(max(kappa W f_max^2, p_max tau), E_max)``."""
        computing_j = self.capacitance * self.cycles * self.most_frequency_hz**2
        return min(max(computing_j, self.most_power_w * self.slot_s), self.most_energy_j)

    @property
    def theta_j(self) -> float:
        """``E~max + V phi / E_min``, the least theta for which no decision overdraws the battery."""
        return self.largest_discharge_j + self.V * self.drop_cost_s / self.least_energy_j


@dataclass(frozen=True)
class Slot:
    """What devices do in one slot; arrays have shape (K,).

    Attributes:
        action: LOCAL, OFFLOAD, DROP or IDLE.
        delay_s: of executing the task; 0 if it is dropped or there is none.
        spent_j: from the battery.
        harvested_j: into it: a battery above theta takes none.
        objective: drift plus penalty of the decision, without the harvest.
    """

    action: NDArray[np.int64]
    delay_s: Array
    spent_j: Array
    harvested_j: Array
    objective: Array


def best_frequency_hz(lodco: Lodco, queue_j: Array) -> Array:
    """The clock that minimises ``-B~ kappa W f^2 + V W / f``, hertz; NaN if no clock meets all limits.

    The root of the derivative is ``f0 = (V / (-2 B~ kappa))^(1/3)``; limits are f_max, the deadline, E_min and E_max.
    """
    of_energy = lodco.capacitance * lodco.cycles
    least = max(math.sqrt(lodco.least_energy_j / of_energy), lodco.cycles / lodco.deadline_s)
    most = min(math.sqrt(lodco.most_energy_j / of_energy), lodco.most_frequency_hz)
    if least > most:
        return np.full(np.shape(queue_j), np.nan)
    short = queue_j < 0
    free = np.cbrt(lodco.V / (2 * lodco.capacitance * np.where(short, -queue_j, 1.0)))
    return np.where(short, np.clip(free, least, most), most)


def best_power_w(lodco: Lodco, queue_j: Array, gain: Array) -> Array:
    """The transmit power that minimises ``L (-B~ p + V) / r(p)``, watt; NaN if no power meets all limits.

    ``p L / r(p)`` grows with p, so E_min and E_max are met between two powers; the objective falls and then grows, so
    its least is where the sign of ``-B~ r - (V - B~ p) r'`` changes. All three are found by bisection.
    """
    queue_j, gain = np.broadcast_arrays(np.asarray(queue_j, float), np.asarray(gain, float))
    most_w = np.full(gain.shape, lodco.most_power_w)
    with np.errstate(over="ignore"):
        in_time_w = (
            np.expm1(lodco.task_bits / (lodco.bandwidth_hz * lodco.deadline_s) * math.log(2)) * lodco.noise_w / gain
        )
    least_w = np.maximum(in_time_w, _bisect(lambda p: _send_energy_j(lodco, p, gain) >= lodco.least_energy_j, most_w))
    top_w = _bisect(lambda p: _send_energy_j(lodco, p, gain) > lodco.most_energy_j, most_w)

    def rises(p: Array) -> NDArray[np.bool_]:
        rate = send_rate_bits_per_s(lodco, p, gain)
        slope = lodco.bandwidth_hz * gain / (lodco.noise_w + p * gain) / math.log(2)
        return -queue_j * rate - (lodco.V - queue_j * p) * slope >= 0

    free_w = np.where(queue_j < 0, _bisect(rises, most_w), top_w)
    power_w = np.clip(free_w, least_w, np.maximum(top_w, least_w))
    affordable = _send_energy_j(lodco, least_w, gain) <= lodco.most_energy_j * (1 + 1e-9)
    enough = _send_energy_j(lodco, power_w, gain) >= lodco.least_energy_j * (1 - 1e-9)
    return np.where((least_w <= most_w) & affordable & enough, power_w, np.nan)


def send_rate_bits_per_s(lodco: Lodco, power_w: Array, gain: Array) -> Array:
    """``r(h, p) = omega log2(1 + h p / sigma)``, bit/s."""
    return lodco.bandwidth_hz * np.log1p(gain * power_w / lodco.noise_w) / math.log(2)


def decide_slot(lodco: Lodco, battery_j: Array, gain: Array, arriving_j: Array, has_task: NDArray[np.bool_]) -> Slot:
    """The decision of each device that minimises drift plus penalty in this slot.

    Args:
        lodco: the constants.
        battery_j: what each battery holds, shape (K,).
        gain: h of this slot, shape (K,).
        arriving_j: what could be harvested, shape (K,).
        has_task: shape (K,).
    """
    queue_j = battery_j - lodco.theta_j
    frequency_hz, power_w = best_frequency_hz(lodco, queue_j), best_power_w(lodco, queue_j, gain)
    local_j, local_s = lodco.capacitance * lodco.cycles * frequency_hz**2, lodco.cycles / frequency_hz
    with np.errstate(divide="ignore", invalid="ignore"):
        send_s = lodco.task_bits / send_rate_bits_per_s(lodco, power_w, gain)
    spent_j = np.stack([local_j, power_w * send_s, np.zeros_like(queue_j)])
    penalty_s = np.stack([local_s, send_s, np.full_like(queue_j, lodco.drop_cost_s)])
    objective = np.nan_to_num(-queue_j * spent_j + lodco.V * penalty_s, nan=np.inf, posinf=np.inf)
    best = objective.argmin(axis=0)

    def of_best(values: Array) -> Array:
        return np.where(has_task, np.take_along_axis(values, best[None], axis=0)[0], 0.0)

    delays_s = np.where(np.arange(3)[:, None] == DROP, 0.0, penalty_s)
    return Slot(
        action=np.where(has_task, best, IDLE),
        delay_s=of_best(delays_s),
        spent_j=of_best(spent_j),
        harvested_j=np.where(queue_j <= 0, arriving_j, 0.0),
        objective=of_best(objective),
    )


@dataclass(frozen=True)
class LodcoRun:
    """Many slots of many devices.

    Attributes:
        battery_j: before each slot, shape (T + 1, K).
        spent_j: in each slot, shape (T, K).
        action: in each slot, shape (T, K).
        cost_s: delay, or phi for a dropped task, shape (T, K).
    """

    battery_j: Array
    spent_j: Array
    action: NDArray[np.int64]
    cost_s: Array


def simulate_lodco(lodco: Lodco, devices: int, slots: int, seed: int, *, initial_j: float = 0.0) -> LodcoRun:
    """Devices that begin with the same charge, each with its own channel, tasks and harvest.

    Args:
        lodco: the constants.
        devices: K.
        slots: T.
        seed: of tasks, channels and harvests.
        initial_j: what each battery holds at first.
    """
    rng = generator(seed, "lodco")
    battery_j = np.full((slots + 1, devices), initial_j)
    spent_j, cost_s, action = (
        np.zeros((slots, devices)),
        np.zeros((slots, devices)),
        np.zeros((slots, devices), np.int64),
    )
    mean_gain = lodco.gain_at_one_metre * lodco.distance_m**-4
    for t in range(slots):
        gain = rng.exponential(mean_gain, devices)
        arriving_j = rng.uniform(0.0, lodco.most_harvest_j, devices)
        slot = decide_slot(lodco, battery_j[t], gain, arriving_j, rng.random(devices) < lodco.request_probability)
        spent_j[t], action[t] = slot.spent_j, slot.action
        cost_s[t] = slot.delay_s + lodco.drop_cost_s * (slot.action == DROP)
        battery_j[t + 1] = battery_j[t] - slot.spent_j + slot.harvested_j
    return LodcoRun(battery_j, spent_j, action, cost_s)


def _send_energy_j(lodco: Lodco, power_w: Array, gain: Array) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):
        return power_w * lodco.task_bits / send_rate_bits_per_s(lodco, power_w, gain)


def _bisect(holds: Callable[[Array], NDArray[np.bool_]], most: Array) -> Array:
    """The least p from 0 to ``most`` from which on ``holds`` is true; ``most`` if it never is."""
    low, high = np.zeros_like(most), most.copy()
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        right = holds(middle)
        low, high = np.where(right, low, middle), np.where(right, middle, high)
    return high
