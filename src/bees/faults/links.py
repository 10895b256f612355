"""The network of a history: delays that reorder, losses, duplicates and partitions, until it heals."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bees.core.seeds import generator
from bees.faults.plan import Partition

if TYPE_CHECKING:
    from collections import Counter

    from bees.faults.plan import Plan

_DRAWN_AT_ONCE = 4096


class FaultyLink:
    """Draws come from one seeded stream in the order of sending, many at once for speed."""

    def __init__(self, plan: Plan, counts: Counter[str]) -> None:
        self._longest_delay_us, self._heals_at_us = plan.longest_delay_us, plan.heals_at_us
        self._loss, self._duplication = plan.loss, plan.duplication
        self._counts = counts
        self._rng = generator(plan.seed, "links")
        self._draws: list[float] = []
        self._islands = tuple(
            (event.at_us, event.until_us, frozenset(event.island))
            for event in plan.events
            if isinstance(event, Partition)
        )

    def __call__(self, sender: int, receiver: int, now_us: int) -> int | None:
        """Delay of the next message in microseconds, or None when it is lost."""
        delay_us = int(self._draw() * self._longest_delay_us)
        if now_us >= self._heals_at_us:
            return delay_us
        if self._loss and self._draw() < self._loss:
            self._counts["message lost"] += 1
            return None
        for begin, end, island in self._islands:
            if begin <= now_us < end and (sender in island) != (receiver in island):
                self._counts["message cut off"] += 1
                return None
        return delay_us

    def is_duplicated(self, now_us: int) -> bool:
        """Whether the next message arrives twice."""
        if self._duplication == 0 or now_us >= self._heals_at_us:
            return False
        is_duplicated = self._draw() < self._duplication
        self._counts["message duplicated"] += is_duplicated
        return is_duplicated

    def _draw(self) -> float:
        if not self._draws:
            self._draws = self._rng.random(_DRAWN_AT_ONCE).tolist()
        return self._draws.pop()
