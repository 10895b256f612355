"""Min-max and min-sum: as far from the mean as possible, while no farther from the rest than those are from another.

Shejwalkar, Houmansadr, "Manipulating the Byzantine", NDSS 2021: ``w = mean + gamma p`` with ``p = -std``, the largest
gamma that keeps a bound on distances. They search for gamma by halving steps; both bounds are quadratic in gamma, so
its largest value is the root of a quadratic (the tests hold it against their search). Attackers know all updates. The
strength multiplies gamma: 1, the default, stays just within the bound.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from bees.adversary.learning.view import Vectors, View

_BITS = 30


def min_max(view: View, _rng: np.random.Generator) -> Vectors:
    """``max_i |w - w_i| <= max_ij |w_i - w_j|``: no farther from any honest update than two of them are apart."""
    mean, direction, centred = _frame(view.known)
    bound = _squared_distances(centred).max()
    roots = _largest_roots(float(direction @ direction), -(centred @ direction), (centred**2).sum(axis=1) - bound)
    return view.alike(mean + view.strength * _without_last_bits(roots.min()) * direction)


def min_sum(view: View, _rng: np.random.Generator) -> Vectors:
    """``sum_i |w - w_i|^2 <= max_i sum_j |w_i - w_j|^2``: no farther from all than the outermost honest update is."""
    mean, direction, centred = _frame(view.known)
    bound = _squared_distances(centred).sum(axis=1).max()
    # The sum over centred rows of their products with p is zero: only the squares are left.
    spare = (centred**2).sum() - bound
    root = _largest_roots(len(centred) * float(direction @ direction), np.zeros(1), np.array([spare]))[0]
    return view.alike(mean + view.strength * _without_last_bits(root) * direction)


def _frame(updates: Vectors) -> tuple[Vectors, Vectors, Vectors]:
    """The mean, the direction p, and the updates about their mean."""
    mean = updates.mean(axis=0)
    centred = updates - mean
    return mean, -updates.std(axis=0), centred


def _squared_distances(centred: Vectors) -> Vectors:
    """``|w_i - w_j|^2`` by the Gram matrix, shape (m, m)."""
    gram = centred @ centred.T
    squares = np.diag(gram)
    return np.maximum(squares[:, None] + squares[None, :] - 2 * gram, 0.0)


def _largest_roots(a: float, half_b: Vectors, c: Vectors) -> Vectors:
    """Largest gamma with ``a gamma^2 + 2 half_b gamma + c <= 0``; 0 where all updates are the same (a = 0)."""
    if a == 0.0:
        return np.zeros_like(c)
    return np.maximum(0.0, (np.sqrt(np.maximum(half_b**2 - a * c, 0.0)) - half_b) / a)


def _without_last_bits(gamma: float) -> float:
    """Rounded down to 30 bits: the last bits of a matrix product depend on how many threads compute it."""
    mantissa, exponent = np.frexp(gamma)
    return float(np.ldexp(np.floor(mantissa * 2.0**_BITS), int(exponent) - _BITS))
