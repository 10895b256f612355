"""How the UEs share B (``radio.sharing``): who gets which part of the band, and who has to wait for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bees.edge.allocation import fastest_shares_hz, frugal_shares_hz
from bees.edge.channel import data_rate_bits_per_s, noise_power_w, transmission_time_s
from bees.edge.groups import sum_by_group
from bees.edge.queueing import fifo_wait_s

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bees.edge.situation import Situation

JOINT_SHARINGS = frozenset({"tdma", "min_time", "min_energy"})
"""Under these, what one UE sends changes what the others of its cell get."""


def uplink(
    situation: Situation,
    size_bytes: NDArray[np.float64],
    uploading: NDArray[np.bool_],
    before_s: NDArray[np.float64],
    after_s: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """t_k^T (Eq. 6) of each UE, and how long it waits before that for its turn, seconds, each of shape (K,).

    Args:
        situation: the block.
        size_bytes: what each sends, shape (K,), 0 for who does not upload.
        uploading: who wants a part of the band, shape (K,).
        before_s: when each is ready to send, shape (K,).
        after_s: what follows at the server, shape (K,).
    """
    bandwidth_hz = bandwidth_of_each_hz(situation, size_bytes, uploading, before_s + after_s)
    rate = rate_bits_per_s(situation, bandwidth_hz)
    transmit_s = transmission_time_s(size_bytes, rate)
    if situation.radio.sharing == "tdma":
        return transmit_s, fifo_wait_s(before_s, transmit_s, situation.band, uploading)
    return transmit_s, np.zeros(situation.devices)


def rate_bits_per_s(situation: Situation, bandwidth_hz: NDArray[np.float64]) -> NDArray[np.float64]:
    """r_k (Eq. 5) over these bands, bit/s, shape (K,)."""
    noise_w = noise_power_w(situation.radio, bandwidth_hz)
    return data_rate_bits_per_s(bandwidth_hz, situation.power_w, situation.gain, noise_w)


def bandwidth_of_each_hz(
    situation: Situation,
    size_bytes: NDArray[np.float64],
    uploading: NDArray[np.bool_],
    other_s: NDArray[np.float64],
) -> NDArray[np.float64]:
    """``b_k`` under ``radio.sharing``, hertz, shape (K,); 0 for a UE that does not upload.

    Args:
        situation: the block.
        size_bytes: what each sends, shape (K,).
        uploading: who wants a part, shape (K,).
        other_s: all that takes each UE's time besides sending, shape (K,).
    """
    match situation.radio.sharing:
        case "per_user_channel":
            return equal_shares_hz(situation.radio.bandwidth_hz, np.array(situation.server_capacity), uploading)
        case "equal_share" | "contending":
            sharers = sharers_of_each(situation.band, situation.bands, uploading)
            return equal_shares_hz(situation.radio.bandwidth_hz, sharers, uploading)
        case "full_band" | "tdma":
            return equal_shares_hz(situation.radio.bandwidth_hz, np.array(1), uploading)
        case "min_time":
            return fastest_shares_hz(situation, size_bytes, other_s)
        case "min_energy":
            return frugal_shares_hz(situation, size_bytes)


def sharers_of_each(group: NDArray[np.int64], groups: int, counts: NDArray[np.bool_]) -> NDArray[np.float64]:
    """How many of those that count are in each UE's group, shape (K,)."""
    return sum_by_group(counts, group, groups)[group]


def equal_shares_hz(
    bandwidth_hz: float, sharers: NDArray[np.float64] | NDArray[np.int64], uploading: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """``B / sharers`` for each UE that uploads, hertz, shape (K,)."""
    share_hz = bandwidth_hz / np.maximum(sharers, 1)
    return np.where(uploading, share_hz, 0.0)
