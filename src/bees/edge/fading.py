"""What a channel's gain h_k is made of: path loss by distance, shadowing by place, fading by block.

The paper has the path loss alone, ``h = r^-gamma``. The usual cellular model (3GPP TR 36.814, as in Yang et al., IEEE
TWC 2020) is ``128.1 + 37.6 log10(r in km)`` dB with log-normal shadowing of 8 dB; with Rayleigh fading the power of a
block is the mean power times Exp(1).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bees.core.seeds import generator
from bees.core.units import db_to_ratio
from bees.edge.channel import channel_gain

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bees.scenario import Radio

LOSS_AT_ONE_KM_DB = 128.1
LOSS_PER_DECADE_DB = 37.6


def path_gain(radio: Radio, distance_m: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean gain by distance, a ratio of powers, shape (K,), under ``path_loss``. Infinite at 0 m."""
    if radio.path_loss == "3gpp":
        return cellular_gain(distance_m)
    return db_to_ratio(radio.reference_gain_db) * channel_gain(distance_m, radio.path_loss_exponent)


def cellular_gain(distance_m: NDArray[np.float64]) -> NDArray[np.float64]:
    """``10^-((128.1 + 37.6 log10(r / 1 km)) / 10)``, a ratio of powers, in the shape of ``distance_m``."""
    kilometres = np.asarray(distance_m) / 1000
    with np.errstate(divide="ignore"):
        loss_db = LOSS_AT_ONE_KM_DB + LOSS_PER_DECADE_DB * np.log10(kilometres)
    return np.power(10.0, -loss_db / 10)


def shadowed_gain(radio: Radio, distance_m: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    """Path gain times what stands in the way, shape (K,): it belongs to the place, so it stays for the whole run.

    Args:
        radio: path loss, and the standard deviation of the shadowing in dB.
        distance_m: r, shape (K,).
        seed: of the experiment.
    """
    gain = path_gain(radio, distance_m)
    if radio.shadowing_db == 0:
        return gain
    shadow_db = radio.shadowing_db * generator(seed, "shadowing").standard_normal(len(distance_m))
    return gain * np.power(10.0, shadow_db / 10)


def block_gain(radio: Radio, mean_gain: NDArray[np.float64], seed: int, block: int) -> NDArray[np.float64]:
    """``h_k`` of block t, shape (K,): the mean gain, under Rayleigh fading times Exp(1), drawn anew for each block."""
    if radio.fading == "none":
        return mean_gain
    return mean_gain * generator(seed, "fading", block).exponential(1.0, len(mean_gain))
