"""The packaged contracts in exact Python, slow and plain: what the WebAssembly must equal."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def select_most_accurate(correct: Sequence[int], m: int) -> tuple[int, ...]:
    """Indices of the ``m`` most accurate updates, ascending; of equals, the lower index goes first."""
    best_first = sorted(range(len(correct)), key=lambda index: (-correct[index], index))
    return tuple(sorted(best_first[:m]))


def average_updates(samples: Sequence[int], updates: Sequence[Sequence[int]]) -> list[int]:
    """Eq. 3: ``w_g = sum n_m q_m / sum n_m`` in rationals, each word rounded half to even.

    Args:
        samples: ``n_m``, M of them.
        updates: ``q_m``, M of P words each.
    """
    total = sum(samples)
    columns = zip(*updates, strict=True)
    return [round(Fraction(sum(n * q for n, q in zip(samples, words, strict=True)), total)) for words in columns]
