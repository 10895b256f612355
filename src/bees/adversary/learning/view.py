"""What the attackers of a round see, before they say what they send instead."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from bees.scenario import Knowledge

Vectors = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class View:
    """The round as f attackers know it, who act together.

    Attributes:
        global_model: w_g(t-1), shape (P,).
        own: what each attacker would have sent, had it done its part after training (on its poisoned data, where the
            attack has such), shape (f, P).
        benign: what all others send, shape (m - f, P); None where the attackers do not know it.
        participants: m, how many updates the round has.
        averaged: how many of them the contract averages: top_m, or all if they are fewer.
        block: t.
        strength: the attack's factor.
    """

    global_model: Vectors
    own: Vectors
    benign: Vectors | None
    participants: int
    averaged: int
    block: int
    strength: float

    @property
    def attackers(self) -> int:
        """How many they are, f."""
        return len(self.own)

    @property
    def known(self) -> Vectors:
        """The updates from which the attackers estimate those of the others: theirs where known, else their own."""
        return self.own if self.benign is None or not len(self.benign) else self.benign

    @property
    def steps(self) -> Vectors:
        """``w_k - w_g(t-1)`` of the attackers, shape (f, P)."""
        return self.own - self.global_model

    def alike(self, update: Vectors) -> Vectors:
        """Every attacker sends ``update``, shape (P,); returns shape (f, P)."""
        return np.tile(update, (self.attackers, 1))


Craft = Callable[[View, np.random.Generator], Vectors]
"""What the attackers send instead, shape (f, P). It changes nothing of what it is given."""


def view_of(
    global_model: NDArray[np.floating],
    updates: NDArray[np.floating],
    attacks: NDArray[np.bool_],
    *,
    top_m: int,
    block: int,
    strength: float,
    knowledge: Knowledge,
) -> View:
    """The view of those who attack.

    Args:
        global_model: w_g(t-1), shape (P,).
        updates: of all participants, shape (m, P).
        attacks: which of them attack, shape (m,).
        top_m: how many updates the contract averages at most.
        block: t.
        strength: the attack's factor.
        knowledge: ``own`` or ``all``.
    """
    rows = updates.astype(np.float64)
    return View(
        global_model=global_model.astype(np.float64),
        own=rows[attacks],
        benign=rows[~attacks] if knowledge == "all" else None,
        participants=len(rows),
        averaged=min(top_m, len(rows)),
        block=block,
        strength=strength,
    )
