"""What a block leads to: who runs dry or comes too late, what everybody has spent, and what went over which link.

A UE that runs dry on the way spends what it has, and its update never arrives. One that misses the deadline spends all
that its part costs, and its update does not count.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bees.edge.backhaul import Agreement, agree
from bees.edge.groups import sum_by_group

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bees.edge.outcome import Outcome
    from bees.edge.situation import Situation
    from bees.scenario import Scenario


@dataclass(frozen=True)
class BlockPhysics:
    """What happened to each UE in one block; arrays have shape (K,) and are 0 (False) for a UE that took no part.

    Attributes:
        participates: who began the block: not empty, and not waiting for a better charge.
        arrives: whose update arrives: the charge covers the block, and it is in time.
        raw_arrives: whose raw data came to its server in this block, late or not.
        decision: d_k, True if it offloads.
        compute_time_s: t_k^C, at the UE or at its server (Eq. 4).
        transmit_time_s: t_k^T (Eq. 6).
        wait_time_s: for w_g, for a turn to send, and in the server's queue.
        compute_energy_j: E_k^C, 0 if it offloads (Eq. 7); of a UE that runs dry, its share of energy_j.
        transmit_energy_j: E_k^T (Eq. 8); likewise, and with what receiving w_g takes.
        energy_j: E_k^total (Eq. 9), but never more than the UE had left.
        raw_bytes_sent: raw data that left its owner.
        uplink_bytes: all that it sent, raw data or update; of a UE that runs dry, the part that it paid for.
        downlink_bytes: of w_g.
        latency_s: of the block: the slowest update that arrives, or the deadline where one is waited for in vain, and
            then the servers' agreement.
        agreement_s: the latter alone.
        total_energy_j: sum of energy_j.
        server_energy_j: of all servers, for computing, radiating, agreeing and idling.
        backhaul_bytes: between the servers.
    """

    participates: NDArray[np.bool_]
    arrives: NDArray[np.bool_]
    raw_arrives: NDArray[np.bool_]
    decision: NDArray[np.bool_]
    compute_time_s: NDArray[np.float64]
    transmit_time_s: NDArray[np.float64]
    wait_time_s: NDArray[np.float64]
    compute_energy_j: NDArray[np.float64]
    transmit_energy_j: NDArray[np.float64]
    energy_j: NDArray[np.float64]
    raw_bytes_sent: NDArray[np.float64]
    uplink_bytes: NDArray[np.float64]
    downlink_bytes: NDArray[np.float64]
    latency_s: float
    agreement_s: float
    total_energy_j: float
    server_energy_j: float
    backhaul_bytes: float

    @property
    def time_s(self) -> NDArray[np.float64]:
        """From the begin of the block to the end of each UE's part, shape (K,)."""
        return self.compute_time_s + self.transmit_time_s + self.wait_time_s


def happen(
    scenario: Scenario,
    situation: Situation,
    decision: NDArray[np.bool_],
    outcome: Outcome,
    charge_j: NDArray[np.float64],
) -> BlockPhysics:
    """What happens when these decisions meet the batteries and the deadline.

    Args:
        scenario: the experiment.
        situation: the block.
        decision: d_k, shape (K,).
        outcome: of these decisions.
        charge_j: what the batteries hold before the block, shape (K,).
    """
    begins, needed_j, time_s = situation.takes_part, outcome.energy_j, outcome.time_s
    covered = begins & (needed_j <= charge_j)
    deadline_s = scenario.timing.deadline_s
    arrives = covered & (time_s <= deadline_s) if deadline_s > 0 else covered
    compute_j, transmit_j = _spent_parts(outcome, charge_j)
    energy_j = np.where(begins, np.minimum(needed_j, charge_j), 0.0)
    uplink_bytes = np.where(begins, outcome.uplink_bytes * _part_sent(outcome, transmit_j), 0.0)
    agreement = _agreement(scenario, situation, decision, arrives)
    latency_s = _last_update_s(time_s, begins, arrives, deadline_s) + agreement.time_s
    offloaded = covered & decision
    return BlockPhysics(
        participates=begins,
        arrives=arrives,
        raw_arrives=offloaded & ~situation.raw_sent,
        decision=decision,
        compute_time_s=np.where(begins, outcome.compute_time_s, 0.0),
        transmit_time_s=np.where(begins, outcome.transmit_time_s, 0.0),
        wait_time_s=np.where(begins, outcome.wait_time_s, 0.0),
        compute_energy_j=np.where(begins, compute_j, 0.0),
        transmit_energy_j=np.where(begins, transmit_j, 0.0),
        energy_j=energy_j,
        raw_bytes_sent=np.where(decision, uplink_bytes, 0.0),
        uplink_bytes=uplink_bytes,
        downlink_bytes=np.where(begins, situation.model_bytes, 0.0),
        latency_s=latency_s,
        agreement_s=agreement.time_s,
        total_energy_j=float(energy_j.sum()),
        server_energy_j=float(
            np.sum(situation.server_compute_j, where=offloaded)
            + situation.radiated_j
            + agreement.energy_j
            + scenario.computation.server_idle_power_w * situation.cells * latency_s
        ),
        backhaul_bytes=agreement.sent_bytes,
    )


def _spent_parts(outcome: Outcome, charge_j: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """E_k^C and E_k^T as spent: a UE that runs dry spends what it has on both in proportion, shape (K,)."""
    runs_dry = outcome.energy_j > charge_j
    share = np.divide(charge_j, outcome.energy_j, out=np.ones_like(charge_j), where=runs_dry)
    compute_j = outcome.compute_energy_j * share
    # By subtraction, since a transmission at no rate would cost an infinite energy.
    left_j = np.maximum(charge_j - compute_j, 0.0)
    return compute_j, np.where(runs_dry, left_j, outcome.transmit_energy_j + outcome.receive_energy_j)


def _part_sent(outcome: Outcome, transmit_j: NDArray[np.float64]) -> NDArray[np.float64]:
    """Which part of its transmission each UE has paid for, from 0 to 1, shape (K,)."""
    needed_j = outcome.transmit_energy_j + outcome.receive_energy_j
    part = np.divide(transmit_j, needed_j, out=np.ones_like(transmit_j), where=needed_j > 0)
    return np.minimum(part, 1.0)


def _last_update_s(
    time_s: NDArray[np.float64], begins: NDArray[np.bool_], arrives: NDArray[np.bool_], deadline_s: float
) -> float:
    """When the servers stop waiting: with the last update, or at the deadline if one of them does not come."""
    if deadline_s > 0 and bool((begins & ~arrives).any()):
        return deadline_s
    return float(np.max(time_s, where=arrives, initial=0.0))


def _agreement(
    scenario: Scenario, situation: Situation, decision: NDArray[np.bool_], arrives: NDArray[np.bool_]
) -> Agreement:
    """Of an update for each that arrives, a delegation for each that offloads, an attestation each, and the result."""
    at_server = sum_by_group(arrives, situation.cell, situation.cells)
    bytes_at_server = sum_by_group(arrives * situation.update_bytes, situation.cell, situation.cells)
    transactions = float(at_server.sum()) + int((decision & arrives).sum()) + situation.cells + 1
    return agree(
        scenario.backhaul,
        situation.cells,
        transactions,
        float(bytes_at_server.sum()),
        float(bytes_at_server.max()),
    )
