"""A run of the edge world without learning, block by block: what the figures of latency and energy are drawn from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bees.edge.battery import is_charged

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bees.edge.consequences import BlockPhysics
    from bees.edge.state import EdgeState


@dataclass(frozen=True)
class PhysicsHistory:
    """A run of T blocks without learning; arrays have shape (T,) unless they say otherwise.

    Attributes:
        latency_s: of each block.
        energy_j: of each block, all UEs together.
        server_energy_j: of each block, all servers together.
        charged: UEs that were not empty when the block began: the survival curve.
        participated: UEs that began the block.
        arrived: UEs whose update arrived.
        offloaded: UEs whose update arrived and that offloaded.
        raw_bytes: raw data that left their owners.
        raw_samples_shared: distinct samples that have left their owners in this block or before.
        uplink_bytes: all that UEs sent.
        downlink_bytes: all that UEs received.
        backhaul_bytes: all that servers sent to one another.
        charge_j: what the batteries hold at the end, shape (K,).
        mining_energy_j: what mining one block by Proof of Work would have cost, a number.
    """

    latency_s: NDArray[np.float64]
    energy_j: NDArray[np.float64]
    server_energy_j: NDArray[np.float64]
    charged: NDArray[np.int64]
    participated: NDArray[np.int64]
    arrived: NDArray[np.int64]
    offloaded: NDArray[np.int64]
    raw_bytes: NDArray[np.float64]
    raw_samples_shared: NDArray[np.int64]
    uplink_bytes: NDArray[np.float64]
    downlink_bytes: NDArray[np.float64]
    backhaul_bytes: NDArray[np.float64]
    charge_j: NDArray[np.float64]
    mining_energy_j: float

    @property
    def cumulative_latency_s(self) -> NDArray[np.float64]:
        """End-to-end latency after each block, the curve of Figure 5."""
        return np.cumsum(self.latency_s)

    @property
    def cumulative_energy_j(self) -> NDArray[np.float64]:
        """Energy consumed after each block, the curves of Figures 6 to 8."""
        return np.cumsum(self.energy_j)


def row_of(physics: BlockPhysics, before: EdgeState, after: EdgeState) -> dict[str, float]:
    """One block of a ``PhysicsHistory``, by the names of its arrays.

    Args:
        physics: what happened in it.
        before: the state when it began.
        after: the state when the next one begins.
    """
    return {
        "latency_s": physics.latency_s,
        "energy_j": physics.total_energy_j,
        "server_energy_j": physics.server_energy_j,
        "charged": int(is_charged(before.charge_j).sum()),
        "participated": int(physics.participates.sum()),
        "arrived": int(physics.arrives.sum()),
        "offloaded": int((physics.decision & physics.arrives).sum()),
        "raw_bytes": float(physics.raw_bytes_sent.sum()),
        "raw_samples_shared": int(after.samples_shared.sum()),
        "uplink_bytes": float(physics.uplink_bytes.sum()),
        "downlink_bytes": float(physics.downlink_bytes.sum()),
        "backhaul_bytes": physics.backhaul_bytes,
    }


def history_of(rows: list[dict[str, float]], last: EdgeState, mining_j: float) -> PhysicsHistory:
    """All blocks of a run, from a row for each.

    Args:
        rows: in the order of the blocks.
        last: the state after them.
        mining_j: of one block by Proof of Work.
    """
    columns: dict[str, NDArray[Any]] = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    return PhysicsHistory(**columns, charge_j=last.charge_j, mining_energy_j=mining_j)
