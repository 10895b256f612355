from __future__ import annotations

import time
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bees.edge.consequences import BlockPhysics
    from bees.edge.physics import Edge
    from bees.scenario import Crowding

from bees.core.errors import NoDeviceLeftError, ScenarioError
from bees.edge import physics as physics_module
from bees.edge import reference
from bees.edge.battery import debit, initial_charge_j
from bees.edge.benchmark import measure
from bees.edge.computation import draw_cycles
from bees.edge.physics import build_edge, simulate_physics
from bees.edge.state import EdgeState
from bees.scenario import Battery, Computation, Learning, Offloading, Radio, Scenario, Topology

PUBLISHED_ENERGY_J = {100: 6294, 150: 7631, 200: 8895}
PUBLISHED_LATENCY_S = 5.71


def paper(devices: int = 100, seed: int = 0, **sections: Any) -> Scenario:
    sections.setdefault("topology", Topology(devices=devices))
    return Scenario(seed=seed, **sections)


def sense(edge: Edge, block: int, charge_j: NDArray[np.float64]) -> BlockPhysics:
    return physics_module.sense(edge, block, EdgeState.start(charge_j))


def full(edge: Edge) -> NDArray[np.float64]:
    return np.full(edge.world.devices, 20e3)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("crowding", ["scaled", "more_servers"])
@pytest.mark.parametrize("devices", PUBLISHED_ENERGY_J)
def test_fitted_constants_meet_the_published_energies(devices: int, crowding: Crowding, seed: int) -> None:
    scenario = paper(seed=seed, topology=Topology(devices=devices, crowding=crowding))
    energy_j = simulate_physics(scenario, 60_000 // devices).cumulative_energy_j[-1]
    assert energy_j == pytest.approx(PUBLISHED_ENERGY_J[devices], rel=0.02)


@pytest.mark.parametrize("seed", range(3))
def test_fitted_constants_meet_the_published_latency_which_is_linear(seed: int) -> None:
    latency_s = simulate_physics(paper(seed=seed), 600).cumulative_latency_s
    assert latency_s[-1] == pytest.approx(PUBLISHED_LATENCY_S, rel=0.03)
    straight = np.arange(1, 51) * latency_s[-1] / 50
    assert np.abs(latency_s - straight).max() < 0.01 * latency_s[-1]


def test_contending_uploads_cost_more_of_both_than_channels_of_ones_own() -> None:
    bees = simulate_physics(paper(), 600)
    b_ei = simulate_physics(paper(offloading=Offloading(policy="local"), radio=Radio(sharing="contending")), 600)
    assert (b_ei.latency_s > bees.latency_s).all()
    assert (b_ei.energy_j > bees.energy_j).all()


def test_nobody_gains_by_sending_80_megabytes() -> None:
    for policy in ("latency", "energy"):
        assert not simulate_physics(paper(offloading=Offloading(policy=policy)), 600).offloaded.any()


scenarios = st.builds(
    Scenario,
    seed=st.integers(0, 2**32),
    topology=st.builds(
        Topology,
        devices=st.integers(1, 40),
        placement=st.sampled_from(["drawn", "geometric"]),
    ),
    radio=st.builds(
        Radio,
        bandwidth_hz=st.floats(1e5, 1e8),
        transmit_power_db=st.floats(-10, 30),
        power_reading=st.sampled_from(["db_watt", "db_milliwatt"]),
        noise_reading=st.sampled_from(["psd_times_bandwidth", "psd_only"]),
        path_loss_exponent=st.floats(2, 5),
        sharing=st.sampled_from(["per_user_channel", "equal_share", "contending", "full_band"]),
        raw_data_reading=st.sampled_from(["published", "actual"]),
        raw_data_bytes=st.floats(1e3, 1e8),
    ),
    computation=st.builds(
        Computation,
        cpu_frequency_hz=st.floats(1e8, 1e10),
        server_cpu_frequency_hz=st.floats(1e8, 1e11),
        iterations_reading=st.sampled_from(["decoupled", "epochs"]),
        redraw=st.sampled_from(["every_block", "once"]),
    ),
    offloading=st.builds(
        Offloading,
        policy=st.sampled_from(["local", "offload", "latency", "energy", "battery"]),
        battery_threshold=st.floats(0, 1),
    ),
    learning=st.builds(Learning, epochs=st.integers(1, 5)),
)


def sharers_of(scenario: Scenario, edge: Edge, charge_j: NDArray[np.float64], k: int) -> int:
    uploading = [j for j in range(edge.world.devices) if charge_j[j] > 0]
    match scenario.radio.sharing:
        case "per_user_channel":
            return scenario.topology.server_capacity
        case "equal_share":
            return sum(edge.world.server_of_device[j] == edge.world.server_of_device[k] for j in uploading)
        case "contending":
            return len(uploading)
        case _:
            return 1


def reference_block(
    scenario: Scenario, edge: Edge, charge_j: NDArray[np.float64], block: int, k: int
) -> reference.DeviceBlock:
    radio, computation = scenario.radio, scenario.computation
    cycles = draw_cycles(computation, edge.world.devices, scenario.seed, block)
    bandwidth_hz = radio.bandwidth_hz / sharers_of(scenario, edge, charge_j, k)
    samples = int(edge.samples[k])
    return reference.DeviceBlock(
        bandwidth_hz=bandwidth_hz,
        power_w=reference.transmit_power_w(radio.transmit_power_db, in_milliwatt=radio.power_reading == "db_milliwatt"),
        gain=reference.channel_gain(float(edge.world.distance_m[k]), radio.path_loss_exponent),
        noise_w=reference.noise_power_w(
            radio.noise_psd_dbm_per_hz, bandwidth_hz, times_bandwidth=radio.noise_reading == "psd_times_bandwidth"
        ),
        iterations=scenario.learning.epochs if computation.iterations_reading == "epochs" else 18.6,
        samples=samples,
        device_cycles=float(cycles.device[k]),
        server_cycles=float(cycles.server[k]),
        device_frequency_hz=computation.cpu_frequency_hz,
        server_frequency_hz=computation.server_cpu_frequency_hz,
        capacitance=computation.effective_capacitance,
        raw_bytes=radio.raw_data_bytes if radio.raw_data_reading == "published" else 784 * samples,
        update_bytes=radio.update_bytes,
    )


def reference_decision(scenario: Scenario, device: reference.DeviceBlock, charge_j: float) -> bool:
    match scenario.offloading.policy:
        case "latency":
            return device.time_s(offloads=True) < device.time_s(offloads=False)
        case "energy":
            return device.energy_j(offloads=True) < device.energy_j(offloads=False)
        case "battery":
            return charge_j < scenario.offloading.battery_threshold * scenario.battery.device_capacity_j
        case policy:
            return policy == "offload"


@settings(deadline=None, max_examples=80)
@given(scenario=scenarios, block=st.integers(1, 50), data=st.data())
def test_a_block_equals_the_scalar_reference_for_each_ue(scenario: Scenario, block: int, data: st.DataObject) -> None:
    K = scenario.topology.devices
    samples = data.draw(st.lists(st.integers(0, 2000), min_size=K, max_size=K))
    charge_j = np.array(data.draw(st.lists(st.sampled_from([0.0, 0.5, 3e3, 2e4]), min_size=K, max_size=K)))
    edge = build_edge(scenario, samples)
    physics = sense(edge, block, charge_j)
    arrived_s = [0.0]
    for k in range(K):
        if charge_j[k] == 0:
            assert not physics.arrives[k]
            assert not physics.decision[k]
            assert physics.energy_j[k] == physics.compute_time_s[k] == physics.transmit_time_s[k] == 0
            continue
        device = reference_block(scenario, edge, charge_j, block, k)
        offloads = bool(physics.decision[k])
        if offloads != reference_decision(scenario, device, charge_j[k]):
            # Only a tie up to rounding excuses another decision.
            assert device.time_s(offloads=True) == pytest.approx(device.time_s(offloads=False), rel=1e-9) or (
                device.energy_j(offloads=True) == pytest.approx(device.energy_j(offloads=False), rel=1e-9)
            )
        energy_j = device.energy_j(offloads=offloads)
        assert physics.compute_time_s[k] == pytest.approx(device.compute_time_s(offloads=offloads), rel=1e-9)
        assert physics.transmit_time_s[k] == pytest.approx(device.transmit_time_s(offloads=offloads), rel=1e-9)
        assert physics.energy_j[k] == pytest.approx(min(energy_j, charge_j[k]), rel=1e-9)
        assert physics.arrives[k] == (energy_j <= charge_j[k])
        spent = min(energy_j, charge_j[k]) / energy_j if energy_j else 1.0
        transmit_j = device.power_w * device.transmit_time_s(offloads=offloads)
        assert physics.transmit_energy_j[k] == pytest.approx(transmit_j * spent, rel=1e-9, abs=1e-9 * charge_j[k])
        assert physics.compute_energy_j[k] == pytest.approx(
            (energy_j - transmit_j) * spent, rel=1e-9, abs=1e-9 * charge_j[k]
        )
        assert physics.compute_energy_j[k] + physics.transmit_energy_j[k] == pytest.approx(physics.energy_j[k])
        if offloads:
            assert physics.compute_energy_j[k] == 0
        if physics.arrives[k]:
            arrived_s.append(device.time_s(offloads=offloads))
    assert physics.latency_s == pytest.approx(max(arrived_s), rel=1e-9)
    assert physics.total_energy_j == pytest.approx(physics.energy_j.sum())


def test_without_samples_only_the_update_is_sent() -> None:
    edge = build_edge(paper(), 0)
    physics = sense(edge, 1, full(edge))
    assert not physics.compute_time_s.any()
    assert not physics.compute_energy_j.any()
    assert (physics.transmit_time_s > 0).all()


def test_actual_raw_data_of_no_samples_is_nothing() -> None:
    scenario = paper(radio=Radio(raw_data_reading="actual"), offloading=Offloading(policy="offload"))
    edge = build_edge(scenario, 0)
    physics = sense(edge, 1, full(edge))
    assert physics.latency_s == 0.0
    assert physics.total_energy_j == 0.0
    assert physics.arrives.all()


def test_next_to_the_antenna_transmission_costs_next_to_nothing() -> None:
    near, far = (
        simulate_physics(
            paper(
                blocks=3, topology=Topology(distance_min_m=r, distance_max_m=r), radio=Radio(path_loss_exponent=4.47)
            ),
            0,
        ).energy_j
        for r in (1e-60, 250.0)
    )
    assert (near < far / 20).all()


def test_a_ue_that_runs_dry_sends_nothing_and_then_drops_out() -> None:
    edge = build_edge(paper(), 600)
    cost_j = sense(edge, 1, full(edge)).energy_j
    charge_j = full(edge)
    charge_j[7] = cost_j[7] / 2
    first = sense(edge, 1, charge_j)
    assert np.flatnonzero(~first.arrives).tolist() == [7]
    assert first.energy_j[7] == charge_j[7]
    left_j = debit(charge_j, first.energy_j)
    assert left_j[7] == 0
    second = sense(edge, 2, left_j)
    assert np.flatnonzero(~second.arrives).tolist() == [7]
    assert second.energy_j[7] == 0


@pytest.mark.parametrize("policy", ["local", "offload", "latency"])
def test_the_parts_of_what_a_dry_ue_spends_make_its_whole(policy: Any) -> None:
    edge = build_edge(paper(offloading=Offloading(policy=policy)), 600)
    charge_j = np.geomspace(1e-9, 1e4, edge.world.devices)
    physics = sense(edge, 1, charge_j)
    assert not physics.arrives.all()
    assert physics.compute_energy_j + physics.transmit_energy_j == pytest.approx(physics.energy_j, rel=1e-12)
    assert min(physics.compute_energy_j.min(), physics.transmit_energy_j.min()) >= 0


def test_a_transmission_at_no_rate_takes_all_there_is() -> None:
    edge = build_edge(paper(), 600)
    edge = replace(edge, mean_gain=np.zeros(edge.world.devices))
    charge_j = full(edge)
    physics = sense(edge, 1, charge_j)
    assert not physics.arrives.any()
    assert np.array_equal(physics.transmit_energy_j, charge_j)
    assert not physics.compute_energy_j.any()


def test_who_dropped_out_leaves_its_band_to_the_others() -> None:
    edge = build_edge(paper(radio=Radio(sharing="contending")), 600)
    charge_j = full(edge)
    crowded = sense(edge, 1, charge_j).transmit_time_s
    charge_j[50:] = 0
    assert (sense(edge, 1, charge_j).transmit_time_s[:50] < crowded[:50]).all()


def test_energy_is_conserved_until_the_last_ue_is_empty() -> None:
    scenario = paper(battery=Battery(device_capacity_j=30.0))
    edge = build_edge(scenario, 600)
    initial_j = charge_j = initial_charge_j(scenario.battery, 100, scenario.seed)
    spent_j, active = 0.0, []
    for block in range(1, 51):
        physics = sense(edge, block, charge_j)
        charge_j = debit(charge_j, physics.energy_j)
        spent_j += physics.total_energy_j
        active.append(int(physics.arrives.sum()))
    assert active[0] == 100
    assert active[-1] == 0
    assert active == sorted(active, reverse=True)
    assert spent_j == pytest.approx(initial_j.sum())
    with pytest.raises(NoDeviceLeftError, match="every battery is empty"):
        simulate_physics(scenario, 600)


def test_the_whole_run_is_the_rounds_one_by_one() -> None:
    scenario = paper(battery=Battery(device_capacity_j=100.0))
    history = simulate_physics(scenario, 600)
    edge = build_edge(scenario, 600)
    charge_j = initial_charge_j(scenario.battery, 100, scenario.seed)
    for block in range(1, 51):
        physics = sense(edge, block, charge_j)
        charge_j = debit(charge_j, physics.energy_j)
        assert history.latency_s[block - 1] == physics.latency_s
        assert history.energy_j[block - 1] == physics.total_energy_j
        assert history.arrived[block - 1] == physics.arrives.sum()
    assert np.array_equal(history.charge_j, charge_j)


def test_same_seed_same_bytes() -> None:
    first, again, other = (sense(edge, 4, full(edge)) for edge in (build_edge(paper(seed=s), 600) for s in (9, 9, 10)))
    for field in fields(first):
        assert np.asarray(getattr(first, field.name)).tobytes() == np.asarray(getattr(again, field.name)).tobytes()
    assert first.energy_j.tobytes() != other.energy_j.tobytes()


def test_a_policy_of_ones_own() -> None:
    history = simulate_physics(paper(blocks=2), 600, policy=lambda choices: np.arange(len(choices.charge_j)) < 3)
    assert history.offloaded.tolist() == [3, 3]


def test_a_million_ues_in_less_than_a_second() -> None:
    scenario = paper(topology=Topology(devices=1_000_000, crowding="more_servers"), radio=Radio(sharing="equal_share"))
    edge = build_edge(scenario, 600)
    seconds: list[float] = []
    for block in range(1, 4):
        start = time.process_time()  # others on the machine don't count
        physics = sense(edge, block, full(edge))
        seconds.append(time.process_time() - start)
        assert physics.arrives.sum() == 1_000_000
    assert min(seconds) < 1.0


@pytest.mark.parametrize("world", ["paper", "tdma", "min_time", "optimum"])
def test_memory_grows_as_the_number_of_ues(world: str) -> None:
    small, large = (measure(world, devices).bytes_per_device for devices in (5_000, 40_000))
    assert large == pytest.approx(small, rel=0.1)


@pytest.mark.parametrize("samples", [[600, 600], -1, [[600]]])
def test_samples_that_do_not_fit_are_refused(samples: Any) -> None:
    with pytest.raises(ScenarioError, match=r"topology\.devices"):
        build_edge(paper(), samples)


@pytest.mark.parametrize(
    ("sections", "key"),
    [
        ({"computation": Computation(cycles_per_sample_min=1e9)}, "computation.cycles_per_sample_min"),
        ({"battery": Battery(device_initial_min=1.0, device_initial_max=0.5)}, "battery.device_initial_min"),
        ({"topology": Topology(devices=10_000)}, "topology.devices"),
    ],
)
def test_bad_sections_are_refused_by_their_key(sections: dict[str, Any], key: str) -> None:
    with pytest.raises(ScenarioError) as refusal:
        simulate_physics(paper(**sections), 600)
    assert refusal.value.key == key
