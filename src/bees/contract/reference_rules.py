"""The robust rules in whole numbers and fractions, slow and plain: what the WebAssembly must equal, word for word.

Each rule takes the updates as rows of words, without their scores, sample counts and ``w_g(t-1)``, which it does not
look at. The papers stand in the C sources.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Row = Sequence[int]
    Rows = Sequence[Row]

FAULTY_PERCENT = 30
BUCKET_SIZE = 2
_MASK = 2**64 - 1


def faulty(m: int) -> int:
    """f, the number of liars among ``m`` updates that a rule is prepared for."""
    return m * FAULTY_PERCENT // 100


def mean_rows(rows: Rows) -> list[int]:
    """Mean of each column, rounded half to even."""
    return [round(Fraction(sum(column), len(rows))) for column in zip(*rows, strict=True)]


def median(rows: Rows) -> list[int]:
    """Median of each column; of an even number, the mean of both middle words, rounded half to even."""
    m = len(rows)
    middles = ((sorted(column)[(m - 1) // 2], sorted(column)[m // 2]) for column in zip(*rows, strict=True))
    return [round(Fraction(lower + upper, 2)) for lower, upper in middles]


def trimmed_mean(rows: Rows) -> list[int]:
    """Mean of each column without its f smallest and f largest words."""
    f, m = faulty(len(rows)), len(rows)
    columns = (sorted(column)[f : m - f] for column in zip(*rows, strict=True))
    return [round(Fraction(sum(kept), len(kept))) for kept in columns]


def squared_distance(one: Row, other: Row) -> int:
    """``|x - y|^2``."""
    return sum((x - y) ** 2 for x, y in zip(one, other, strict=True))


def krum_scores(rows: Rows) -> list[int]:
    """Sum of the squared distances from each row to its m - f - 2 nearest others, at least one where there is one."""
    m = len(rows)
    neighbours = max(1, m - faulty(m) - 2)
    return [
        sum(sorted(squared_distance(row, other) for j, other in enumerate(rows) if j != i)[:neighbours])
        for i, row in enumerate(rows)
    ]


def _best(scores: Sequence[int]) -> int:
    return min(range(len(scores)), key=lambda i: (scores[i], i))


def krum(rows: Rows) -> list[int]:
    """The row with the smallest score, the first of equals."""
    return list(rows[_best(krum_scores(rows))])


def multi_krum(rows: Rows) -> list[int]:
    """Mean of the m - f rows with the smallest scores."""
    scores = krum_scores(rows)
    by_score = sorted(range(len(rows)), key=lambda i: (scores[i], i))
    return mean_rows([rows[i] for i in by_score[: len(rows) - faulty(len(rows))]])


def nearest(rows: Rows, i: int) -> list[int]:
    """Indices of the m - f rows nearest to row ``i``, itself included."""
    by_distance = sorted(range(len(rows)), key=lambda j: (squared_distance(rows[i], rows[j]), j))
    return by_distance[: len(rows) - faulty(len(rows))]


def mixed(rows: Rows) -> list[list[int]]:
    """Nearest-neighbour mixing: each row replaced by the mean of its nearest."""
    return [mean_rows([rows[j] for j in nearest(rows, i)]) for i in range(len(rows))]


def nnm_krum(rows: Rows) -> list[int]:
    """Krum among the mixes, compared before they are rounded."""
    sums = [
        [sum(column) for column in zip(*(rows[j] for j in nearest(rows, i)), strict=True)] for i in range(len(rows))
    ]
    return mixed(rows)[_best(krum_scores(sums))]


def hash_words(rows: Rows) -> int:
    """FNV-1a over the words of all rows, 32 bits at a time."""
    value = 0xCBF29CE484222325
    for row in rows:
        for word in row:
            value = (value ^ (word % 2**32)) * 0x100000001B3 & _MASK
    return value


def split_mix(state: int) -> tuple[int, int]:
    """The next state of SplitMix64, and the number that it gives."""
    state = (state + 0x9E3779B97F4A7C15) & _MASK
    z = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 & _MASK
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB & _MASK
    return state, z ^ (z >> 31)


def shuffled(rows: Rows) -> list[int]:
    """The updates' indices in an order that follows from all of their words."""
    state, order = hash_words(rows), list(range(len(rows)))
    for last in range(len(rows) - 1, 0, -1):
        state, drawn = split_mix(state)
        pick = drawn % (last + 1)
        order[last], order[pick] = order[pick], order[last]
    return order


def bucketed(rows: Rows) -> list[list[int]]:
    """Bucketing: the means of shuffled buckets."""
    order = shuffled(rows)
    return [
        mean_rows([rows[j] for j in order[start : start + BUCKET_SIZE]]) for start in range(0, len(order), BUCKET_SIZE)
    ]


EXACT_RULES: dict[str, Callable[[Rows], list[int]]] = {
    "median": median,
    "trimmed_mean": trimmed_mean,
    "krum": krum,
    "multi_krum": multi_krum,
    "nnm_median": lambda rows: median(mixed(rows)),
    "nnm_trimmed_mean": lambda rows: trimmed_mean(mixed(rows)),
    "nnm_krum": nnm_krum,
    "bucketing_median": lambda rows: median(bucketed(rows)),
    "bucketing_krum": lambda rows: krum(bucketed(rows)),
}
"""By the names of the contracts."""
