"""Attacks that hide within the spread of the honest updates, or turn against their mean."""

from __future__ import annotations

from statistics import NormalDist
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from bees.adversary.learning.view import Vectors, View

_HALF = 0.5


def alie(view: View, _rng: np.random.Generator) -> Vectors:
    """A little is enough: ``mean - z std``, coordinate by coordinate, of the updates that are known.

    Baruch, Baruch, Goldberg, "A little is enough", NeurIPS 2019, algorithm 3. The attackers know their own honest
    updates, and take mean and deviation from them: a single one sees no deviation, and sends its own update. The
    strength is z; by default it is ``largest_unseen_z(m, f)``, the most at which they still have a majority on their
    side. That is little where they are few: 0.29 for 20 of 100, and 0.90 for 40.
    """
    z = view.strength or largest_unseen_z(view.participants, view.attackers)
    return view.alike(view.known.mean(axis=0) - z * view.known.std(axis=0))


def largest_unseen_z(participants: int, attackers: int) -> float:
    """``z = Phi^-1((m - f - s) / (m - f))`` with ``s = floor(m/2 + 1) - f``: so many honest ones must lie beyond.

    Args:
        participants: m.
        attackers: f.

    Returns:
        z, at least 0; where the attackers are the majority, the z that one honest update in m lies beyond.
    """
    honest = max(1, participants - attackers)
    supporters = participants // 2 + 1 - attackers
    share = (honest - supporters) / honest
    return max(0.0, NormalDist().inv_cdf(min(max(share, _HALF), 1 - 1 / (participants + 1))))


def ipm(view: View, _rng: np.random.Generator) -> Vectors:
    """Inner product manipulation: ``w_g - s mean_i(w_i - w_g)`` over the honest updates.

    Xie, Koyejo, Gupta, "Fall of empires: breaking Byzantine-tolerant SGD by inner product manipulation", UAI 2019.
    Knows all updates. s = epsilon = 0.1 by default, at which Krum chooses it; a mean turns around where s f > m - f.
    """
    return view.alike(view.global_model - view.strength * (view.known.mean(axis=0) - view.global_model))
