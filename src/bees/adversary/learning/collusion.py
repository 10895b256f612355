"""Attackers that all send the same: too much of one honest update, or of one poisoned model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from bees.adversary.learning.view import Vectors, View


def mimic(view: View, _rng: np.random.Generator) -> Vectors:
    """Copy one honest update, so that its data counts f + 1 times: ``w_i`` with ``i = argmax_i |v (w_i - mean)|``.

    v is the direction in which the honest updates differ most (their first principal component). Karimireddy, He,
    Jaggi, "Byzantine-robust learning on heterogeneous datasets via bucketing", ICLR 2022, section 3.2. They estimate v
    over the first rounds and keep i from then on; here both are of the round, so that the attack has no memory. It is
    weaker for it where another device differs most in each round, since no device's data then count for long. Knows all
    updates; has no strength.
    """
    return view.alike(view.known[_most_unlike(view.known)].copy())


def sybils(view: View, _rng: np.random.Generator) -> Vectors:
    """Clones of one poisoned model, ``mean_k w_k`` over the attackers, which all were trained on flipped labels.

    Fung, Yoon, Beschastnikh, "The limitations of federated learning in Sybil settings", RAID 2020. The attackers know
    their own updates, and one another. Strength s goes on from w_g: ``w_g + s (mean_k w_k - w_g)``, 1 by default.
    """
    return view.alike(view.global_model + view.strength * view.steps.mean(axis=0))


def _most_unlike(updates: Vectors) -> int:
    """Index of the update that lies farthest along the first principal component of all."""
    centred = updates - updates.mean(axis=0)
    # The m x m Gram matrix has the same leading direction as the P x P covariance, at a fraction of the cost:
    # if G u = s^2 u, then the projections of the rows on v are s u.
    _, vectors = np.linalg.eigh(centred @ centred.T)
    return int(np.argmax(np.abs(vectors[:, -1])))
