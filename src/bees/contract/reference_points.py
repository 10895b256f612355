"""The rules that need square roots, in 50 decimal digits: what the WebAssembly's double precision must come close to.

Each gives the words of ``w_g(t)`` before they are rounded. The papers stand in the C sources.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal, localcontext
from typing import TYPE_CHECKING

from bees.contract.reference_rules import bucketed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Point = list[Decimal]

DIGITS = 50
WEISZFELD_STEPS = 8
WEISZFELD_SMOOTHING = Decimal(16)
CLIPPING_STEPS = 3
RELATIVE_TOLERANCE = 2.0**-44
"""How far double precision may move a point, as a share of the range of all words: 1/4096 of a word for any words."""


@dataclass(frozen=True)
class Ballot:
    """What ``aggregate`` is given.

    Attributes:
        correct: c of each update, M integers.
        samples: ``n_m``, M integers.
        updates: M rows of P words.
        w_prev: P words.
    """

    correct: Sequence[int]
    samples: Sequence[int]
    updates: Sequence[Sequence[int]]
    w_prev: Sequence[int]


def _length(row: Sequence[int], point: Point) -> Decimal:
    return sum(((x - v) ** 2 for x, v in zip(row, point, strict=True)), Decimal()).sqrt()


def _combine(weights: Sequence[Decimal], rows: Sequence[Sequence[int]]) -> Point:
    columns = zip(*rows, strict=True)
    return [sum((w * x for w, x in zip(weights, column, strict=True)), Decimal()) for column in columns]


def _lower_median(lengths: Sequence[Decimal]) -> Decimal:
    return sorted(lengths)[(len(lengths) - 1) // 2]


def _shortening(length: Decimal, limit: Decimal) -> Decimal:
    return limit / length if length > limit else Decimal(1)


def _move(point: Point, pulls: Sequence[Decimal], rows: Sequence[Sequence[int]]) -> Point:
    """``v + sum of pull_j (x_j - v)``."""
    return [
        v + sum((pull * (x - v) for pull, x in zip(pulls, column, strict=True)), Decimal())
        for v, column in zip(point, zip(*rows, strict=True), strict=True)
    ]


def weiszfeld(alphas: Sequence[int], rows: Sequence[Sequence[int]], start: Sequence[int]) -> Point:
    """Smoothed Weiszfeld steps from ``start``."""
    point = list(map(Decimal, start))
    for _ in range(WEISZFELD_STEPS):
        raw = [alpha / max(WEISZFELD_SMOOTHING, _length(row, point)) for alpha, row in zip(alphas, rows, strict=True)]
        total = sum(raw)
        point = _combine([weight / total for weight in raw], rows)
    return point


def geometric_median(ballot: Ballot) -> Point:
    """RFA: weighted by samples."""
    return weiszfeld(ballot.samples, ballot.updates, ballot.w_prev)


def bucketing_geometric_median(ballot: Ballot) -> Point:
    """Of the means of shuffled buckets, which weigh alike."""
    rows = bucketed(ballot.updates)
    return weiszfeld([1] * len(rows), rows, ballot.w_prev)


def centred_clipping(ballot: Ballot) -> Point:
    """``v + mean of (x_j - v) min(1, tau / |x_j - v|)``, tau the lower median of the lengths."""
    point = list(map(Decimal, ballot.w_prev))
    for _ in range(CLIPPING_STEPS):
        lengths = [_length(row, point) for row in ballot.updates]
        radius = _lower_median(lengths)
        point = _move(point, [_shortening(length, radius) / len(lengths) for length in lengths], ballot.updates)
    return point


def _shortened_mean(ballot: Ballot, shares: Sequence[Decimal]) -> Point:
    start = list(map(Decimal, ballot.w_prev))
    lengths = [_length(row, start) for row in ballot.updates]
    limit = _lower_median(lengths)
    pulls = [share * _shortening(length, limit) for share, length in zip(shares, lengths, strict=True)]
    return _move(start, pulls, ballot.updates)


def norm_clipping(ballot: Ballot) -> Point:
    """FedAvg of differences that are no longer than the lower median of their lengths."""
    total = sum(ballot.samples)
    return _shortened_mean(ballot, [Decimal(n) / total for n in ballot.samples])


def root_score(ballot: Ballot) -> Point:
    """Shortened differences, weighted by ``max(0, 2 c_j - c_max)``."""
    best = max(ballot.correct)
    trust = [max(0, 2 * correct - best) for correct in ballot.correct]
    return _shortened_mean(ballot, [Decimal(t) / (sum(trust) or 1) for t in trust])


def tolerance_words(ballot: Ballot) -> float:
    """How far a word may lie from the exact point: half a word of rounding, and what double precision may lose."""
    rows = [*ballot.updates, ballot.w_prev]
    return 0.5 + RELATIVE_TOLERANCE * (1 + max(map(max, rows)) - min(map(min, rows)))


def exact_point(name: str, ballot: Ballot) -> Point:
    """The point that a rule of ``POINT_RULES`` rounds, to ``DIGITS`` digits."""
    with localcontext(prec=DIGITS):
        return POINT_RULES[name](ballot)


POINT_RULES: dict[str, Callable[[Ballot], Point]] = {
    "geometric_median": geometric_median,
    "bucketing_geometric_median": bucketing_geometric_median,
    "centred_clipping": centred_clipping,
    "norm_clipping": norm_clipping,
    "root_score": root_score,
}
"""By the names of the contracts."""
