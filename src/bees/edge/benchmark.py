"""How long a round of the edge world takes, and how much memory: ``python -m bees.edge.benchmark``.

Only NumPy on one thread is used, so a second core changes nothing.
"""

from __future__ import annotations

import sys
import time
import tracemalloc
from dataclasses import dataclass

import numpy as np

from bees.edge.physics import build_edge, sense
from bees.edge.state import EdgeState
from bees.scenario import Computation, Offloading, Radio, Scenario, Topology

SAMPLES = 600
REPEATS = 3

WORLDS: dict[str, tuple[Radio, Computation, Offloading]] = {
    "paper": (Radio(), Computation(), Offloading()),
    "equal_share, weighted": (Radio(sharing="equal_share"), Computation(), Offloading(policy="weighted")),
    "3gpp, rayleigh, broadcast": (
        Radio(path_loss="3gpp", fading="rayleigh", downlink="broadcast"),
        Computation(),
        Offloading(),
    ),
    "lyapunov": (Radio(), Computation(), Offloading(policy="lyapunov")),
    "fifo queue, offload": (Radio(), Computation(server_queue="fifo"), Offloading(policy="offload")),
    "tdma": (Radio(sharing="tdma"), Computation(), Offloading()),
    "min_time": (Radio(sharing="min_time"), Computation(), Offloading()),
    "min_energy": (Radio(sharing="min_energy"), Computation(), Offloading()),
    "optimum": (Radio(), Computation(), Offloading(policy="optimum")),
}


@dataclass(frozen=True)
class Measured:
    """One world.

    Attributes:
        world: which of ``WORLDS``.
        devices: K.
        seconds: of one round, the best of three.
        bytes_per_device: the most that a round holds beyond the world itself, by UE.
    """

    world: str
    devices: int
    seconds: float
    bytes_per_device: float


def measure(world: str, devices: int) -> Measured:
    """One round of so many UEs, five to a server.

    Args:
        world: which of ``WORLDS``.
        devices: K.
    """
    radio, computation, offloading = WORLDS[world]
    topology = Topology(devices=devices, crowding="more_servers")
    scenario = Scenario(topology=topology, radio=radio, computation=computation, offloading=offloading)
    edge = build_edge(scenario, SAMPLES)
    state = EdgeState.start(np.full(devices, scenario.battery.device_capacity_j))
    seconds: list[float] = []
    for block in range(1, REPEATS + 1):
        begin = time.perf_counter()
        sense(edge, block, state)
        seconds.append(time.perf_counter() - begin)
    tracemalloc.start()
    sense(edge, 1, state)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return Measured(world, devices, min(seconds), peak / devices)


def main() -> None:
    """Measure every world with a million UEs, and print a row for each."""
    for world in WORLDS:
        found = measure(world, 1_000_000)
        of_each = f"{found.seconds:8.3f} s {found.bytes_per_device:7.0f} bytes/UE"
        sys.stdout.write(f"{found.world:28} {found.devices:>10} UEs {of_each}\n")


if __name__ == "__main__":
    main()
