"""Sums over the UEs of each cell or band, for all of them at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def sum_by_group(
    values: NDArray[np.float64] | NDArray[np.bool_], group: NDArray[np.int64], groups: int
) -> NDArray[np.float64]:
    """The sum of the values in each group, shape (groups,); 0 in one that has no member.

    Args:
        values: shape (K,).
        group: of each value, from 0 to ``groups - 1``, shape (K,).
        groups: how many there are.
    """
    return np.bincount(group, weights=values, minlength=groups).astype(np.float64, copy=False)
