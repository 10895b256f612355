"""Worlds in which policies are compared, and what a policy does to the UEs in one of them.

Each world is a preset and a few changes to it, named for what it adds to the paper's. The sizes of small batteries are
chosen so that computing at home empties them within the 50 blocks of a run.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from blake3 import blake3

from bees.core.errors import NoDeviceLeftError
from bees.edge.battery import initial_charge_j, is_charged
from bees.edge.history import row_of
from bees.edge.physics import advance, build_edge, refuse_the_end, sense
from bees.edge.state import EdgeState
from bees.experiment import split_data
from bees.scenario import Learning, Ledger, Scenario, Topology
from bees.scenario_file import load_scenario

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

REAL = ("radio.raw_data_reading=actual",)
STICKY = (*REAL, "offloading.raw_data_sent=once", "offloading.lookahead=run")
SMALL = ("battery.device_capacity_j=20",)
HARVEST = (*SMALL, "battery.harvest_w=0.6", "battery.low_charge=sit_out")
DEADLINE = ("timing.deadline_s=0.1",)
CELLULAR = (
    "radio.path_loss=3gpp",
    "radio.shadowing_db=8",
    "radio.fading=rayleigh",
    "radio.sharing=equal_share",
    "radio.downlink=broadcast",
    "backhaul.model=full_mesh",
    "computation.server_queue=fifo",
)

WORLDS: dict[str, tuple[str, tuple[str, ...]]] = {
    "paper": ("paper", ()),
    "paper, once": ("paper", ("offloading.raw_data_sent=once", "offloading.lookahead=run")),
    "real size": ("paper", REAL),
    "sticky": ("paper", STICKY),
    "3gpp": ("sound", (*REAL, *CELLULAR)),
    "3gpp, sticky": ("sound", (*STICKY, *CELLULAR)),
    "small batteries": ("paper", (*REAL, *SMALL)),
    "small batteries, sticky": ("paper", (*STICKY, *SMALL)),
    "harvest": ("paper", (*REAL, *HARVEST)),
    "harvest, sticky": ("paper", (*STICKY, *HARVEST)),
    "deadline": ("paper", (*REAL, *DEADLINE)),
    "deadline, sticky": ("paper", (*STICKY, *DEADLINE)),
}
"""By name: the preset, and the changes to it."""

POLICIES = ("local", "offload", "latency", "energy", "weighted", "battery", "lifetime", "lyapunov", "optimum")

LEARNT = (
    ("paper", "local"),
    ("real size", "offload"),
    ("sticky", "latency"),
    ("small batteries", "local"),
    ("small batteries, sticky", "lifetime"),
    ("deadline", "local"),
    ("harvest", "local"),
    ("harvest, sticky", "energy"),
    ("deadline, sticky", "latency"),
)
"""World and policy of the pairs of which the accuracy is measured too; the most telling ones first."""


@dataclass
class Course:
    """What happened to the edge world, block by block, up to the end or until nobody was left.

    Attributes:
        rows: a block each, by the names of ``PhysicsHistory``; that in which the last UE ran dry is one too.
        arrivals: whose update arrived in each block that the full simulation finishes, shape (K,) each.
        charged_at_end: UEs that are not empty after the last of them.
        ended_at: the block at which nobody was left, or None.
    """

    rows: list[dict[str, float]] = field(default_factory=list[dict[str, float]])
    arrivals: list[NDArray[np.bool_]] = field(default_factory=list["NDArray[np.bool_]"])
    charged_at_end: int = 0
    ended_at: int | None = None

    @property
    def pattern(self) -> str:
        """A hash of who arrived when: where it is the same, the same is learnt."""
        return blake3(np.packbits(np.array(self.arrivals), axis=1).tobytes()).hexdigest()[:16]


def scenario_of(world: str, policy: str, seed: int, changes: Sequence[str] = ()) -> Scenario:
    """The scenario of one policy in one world."""
    return load_scenario(WORLDS[world][0], knobs_of(world, policy, seed, changes))


def knobs_of(world: str, policy: str, seed: int, changes: Sequence[str] = ()) -> tuple[str, ...]:
    """All ``key=value`` changes to the world's preset."""
    return (*WORLDS[world][1], *changes, f"offloading.policy={policy}", f"seed={seed}")


def run_course(scenario: Scenario) -> Course:
    """Physics alone, as ``simulate_physics`` has them, but with what happened before nobody was left.

    Raises:
        ScenarioError: the scenario makes no world, or one that the policy is not made for.
    """
    samples, sample_bytes = _samples(scenario.learning, scenario.topology, scenario.ledger, scenario.seed)
    edge = build_edge(scenario, samples, sample_bytes=sample_bytes)
    state = EdgeState.start(initial_charge_j(scenario.battery, edge.world.devices, scenario.seed))
    course = Course()
    for block in range(1, scenario.blocks + 1):
        physics = sense(edge, block, state)
        before, state = state, advance(edge, block, state, physics)
        course.rows.append(row_of(physics, before, state))
        try:
            refuse_the_end(edge, block, physics, state)
        except NoDeviceLeftError as end:
            course.ended_at = end.round
            break
        course.arrivals.append(physics.arrives)
    course.charged_at_end = int(is_charged(state.charge_j).sum())
    return course


@lru_cache(maxsize=8)
def _samples(learning: Learning, topology: Topology, ledger: Ledger, seed: int) -> tuple[NDArray[np.int64], int]:
    data = split_data(Scenario(learning=learning, topology=topology, ledger=ledger, seed=seed))
    return data.samples, data.sample_bytes
