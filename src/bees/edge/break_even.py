"""When a UE should offload, in closed form: up to which size of its raw data, and at which clock, that costs it less.

Setting the two costs of :mod:`bees.edge.costs` equal, with s bytes of raw data that serve m blocks (1, if they are sent
anew each time) and u bytes of an update, at the rate r:

    by energy:   ``8 p (s/m - u) / r < kappa L C n f^2``
    by latency:  ``8 (s/m - u) / r < L n (C/f - C_s/f_s)``

Both are linear in s, C and n, and both fall apart into "what sending costs more" and "what computing costs". A fast
clock f makes the left one true and the right one false: between two clocks offloading wins by both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bees.edge.channel import BITS_PER_BYTE
from bees.edge.costs import local_cost, offload_cost

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bees.edge.costs import Cost

    Values = NDArray[np.float64] | float


@dataclass(frozen=True, kw_only=True)
class Trade:
    """What decides between the two choices of one UE; all values broadcast.

    Attributes:
        raw_bytes: s, the UE's raw data.
        update_bytes: u.
        blocks: m, how many blocks one transmission of the raw data serves.
        rate_bits_per_s: r.
        power_w: p.
        iterations: L of Eq. 4 and 7.
        samples: n.
        cycles_per_sample: C of the UE.
        cpu_frequency_hz: f of the UE.
        effective_capacitance: kappa of the UE.
        server_cycles_per_sample: C_s.
        server_cpu_frequency_hz: f_s.
    """

    raw_bytes: Values
    update_bytes: Values
    blocks: Values
    rate_bits_per_s: Values
    power_w: Values
    iterations: Values
    samples: Values
    cycles_per_sample: Values
    cpu_frequency_hz: Values
    effective_capacitance: Values
    server_cycles_per_sample: Values
    server_cpu_frequency_hz: Values

    def local(self) -> Cost:
        """Of a block in which the UE computes."""
        return local_cost(
            iterations=self.iterations,
            cycles_per_sample=self.cycles_per_sample,
            samples=self.samples,
            cpu_frequency_hz=self.cpu_frequency_hz,
            update_bytes=self.update_bytes,
            rate_bits_per_s=self.rate_bits_per_s,
            power_w=self.power_w,
            effective_capacitance=self.effective_capacitance,
        )

    def offload(self) -> Cost:
        """Of a block in which it offloads, as a mean over the m blocks that share one transmission."""
        return offload_cost(
            iterations=self.iterations,
            server_cycles_per_sample=self.server_cycles_per_sample,
            samples=self.samples,
            server_cpu_frequency_hz=self.server_cpu_frequency_hz,
            raw_bytes=np.asarray(self.raw_bytes) / self.blocks,
            rate_bits_per_s=self.rate_bits_per_s,
            power_w=self.power_w,
        )


def most_raw_bytes_by_energy(trade: Trade) -> NDArray[np.float64]:
    """``s_E = m (u + r kappa L C n f^2 / (8 p))``: less raw data than this is cheaper to send than to train on.

    Args:
        trade: its ``raw_bytes`` are not looked at.
    """
    cycles = np.asarray(trade.iterations * trade.cycles_per_sample * trade.samples)
    compute_j = trade.effective_capacitance * cycles * np.square(trade.cpu_frequency_hz)
    return trade.blocks * (trade.update_bytes + trade.rate_bits_per_s * compute_j / (BITS_PER_BYTE * trade.power_w))


def most_raw_bytes_by_latency(trade: Trade) -> NDArray[np.float64]:
    """``s_T = m (u + r L n (C/f - C_s/f_s) / 8)``: less raw data than this is sooner sent than trained on.

    Negative where no data is so small, since the server needs longer than the UE and its update.

    Args:
        trade: its ``raw_bytes`` are not looked at.
    """
    server_s = np.asarray(trade.server_cycles_per_sample) / trade.server_cpu_frequency_hz
    saved_s = (
        trade.iterations * trade.samples * (np.asarray(trade.cycles_per_sample) / trade.cpu_frequency_hz - server_s)
    )
    return trade.blocks * (trade.update_bytes + trade.rate_bits_per_s * saved_s / BITS_PER_BYTE)


def least_clock_by_energy_hz(trade: Trade) -> NDArray[np.float64]:
    """``f_E = sqrt(8 p (s/m - u) / (r kappa L C n))``: above it the UE saves energy by offloading; 0 if at any clock.

    Args:
        trade: its ``cpu_frequency_hz`` is not looked at.
    """
    cycles = np.asarray(trade.iterations * trade.cycles_per_sample * trade.samples)
    more_j = trade.power_w * _more_s(trade)
    return np.sqrt(np.maximum(more_j, 0.0) / (trade.effective_capacitance * cycles))


def most_clock_by_latency_hz(trade: Trade) -> NDArray[np.float64]:
    """``f_T = L C n / (L C_s n / f_s + 8 (s/m - u) / r)``: below it the UE saves time by offloading.

    Infinite if it does at any clock.

    Args:
        trade: its ``cpu_frequency_hz`` is not looked at.
    """
    cycles = np.asarray(trade.iterations * trade.cycles_per_sample * trade.samples)
    server_s = trade.iterations * trade.server_cycles_per_sample * trade.samples / trade.server_cpu_frequency_hz
    allowed_s = np.asarray(server_s + _more_s(trade))
    cycles, allowed_s = np.broadcast_arrays(cycles, allowed_s)
    return np.divide(cycles, allowed_s, out=np.full(allowed_s.shape, np.inf), where=allowed_s > 0)


def _more_s(trade: Trade) -> NDArray[np.float64]:
    """How much longer the raw data takes to send than the update: ``8 (s/m - u) / r``."""
    more_bytes = np.asarray(trade.raw_bytes) / trade.blocks - trade.update_bytes
    return BITS_PER_BYTE * more_bytes / trade.rate_bits_per_s
