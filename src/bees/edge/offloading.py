"""The decision d_k: compute at home (0) or offload the raw data to the edge server (1).

A policy is any function from ``Choices`` to an array of booleans; those that ship are in ``POLICIES``. On a tie the
data stays home.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

import numpy as np

from bees.core.errors import ScenarioError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray


@dataclass(frozen=True)
class Choices:
    """What each UE knows when it decides; arrays have shape (K,).

    Attributes:
        local_time_s: of computing at home and sending the update.
        offload_time_s: of sending the raw data and computing at the server.
        local_energy_j: what the former takes from the UE's battery.
        offload_energy_j: what the latter takes from it.
        charge_j: what the battery holds.
        capacity_j: what a full battery holds.
        battery_threshold: fraction of the capacity below which ``battery`` offloads.
    """

    local_time_s: NDArray[np.float64]
    offload_time_s: NDArray[np.float64]
    local_energy_j: NDArray[np.float64]
    offload_energy_j: NDArray[np.float64]
    charge_j: NDArray[np.float64]
    capacity_j: float
    battery_threshold: float


class Policy(Protocol):
    """A pure function of ``Choices``."""

    def __call__(self, choices: Choices, /) -> NDArray[np.bool_]:
        """d_k of each UE, shape (K,); True offloads."""
        ...


def always_local(choices: Choices) -> NDArray[np.bool_]:
    """Nobody offloads, as in B-EI."""
    return np.zeros(choices.charge_j.shape, dtype=np.bool_)


def always_offload(choices: Choices) -> NDArray[np.bool_]:
    """Everybody offloads."""
    return np.ones(choices.charge_j.shape, dtype=np.bool_)


def least_latency(choices: Choices) -> NDArray[np.bool_]:
    """Offload where that is sooner done ("whichever leads to lower latency", section I)."""
    return choices.offload_time_s < choices.local_time_s


def least_energy(choices: Choices) -> NDArray[np.bool_]:
    """Offload where that takes less from the UE's battery."""
    return choices.offload_energy_j < choices.local_energy_j


def spare_battery(choices: Choices) -> NDArray[np.bool_]:
    """Offload where the charge is below the threshold ("based on the residual battery level", section I)."""
    return choices.charge_j < choices.battery_threshold * choices.capacity_j


POLICIES: Mapping[str, Policy] = MappingProxyType(
    {
        "local": always_local,
        "offload": always_offload,
        "latency": least_latency,
        "energy": least_energy,
        "battery": spare_battery,
    }
)


def find_policy(name: str) -> Policy:
    """The shipped policy of that name.

    Raises:
        ScenarioError: there is none.
    """
    if name not in POLICIES:
        problem = f"no such policy; {did_you_mean(name, list(POLICIES))}"
        raise ScenarioError("scenario", problem, "offloading.policy", name)
    return POLICIES[name]


def decide(policy: Policy, choices: Choices) -> NDArray[np.bool_]:
    """d_k of each UE, shape (K,), from a policy that need not be one of ours.

    Raises:
        ScenarioError: the policy returned no booleans, or not one for each UE.
    """
    decision = np.asarray(policy(choices))
    if decision.dtype != np.bool_ or decision.shape != choices.charge_j.shape:
        name = getattr(policy, "__name__", repr(policy))
        wanted = f"an array of {len(choices.charge_j)} booleans is needed"
        problem = f"returned {decision.dtype} of shape {decision.shape}; {wanted}"
        raise ScenarioError("scenario", problem, "offloading.policy", name)
    return decision
