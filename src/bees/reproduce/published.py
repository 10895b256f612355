"""What the paper prints (section IV-C and abstract), and how near a measurement must come to agree with it."""

from __future__ import annotations

from typing import Literal

import msgspec

Quantity = Literal["accuracy", "latency_s", "energy_j"]

BLOCKS = 50
"""T of every end point that the paper prints."""

ACCURACY_TOLERANCE = 0.02
"""Two points: accuracies are printed as whole percents (half a point of rounding), of one run with an unknown seed."""

LATENCY_TOLERANCE = 0.03
"""3% of the published delay: every block waits for its slowest UE, so its sum varies with the draw of C_k."""

ENERGY_TOLERANCE = 0.02
"""2% of the published energy: a sum over all UEs and blocks, so that its draws nearly average out."""

HALVING_LOSS_POINTS = 2.0
"""The abstract lets BEES lose "only 2%" when UEs are halved; section IV-C prints 89% and 88%, a loss of one point."""

EARLY_BLOCKS = 9
"""B-EI is ahead "when there are fewer than ten blocks": the blocks 1 to 9."""

STRAIGHT = 0.99
"""R^2 from which we call a curve a straight line. Any sum of like terms passes it, so it is a weak claim."""

MOSTLY = 0.9
"""Share of blocks from which we say that a gap grows with the block index: single draws may disagree."""


class EndPoint(msgspec.Struct, frozen=True, kw_only=True):
    """A number that the paper prints for the end of a curve, at 50 blocks.

    Attributes:
        key: of the claim.
        claim: it, in words.
        source: the figure.
        scheme: ``BEES`` or ``B-EI``.
        devices: K.
        quantity: which curve.
        unit: of ``published``.
        published: the number.
    """

    key: str
    claim: str
    source: str
    scheme: str
    devices: int
    quantity: Quantity
    unit: str
    published: float


def _accuracy(key: str, source: str, scheme: str, devices: int, published: float) -> EndPoint:
    words = f"{scheme} accuracy after {BLOCKS} blocks, {devices} UEs"
    return EndPoint(
        key=key, claim=words, source=source, scheme=scheme, devices=devices, quantity="accuracy", unit="fraction",
        published=published,
    )  # fmt: skip


def _energy(source: str, devices: int, published: float) -> EndPoint:
    return EndPoint(
        key=f"energy_{devices}", claim=f"BEES energy after {BLOCKS} blocks, {devices} UEs", source=source,
        scheme="BEES", devices=devices, quantity="energy_j", unit="J", published=published,
    )  # fmt: skip


END_POINTS = (
    _accuracy("accuracy_bees", "Fig. 3", "BEES", 100, 0.89),
    _accuracy("accuracy_bei", "Fig. 3", "B-EI", 100, 0.72),
    _accuracy("accuracy_bees_50", "Fig. 4", "BEES", 50, 0.88),
    _accuracy("accuracy_bei_50", "Fig. 4", "B-EI", 50, 0.54),
    EndPoint(
        key="latency", claim=f"BEES end-to-end latency after {BLOCKS} blocks", source="Fig. 5", scheme="BEES",
        devices=100, quantity="latency_s", unit="s", published=5.71,
    ),
    _energy("Fig. 6", 100, 6294.0),
    _energy("Fig. 7", 150, 7631.0),
    _energy("Fig. 8", 200, 8895.0),
)  # fmt: skip
"""Every number that section IV-C prints for 50 blocks. It prints none for B-EI's latency and energy."""
