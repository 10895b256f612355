"""Time and energy of either choice for one UE, as pure formulas of their parameters: for phase diagrams and studies.

No scenario is needed, and all arguments broadcast: give two of them as a row and a column, and the result is a table.
UEs here have their band to themselves; what they do to one another stands in :mod:`bees.edge.outcome`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bees.core.units import dbm_to_w
from bees.edge.channel import data_rate_bits_per_s, transmission_time_s
from bees.edge.computation import computation_time_s
from bees.edge.energy import computation_energy_j, total_energy_j, transmission_energy_j

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Values = NDArray[np.float64] | float


@dataclass(frozen=True)
class Cost:
    """Of one choice, in the shape to which the arguments broadcast.

    Attributes:
        compute_time_s: t_k^C (Eq. 4).
        transmit_time_s: t_k^T (Eq. 6).
        compute_energy_j: E_k^C (Eq. 7), 0 where the server computes.
        transmit_energy_j: E_k^T (Eq. 8).
    """

    compute_time_s: NDArray[np.float64]
    transmit_time_s: NDArray[np.float64]
    compute_energy_j: NDArray[np.float64]
    transmit_energy_j: NDArray[np.float64]

    @property
    def time_s(self) -> NDArray[np.float64]:
        """``t_k^C + t_k^T``."""
        return self.compute_time_s + self.transmit_time_s

    @property
    def energy_j(self) -> NDArray[np.float64]:
        """``E_k^total = E_k^T + E_k^C`` (Eq. 9)."""
        return total_energy_j(self.transmit_energy_j, self.compute_energy_j)


def rate_bits_per_s(
    bandwidth_hz: Values, power_w: Values, gain: Values, *, noise_psd_dbm_per_hz: float = -174.0
) -> NDArray[np.float64]:
    """``r_k = b_k log2(1 + p_k h_k / (N0 b_k))`` (Eq. 5 with the noise power), bit/s.

    Args:
        bandwidth_hz: b_k.
        power_w: p_k.
        gain: h_k.
        noise_psd_dbm_per_hz: N0.
    """
    band = np.asarray(bandwidth_hz, dtype=np.float64)
    noise_w = dbm_to_w(noise_psd_dbm_per_hz) * band
    return data_rate_bits_per_s(band, power_w, np.asarray(gain, dtype=np.float64), noise_w)


def local_cost(
    *,
    iterations: Values,
    cycles_per_sample: Values,
    samples: Values,
    cpu_frequency_hz: Values,
    update_bytes: Values,
    rate_bits_per_s: Values,
    power_w: Values,
    effective_capacitance: Values = 1e-28,
) -> Cost:
    """Of computing at home and sending the update.

    Args:
        iterations: L_k of Eq. 4 and 7.
        cycles_per_sample: C_k of the UE.
        samples: n_k.
        cpu_frequency_hz: f_k of the UE.
        update_bytes: L_k of Eq. 6.
        rate_bits_per_s: r_k.
        power_w: p_k.
        effective_capacitance: kappa.
    """
    n, C, f = (np.asarray(value, dtype=np.float64) for value in (samples, cycles_per_sample, cpu_frequency_hz))
    compute_s = computation_time_s(iterations, C, n, f)
    compute_j = computation_energy_j(effective_capacitance, iterations, C, n, f)
    return _cost(compute_s, compute_j, update_bytes, rate_bits_per_s, power_w)


def offload_cost(
    *,
    iterations: Values,
    server_cycles_per_sample: Values,
    samples: Values,
    server_cpu_frequency_hz: Values,
    raw_bytes: Values,
    rate_bits_per_s: Values,
    power_w: Values,
) -> Cost:
    """Of sending the raw data and letting the server compute; the UE pays for the former alone.

    Args:
        iterations: L_k of Eq. 4.
        server_cycles_per_sample: C_k of the server.
        samples: n_k.
        server_cpu_frequency_hz: f_k of the server.
        raw_bytes: L_k of Eq. 6; 0 where the server has the data.
        rate_bits_per_s: r_k.
        power_w: p_k.
    """
    n, C, f = (
        np.asarray(value, dtype=np.float64) for value in (samples, server_cycles_per_sample, server_cpu_frequency_hz)
    )
    return _cost(computation_time_s(iterations, C, n, f), np.array(0.0), raw_bytes, rate_bits_per_s, power_w)


def _cost(
    compute_s: NDArray[np.float64],
    compute_j: NDArray[np.float64],
    size_bytes: Values,
    rate: Values,
    power_w: Values,
) -> Cost:
    send_s = transmission_time_s(size_bytes, np.asarray(rate, dtype=np.float64))
    parts = (compute_s, send_s, compute_j, transmission_energy_j(power_w, send_s))
    return Cost(*np.broadcast_arrays(*parts))
