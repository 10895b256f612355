from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bees.scenario import Crowding, Placement

from bees.core.errors import ScenarioError
from bees.edge.topology import World, build_topology
from bees.scenario import Topology


def test_the_papers_world() -> None:
    world = build_topology(Topology(), seed=0)
    assert world.servers == 20
    assert world.devices == 100
    assert set(world.devices_per_server) <= {3, 4, 5, 6, 7}
    assert world.distance_m.min() >= 100
    assert world.distance_m.max() <= 250


def test_counts_are_spread_over_the_whole_of_u_3_7() -> None:
    counts = np.concatenate([build_topology(Topology(), seed).devices_per_server for seed in range(200)])
    share = np.bincount(counts, minlength=8)[3:] / len(counts)
    assert np.abs(share - 0.2).max() < 0.05


def test_distances_are_uniform() -> None:
    distance_m = build_topology(Topology(devices=10_000, crowding="more_servers"), seed=1).distance_m
    histogram, _ = np.histogram(distance_m, bins=10, range=(100, 250))
    assert np.abs(histogram / 1000 - 1).max() < 0.15


def cannot_be(topology: Topology) -> bool:
    K, least, most = topology.devices, topology.devices_per_server_min, topology.devices_per_server_max
    if topology.crowding == "scaled":
        return topology.server_capacity * topology.servers < K
    return not any(N * least <= K <= N * most for N in range(1, K + 1))


@settings(deadline=None, max_examples=80)
@given(
    devices=st.integers(1, 2000),
    servers=st.integers(1, 60),
    ends=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    crowding=st.sampled_from(["scaled", "more_servers"]),
    placement=st.sampled_from(["drawn", "geometric"]),
    seed=st.integers(0, 2**40),
)
def test_every_world_is_whole(
    devices: int, servers: int, ends: tuple[int, int], crowding: Crowding, placement: Placement, seed: int
) -> None:
    topology = Topology(
        devices=devices,
        servers=servers,
        devices_per_server_min=min(ends),
        devices_per_server_max=max(ends),
        crowding=crowding,
        placement=placement,
    )
    if cannot_be(topology):
        with pytest.raises(ScenarioError, match=r"topology\.devices"):
            build_topology(topology, seed)
        return
    world = build_topology(topology, seed)
    assert world.devices_per_server.sum() == world.devices == devices
    assert world.devices_per_server.max() <= topology.server_capacity
    assert (np.bincount(world.server_of_device, minlength=world.servers) == world.devices_per_server).all()
    assert ((world.distance_m >= 100) & (world.distance_m <= 250)).all()
    if servers * min(ends) <= devices <= servers * max(ends) or crowding == "more_servers":
        assert ((world.devices_per_server >= min(ends)) & (world.devices_per_server <= max(ends))).all()


@pytest.mark.parametrize(("devices", "low", "high"), [(150, 4, 11), (200, 6, 14), (50, 1, 4)])
def test_scaled_widens_the_range_around_the_mean(devices: int, low: int, high: int) -> None:
    counts = np.stack([build_topology(Topology(devices=devices), seed).devices_per_server for seed in range(100)])
    assert counts.shape[1] == 20
    assert (counts.min(), counts.max()) == (low, high)


@pytest.mark.parametrize(("devices", "servers"), [(100, 20), (150, 30), (200, 40), (50, 10)])
def test_more_servers_keeps_u_3_7(devices: int, servers: int) -> None:
    world = build_topology(Topology(devices=devices, crowding="more_servers"), seed=0)
    assert world.servers == servers
    assert set(world.devices_per_server) <= {3, 4, 5, 6, 7}


def test_more_servers_finds_a_number_that_can_make_k_exactly() -> None:
    world = build_topology(Topology(devices=8, crowding="more_servers"), seed=0)
    assert world.devices_per_server.sum() == 8
    assert set(world.devices_per_server) <= {3, 4, 5, 6, 7}


def test_full_to_the_last_place() -> None:
    world = build_topology(Topology(devices=600), seed=0)
    assert (world.devices_per_server == 30).all()


def nearest_by_brute_force(world: World) -> NDArray[np.float64]:
    assert world.server_position_m is not None
    assert world.device_position_m is not None
    gaps = world.device_position_m[:, None, :] - world.server_position_m[None, :, :]
    return np.linalg.norm(gaps, axis=2)


@settings(deadline=None, max_examples=40)
@given(
    devices=st.integers(1, 400),
    near_m=st.floats(0.1, 300),
    width_m=st.sampled_from([0.0, 0.5, 150.0, 1000.0]),
    seed=st.integers(0, 2**32),
)
def test_geometric_takes_the_nearest_of_all_servers(devices: int, near_m: float, width_m: float, seed: int) -> None:
    topology = Topology(devices=devices, placement="geometric", distance_min_m=near_m, distance_max_m=near_m + width_m)
    world = build_topology(topology, seed)
    away_m = nearest_by_brute_force(world)
    assert np.allclose(away_m[np.arange(devices), world.server_of_device], world.distance_m)
    assert (world.distance_m <= away_m.min(axis=1) * (1 + 1e-9)).all()


def test_geometric_coverages_really_overlap() -> None:
    world = build_topology(Topology(placement="geometric"), seed=0)
    within_reach = (nearest_by_brute_force(world) <= 250).sum(axis=1)
    assert (within_reach >= 1).all()
    assert (within_reach >= 2).any()


@pytest.mark.parametrize("placement", ["drawn", "geometric"])
def test_same_seed_same_world_other_seed_other_world(placement: Placement) -> None:
    topology = Topology(placement=placement)
    first, again, other = (build_topology(topology, seed) for seed in (5, 5, 6))
    assert first.distance_m.tobytes() == again.distance_m.tobytes()
    assert first.server_of_device.tobytes() == again.server_of_device.tobytes()
    assert first.distance_m.tobytes() != other.distance_m.tobytes()


@pytest.mark.parametrize("placement", ["drawn", "geometric"])
def test_a_million_devices_in_one_call(placement: Placement) -> None:
    start = time.perf_counter()
    world = build_topology(Topology(devices=1_000_000, crowding="more_servers", placement=placement), seed=0)
    assert time.perf_counter() - start < 10  # a loop over UEs would take minutes on the geometric side
    assert world.servers == 200_000
    assert world.devices_per_server.sum() == 1_000_000


@pytest.mark.parametrize(
    ("section", "key"),
    [
        (Topology(devices=601), "topology.devices"),
        (Topology(devices=2, crowding="more_servers"), "topology.devices"),
        (Topology(devices_per_server_min=8), "topology.devices_per_server_min"),
        (Topology(devices_per_server_max=31), "topology.devices_per_server_max"),
        (Topology(distance_min_m=251.0), "topology.distance_min_m"),
    ],
)
def test_an_impossible_world_is_refused_by_its_key(section: Topology, key: str) -> None:
    with pytest.raises(ScenarioError) as refusal:
        build_topology(section, seed=0)
    assert refusal.value.key == key
    assert key in str(refusal.value)
    assert "\n" not in str(refusal.value)
