"""Who is where: the SBS (edge servers), their UEs and the distances between them (paper, section IV-A).

Each server gets U(3, 7) UEs and each UE a distance of U(100, 250) m to its server. What the paper leaves open,
how 20 such servers can have 150 or 200 UEs and what the distances mean on a plane, are the readings ``crowding``
and ``placement`` of the scenario.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bees.core.errors import ScenarioError
from bees.core.seeds import generator

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bees.scenario import Topology

_NEIGHBOURS = np.array([(dx, dy) for dx in (-1, 0, 1) for dy in (-1, 0, 1) if (dx, dy) != (0, 0)])
_JITTER = 0.125


@dataclass(frozen=True)
class World:
    """Servers, UEs, and who belongs to whom. UEs of one server have consecutive ids.

    Attributes:
        servers: N, the number of servers that is really used (``crowding`` may change it).
        server_capacity: the most UEs that a server takes.
        server_of_device: id of each UE's server, shape (K,).
        distance_m: r, distance between each UE and its server, shape (K,).
        devices_per_server: shape (N,), sums to K.
        server_position_m: (x, y) of each server, shape (N, 2); None when distances are drawn.
        device_position_m: (x, y) of each UE, shape (K, 2); None when distances are drawn.
    """

    servers: int
    server_capacity: int
    server_of_device: NDArray[np.int64]
    distance_m: NDArray[np.float64]
    devices_per_server: NDArray[np.int64]
    server_position_m: NDArray[np.float64] | None = None
    device_position_m: NDArray[np.float64] | None = None

    @property
    def devices(self) -> int:
        """K, the number of UEs."""
        return len(self.distance_m)


def build_topology(topology: Topology, seed: int) -> World:
    """Draw the world of ``seed``.

    Args:
        topology: the scenario's section.
        seed: of the experiment.

    Raises:
        ScenarioError: no world can be as the section says; names the key at fault.
    """
    _check(topology)
    servers, least, most = _crowd(topology)
    counts = _draw_counts(topology.devices, servers, least, most, generator(seed, "topology", "counts"))
    server_of_device = np.repeat(np.arange(servers), counts)
    rng = generator(seed, "topology", "distance")
    if topology.placement == "drawn":
        distance_m = rng.uniform(topology.distance_min_m, topology.distance_max_m, topology.devices)
        return World(servers, topology.server_capacity, server_of_device, distance_m, counts)
    server_position_m = _place_servers(topology, servers, rng)
    device_position_m = _place_devices(topology, server_position_m, server_of_device, rng)
    distance_m = np.linalg.norm(device_position_m - server_position_m[server_of_device], axis=1)
    # The square root may round across the coverage's border by one ulp.
    distance_m = distance_m.clip(topology.distance_min_m, topology.distance_max_m)
    return World(
        servers, topology.server_capacity, server_of_device, distance_m, counts, server_position_m, device_position_m
    )


def _check(topology: Topology) -> None:
    least, most, capacity = (
        topology.devices_per_server_min,
        topology.devices_per_server_max,
        topology.server_capacity,
    )
    if least > most:
        raise _refusal("devices_per_server_min", least, f"above devices_per_server_max = {most}; lower it")
    if most > capacity:
        raise _refusal("devices_per_server_max", most, f"above server_capacity = {capacity}; lower it")
    near, far = topology.distance_min_m, topology.distance_max_m
    if near > far:
        raise _refusal("distance_min_m", near, f"above distance_max_m = {far:g}; lower it")


def _crowd(topology: Topology) -> tuple[int, int, int]:
    """N, and the ends of the range that devices per server are drawn from, under the reading ``crowding``.

    The range of the section stands as long as N servers can make K with it. If not, ``scaled`` multiplies both ends
    by (K/N) / ((min + max)/2), rounds them outwards and stops at the capacity: U(6, 14) for K = 200, N = 20.
    ``more_servers`` takes the N nearest to K / ((min + max)/2) that can make K.
    """
    K, N = topology.devices, topology.servers
    least, most = topology.devices_per_server_min, topology.devices_per_server_max
    if N * least <= K <= N * most:
        return N, least, most
    middle = (least + most) / 2
    if topology.crowding == "scaled":
        most_that_fit = N * topology.server_capacity
        if most_that_fit < K:
            problem = f"{N} servers of server_capacity = {topology.server_capacity} hold {most_that_fit}"
            raise _refusal("devices", K, f"{problem}; raise servers, or set crowding to 'more_servers'")
        scale = K / (N * middle)
        return N, math.floor(least * scale), min(math.ceil(most * scale), topology.server_capacity)
    fewest, largest = -(-K // most), K // least
    if fewest > largest:
        raise _refusal("devices", K, f"no number of servers with {least} to {most} UEs each makes it; widen the range")
    return min(max(round(K / middle), fewest), largest), least, most


def _draw_counts(devices: int, servers: int, least: int, most: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """U{least, ..., most} for each server, then the fewest single steps that make the sum K.

    A step adds or takes one UE at a server drawn without replacement among those that have room for it, so no count
    leaves the range. The sum of 20 draws misses 100 by about 6, so about 6 of the 20 counts move by one.
    """
    counts = rng.integers(least, most, servers, endpoint=True)
    while missing := devices - int(counts.sum()):
        step = 1 if missing > 0 else -1
        room = np.flatnonzero(counts < most if step > 0 else counts > least)
        counts[rng.choice(room, min(abs(missing), len(room)), replace=False)] += step
    return counts


def _place_servers(topology: Topology, servers: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """A square grid, each server shifted by up to an eighth of the spacing in x and y, shape (N, 2).

    The spacing keeps any two servers at least distance_min + distance_max apart: their coverages overlap, and at
    least a quarter of each still has this server as its nearest.
    """
    spacing_m = (topology.distance_min_m + topology.distance_max_m) / (1 - 2 * _JITTER)
    cell = np.stack(np.divmod(np.arange(servers), _columns(servers)), axis=1)
    return (cell + rng.uniform(-_JITTER, _JITTER, (servers, 2))) * spacing_m


def _place_devices(
    topology: Topology,
    server_position_m: NDArray[np.float64],
    server_of_device: NDArray[np.int64],
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """Uniform over the part of the server's coverage that is nearest to it, shape (K, 2).

    Drawn uniformly over the ring between distance_min and distance_max, and drawn again where another server is
    nearer. At least a quarter is kept each time, so the loop ends after a few dozen passes even for 10^6 UEs.
    """
    position_m = np.empty((len(server_of_device), 2))
    pending = np.arange(len(server_of_device))
    while len(pending):
        server = server_of_device[pending]
        offset_m = _draw_in_ring(topology.distance_min_m, topology.distance_max_m, len(pending), rng)
        position_m[pending] = server_position_m[server] + offset_m
        own_m = np.linalg.norm(offset_m, axis=1)
        pending = pending[_nearest_rival_m(server_position_m, server, position_m[pending]) < own_m]
    return position_m


def _draw_in_ring(inner_m: float, outer_m: float, points: int, rng: np.random.Generator) -> NDArray[np.float64]:
    radius_m = np.sqrt(rng.uniform(inner_m**2, outer_m**2, points))
    angle = rng.uniform(0.0, 2 * math.pi, points)
    return radius_m[:, None] * np.stack((np.cos(angle), np.sin(angle)), axis=1)


def _nearest_rival_m(
    server_position_m: NDArray[np.float64], server: NDArray[np.int64], position_m: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Distance to the nearest of the other servers that could be nearer: the 8 around ``server`` on the grid.

    Two grid cells away a server is at least 1.75 spacings off, more than twice distance_max: never nearer.
    """
    servers = len(server_position_m)
    columns = _columns(servers)
    row, column = np.divmod(server, columns)
    nearest_m = np.full(len(server), np.inf)
    for down, right in _NEIGHBOURS:
        there = (row + down) * columns + column + right
        exists = (column + right >= 0) & (column + right < columns) & (there >= 0) & (there < servers)
        away_m = np.linalg.norm(position_m - server_position_m[np.where(exists, there, 0)], axis=1)
        nearest_m = np.minimum(nearest_m, np.where(exists, away_m, np.inf))
    return nearest_m


def _columns(servers: int) -> int:
    return math.ceil(math.sqrt(servers))


def _refusal(key: str, value: float, problem: str) -> ScenarioError:
    return ScenarioError("scenario", problem, f"topology.{key}", value)
