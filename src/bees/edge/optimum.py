"""The exact optimum of a block, by trying every joint decision: the reference that no policy can beat.

Where UEs share a band or a server's queue, what one decides changes what the others get, so the optimum is over all of
them together. But only over those that affect one another: UEs with a channel of their own are decided one by one, and
otherwise each cell apart (the whole network, where it contends for one band and some UEs have nothing to send). The
copies of a cell, one for each joint decision, are laid side by side as cells of one big world, so that the very code
that plays the real block judges all of them in one call.

The objective ``w max t_k + (1 - w) sum E_k`` couples the groups again through the maximum. For each possible value of
it, each group takes its cheapest decision that is not slower; one pass over the sorted values finds the best.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bees.core.errors import ScenarioError
from bees.edge.outcome import realise
from bees.edge.sharing import JOINT_SHARINGS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bees.edge.situation import Situation

MOST_COUPLED = 12
"""UEs that affect one another: 2^12 joint decisions are tried for each such group."""

_NEVER = 1e6


@dataclass(frozen=True)
class Options:
    """All joint decisions of each group of UEs that affect one another.

    Attributes:
        members: ids of the UEs of each group, shape (G, n); -1 where a group is smaller.
        decisions: d_k of each option, shape (O, n), the same for all groups; bit i of the option's number is member i.
        time_s: of the slowest UE, shape (G, O); infinite for options that only larger groups have.
        energy_j: of all UEs of the group, shape (G, O); likewise.
    """

    members: NDArray[np.int64]
    decisions: NDArray[np.bool_]
    time_s: NDArray[np.float64]
    energy_j: NDArray[np.float64]

    def cost(self, latency_weight: float) -> NDArray[np.float64]:
        """``w max t_k + (1 - w) sum E_k`` of each group alone, shape (G, O)."""
        return _weighted(latency_weight, self.time_s, self.energy_j)

    def decision(self, chosen: NDArray[np.int64], devices: int) -> NDArray[np.bool_]:
        """d_k of all UEs, shape (K,), from the option that each group takes, shape (G,)."""
        decision = np.zeros(devices, dtype=np.bool_)
        real = self.members >= 0
        decision[self.members[real]] = self.decisions[chosen][real]
        return decision


def block_cost(situation: Situation, decision: NDArray[np.bool_], latency_weight: float) -> float:
    """``w max t_k + (1 - w) sum E_k`` over the UEs that take part: what ``best_joint_decision`` minimises."""
    outcome, counts = realise(situation, decision), situation.takes_part
    slowest_s = np.max(outcome.time_s, where=counts, initial=0.0)
    return float(_weighted(latency_weight, slowest_s, np.sum(outcome.energy_j, where=counts)))


def best_joint_decision(situation: Situation, latency_weight: float) -> NDArray[np.bool_]:
    """The decisions of all UEs that together minimise ``w max t_k + (1 - w) sum E_k``, shape (K,).

    Args:
        situation: the block.
        latency_weight: w, from 0 to 1.

    Raises:
        ScenarioError: more than ``MOST_COUPLED`` UEs affect one another.
    """
    options = all_options(situation)
    if not len(options.members):
        return np.zeros(situation.devices, dtype=np.bool_)
    limit_s = _best_limit_s(options, latency_weight)
    energy_j = np.where(options.time_s <= limit_s, options.energy_j, np.inf)
    cheapest = energy_j == energy_j.min(axis=1, keepdims=True)
    # Of equally cheap options the fastest, and of those the first, which offloads least.
    chosen = np.where(cheapest, options.time_s, np.inf).argmin(axis=1)
    return options.decision(chosen, situation.devices)


def best_decision_of_each_group(situation: Situation, latency_weight: float) -> NDArray[np.bool_]:
    """The decisions that minimise each group's own ``w max t_k + (1 - w) sum E_k``, shape (K,).

    Raises:
        ScenarioError: more than ``MOST_COUPLED`` UEs affect one another.
    """
    options = all_options(situation)
    if not len(options.members):
        return np.zeros(situation.devices, dtype=np.bool_)
    return options.decision(options.cost(latency_weight).argmin(axis=1), situation.devices)


def check_coupled(largest: int) -> None:
    """Refuse groups that are too large to try all their joint decisions.

    Args:
        largest: most UEs that affect one another.

    Raises:
        ScenarioError: names the policy.
    """
    if largest > MOST_COUPLED:
        problem = f"tries all joint decisions of at most {MOST_COUPLED} UEs, but {largest} affect one another; "
        problem += 'take fewer UEs per server, or policy "weighted"'
        raise ScenarioError("scenario", problem, "offloading.policy", "optimum")


def all_options(situation: Situation) -> Options:
    """Every joint decision of every group of UEs that affect one another, with what comes of it.

    Raises:
        ScenarioError: more than ``MOST_COUPLED`` UEs affect one another.
    """
    group = _groups(situation)
    if group is None:
        return _options_one_by_one(situation)
    players = np.flatnonzero(situation.takes_part)
    players = players[np.argsort(group[players], kind="stable")]
    _, begins, sizes = np.unique(group[players], return_index=True, return_counts=True)
    largest = int(sizes.max(initial=0))
    check_coupled(largest)
    members = np.full((len(sizes), largest), -1)
    time_s, energy_j = np.full((2, len(sizes), 2**largest), np.inf)
    for size in range(1, largest + 1):
        rows = np.flatnonzero(sizes == size)
        if rows.size:
            of_size = players[begins[rows][:, None] + np.arange(size)]
            members[rows, :size] = of_size
            time_s[rows, : 2**size], energy_j[rows, : 2**size] = _try_all(situation, of_size)
    return Options(members, _all_decisions(largest), time_s, energy_j)


def _groups(situation: Situation) -> NDArray[np.int64] | None:
    """Of which group each UE is, shape (K,); None if no decision changes what another UE gets."""
    silent = bool((situation.raw_sent & situation.takes_part).any())
    if situation.radio.sharing == "contending" and silent:
        return situation.band
    shares = situation.radio.sharing in JOINT_SHARINGS or (situation.radio.sharing == "equal_share" and silent)
    return situation.cell if shares or situation.server_queue != "none" else None


def _options_one_by_one(situation: Situation) -> Options:
    players = np.flatnonzero(situation.takes_part)
    everybody = np.ones(situation.devices, dtype=np.bool_)
    outcomes = [realise(situation, decision) for decision in (~everybody, everybody)]
    time_s, energy_j = (
        np.stack([_finite(getattr(outcome, name)[players]) for outcome in outcomes], axis=1)
        for name in ("time_s", "energy_j")
    )
    return Options(players[:, None], _all_decisions(1), time_s, energy_j)


def _try_all(situation: Situation, members: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Time and energy, shape (G, 2^n), of all decisions of G groups of n UEs each, shape (G, n)."""
    groups, size = len(members), int(members.shape[1])
    decisions = _all_decisions(size)
    index = np.broadcast_to(members[:, None, :], (groups, len(decisions), size)).ravel()
    worlds = groups * len(decisions)
    world: NDArray[np.int64] = np.arange(worlds * size) // size
    if situation.radio.sharing == "contending":
        cell, cells = world * situation.cells + situation.cell[index], worlds * situation.cells
    else:
        cell, cells = world, worlds
    copies = situation.copies(index, cell, cells, world, worlds)
    outcome = realise(copies, np.broadcast_to(decisions, (groups, *decisions.shape)).ravel())
    shape = (groups, len(decisions), size)
    time_s, energy_j = _finite(outcome.time_s), _finite(outcome.energy_j)
    return time_s.reshape(shape).max(axis=2), energy_j.reshape(shape).sum(axis=2)


def _all_decisions(size: int) -> NDArray[np.bool_]:
    """Shape (2^n, n); bit i of the row's number is d of member i."""
    bits: NDArray[np.int64] = np.arange(1 << size)[:, None] >> np.arange(size)
    return bits % 2 == 1


def _best_limit_s(options: Options, latency_weight: float) -> float:
    """The time of the slowest UE at the optimum.

    With each group's options in order of time and its energy the least so far, the energy of all groups under a limit T
    is the sum of steps at times up to T.
    """
    order = options.time_s.argsort(axis=1, kind="stable")
    time_s = np.take_along_axis(options.time_s, order, axis=1)
    energy_j = np.minimum.accumulate(np.take_along_axis(options.energy_j, order, axis=1), axis=1)
    soonest_s = float(time_s[:, 0].max())
    later = np.isfinite(time_s[:, 1:]) & (energy_j[:, 1:] < energy_j[:, :-1])
    step_s, step_j = time_s[:, 1:][later], (energy_j[:, 1:] - energy_j[:, :-1])[later]
    by_time = step_s.argsort(kind="stable")
    limits_s = np.concatenate(([soonest_s], np.maximum(step_s[by_time], soonest_s)))
    total_j = energy_j[:, 0].sum() + np.concatenate(([0.0], np.cumsum(step_j[by_time])))
    cost = _weighted(latency_weight, limits_s, total_j)
    # At equal limits only the last has all steps in it.
    last = np.append(limits_s[1:] > limits_s[:-1], [True])
    return float(limits_s[np.where(last, cost, np.inf).argmin()])


def _finite(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """What never ends takes a million times as long as what ends, so that sums still tell the others apart."""
    ends = np.isfinite(values)
    if ends.all():
        return values
    return np.where(ends, values, _NEVER * max(float(np.max(values, where=ends, initial=0.0)), 1.0))


def _weighted(
    latency_weight: float, time_s: NDArray[np.float64] | float, energy_j: NDArray[np.float64] | float
) -> NDArray[np.float64]:
    # A weight of 0 makes even an infinite value count nothing.
    of_time = np.multiply(latency_weight, time_s) if latency_weight > 0 else np.zeros(np.shape(time_s))
    of_energy = np.multiply(1 - latency_weight, energy_j) if latency_weight < 1 else np.zeros(np.shape(energy_j))
    return of_time + of_energy
