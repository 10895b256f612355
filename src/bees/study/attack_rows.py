"""Rows of ``bees attack``, and their summary: means over seeds, with what lies between the least and the most."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence


class CellRow(msgspec.Struct, frozen=True, kw_only=True):
    """What one cell of a grid has come to: a whole run with its chain.

    Attributes:
        knobs: of the scenario, where they differ from their defaults: the key of the cell.
        attack: what the attackers did; ``none`` where nobody attacks.
        defence: contract, and how many updates it looks at.
        fraction: of the devices that attack.
        heterogeneity: how samples are split among the devices.
        seed: of the run.
        blocks: T, of which fewer have an accuracy if there is a problem.
        accuracy: of w_g(t) on the test set, after each block.
        backdoor_success: fraction of the marked test samples of other labels that w_g(T) takes for the target; None
            without a backdoor.
        selected: UEs in M, mean over the blocks.
        attackers_selected: attackers among them, mean over the blocks.
        refused_updates: that arrived and the ledger did not take, in all blocks.
        ineligible_updates: that the ledger took and fewer than 2f+1 servers attested, in all blocks.
        outvoted_attestations: servers whose score is not the one that stands, in all blocks.
        convicted: who was, such as ``device 3``.
        skipped_rounds: blocks after which w_g was what it was before.
        model: hash of w_g(T).
        problem: what ended the run early, or None.
        seconds: of wall-clock time; no part of the deterministic result.
    """

    knobs: dict[str, str | int | float]
    attack: str
    defence: str
    fraction: float
    heterogeneity: str
    seed: int
    blocks: int
    accuracy: tuple[float, ...]
    backdoor_success: float | None
    selected: float
    attackers_selected: float
    refused_updates: int
    ineligible_updates: int
    outvoted_attestations: int
    convicted: tuple[str, ...]
    skipped_rounds: int
    model: str
    problem: str | None
    seconds: float

    @property
    def key(self) -> tuple[tuple[str, Any], ...]:
        """Of the cell, to be looked up."""
        return key_of(self.knobs)

    @property
    def final_accuracy(self) -> float | None:
        """After the last block; None if the run did not get there."""
        return self.accuracy[-1] if self.accuracy and self.problem is None else None

    @property
    def best_accuracy(self) -> float | None:
        """The best of all blocks."""
        return max(self.accuracy, default=None)

    def deterministic(self) -> CellRow:
        """The row without what differs between two runs of the same cell."""
        return msgspec.structs.replace(self, seconds=0.0)


class Spread(msgspec.Struct, frozen=True):
    """A number over several seeds."""

    mean: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Iterable[float | None]) -> Spread | None:
        """Of those that are there; None if none is."""
        there = [value for value in values if value is not None]
        return cls(sum(there) / len(there), min(there), max(there)) if there else None


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """A cell over all its seeds.

    Attributes:
        heterogeneity: as in the rows.
        fraction: likewise.
        attack: likewise.
        defence: likewise.
        seeds: how many were run.
        final_accuracy: after the last block, of those that got there.
        best_accuracy: the best of all blocks.
        backdoor_success: after the last block.
        selected: UEs in M, mean over the blocks.
        attackers_selected: attackers among them.
        refused_updates: mean.
        ineligible_updates: mean.
        outvoted_attestations: mean.
        convicted: who was, with any seed.
        skipped_rounds: mean.
        seconds: sum.
        problems: what ended runs early.
    """

    heterogeneity: str
    fraction: float
    attack: str
    defence: str
    seeds: int
    final_accuracy: Spread | None
    best_accuracy: Spread | None
    backdoor_success: Spread | None
    selected: float
    attackers_selected: float
    refused_updates: float
    ineligible_updates: float
    outvoted_attestations: float
    convicted: tuple[str, ...]
    skipped_rounds: float
    seconds: float
    problems: tuple[str, ...]


def key_of(knobs: dict[str, Any]) -> tuple[tuple[str, Any], ...]:
    """Knobs as a key, whatever their order."""
    return tuple(sorted(knobs.items()))


def summarise(rows: Sequence[CellRow]) -> list[Summary]:
    """A summary for each cell, over its seeds, in the order in which the rows first name them."""
    grouped: dict[tuple[str, float, str, str], list[CellRow]] = {}
    for row in rows:
        grouped.setdefault((row.heterogeneity, row.fraction, row.attack, row.defence), []).append(row)
    return [_summary(group) for group in grouped.values()]


def _summary(group: list[CellRow]) -> Summary:
    first = group[0]

    def mean(of: Callable[[CellRow], float]) -> float:
        return sum(map(of, group)) / len(group)

    return Summary(
        heterogeneity=first.heterogeneity,
        fraction=first.fraction,
        attack=first.attack,
        defence=first.defence,
        seeds=len(group),
        final_accuracy=Spread.of(row.final_accuracy for row in group),
        best_accuracy=Spread.of(row.best_accuracy for row in group),
        backdoor_success=Spread.of(row.backdoor_success for row in group if row.problem is None),
        selected=mean(lambda row: row.selected),
        attackers_selected=mean(lambda row: row.attackers_selected),
        refused_updates=mean(lambda row: row.refused_updates),
        ineligible_updates=mean(lambda row: row.ineligible_updates),
        outvoted_attestations=mean(lambda row: row.outvoted_attestations),
        convicted=tuple(sorted({who for row in group for who in row.convicted})),
        skipped_rounds=mean(lambda row: row.skipped_rounds),
        seconds=sum(row.seconds for row in group),
        problems=tuple(dict.fromkeys(row.problem for row in group if row.problem is not None)),
    )
