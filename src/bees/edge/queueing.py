"""First come, first served: how long each waits in line, for all lines at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def fifo_wait_s(
    ready_s: NDArray[np.float64],
    service_s: NDArray[np.float64],
    line: NDArray[np.int64],
    queues: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """Seconds from being ready to being served, by ``finish_i = max(ready_i, finish_(i-1)) + service_i``.

    Each step of the recursion is a map ``x -> max(x + a, b)``; such maps compose into another one, so all lines are
    walked in log2(longest line) doublings.

    Args:
        ready_s: when each comes, shape (K,); on a tie the lower index goes first.
        service_s: how long it takes, shape (K,).
        line: in which line it stands, shape (K,).
        queues: who queues at all, shape (K,).

    Returns:
        shape (K,), 0 for who does not queue.
    """
    wait_s = np.zeros(ready_s.shape)
    # What never comes, or would never end, gets no turn.
    members = np.flatnonzero(queues & np.isfinite(ready_s + service_s))
    if not members.size:
        return wait_s
    members = members[np.lexsort((ready_s[members], line[members]))]
    ready, total, finish = ready_s[members], service_s[members].copy(), ready_s[members] + service_s[members]
    place = _place_in_line(line[members])
    step, longest = 1, int(place.max()) + 1
    while step < longest:
        behind = np.flatnonzero(place >= step)
        ahead = behind - step
        # Both right-hand sides are read before either is written: each doubling sees the one before alone.
        finish[behind], total[behind] = (
            np.maximum(finish[behind], finish[ahead] + total[behind]),
            total[behind] + total[ahead],
        )
        step *= 2
    wait_s[members] = np.maximum(finish - ready - service_s[members], 0.0)
    return wait_s


def _place_in_line(sorted_line: NDArray[np.int64]) -> NDArray[np.int64]:
    """0, 1, 2, ... within each run of equal numbers."""
    index = np.arange(len(sorted_line))
    begins = np.concatenate(([True], sorted_line[1:] != sorted_line[:-1]))
    return index - np.maximum.accumulate(np.where(begins, index, 0))
