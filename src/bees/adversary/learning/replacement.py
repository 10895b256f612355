"""Model replacement: a backdoored model, boosted so that the average becomes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from bees.adversary.learning.view import Vectors, View


def model_replacement(view: View, _rng: np.random.Generator) -> Vectors:
    """``w_g + s (w_k - w_g)`` of a backdoored w_k.

    Bagdasaryan, Veit, Hua, Estrin, Shmatikov, "How to backdoor federated learning", AISTATS 2020, Eq. 3, with s = n/eta
    for one attacker. Knows its own update, and how many are averaged. By default the attackers share the boost, s =
    averaged / f, at least 1: where no more are averaged than attack, as with 20 attackers and the top 10, it is 1, and
    the attack that of ``backdoor``.
    """
    boost = view.strength or max(1.0, view.averaged / view.attackers)
    return view.global_model + boost * view.steps
