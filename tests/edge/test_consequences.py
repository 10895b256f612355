"""Deadlines, drop-outs, harvest and bytes, through whole blocks and runs of the edge world."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bees.core.errors import NoDeviceLeftError, ScenarioError
from bees.edge.battery import initial_charge_j
from bees.edge.physics import advance, build_edge, sense, simulate_physics
from bees.edge.state import EdgeState
from bees.scenario import Backhaul, Battery, Computation, Offloading, Radio, Scenario, Timing, Topology

if TYPE_CHECKING:
    from bees.edge.consequences import BlockPhysics
    from bees.edge.physics import Edge


def first_block(scenario: Scenario, samples: int = 600) -> tuple[Edge, EdgeState, BlockPhysics]:
    edge = build_edge(scenario, samples)
    state = EdgeState.start(initial_charge_j(scenario.battery, edge.world.devices, scenario.seed))
    return edge, state, sense(edge, 1, state)


def test_a_straggler_spends_all_that_its_part_costs_and_does_not_arrive() -> None:
    _, _, free = first_block(Scenario())
    deadline_s = float(np.median(free.time_s))
    _, _, physics = first_block(Scenario(timing=Timing(deadline_s=deadline_s)))
    assert np.array_equal(physics.arrives, free.time_s <= deadline_s)
    assert 0 < physics.arrives.sum() < 100
    assert physics.participates.all()
    assert np.array_equal(physics.energy_j, free.energy_j)
    assert physics.latency_s == deadline_s


def test_a_deadline_that_everybody_meets_changes_nothing() -> None:
    free, held = (simulate_physics(Scenario(timing=Timing(deadline_s=s)), 600) for s in (0.0, 10.0))
    assert np.array_equal(free.latency_s, held.latency_s)
    assert np.array_equal(free.energy_j, held.energy_j)


@pytest.mark.parametrize(
    ("changes", "key", "words"),
    [
        ({"timing": Timing(deadline_s=1e-3)}, "timing.deadline_s", "the fastest UE needs 0.0"),
        ({"timing": Timing(deadline_s=1e-6), "radio": Radio(fading="rayleigh")}, "timing.deadline_s", "the fastest UE"),
        (
            {"offloading": Offloading(policy="optimum", raw_data_sent="once"), "radio": Radio(sharing="contending")},
            "offloading.policy",
            "at most 12 UEs, but 100 affect one another",
        ),
        (
            {
                "offloading": Offloading(policy="optimum"),
                "computation": Computation(server_queue="fifo"),
                "topology": Topology(devices=300),
            },
            "offloading.policy",
            "at most 12 UEs, but",
        ),
        ({"radio": Radio(path_loss_exponent=300.0)}, "radio.transmit_power_db", "no UE gets a single bit"),
        ({"radio": Radio(reference_gain_db=-5000.0)}, "radio.transmit_power_db", "no UE gets a single bit"),
    ],
)
def test_a_world_in_which_nothing_can_arrive_is_refused_by_its_key(
    changes: dict[str, Any], key: str, words: str
) -> None:
    with pytest.raises(ScenarioError, match=words) as refusal:
        simulate_physics(Scenario(**changes), 600)
    assert refusal.value.key == key
    assert "\n" not in str(refusal.value)


def test_who_waits_for_a_better_charge_spends_nothing_and_leaves_its_band() -> None:
    low = Battery(device_capacity_j=4.0, device_initial_min=0.0, low_charge="sit_out")
    _, state, physics = first_block(Scenario(battery=low, radio=Radio(sharing="contending")))
    assert 0 < physics.participates.sum() < 100
    assert np.array_equal(physics.participates, physics.arrives)
    assert not physics.energy_j[~physics.participates].any()
    assert (physics.energy_j <= state.charge_j).all()
    dry = Battery(device_capacity_j=4.0, device_initial_min=0.0)
    _, _, crowded = first_block(Scenario(battery=dry, radio=Radio(sharing="contending")))
    both = physics.participates & crowded.participates
    assert (physics.transmit_time_s[both] < crowded.transmit_time_s[both]).all()


def test_harvest_brings_drained_devices_back() -> None:
    sunny = Battery(device_capacity_j=3.0, harvest_w=0.3, low_charge="sit_out")
    history = simulate_physics(Scenario(battery=sunny, blocks=60), 600)
    assert history.arrived.min() < 50
    assert (history.arrived[-20:] > 0).any()
    spent_per_block_j = history.energy_j[-30:].mean() / 100
    assert spent_per_block_j == pytest.approx(0.3, rel=0.15)  # in the long run what comes in goes out


def test_all_empty_at_the_start_is_the_end_unless_something_charges_them() -> None:
    empty: dict[str, Any] = {"device_initial_min": 0.0, "device_initial_max": 0.0}
    with pytest.raises(NoDeviceLeftError, match="no device left at block 1"):
        simulate_physics(Scenario(battery=Battery(**empty)), 600)
    history = simulate_physics(Scenario(battery=Battery(**empty, harvest_w=5.0), blocks=5), 600)
    assert history.arrived[0] == history.charged[0] == history.latency_s[0] == 0
    assert history.arrived[-1] > 0


def test_charge_is_what_was_there_plus_harvest_minus_what_was_spent() -> None:
    scenario = Scenario(battery=Battery(device_capacity_j=1e6, harvest_w=0.5))
    edge, state, physics = first_block(scenario)
    after = advance(edge, 1, state, physics)
    gained_j = after.charge_j - state.charge_j + physics.energy_j
    assert gained_j.mean() == pytest.approx(0.5, rel=0.2)
    assert gained_j.min() > -1e-9
    assert gained_j.max() < 1.0 + 1e-9


def test_sticky_raw_data_is_sent_once_and_then_only_w_g_travels() -> None:
    once = Offloading(policy="offload", raw_data_sent="once")
    radio = Radio(raw_data_reading="actual")
    history = simulate_physics(Scenario(offloading=once, radio=radio, blocks=4), 600)
    assert history.raw_bytes.tolist() == [100 * 600 * 784.0, 0, 0, 0]
    assert history.energy_j[0] > 0
    assert history.energy_j[1:].tolist() == [0, 0, 0]
    assert history.downlink_bytes.tolist() == [100 * 80e3] * 4
    assert history.offloaded.tolist() == [100] * 4
    again = simulate_physics(Scenario(offloading=Offloading(policy="offload"), radio=radio, blocks=4), 600)
    assert again.raw_bytes.tolist() == [100 * 600 * 784.0] * 4


def test_a_sample_that_left_its_owner_counts_once_and_only_if_it_was_sent_whole() -> None:
    radio = Radio(raw_data_reading="actual")
    for sent in ("every_block", "once"):
        scenario = Scenario(offloading=Offloading(policy="offload", raw_data_sent=sent), radio=radio, blocks=3)
        assert simulate_physics(scenario, 600).raw_samples_shared.tolist() == [60_000] * 3
    stays = Scenario(offloading=Offloading(policy="local"), blocks=2)
    assert simulate_physics(stays, 600).raw_samples_shared.tolist() == [0, 0]
    battery = Battery(device_capacity_j=1.0, device_initial_min=1.0)
    dies = Scenario(offloading=Offloading(policy="offload"), radio=radio, battery=battery)
    edge, state = build_edge(dies, 600), EdgeState.start(np.ones(100))
    physics = sense(edge, 1, state)
    shared = advance(edge, 1, state, physics).samples_shared
    assert not physics.arrives.all()
    expected = [int(600 * sent / (600 * 784)) for sent in physics.raw_bytes_sent]
    assert shared.tolist() == expected
    assert 0 < shared.sum() < 60_000


def test_who_has_sent_its_data_once_goes_on_offloading_if_it_is_rational() -> None:
    sticky = Offloading(policy="energy", raw_data_sent="once")
    scenario = Scenario(offloading=sticky, radio=Radio(raw_data_reading="actual"), blocks=3)
    edge = build_edge(scenario, 600)
    state = replace(EdgeState.start(np.full(100, 1e4)), raw_sent=np.arange(100) < 30)
    decision = sense(edge, 1, state).decision
    assert decision[:30].all()
    assert not decision[30:].any()


@pytest.mark.parametrize("policy", ["latency", "energy", "weighted", "lifetime"])
def test_who_looks_ahead_sends_its_data_once_where_that_pays_in_the_end(policy: Any) -> None:
    radio = Radio(raw_data_reading="actual")
    spent_j: dict[str, float] = {}
    offloaded: dict[str, int] = {}
    for lookahead in ("block", "run"):
        offloading = Offloading(policy=policy, raw_data_sent="once", lookahead=lookahead)
        battery = Battery(device_capacity_j=200.0, device_initial_min=1.0)
        history = simulate_physics(Scenario(offloading=offloading, radio=radio, battery=battery), 600)
        spent_j[lookahead], offloaded[lookahead] = history.energy_j.sum(), int(history.offloaded.sum())
    assert offloaded["block"] == 0
    assert offloaded["run"] > 0.9 * 5000
    assert spent_j["run"] < spent_j["block"] / 5


def test_looking_ahead_does_not_help_on_the_last_block() -> None:
    offloading = Offloading(policy="energy", raw_data_sent="once", lookahead="run")
    history = simulate_physics(Scenario(offloading=offloading, radio=Radio(raw_data_reading="actual"), blocks=1), 600)
    assert history.offloaded.tolist() == [0]


def test_lyapunov_wastes_nothing_while_its_battery_is_full() -> None:
    full = Battery(device_initial_min=1.0)
    history = simulate_physics(Scenario(offloading=Offloading(policy="lyapunov"), battery=full, blocks=5), 600)
    assert history.offloaded.tolist() == [0] * 5  # 80 MB are neither faster nor cheaper


def test_data_that_was_sent_while_running_dry_has_not_arrived() -> None:
    scenario = Scenario(
        offloading=Offloading(policy="offload", raw_data_sent="once"),
        radio=Radio(raw_data_reading="actual"),
        battery=Battery(device_capacity_j=3.0, device_initial_min=0.0),
    )
    edge, state, physics = first_block(scenario)
    after = advance(edge, 1, state, physics)
    dry = ~physics.arrives
    assert dry.any()
    assert not after.raw_sent[dry].any()
    assert after.raw_sent[physics.arrives].all()
    # A part of it has left its owner all the same.
    assert ((physics.raw_bytes_sent[dry] > 0) & (physics.raw_bytes_sent[dry] < 600 * 784)).all()


def test_servers_and_their_agreement_cost_time_and_energy() -> None:
    idle = Computation(server_idle_power_w=100.0)
    scenario = Scenario(backhaul=Backhaul(model="full_mesh"), computation=idle)
    _, _, free = first_block(Scenario())
    _, _, physics = first_block(scenario)
    assert physics.agreement_s > 0
    assert physics.latency_s == pytest.approx(free.latency_s + physics.agreement_s)
    assert physics.backhaul_bytes > 19 * 100 * 80e3
    assert physics.server_energy_j > 100.0 * 20 * physics.latency_s
    assert np.array_equal(physics.energy_j, free.energy_j)


def test_a_server_pays_for_those_who_offload_to_it() -> None:
    _, _, physics = first_block(Scenario(offloading=Offloading(policy="offload")))
    # kappa L C n f^2 with C around 200: 1e-28 * 18.6 * 2e2 * 600 * (5.75e9)^2 = 7.4 mJ for each of 100
    assert physics.server_energy_j == pytest.approx(0.74, rel=0.1)
    _, _, at_home = first_block(Scenario())
    assert at_home.server_energy_j == 0


def test_mining_is_reported_and_never_debited() -> None:
    history = simulate_physics(Scenario(blocks=2), 600)
    assert history.mining_energy_j == pytest.approx(2**32 * 4e-6)
    assert history.energy_j.sum() < history.mining_energy_j


@settings(deadline=None, max_examples=40)
@given(
    sharing=st.sampled_from(["per_user_channel", "equal_share", "contending", "tdma", "min_time", "min_energy"]),
    queue=st.sampled_from(["none", "shared", "fifo"]),
    downlink=st.sampled_from(["free", "broadcast", "unicast"]),
    policy=st.sampled_from(["local", "offload", "latency", "weighted", "lifetime", "lyapunov", "optimum"]),
    low_charge=st.sampled_from(["run_dry", "sit_out"]),
    once=st.booleans(),
    fading=st.sampled_from(["none", "rayleigh"]),
    capacity_j=st.sampled_from([1.0, 30.0, 1e6]),
    deadline_s=st.sampled_from([0.0, 0.2, 3.0]),
    seed=st.integers(0, 2**32),
)
def test_whatever_is_switched_on_books_balance_and_the_same_seed_gives_the_same(
    sharing: Any,
    queue: Any,
    downlink: Any,
    policy: Any,
    low_charge: Any,
    once: bool,
    fading: Any,
    capacity_j: float,
    deadline_s: float,
    seed: int,
) -> None:
    scenario = Scenario(
        seed=seed,
        topology=Topology(devices=12, servers=4, devices_per_server_min=1, devices_per_server_max=5),
        radio=Radio(sharing=sharing, downlink=downlink, fading=fading, raw_data_reading="actual", receive_power_w=0.1),
        computation=Computation(server_queue=queue),
        battery=Battery(device_capacity_j=capacity_j, harvest_w=0.1, low_charge=low_charge),
        timing=Timing(deadline_s=deadline_s),
        offloading=Offloading(policy=policy, raw_data_sent="once" if once else "every_block"),
    )
    edge, state, first = first_block(scenario)
    for block in range(1, 4):
        physics = sense(edge, block, state)
        assert (physics.arrives <= physics.participates).all()
        assert (physics.decision <= physics.participates).all()
        assert (physics.energy_j <= state.charge_j).all()
        assert not physics.energy_j[~physics.participates].any()
        assert physics.compute_energy_j + physics.transmit_energy_j == pytest.approx(physics.energy_j, rel=1e-9)
        assert np.isfinite(physics.latency_s)
        if deadline_s:
            assert (physics.time_s[physics.arrives] <= deadline_s).all()
            assert physics.latency_s <= deadline_s
        assert (physics.raw_bytes_sent <= physics.uplink_bytes).all()
        if low_charge == "sit_out" and not deadline_s:
            assert np.array_equal(physics.participates, physics.arrives)
        state = advance(edge, block, state, physics)
        assert ((state.charge_j >= 0) & (state.charge_j <= capacity_j)).all()
    _, _, again = first_block(scenario)
    assert first.energy_j.tobytes() == again.energy_j.tobytes()
    assert first.latency_s == again.latency_s
