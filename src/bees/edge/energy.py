"""What a block costs a UE: computation (Eq. 7), transmission (Eq. 8) and their sum (Eq. 9)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Values = NDArray[np.float64] | float
    Samples = NDArray[np.int64] | NDArray[np.float64]


def computation_energy_j(
    effective_capacitance: Values,
    iterations: Values,
    cycles_per_sample: NDArray[np.float64],
    samples: Samples,
    cpu_frequency_hz: Values,
) -> NDArray[np.float64]:
    """``E_k^C = kappa L_k C_k n_k f_k^2`` (Eq. 7), joule; arrays broadcast."""
    return effective_capacitance * iterations * cycles_per_sample * samples * cpu_frequency_hz**2


def transmission_energy_j(transmit_power_w: Values, transmission_time_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """``E_k^T = p_k t_k^T`` (Eq. 8), joule; arrays broadcast."""
    return transmit_power_w * transmission_time_s


def total_energy_j(
    transmission_energy_j: NDArray[np.float64], computation_energy_j: NDArray[np.float64]
) -> NDArray[np.float64]:
    """``E_k^total = E_k^T + E_k^C`` (Eq. 9), joule; arrays broadcast."""
    return transmission_energy_j + computation_energy_j
