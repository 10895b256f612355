"""The decision d_k: compute at home (0) or offload the raw data to the edge server (1).

A policy is any function from ``Choices`` to an array of booleans; those that ship are in ``POLICIES``. It is pure: what
it may remember is in what it is shown. On a tie the data stays home.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

import numpy as np

from bees.core.errors import ScenarioError, did_you_mean
from bees.edge.optimum import best_joint_decision

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from bees.edge.situation import Situation


@dataclass(frozen=True)
class Choices:
    """What each UE knows when it decides; arrays have shape (K,).

    Times and energies of a choice are what would come of it if all UEs chose alike. Where UEs don't affect one another,
    as in the paper's model, they are what will come of it. With ``lookahead = "run"`` those of offloading are means
    over all blocks left.

    Attributes:
        local_time_s: of computing at home and sending the update.
        offload_time_s: of sending the raw data and computing at the server.
        local_energy_j: what the former takes from the UE's battery.
        offload_energy_j: what the latter takes from it.
        charge_j: what the battery holds.
        capacity_j: what a full battery holds.
        battery_threshold: fraction of the capacity below which ``battery`` offloads.
        harvest_j: what a UE harvests per block on average.
        blocks_left: with this one, until the run ends.
        latency_weight: what a second counts in ``weighted`` and ``optimum``; a joule counts 1 less this.
        lyapunov_v_j2_per_s: V of ``lyapunov``.
        lyapunov_theta_j: the charge that ``lyapunov`` steers to.
        deadline_s: after which an update does not count; infinite if there is none.
        situation: the whole block, for policies that judge joint decisions; None where only the above is known.
    """

    local_time_s: NDArray[np.float64]
    offload_time_s: NDArray[np.float64]
    local_energy_j: NDArray[np.float64]
    offload_energy_j: NDArray[np.float64]
    charge_j: NDArray[np.float64]
    capacity_j: float
    battery_threshold: float
    harvest_j: float = 0.0
    blocks_left: int = 1
    latency_weight: float = 0.5
    lyapunov_v_j2_per_s: float = 1.0
    lyapunov_theta_j: float = 0.0
    deadline_s: float = np.inf
    situation: Situation | None = None


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


def least_weighted_sum(choices: Choices) -> NDArray[np.bool_]:
    """Offload where ``w t_k + (1 - w) E_k`` is smaller, with t_k in seconds and E_k in joule."""
    w = choices.latency_weight
    offload = _weigh(w, choices.offload_time_s) + _weigh(1 - w, choices.offload_energy_j)
    return offload < _weigh(w, choices.local_time_s) + _weigh(1 - w, choices.local_energy_j)


def spare_battery(choices: Choices) -> NDArray[np.bool_]:
    """Offload where the charge is below the threshold ("based on the residual battery level", section I)."""
    return choices.charge_j < choices.battery_threshold * choices.capacity_j


def longest_life(choices: Choices) -> NDArray[np.bool_]:
    """Offload where the battery then lasts for more blocks, or, where both choices last to the end, if that is faster.

    Each battery is its own, so the last UE lives longest if each lives as long as it can. A charge lasts for
    ``charge / (E_k - harvest)`` blocks, but none longer than the run; it lasts for ever where harvest covers E_k.
    """
    local, offload = (
        _blocks_that_last(choices, energy_j) for energy_j in (choices.local_energy_j, choices.offload_energy_j)
    )
    return (offload > local) | ((offload == local) & least_latency(choices))


def least_drift_plus_penalty(choices: Choices) -> NDArray[np.bool_]:
    """Offload where ``V t_k + (theta - charge)^+ E_k`` is smaller: LODCO's rule at given power and clock.

    Mao, Zhang, Letaief, IEEE JSAC 2016: the virtual queue ``charge - theta`` is negative while the battery is short,
    and then energy counts the more the shorter it is. Above theta LODCO even seeks to spend, which at a clock and a
    power of its choice makes it faster; here they are given, so spending for its own sake would be waste: energy counts
    nothing then. :mod:`bees.edge.lodco` also chooses clock and power.
    """
    short_j = np.maximum(choices.lyapunov_theta_j - choices.charge_j, 0.0)
    V = choices.lyapunov_v_j2_per_s
    offload = _weigh(V, choices.offload_time_s) + _weigh(short_j, choices.offload_energy_j)
    return offload < _weigh(V, choices.local_time_s) + _weigh(short_j, choices.local_energy_j)


def joint_optimum(choices: Choices) -> NDArray[np.bool_]:
    """The joint decision that minimises ``w (time of the slowest UE) + (1 - w) (energy of all UEs)``.

    Raises:
        ScenarioError: the block is not shown, or too many UEs affect one another to try all their decisions.
    """
    if choices.situation is None:
        problem = "needs to see the whole block: call it through bees.edge.physics.sense"
        raise ScenarioError("scenario", problem, "offloading.policy", "optimum")
    return best_joint_decision(choices.situation, choices.latency_weight)


POLICIES: Mapping[str, Policy] = MappingProxyType(
    {
        "local": always_local,
        "offload": always_offload,
        "latency": least_latency,
        "energy": least_energy,
        "weighted": least_weighted_sum,
        "battery": spare_battery,
        "lifetime": longest_life,
        "lyapunov": least_drift_plus_penalty,
        "optimum": joint_optimum,
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


def _weigh(weight: NDArray[np.float64] | float, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """``weight * values``, in which no weight makes even an infinite value count nothing, and no difference is NaN."""
    return np.where(np.asarray(weight) == 0, 0.0, weight * np.minimum(values, np.finfo(np.float64).max ** 0.5))


def _blocks_that_last(choices: Choices, energy_j: NDArray[np.float64]) -> NDArray[np.float64]:
    net_j = energy_j - choices.harvest_j
    blocks = np.divide(choices.charge_j, net_j, out=np.full(net_j.shape, np.inf), where=net_j > 0)
    return np.minimum(blocks, choices.blocks_left)
