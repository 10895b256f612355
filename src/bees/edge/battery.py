"""Batteries of the UEs: what they hold at first, what a block takes, and who drops out.

A UE joins a block with whatever charge it has. If that does not cover the block it runs dry on the way: what is left
is spent, its update never arrives, and from then on it is empty and out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bees.core.errors import ScenarioError
from bees.core.seeds import generator

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bees.scenario import Battery


def check_battery(battery: Battery) -> None:
    """Refuse a range of initial charges that is upside down.

    Raises:
        ScenarioError: names the key.
    """
    least, most = battery.device_initial_min, battery.device_initial_max
    if least > most:
        problem = f"above device_initial_max = {most:g}; lower it"
        raise ScenarioError("scenario", problem, "battery.device_initial_min", least)


def initial_charge_j(battery: Battery, devices: int, seed: int) -> NDArray[np.float64]:
    """What each UE holds before the first block, joule, shape (K,): a uniform fraction of the capacity.

    Raises:
        ScenarioError: device_initial_min is above device_initial_max.
    """
    check_battery(battery)
    fraction = generator(seed, "battery").uniform(battery.device_initial_min, battery.device_initial_max, devices)
    return battery.device_capacity_j * fraction


def is_charged(charge_j: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Who is not empty, and so takes part, shape (K,)."""
    return charge_j > 0


def debit(charge_j: NDArray[np.float64], energy_j: NDArray[np.float64]) -> NDArray[np.float64]:
    """The charge after ``energy_j`` is spent, joule, shape (K,); an empty battery stays at 0."""
    return np.maximum(charge_j - energy_j, 0.0)
