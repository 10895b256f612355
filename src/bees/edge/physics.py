"""One communication round of the edge world, all UEs at once: sense, decide d_k, compute, transmit (Eq. 4 to 9).

``sense`` is what the full simulation calls in each round, and ``advance`` what it carries to the next;
``simulate_physics`` calls both for all blocks without any learning, which is all that Figures 5 to 8 need.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from bees.core.errors import NoDeviceLeftError, ScenarioError
from bees.core.fixed_point import WORD_BYTES
from bees.core.update_codec import encoded_bytes
from bees.edge.battery import check_battery, debit, initial_charge_j, is_charged
from bees.edge.channel import transmit_power_w
from bees.edge.computation import check_computation, computation_time_s, draw_cycles, local_iterations
from bees.edge.consequences import happen
from bees.edge.downlink import download
from bees.edge.energy import computation_energy_j
from bees.edge.fading import block_gain, shadowed_gain
from bees.edge.feasibility import check_feasible, check_optimum
from bees.edge.harvest import charge_up, harvested_j, mean_harvest_j
from bees.edge.history import history_of, row_of
from bees.edge.offloading import Choices, decide, find_policy, joint_optimum
from bees.edge.outcome import realise
from bees.edge.proof_of_work import mining_energy_j
from bees.edge.situation import Situation
from bees.edge.state import EdgeState
from bees.edge.topology import build_topology

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from bees.edge.consequences import BlockPhysics
    from bees.edge.history import PhysicsHistory
    from bees.edge.offloading import Policy
    from bees.edge.outcome import Outcome
    from bees.edge.topology import World
    from bees.scenario import Scenario

MNIST_SAMPLE_BYTES = 28 * 28
MLP_PARAMETERS = 19_885
"""P of the 784-25-10 perceptron, whose 4 bytes each are the paper's 80 KB."""


@dataclass(frozen=True)
class Edge:
    """Everything that stays the same from block to block.

    Attributes:
        scenario: the experiment.
        world: who is where.
        mean_gain: h_k without what changes from block to block, shape (K,).
        samples: n_k, shape (K,).
        sample_bytes: size of one raw sample, for ``raw_data_reading = "actual"``.
        update_bytes: L_k of a UE that computes, under the reading ``update_reading``.
        model_bytes: what a download of w_g has, likewise.
        policy: decides d_k.
    """

    scenario: Scenario
    world: World
    mean_gain: NDArray[np.float64]
    samples: NDArray[np.int64]
    sample_bytes: int
    update_bytes: float
    model_bytes: float
    policy: Policy


def build_edge(
    scenario: Scenario,
    samples: ArrayLike,
    *,
    sample_bytes: int = MNIST_SAMPLE_BYTES,
    parameters: int = MLP_PARAMETERS,
    policy: Policy | None = None,
) -> Edge:
    """The edge world of a scenario.

    Args:
        scenario: the experiment.
        samples: n_k, one for each UE or one for all.
        sample_bytes: size of one raw sample.
        parameters: P of the model, for ``update_reading = "encoded"``.
        policy: decides d_k in place of the scenario's policy.

    Raises:
        ScenarioError: the scenario makes no world, or one in which nobody's update can ever arrive; names the key.
    """
    check_computation(scenario.computation)
    check_battery(scenario.battery)
    world = build_topology(scenario.topology, scenario.seed)
    given = np.asarray(samples, dtype=np.int64)
    if given.shape not in {(), (world.devices,)} or (given < 0).any():
        problem = f"samples per UE must be {world.devices} numbers of at least 0, not of shape {given.shape}"
        raise ScenarioError("scenario", problem, "topology.devices", world.devices)
    update_bytes, model_bytes = sizes_bytes(scenario, parameters)
    edge = Edge(
        scenario=scenario,
        world=world,
        mean_gain=shadowed_gain(scenario.radio, world.distance_m, scenario.seed),
        samples=np.broadcast_to(given, (world.devices,)),
        sample_bytes=sample_bytes,
        update_bytes=update_bytes,
        model_bytes=model_bytes,
        policy=policy or find_policy(scenario.offloading.policy),
    )
    if edge.policy is joint_optimum:
        check_optimum(scenario, world)
    check_feasible(scenario, edge.mean_gain, edge.samples, raw_bytes(edge), update_bytes)
    return edge


def sense(edge: Edge, block: int, state: EdgeState) -> BlockPhysics:
    """One communication round of all UEs.

    Args:
        edge: the world.
        block: t, the block index, from 1.
        state: of the UEs before it.

    Raises:
        ScenarioError: a policy of the caller's own returned no decision, or ``optimum`` has too much to try.
    """
    scenario, situation = edge.scenario, observe(edge, block, state)
    everybody = np.ones(edge.world.devices, dtype=np.bool_)
    local, offload = realise(situation, ~everybody), realise(situation, everybody)
    decision = situation.takes_part & decide(edge.policy, _choices(edge, block, situation, state, local, offload))
    # Where all decide alike, what comes of it is known already.
    alike = local if not decision.any() else offload if np.array_equal(decision, situation.takes_part) else None
    outcome = alike or realise(situation, decision)
    if scenario.battery.low_charge == "sit_out":
        # Whoever waits leaves its band to the others, which makes nobody's part dearer.
        situation = situation.without(outcome.energy_j > state.charge_j)
        decision &= situation.takes_part
        outcome = realise(situation, decision)
    return happen(scenario, situation, decision, outcome, state.charge_j)


def advance(edge: Edge, block: int, state: EdgeState, physics: BlockPhysics) -> EdgeState:
    """The state after block t: what was spent is gone, and what was harvested is there.

    Args:
        edge: the world.
        block: t.
        state: before the block.
        physics: what happened in it.
    """
    scenario = edge.scenario
    left_j = debit(state.charge_j, physics.energy_j)
    gained_j = harvested_j(scenario.battery, scenario.timing, edge.world.devices, scenario.seed, block)
    keeps = scenario.offloading.raw_data_sent == "once"
    raw_sent = state.raw_sent | physics.raw_arrives if keeps else state.raw_sent
    return EdgeState(
        charge_j=charge_up(scenario.battery, left_j, gained_j),
        raw_sent=raw_sent,
        samples_shared=np.maximum(state.samples_shared, _samples_sent(edge, physics)),
    )


def refuse_the_end(edge: Edge, block: int, physics: BlockPhysics, after: EdgeState) -> None:
    """End the run if nobody's update arrived in block t, and no UE can ever take part again.

    Raises:
        NoDeviceLeftError: every battery is empty, and nothing charges it.
    """
    harvests = mean_harvest_j(edge.scenario.battery, edge.scenario.timing) > 0
    if not (physics.arrives.any() or harvests or is_charged(after.charge_j).any()):
        raise NoDeviceLeftError(block)


def simulate_physics(
    scenario: Scenario,
    samples: ArrayLike,
    *,
    sample_bytes: int = MNIST_SAMPLE_BYTES,
    parameters: int = MLP_PARAMETERS,
    policy: Policy | None = None,
) -> PhysicsHistory:
    """All blocks of a scenario without learning: the same rounds, to the bit, as the full simulation has.

    Args:
        scenario: the experiment.
        samples: n_k, one for each UE or one for all.
        sample_bytes: size of one raw sample.
        parameters: P of the model, for ``update_reading = "encoded"``.
        policy: decides d_k in place of the scenario's policy.

    Raises:
        ScenarioError: the scenario makes no world; names the key at fault.
        NoDeviceLeftError: every battery is empty, and nothing charges it.
    """
    edge = build_edge(scenario, samples, sample_bytes=sample_bytes, parameters=parameters, policy=policy)
    state = EdgeState.start(initial_charge_j(scenario.battery, edge.world.devices, scenario.seed))
    rows: list[dict[str, float]] = []
    for block in range(1, scenario.blocks + 1):
        physics = sense(edge, block, state)
        before, state = state, advance(edge, block, state, physics)
        rows.append(row_of(physics, before, state))
        refuse_the_end(edge, block, physics, state)
    return history_of(rows, state, mining_energy_j(scenario.proof_of_work, 1))


def observe(edge: Edge, block: int, state: EdgeState) -> Situation:
    """Block t as it is before anybody decides.

    Args:
        edge: the world.
        block: t, from 1.
        state: of the UEs before it.
    """
    scenario, world = edge.scenario, edge.world
    radio, computation = scenario.radio, scenario.computation
    cycles = draw_cycles(computation, world.devices, scenario.seed, block)
    iterations = local_iterations(computation, scenario.learning.epochs)
    gain = block_gain(radio, edge.mean_gain, scenario.seed, block)
    takes_part = is_charged(state.charge_j)
    downloads = download(radio, edge.model_bytes, gain, world.server_of_device, world.servers, takes_part)
    contends = radio.sharing == "contending"
    return Situation(
        radio=radio,
        server_queue=computation.server_queue,
        server_capacity=world.server_capacity,
        power_w=transmit_power_w(radio),
        cells=world.servers,
        cell=world.server_of_device,
        bands=1 if contends else world.servers,
        band=np.zeros_like(world.server_of_device) if contends else world.server_of_device,
        takes_part=takes_part,
        raw_sent=state.raw_sent,
        gain=gain,
        raw_bytes=raw_bytes(edge),
        update_bytes=np.broadcast_to(edge.update_bytes, (world.devices,)),
        local_compute_s=computation_time_s(iterations, cycles.device, edge.samples, computation.cpu_frequency_hz),
        server_compute_s=computation_time_s(
            iterations, cycles.server, edge.samples, computation.server_cpu_frequency_hz
        ),
        local_compute_j=computation_energy_j(
            computation.effective_capacitance, iterations, cycles.device, edge.samples, computation.cpu_frequency_hz
        ),
        server_compute_j=computation_energy_j(
            computation.server_effective_capacitance,
            iterations,
            cycles.server,
            edge.samples,
            computation.server_cpu_frequency_hz,
        ),
        download_s=downloads.time_s,
        download_j=downloads.energy_j,
        radiated_j=float(downloads.server_energy_j.sum()),
        model_bytes=edge.model_bytes,
    )


def sizes_bytes(scenario: Scenario, parameters: int) -> tuple[float, float]:
    """Of an update and of w_g, under the reading ``update_reading``."""
    if scenario.radio.update_reading == "published":
        return scenario.radio.update_bytes, scenario.radio.update_bytes
    return float(encoded_bytes(scenario.learning.update_encoding, parameters)), float(parameters * WORD_BYTES)


def raw_bytes(edge: Edge) -> NDArray[np.float64]:
    """L_k of Eq. 6 for an offloading UE, bytes, shape (K,), under the reading ``raw_data_reading``."""
    if edge.scenario.radio.raw_data_reading == "published":
        return np.broadcast_to(edge.scenario.radio.raw_data_bytes, (edge.world.devices,))
    return edge.samples.astype(np.float64) * edge.sample_bytes


def _samples_sent(edge: Edge, physics: BlockPhysics) -> NDArray[np.int64]:
    """How many samples left each UE in a block, shape (K,): the first part of them, if it ran dry on the way."""
    all_of_them = raw_bytes(edge)
    part = np.divide(physics.raw_bytes_sent, all_of_them, out=np.zeros(len(all_of_them)), where=all_of_them > 0)
    return np.floor(edge.samples * part).astype(np.int64)


def _choices(
    edge: Edge, block: int, situation: Situation, state: EdgeState, local: Outcome, offload: Outcome
) -> Choices:
    scenario, blocks_left = edge.scenario, max(edge.scenario.blocks - block + 1, 1)
    offload_s, offload_j = _offload_cost(edge, situation, offload, blocks_left)
    battery, offloading, deadline_s = scenario.battery, scenario.offloading, scenario.timing.deadline_s
    return Choices(
        local_time_s=local.time_s,
        offload_time_s=offload_s,
        local_energy_j=local.energy_j,
        offload_energy_j=offload_j,
        charge_j=state.charge_j,
        capacity_j=battery.device_capacity_j,
        battery_threshold=offloading.battery_threshold,
        harvest_j=mean_harvest_j(battery, scenario.timing),
        blocks_left=blocks_left,
        latency_weight=offloading.latency_weight,
        lyapunov_v_j2_per_s=offloading.lyapunov_v_j2_per_s,
        lyapunov_theta_j=offloading.lyapunov_theta * battery.device_capacity_j,
        deadline_s=deadline_s if deadline_s > 0 else np.inf,
        situation=situation,
    )


def _offload_cost(
    edge: Edge, situation: Situation, offload: Outcome, blocks_left: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Time and energy of offloading as policies see it, shape (K,): of this block, or the mean of all blocks left.

    In all but the first of those the server has the raw data. Cycles, fading and company are taken to stay as they are.
    """
    offloading = edge.scenario.offloading
    if offloading.raw_data_sent == "every_block" or offloading.lookahead == "block":
        return offload.time_s, offload.energy_j
    everybody = np.ones(edge.world.devices, dtype=np.bool_)
    later = realise(replace(situation, raw_sent=everybody), everybody)
    return (
        (offload.time_s + (blocks_left - 1) * later.time_s) / blocks_left,
        (offload.energy_j + (blocks_left - 1) * later.energy_j) / blocks_left,
    )
