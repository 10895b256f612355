"""What comes of a joint decision: times and energies of all UEs of a block, with all that they do to one another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bees.edge.energy import total_energy_j, transmission_energy_j
from bees.edge.queueing import fifo_wait_s
from bees.edge.sharing import sharers_of_each, uplink

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bees.edge.situation import Situation


@dataclass(frozen=True)
class Outcome:
    """Times and energies of each UE in one block, shape (K,); what a UE that takes no part has here means nothing.

    Attributes:
        compute_time_s: t_k^C, at the UE or at its server (Eq. 4).
        transmit_time_s: t_k^T (Eq. 6).
        wait_time_s: for the download of w_g, for its turn to send, and in the server's queue.
        compute_energy_j: E_k^C, 0 if it offloads (Eq. 7).
        transmit_energy_j: E_k^T (Eq. 8).
        receive_energy_j: of the download.
        uplink_bytes: what it sends.
    """

    compute_time_s: NDArray[np.float64]
    transmit_time_s: NDArray[np.float64]
    wait_time_s: NDArray[np.float64]
    compute_energy_j: NDArray[np.float64]
    transmit_energy_j: NDArray[np.float64]
    receive_energy_j: NDArray[np.float64]
    uplink_bytes: NDArray[np.float64]

    @property
    def time_s(self) -> NDArray[np.float64]:
        """From the begin of the block to the end of this UE's part, shape (K,)."""
        return self.compute_time_s + self.transmit_time_s + self.wait_time_s

    @property
    def energy_j(self) -> NDArray[np.float64]:
        """``E_k^total`` (Eq. 9), and what receiving takes, shape (K,)."""
        return total_energy_j(self.transmit_energy_j, self.compute_energy_j) + self.receive_energy_j


def realise(situation: Situation, decision: NDArray[np.bool_]) -> Outcome:
    """What comes of the decisions d_k of all UEs together.

    A UE that computes receives w_g, computes, waits for its turn and sends. One that offloads sends its raw data,
    unless its server has them, and the server computes when it comes to it.

    Args:
        situation: the block.
        decision: d_k, shape (K,); True offloads.
    """
    nothing = np.zeros(situation.devices)
    uploading = situation.takes_part & ~(decision & situation.raw_sent)
    size_bytes = np.where(uploading, np.where(decision, situation.raw_bytes, situation.update_bytes), 0.0)
    before_s = situation.download_s + np.where(decision, 0.0, situation.local_compute_s)
    after_s = np.where(decision, situation.server_compute_s, 0.0)
    transmit_s, turn_s = uplink(situation, size_bytes, uploading, before_s, after_s)
    queue_s = _queue_s(situation, decision & situation.takes_part, before_s + turn_s + transmit_s)
    return Outcome(
        compute_time_s=np.where(decision, situation.server_compute_s, situation.local_compute_s),
        transmit_time_s=transmit_s,
        wait_time_s=situation.download_s + turn_s + queue_s,
        compute_energy_j=np.where(decision, nothing, situation.local_compute_j),
        transmit_energy_j=transmission_energy_j(situation.power_w, transmit_s),
        receive_energy_j=situation.download_j,
        uplink_bytes=size_bytes,
    )


def _queue_s(situation: Situation, offloads: NDArray[np.bool_], arrival_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """What the others at the server cost each UE that offloads, seconds, shape (K,), under ``server_queue``."""
    match situation.server_queue:
        case "none":
            return np.zeros(situation.devices)
        case "shared":
            others = sharers_of_each(situation.cell, situation.cells, offloads) - 1
            return np.where(offloads, situation.server_compute_s * others, 0.0)
        case "fifo":
            return fifo_wait_s(arrival_s, situation.server_compute_s, situation.cell, offloads)
