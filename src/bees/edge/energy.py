"""What a block costs a UE: computation (Eq. 7), transmission (Eq. 8) and their sum (Eq. 9)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def computation_energy_j(
    effective_capacitance: float,
    iterations: float,
    cycles_per_sample: NDArray[np.float64],
    samples: NDArray[np.int64],
    cpu_frequency_hz: float,
) -> NDArray[np.float64]:
    """``E_k^C = kappa L_k C_k n_k f_k^2`` (Eq. 7), joule, shape (K,)."""
    return effective_capacitance * iterations * cycles_per_sample * samples * cpu_frequency_hz**2


def transmission_energy_j(transmit_power_w: float, transmission_time_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """``E_k^T = p_k t_k^T`` (Eq. 8), joule, shape (K,)."""
    return transmit_power_w * transmission_time_s


def total_energy_j(
    transmission_energy_j: NDArray[np.float64], computation_energy_j: NDArray[np.float64]
) -> NDArray[np.float64]:
    """``E_k^total = E_k^T + E_k^C`` (Eq. 9), joule, shape (K,)."""
    return transmission_energy_j + computation_energy_j
