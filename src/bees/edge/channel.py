"""The wireless channel between a UE and its SBS: gain, bandwidth, data rate (Eq. 5) and transmission time (Eq. 6).

Two things that the paper leaves open are readings of the scenario: "p = 10 dB" (10 W or 10 mW), and N0 without a
bandwidth in Eq. 5. How the UEs share B stands in :mod:`bees.edge.sharing`. All functions take arrays of any shapes that
broadcast against one another.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from bees.core.units import db_to_ratio, dbm_to_w

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bees.scenario import Radio

BITS_PER_BYTE = 8


def transmit_power_w(radio: Radio) -> float:
    """``p`` in watt, under the reading ``power_reading``: 10 dB are 10 W, or 10 dBm and so 10 mW."""
    if radio.power_reading == "db_watt":
        return db_to_ratio(radio.transmit_power_db)
    return dbm_to_w(radio.transmit_power_db)


def channel_gain(distance_m: NDArray[np.float64], path_loss_exponent: float) -> NDArray[np.float64]:
    """``h_k = r^-gamma``, a ratio of powers, shape (K,). Infinite at 0 m."""
    with np.errstate(divide="ignore", over="ignore"):
        return np.power(distance_m, -path_loss_exponent)


def noise_power_w(radio: Radio, bandwidth_hz: NDArray[np.float64]) -> NDArray[np.float64]:
    """What divides ``p_k h_k`` in Eq. 5, shape (K,), under the reading ``noise_reading``.

    ``psd_times_bandwidth``: ``N0 b_k``, the noise power in watt. ``psd_only``: the number ``N0`` in W/Hz, as printed,
    which is the noise power in 1 Hz.
    """
    psd_w_per_hz = dbm_to_w(radio.noise_psd_dbm_per_hz)
    if radio.noise_reading == "psd_times_bandwidth":
        return psd_w_per_hz * bandwidth_hz
    return np.full_like(bandwidth_hz, psd_w_per_hz)


def data_rate_bits_per_s(
    bandwidth_hz: NDArray[np.float64],
    transmit_power_w: NDArray[np.float64] | float,
    gain: NDArray[np.float64],
    noise_w: NDArray[np.float64],
) -> NDArray[np.float64]:
    """``r_k = b_k log2(1 + p_k h_k / N0)`` (Eq. 5), bit/s, shape (K,). 0 where there is no bandwidth."""
    received_w, noise_w, bandwidth_hz = np.broadcast_arrays(transmit_power_w * gain, noise_w, bandwidth_hz)
    heard = (noise_w > 0) & (bandwidth_hz > 0)
    with np.errstate(over="ignore"):
        snr = np.divide(received_w, noise_w, out=np.zeros(heard.shape), where=heard)
    # log1p keeps the rate of a very weak signal from being rounded to 0.
    return bandwidth_hz * (np.log1p(snr) / math.log(2))


def transmission_time_s(
    size_bytes: NDArray[np.float64] | float, rate_bits_per_s: NDArray[np.float64]
) -> NDArray[np.float64]:
    """``t_k^T = L_k / r_k`` (Eq. 6), seconds, shape (K,), with L_k in bits.

    0 where nothing is sent, infinite where something is to be sent at no rate.
    """
    size_bits, rate = np.broadcast_arrays(np.asarray(size_bytes) * float(BITS_PER_BYTE), rate_bits_per_s)
    with np.errstate(divide="ignore"):
        return np.divide(size_bits, rate, out=np.zeros(rate.shape), where=size_bits > 0)
