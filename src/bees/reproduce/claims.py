"""The claims of the paper's section IV-C and abstract, each beside what was measured, with a verdict.

The verdicts keep apart what a reproduction so easily mixes up:

* ``reproduced``: measured, and nothing was chosen to make it so.
* ``fitted``: it agrees, but a constant or a reading that the paper leaves open was chosen to meet it.
* ``not reproduced``: measured, and it does not agree. ``reason`` says why, or that nobody has found out yet.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import numpy as np

from bees.reproduce.curves import over_seeds
from bees.reproduce.published import (
    ACCURACY_TOLERANCE,
    BLOCKS,
    EARLY_BLOCKS,
    END_POINTS,
    ENERGY_TOLERANCE,
    HALVING_LOSS_POINTS,
    LATENCY_TOLERANCE,
    MOSTLY,
    STRAIGHT,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from numpy.typing import NDArray

    from bees.reproduce.curves import Reproduction
    from bees.reproduce.published import EndPoint, Quantity

Verdict = Literal["reproduced", "fitted", "not reproduced"]


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """One claim of the paper, and what became of it.

    Attributes:
        key: names the claim in code, such as ``accuracy_bees``.
        claim: it, in words.
        source: the figure or section that makes it.
        quote: how the paper puts it.
        published: the number that the paper prints, or None where it prints none.
        measured: mean over seeds, in ``unit``.
        unit: ``fraction`` of the test set, percentage ``points``, ``s``, ``J``, ``R²``, or ``share`` of the blocks.
        difference: measured minus published, in ``unit``; None where the paper prints no number.
        verdict: ``reproduced``, ``fitted`` or ``not reproduced``.
        reason: why that verdict, in a sentence or two.
        spread: standard deviation over seeds, in ``unit``; None with one seed.
    """

    key: str
    claim: str
    source: str
    quote: str
    published: float | None
    measured: float
    unit: str
    difference: float | None
    verdict: Verdict
    reason: str
    spread: float | None


UNKNOWN_CAUSE = "The cause has not been established."
CHOSEN_CONSTANTS = "The paper gives no γ, f_k and L; ours were chosen so that latency and energies meet its numbers."
CHOSEN_READING = "It follows from the reading that B-EI's uploads contend for the band (radio.sharing = contending)."


def claims_of(
    reproduction: Reproduction, reasons: Mapping[str, str] | None = None, fitted: Collection[str] = ()
) -> tuple[Claim, ...]:
    """Every claim that the curves at hand can decide; a curve that was not run gives no claim, and no error.

    Args:
        reproduction: what was measured.
        reasons: for a claim's key, why it came out as it did, as found by experiment. Replaces the computed reason.
        fitted: keys of accuracy claims whose settings were searched for to meet them: they are at best ``fitted``.

    Returns:
        The claims in the paper's order of figures.
    """
    found = [
        *_end_point_claims(reproduction),
        *_early_claims(reproduction),
        *_halving_claims(reproduction),
        *_latency_claims(reproduction),
        *_energy_order_claims(reproduction),
    ]
    found.sort(key=lambda claim: claim.source)
    return tuple(_with_knowledge(claim, reasons or {}, fitted) for claim in found)


def summary(
    reproduction: Reproduction, reasons: Mapping[str, str] | None = None, fitted: Collection[str] = ()
) -> dict[str, Any]:
    """What ``summary.json`` holds: the claims, and what they were measured with. Arguments as for ``claims_of``."""
    claims = claims_of(reproduction, reasons, fitted)
    return {
        "version": reproduction.version,
        "blocks": reproduction.blocks,
        "seeds": sorted({seed for curve in reproduction.curves for seed in curve.seeds}),
        "verdicts": verdict_counts(claims),
        "claims": [msgspec.to_builtins(claim) for claim in claims],
        "seconds": reproduction.seconds,
    }


def verdict_counts(claims: Collection[Claim]) -> dict[str, int]:
    """How many claims have each verdict, in the order reproduced, fitted, not reproduced."""
    counted = Counter(claim.verdict for claim in claims)
    return {verdict: counted[verdict] for verdict in ("reproduced", "fitted", "not reproduced")}


def _with_knowledge(claim: Claim, reasons: Mapping[str, str], fitted: Collection[str]) -> Claim:
    if claim.key in fitted and claim.verdict == "reproduced":
        chosen = "The learning settings were searched for to come near it."
        claim = msgspec.structs.replace(claim, verdict="fitted", reason=chosen)
    return msgspec.structs.replace(claim, reason=reasons.get(claim.key, claim.reason))


def _rows(reproduction: Reproduction, scheme: str, devices: int, quantity: Quantity) -> NDArray[np.float64] | None:
    """The curve's rows, shape (seeds, T), or None where it was not run."""
    try:
        rows = over_seeds(getattr(reproduction.curve(scheme, devices), quantity))
    except KeyError:
        return None
    return rows if rows.size else None


def _pair(
    reproduction: Reproduction, devices: int, quantity: Quantity
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """BEES and B-EI on the seeds that both were run with, each of shape (seeds, T), or None."""
    bees, bei = (_rows(reproduction, scheme, devices, quantity) for scheme in ("BEES", "B-EI"))
    if bees is None or bei is None:
        return None
    bees_seeds, bei_seeds = (reproduction.curve(scheme, devices).seeds for scheme in ("BEES", "B-EI"))
    shared = [seed for seed in bees_seeds if seed in bei_seeds]
    if not shared:
        return None
    return bees[[bees_seeds.index(s) for s in shared]], bei[[bei_seeds.index(s) for s in shared]]


def _claim(
    key: str, claim: str, source: str, quote: str, values: NDArray[np.float64], unit: str,
    verdict: Verdict, reason: str, published: float | None = None,
) -> Claim:  # fmt: skip
    measured = float(values.mean())
    return Claim(
        key=key, claim=claim, source=source, quote=quote, published=published, measured=measured, unit=unit,
        difference=None if published is None else measured - published, verdict=verdict, reason=reason,
        spread=float(values.std(ddof=1)) if len(values) > 1 else None,
    )  # fmt: skip


def _end_point_claims(reproduction: Reproduction) -> Iterator[Claim]:
    for point in END_POINTS:
        rows = _rows(reproduction, point.scheme, point.devices, point.quantity)
        if rows is None or rows.shape[1] < BLOCKS:
            continue
        values = rows[:, BLOCKS - 1]
        verdict, reason = _judge(point, float(values.mean()))
        quote = f"{point.published:.0%}" if point.unit == "fraction" else f"{point.published:g} {point.unit}"
        yield _claim(
            point.key, point.claim, point.source, quote, values, point.unit, verdict, reason, point.published
        )  # fmt: skip


def _judge(point: EndPoint, measured: float) -> tuple[Verdict, str]:
    difference = measured - point.published
    side = "above" if difference > 0 else "below"
    if point.quantity == "accuracy":
        if abs(difference) <= ACCURACY_TOLERANCE:
            return (
                "reproduced",
                f"Trained and tested; within {100 * ACCURACY_TOLERANCE:g} points of the published value.",
            )
        return "not reproduced", f"{abs(100 * difference):.1f} points {side} the published value. {UNKNOWN_CAUSE}"
    tolerance = LATENCY_TOLERANCE if point.quantity == "latency_s" else ENERGY_TOLERANCE
    if abs(difference) <= tolerance * point.published:
        return "fitted", CHOSEN_CONSTANTS
    off = f"{abs(difference) / point.published:.1%} {side} the published value, more than the {tolerance:.0%} we allow"
    return "not reproduced", f"{off}. {UNKNOWN_CAUSE}"


def _early_claims(reproduction: Reproduction) -> Iterator[Claim]:
    pair = _pair(reproduction, 100, "accuracy")
    if pair is None or pair[0].shape[1] < EARLY_BLOCKS:
        return
    lead_points = 100 * (pair[1] - pair[0])[:, :EARLY_BLOCKS]
    per_block = lead_points.mean(axis=0)
    ahead = int((per_block > 0).sum())
    holds = ahead > EARLY_BLOCKS / 2 and per_block.mean() > 0
    reason = (
        f"B-EI is ahead at {ahead} of the first {EARLY_BLOCKS} blocks: {per_block.mean():+.1f} points on average, "
        f"{per_block.max():+.1f} at its best block, {per_block.min():+.1f} at its worst."
    )
    yield _claim(
        "early_lead", f"B-EI ahead of BEES before block {EARLY_BLOCKS + 1} (mean lead)", "Fig. 3",
        "marginally more accurate", lead_points.mean(axis=1), "points", "reproduced" if holds else "not reproduced",
        reason if holds else f"{reason} {UNKNOWN_CAUSE}",
    )  # fmt: skip


def _halving_claims(reproduction: Reproduction) -> Iterator[Claim]:
    many, few = (_rows(reproduction, "BEES", devices, "accuracy") for devices in (100, 50))
    if many is None or few is None or min(many.shape[1], few.shape[1]) < BLOCKS:
        return
    seeds_many, seeds_few = (reproduction.curve("BEES", devices).seeds for devices in (100, 50))
    shared = [seed for seed in seeds_many if seed in seeds_few]
    if not shared:
        return
    ends_many = many[[seeds_many.index(s) for s in shared], BLOCKS - 1]
    loss_points = 100 * (ends_many - few[[seeds_few.index(s) for s in shared], BLOCKS - 1])
    holds = float(loss_points.mean()) <= HALVING_LOSS_POINTS
    yield _claim(
        "halving_loss", "Accuracy that BEES loses when 100 UEs become 50", "Fig. 4", "drops only by 2%", loss_points,
        "points", "reproduced" if holds else "not reproduced",
        "At most what the abstract allows; section IV-C prints 89% and 88%, a loss of one point."
        if holds else f"More than the abstract's 2%. {UNKNOWN_CAUSE}",
        HALVING_LOSS_POINTS,
    )  # fmt: skip


def _latency_claims(reproduction: Reproduction) -> Iterator[Claim]:
    rows = _rows(reproduction, "BEES", 100, "latency_s")
    if rows is not None and rows.shape[1] > 2:  # noqa: PLR2004  # two points always lie on a line
        straightness = np.array([r_squared(row) for row in rows])
        holds = float(straightness.mean()) >= STRAIGHT
        yield _claim(
            "latency_linear", "End-to-end latency is linear in the block index", "Fig. 5", "increases linearly",
            straightness, "R²", "reproduced" if holds else "not reproduced",
            "Every block adds a delay of the same distribution, so the sum is close to a line whatever the constants."
            if holds else f"Blocks do not take alike long. {UNKNOWN_CAUSE}",
        )  # fmt: skip
    pair = _pair(reproduction, 100, "latency_s")
    if pair is not None:
        gap = pair[1] - pair[0]
        yield _order("latency_order", "BEES faster than B-EI", "Fig. 5", "a lower end-to-end latency", gap, "s")
        if gap.shape[1] > 1:
            yield _growing(gap)


def _energy_order_claims(reproduction: Reproduction) -> Iterator[Claim]:
    for devices, source in ((100, "Fig. 6"), (150, "Fig. 7"), (200, "Fig. 8")):
        pair = _pair(reproduction, devices, "energy_j")
        if pair is not None:
            words = f"BEES uses less energy than B-EI, {devices} UEs"
            yield _order(f"energy_order_{devices}", words, source, "consumes less energy", pair[1] - pair[0], "J")


def _order(key: str, claim: str, source: str, quote: str, gap: NDArray[np.float64], unit: str) -> Claim:
    """B-EI minus BEES after the last block: positive, if the paper is right."""
    ends = gap[:, -1]
    holds = bool((ends > 0).all())
    return _claim(
        key, f"{claim} (gap after {gap.shape[1]} blocks)", source, quote, ends, unit,
        "fitted" if holds else "not reproduced",
        CHOSEN_READING if holds else f"B-EI needs no more than BEES, for at least one seed. {UNKNOWN_CAUSE}",
    )  # fmt: skip


def _growing(gap: NDArray[np.float64]) -> Claim:
    share = (np.diff(gap, axis=1) > 0).mean(axis=1)
    holds = float(share.mean()) >= MOSTLY and bool((gap[:, -1] > 0).all())
    return _claim(
        "latency_gap_grows", "The latency gap to B-EI grows with the block index", "Fig. 5",
        "the performance gap increases", share, "share", "fitted" if holds else "not reproduced",
        CHOSEN_READING if holds else f"The gap grows at {share.mean():.0%} of the blocks only. {UNKNOWN_CAUSE}",
    )  # fmt: skip


def r_squared(row: NDArray[np.float64]) -> float:
    """Coefficient of determination of the least-squares line through ``row`` over the block index 1 to T.

    ``R^2 = 1 - sum (y - y_line)^2 / sum (y - mean y)^2``; 1 for a constant row.
    """
    blocks = np.arange(1, len(row) + 1, dtype=np.float64)
    centred, deviation = blocks - blocks.mean(), row - row.mean()
    total = float(deviation @ deviation)
    if total == 0.0:
        return 1.0
    residual = deviation - centred * float(centred @ deviation) / float(centred @ centred)
    return 1.0 - float(residual @ residual) / total
