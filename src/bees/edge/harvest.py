"""Energy that UEs harvest between blocks, which brings drained ones back.

As in Mao, Zhang and Letaief (IEEE JSAC 2016) what arrives is uniform between nothing and twice the mean, independent
for each UE and block.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bees.core.seeds import generator

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bees.scenario import Battery, Timing


def mean_harvest_j(battery: Battery, timing: Timing) -> float:
    """What a UE harvests per block on average, joule."""
    return battery.harvest_w * timing.interval_s


def harvested_j(battery: Battery, timing: Timing, devices: int, seed: int, block: int) -> NDArray[np.float64]:
    """U(0, 2 mean) of each UE after block t, joule, shape (K,).

    Args:
        battery: harvest_w.
        timing: how long a block's interval lasts.
        devices: K.
        seed: of the experiment.
        block: t.
    """
    most_j = 2 * mean_harvest_j(battery, timing)
    if most_j == 0:
        return np.zeros(devices)
    return generator(seed, "harvest", block).uniform(0.0, most_j, devices)


def charge_up(battery: Battery, charge_j: NDArray[np.float64], gained_j: NDArray[np.float64]) -> NDArray[np.float64]:
    """The charge after ``gained_j`` came in, joule, shape (K,); what a full battery cannot hold is lost."""
    return np.minimum(charge_j + gained_j, np.maximum(charge_j, battery.device_capacity_j))
