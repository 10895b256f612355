"""One communication round of the edge world, all UEs at once: sense, decide d_k, compute, transmit (Eq. 4 to 9).

``sense`` is what the full simulation calls in each round; ``simulate_physics`` calls it for all blocks without any
learning, which is all that Figures 5 to 8 need.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bees.core.errors import NoDeviceLeftError, ScenarioError
from bees.edge.battery import check_battery, debit, initial_charge_j, is_charged
from bees.edge.channel import (
    allocated_bandwidth_hz,
    channel_gain,
    data_rate_bits_per_s,
    noise_power_w,
    transmission_time_s,
    transmit_power_w,
)
from bees.edge.computation import check_computation, computation_time_s, draw_cycles, local_iterations
from bees.edge.energy import computation_energy_j, total_energy_j, transmission_energy_j
from bees.edge.offloading import Choices, decide, find_policy
from bees.edge.topology import build_topology

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from bees.edge.offloading import Policy
    from bees.edge.topology import World
    from bees.scenario import Battery, Computation, Offloading, Radio, Scenario

MNIST_SAMPLE_BYTES = 28 * 28


@dataclass(frozen=True)
class Edge:
    """Everything that stays the same from block to block.

    Attributes:
        world: who is where.
        radio: the scenario's section.
        computation: likewise.
        battery: likewise.
        offloading: likewise.
        samples: n_k, shape (K,).
        sample_bytes: size of one raw sample, for ``raw_data_reading = "actual"``.
        epochs: that are really trained, for ``iterations_reading = "epochs"``.
        seed: of the experiment.
        policy: decides d_k.
    """

    world: World
    radio: Radio
    computation: Computation
    battery: Battery
    offloading: Offloading
    samples: NDArray[np.int64]
    sample_bytes: int
    epochs: int
    seed: int
    policy: Policy


@dataclass(frozen=True)
class BlockPhysics:
    """What happened to each UE in one block; arrays have shape (K,) and are 0 (False) for a UE that was empty.

    Attributes:
        active: whose update arrives: not empty, and the charge covers the block.
        decision: d_k, True if it offloads.
        compute_time_s: t_k^C, at the UE or at its server (Eq. 4).
        transmit_time_s: t_k^T (Eq. 6).
        compute_energy_j: E_k^C, 0 if it offloads (Eq. 7); of a UE that runs dry, its share of energy_j.
        transmit_energy_j: E_k^T (Eq. 8); likewise.
        energy_j: E_k^total (Eq. 9), but never more than the UE had left.
        latency_s: of the block: t_k^C + t_k^T of the slowest active UE.
        total_energy_j: sum of energy_j.
    """

    active: NDArray[np.bool_]
    decision: NDArray[np.bool_]
    compute_time_s: NDArray[np.float64]
    transmit_time_s: NDArray[np.float64]
    compute_energy_j: NDArray[np.float64]
    transmit_energy_j: NDArray[np.float64]
    energy_j: NDArray[np.float64]
    latency_s: float
    total_energy_j: float


@dataclass(frozen=True)
class PhysicsHistory:
    """A run of T blocks without learning; arrays have shape (T,) unless they say otherwise.

    Attributes:
        latency_s: of each block.
        energy_j: of each block, all UEs together.
        active: UEs whose update arrived.
        offloaded: UEs that offloaded.
        charge_j: what the batteries hold at the end, shape (K,).
    """

    latency_s: NDArray[np.float64]
    energy_j: NDArray[np.float64]
    active: NDArray[np.int64]
    offloaded: NDArray[np.int64]
    charge_j: NDArray[np.float64]

    @property
    def cumulative_latency_s(self) -> NDArray[np.float64]:
        """End-to-end latency after each block, the curve of Figure 5."""
        return np.cumsum(self.latency_s)

    @property
    def cumulative_energy_j(self) -> NDArray[np.float64]:
        """Energy consumed after each block, the curves of Figures 6 to 8."""
        return np.cumsum(self.energy_j)


def build_edge(
    scenario: Scenario,
    samples: ArrayLike,
    *,
    sample_bytes: int = MNIST_SAMPLE_BYTES,
    policy: Policy | None = None,
) -> Edge:
    """The edge world of a scenario.

    Args:
        scenario: the experiment.
        samples: n_k, one for each UE or one for all.
        sample_bytes: size of one raw sample.
        policy: decides d_k in place of the scenario's policy.

    Raises:
        ScenarioError: the scenario makes no world; names the key at fault.
    """
    check_computation(scenario.computation)
    check_battery(scenario.battery)
    world = build_topology(scenario.topology, scenario.seed)
    given = np.asarray(samples, dtype=np.int64)
    if given.shape not in {(), (world.devices,)} or (given < 0).any():
        problem = f"samples per UE must be {world.devices} numbers of at least 0, not of shape {given.shape}"
        raise ScenarioError("scenario", problem, "topology.devices", world.devices)
    return Edge(
        world=world,
        radio=scenario.radio,
        computation=scenario.computation,
        battery=scenario.battery,
        offloading=scenario.offloading,
        samples=np.broadcast_to(given, (world.devices,)),
        sample_bytes=sample_bytes,
        epochs=scenario.learning.epochs,
        seed=scenario.seed,
        policy=policy or find_policy(scenario.offloading.policy),
    )


def sense(edge: Edge, block: int, charge_j: NDArray[np.float64]) -> BlockPhysics:
    """One communication round of all UEs.

    Args:
        edge: the world.
        block: t, the block index, from 1.
        charge_j: what the batteries hold, shape (K,).

    Raises:
        ScenarioError: a policy of the caller's own returned no decision.
    """
    charged = is_charged(charge_j)
    local, offload = _both_choices(edge, block, charged)
    decision = charged & decide(edge.policy, _choices(edge, local, offload, charge_j))
    chosen = _choose(decision, offload, local)
    active = charged & (chosen.energy_j <= charge_j)
    energy_j = np.where(charged, np.minimum(chosen.energy_j, charge_j), 0.0)
    compute_energy_j, transmit_energy_j = _spent_parts(chosen, charge_j)
    return BlockPhysics(
        active=active,
        decision=decision,
        compute_time_s=np.where(charged, chosen.compute_time_s, 0.0),
        transmit_time_s=np.where(charged, chosen.transmit_time_s, 0.0),
        compute_energy_j=np.where(charged, compute_energy_j, 0.0),
        transmit_energy_j=np.where(charged, transmit_energy_j, 0.0),
        energy_j=energy_j,
        latency_s=float(np.max(chosen.time_s, where=active, initial=0.0)),
        total_energy_j=float(energy_j.sum()),
    )


def simulate_physics(
    scenario: Scenario,
    samples: ArrayLike,
    *,
    sample_bytes: int = MNIST_SAMPLE_BYTES,
    policy: Policy | None = None,
) -> PhysicsHistory:
    """All blocks of a scenario without learning: the same rounds, to the bit, as the full simulation has.

    Args:
        scenario: the experiment.
        samples: n_k, one for each UE or one for all.
        sample_bytes: size of one raw sample.
        policy: decides d_k in place of the scenario's policy.

    Raises:
        ScenarioError: the scenario makes no world; names the key at fault.
        NoDeviceLeftError: every battery is empty.
    """
    edge = build_edge(scenario, samples, sample_bytes=sample_bytes, policy=policy)
    charge_j = initial_charge_j(scenario.battery, edge.world.devices, scenario.seed)
    rows: list[tuple[float, float, int, int]] = []
    for block in range(1, scenario.blocks + 1):
        physics = sense(edge, block, charge_j)
        if not physics.active.any():
            raise NoDeviceLeftError(block)
        charge_j = debit(charge_j, physics.energy_j)
        active, offloaded = int(physics.active.sum()), int((physics.decision & physics.active).sum())
        rows.append((physics.latency_s, physics.total_energy_j, active, offloaded))
    latency_s, energy_j, active, offloaded = zip(*rows, strict=True)
    return PhysicsHistory(np.array(latency_s), np.array(energy_j), np.array(active), np.array(offloaded), charge_j)


@dataclass(frozen=True)
class _Choice:
    """Time and energy of each UE under one value of d_k, shape (K,)."""

    compute_time_s: NDArray[np.float64]
    transmit_time_s: NDArray[np.float64]
    compute_energy_j: NDArray[np.float64]
    transmit_energy_j: NDArray[np.float64]

    @property
    def time_s(self) -> NDArray[np.float64]:
        return self.compute_time_s + self.transmit_time_s

    @property
    def energy_j(self) -> NDArray[np.float64]:
        return total_energy_j(self.transmit_energy_j, self.compute_energy_j)


def _both_choices(edge: Edge, block: int, uploading: NDArray[np.bool_]) -> tuple[_Choice, _Choice]:
    """d_k = 0 (compute, send the update) and d_k = 1 (send the raw data, the server computes) for each UE."""
    computation, samples = edge.computation, edge.samples
    cycles = draw_cycles(computation, edge.world.devices, edge.seed, block)
    iterations = local_iterations(computation, edge.epochs)
    power_w = transmit_power_w(edge.radio)
    rate = _data_rate(edge, power_w, uploading)
    update_time_s = transmission_time_s(edge.radio.update_bytes, rate)
    raw_time_s = transmission_time_s(_raw_bytes(edge), rate)
    local = _Choice(
        computation_time_s(iterations, cycles.device, samples, computation.cpu_frequency_hz),
        update_time_s,
        computation_energy_j(
            computation.effective_capacitance, iterations, cycles.device, samples, computation.cpu_frequency_hz
        ),
        transmission_energy_j(power_w, update_time_s),
    )
    offload = _Choice(
        computation_time_s(iterations, cycles.server, samples, computation.server_cpu_frequency_hz),
        raw_time_s,
        np.zeros(edge.world.devices),
        transmission_energy_j(power_w, raw_time_s),
    )
    return local, offload


def _data_rate(edge: Edge, power_w: float, uploading: NDArray[np.bool_]) -> NDArray[np.float64]:
    # Whatever d_k is, a UE has something to send; so the bandwidth does not depend on the decisions.
    bandwidth_hz = allocated_bandwidth_hz(edge.radio, edge.world, uploading)
    gain = channel_gain(edge.world.distance_m, edge.radio.path_loss_exponent)
    return data_rate_bits_per_s(bandwidth_hz, power_w, gain, noise_power_w(edge.radio, bandwidth_hz))


def _raw_bytes(edge: Edge) -> NDArray[np.float64] | float:
    """L_k of Eq. 6 for an offloading UE, bytes, under the reading ``raw_data_reading``."""
    if edge.radio.raw_data_reading == "published":
        return edge.radio.raw_data_bytes
    return edge.samples.astype(np.float64) * edge.sample_bytes


def _choices(edge: Edge, local: _Choice, offload: _Choice, charge_j: NDArray[np.float64]) -> Choices:
    return Choices(
        local_time_s=local.time_s,
        offload_time_s=offload.time_s,
        local_energy_j=local.energy_j,
        offload_energy_j=offload.energy_j,
        charge_j=charge_j,
        capacity_j=edge.battery.device_capacity_j,
        battery_threshold=edge.offloading.battery_threshold,
    )


def _spent_parts(chosen: _Choice, charge_j: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """E_k^C and E_k^T as spent: a UE that runs dry spends what it has on both in proportion, shape (K,)."""
    runs_dry = chosen.energy_j > charge_j
    share = np.divide(charge_j, chosen.energy_j, out=np.ones_like(charge_j), where=runs_dry)
    compute_energy_j = chosen.compute_energy_j * share
    # By subtraction, since a transmission at no rate would cost an infinite energy.
    left_j = np.maximum(charge_j - compute_energy_j, 0.0)
    return compute_energy_j, np.where(runs_dry, left_j, chosen.transmit_energy_j)


def _choose(decision: NDArray[np.bool_], offload: _Choice, local: _Choice) -> _Choice:
    return _Choice(
        np.where(decision, offload.compute_time_s, local.compute_time_s),
        np.where(decision, offload.transmit_time_s, local.transmit_time_s),
        np.where(decision, offload.compute_energy_j, local.compute_energy_j),
        np.where(decision, offload.transmit_energy_j, local.transmit_energy_j),
    )
