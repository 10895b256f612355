"""The wireless channel between a UE and its SBS: gain, bandwidth, data rate (Eq. 5) and transmission time (Eq. 6).

Three things that the paper leaves open are readings of the scenario: "p = 10 dB" (10 W or 10 mW), N0 without a
bandwidth in Eq. 5, and how the UEs share B.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from bees.core.units import db_to_ratio, dbm_to_w

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bees.edge.topology import World
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


def allocated_bandwidth_hz(radio: Radio, world: World, uploading: NDArray[np.bool_]) -> NDArray[np.float64]:
    """``b_k``, the bandwidth that each UE gets, under the reading ``sharing``.

    Args:
        radio: gives B and the reading.
        world: which cell each UE is in, and the users that a cell can carry.
        uploading: which UEs have something to send, shape (K,).

    Returns:
        hertz, shape (K,); 0 for a UE that does not upload.
    """
    match radio.sharing:
        case "per_user_channel":
            sharers = np.array(world.server_capacity)
        case "equal_share":
            in_cell = np.bincount(world.server_of_device, weights=uploading, minlength=world.servers)
            sharers = in_cell[world.server_of_device]
        case "contending":
            sharers = np.count_nonzero(uploading)
        case "full_band":
            sharers = np.array(1)
    share_hz = radio.bandwidth_hz / np.maximum(sharers, 1)
    return np.where(uploading, share_hz, 0.0)


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
    transmit_power_w: float,
    gain: NDArray[np.float64],
    noise_w: NDArray[np.float64],
) -> NDArray[np.float64]:
    """``r_k = b_k log2(1 + p_k h_k / N0)`` (Eq. 5), bit/s, shape (K,). 0 where there is no bandwidth."""
    snr = np.divide(transmit_power_w * gain, noise_w, out=np.zeros_like(bandwidth_hz), where=noise_w > 0)
    # log1p keeps the rate of a very weak signal from being rounded to 0.
    return bandwidth_hz * (np.log1p(snr) / math.log(2))


def transmission_time_s(
    size_bytes: NDArray[np.float64] | float, rate_bits_per_s: NDArray[np.float64]
) -> NDArray[np.float64]:
    """``t_k^T = L_k / r_k`` (Eq. 6), seconds, shape (K,), with L_k in bits.

    0 where nothing is sent, infinite where something is to be sent at no rate.
    """
    size_bits = np.broadcast_to(np.asarray(size_bytes) * float(BITS_PER_BYTE), rate_bits_per_s.shape)
    with np.errstate(divide="ignore"):
        return np.divide(size_bits, rate_bits_per_s, out=np.zeros_like(rate_bits_per_s), where=size_bits > 0)
