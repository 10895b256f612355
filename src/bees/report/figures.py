"""The paper's Figures 3 to 8, drawn from what was measured, with the published end points beside it.

A line is the mean over seeds, a band their minimum and maximum. Hollow diamonds are numbers that the paper prints;
its curves are printed as pictures only, so they are not drawn.
"""

# pyright: reportUnknownMemberType=false
# Matplotlib's stubs leave **kwargs of its drawing methods untyped.
from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bees.report.style import (
    MUTED,
    SCHEME_COLOURS,
    SCHEME_DASHES,
    SURFACE,
    Label,
    block_axis,
    label_points,
    new_axes,
    percent_axis,
    styled,
    thousands_axis,
)
from bees.reproduce.curves import over_seeds
from bees.reproduce.published import BLOCKS, END_POINTS
from bees.reproduce.tables import printed_text, value_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from bees.reproduce.curves import Curve, Reproduction
    from bees.reproduce.published import Quantity

SCHEMES = ("BEES", "B-EI")
UNITS: dict[Quantity, str] = {"accuracy": "fraction", "latency_s": "s", "energy_j": "J"}
VERBS: dict[Quantity, str] = {"accuracy": "reaches", "latency_s": "has taken", "energy_j": "has used"}


@styled
def figure_3(reproduction: Reproduction) -> Figure:
    """Accuracy of w_g on the test set against the block index, for 100 UEs."""
    figure, axes = new_axes("Accuracy grows with the number of blocks", "Block index", "Test accuracy")
    percent_axis(axes)
    _draw_curves(axes, reproduction, 100, "accuracy")
    return figure


@styled
def figure_4(reproduction: Reproduction) -> Figure:
    """Accuracy after the last block against the number of UEs."""
    figure, axes = new_axes("Accuracy when there are fewer devices", "User equipments K", "Test accuracy")
    percent_axis(axes)
    ends = {scheme: _ends_by_devices(reproduction, scheme) for scheme in SCHEMES}
    published = {scheme: _published_by_devices(scheme) if reproduction.blocks >= BLOCKS else {} for scheme in SCHEMES}
    counts = sorted({devices for found in ends.values() for devices in found})
    heights = [h for found in ends.values() for values in found.values() for h in values]
    heights += [h for found in published.values() for devices, h in found.items() if devices in counts]
    _limit_fractions(axes, heights)
    if not counts:
        _nothing(axes)
        return figure
    axes.set_xticks(counts)
    span = max(counts[-1] - counts[0], 10)
    axes.set_xlim(counts[0] - 0.52 * span, counts[-1] + 0.06 * span)
    for scheme in SCHEMES:
        _draw_ends(axes, scheme, ends[scheme], {k: v for k, v in published[scheme].items() if k in counts})
    for devices in {counts[0], counts[-1]}:
        labels = _end_labels(ends, published, devices, named=devices == counts[-1])
        label_points(axes, devices, labels, left=devices != counts[-1])
    return figure


@styled
def figure_5(reproduction: Reproduction) -> Figure:
    """Accumulated end-to-end latency against the block index, for 100 UEs."""
    figure, axes = new_axes("End-to-end latency", "Block index", "Accumulated latency (s)")
    _draw_curves(axes, reproduction, 100, "latency_s")
    return figure


def figure_6(reproduction: Reproduction) -> Figure:
    """Accumulated energy of all UEs against the block index, for 100 UEs."""
    return _energy_figure(reproduction, 100)


def figure_7(reproduction: Reproduction) -> Figure:
    """Accumulated energy of all UEs against the block index, for 150 UEs."""
    return _energy_figure(reproduction, 150)


def figure_8(reproduction: Reproduction) -> Figure:
    """Accumulated energy of all UEs against the block index, for 200 UEs."""
    return _energy_figure(reproduction, 200)


PAPER_FIGURES: dict[str, tuple[Callable[[Reproduction], Figure], tuple[int, ...], Quantity]] = {
    "figure_3": (figure_3, (100,), "accuracy"),
    "figure_4": (figure_4, (50, 100), "accuracy"),
    "figure_5": (figure_5, (100,), "latency_s"),
    "figure_6": (figure_6, (100,), "energy_j"),
    "figure_7": (figure_7, (150,), "energy_j"),
    "figure_8": (figure_8, (200,), "energy_j"),
}
"""Each figure of the paper with the numbers of UEs and the quantity that it needs."""


def paper_figures(reproduction: Reproduction) -> dict[str, Figure]:
    """The figures for which something was measured, by name, in the paper's order."""
    return {
        name: draw(reproduction)
        for name, (draw, counts, quantity) in PAPER_FIGURES.items()
        if any(_curve(reproduction, scheme, k, quantity) is not None for scheme in SCHEMES for k in counts)
    }


def caption(reproduction: Reproduction, name: str) -> str:
    """What a figure of ``paper_figures`` shows, in words that also serve those who can't see it."""
    _, counts, quantity = PAPER_FIGURES[name]
    sentences: list[str] = []
    for scheme in SCHEMES:
        found = {k: rows for k in counts if (rows := _curve(reproduction, scheme, k, quantity)) is not None}
        parts: list[str] = []
        for devices, rows in found.items():
            measured = value_text(float(rows[:, -1].mean()), UNITS[quantity])
            published = _published(scheme, devices, quantity) if reproduction.blocks >= BLOCKS else None
            beside = "" if published is None else f" (published {printed_text(published, UNITS[quantity])})"
            parts.append(f"{measured}{beside} with {devices} UEs")
        if parts:
            sentences.append(f"{scheme} {VERBS[quantity]} {' and '.join(parts)}")
    return f"After {reproduction.blocks} blocks, {'; '.join(sentences)}."


def legend(reproduction: Reproduction) -> str:
    """How to read the paper's figures, once for all of them."""
    seeds = max((len(curve.seeds) for curve in reproduction.curves), default=0)
    lines = f"Lines are means over {seeds} seeds, bands their minimum and maximum." if seeds > 1 else "One seed."
    diamonds = "Hollow diamonds are the numbers that the paper prints, all for 50 blocks."
    return f"{lines} {diamonds if reproduction.blocks >= BLOCKS else ''}".strip()


@styled
def _energy_figure(reproduction: Reproduction, devices: int) -> Figure:
    figure, axes = new_axes(f"Energy of {devices} user equipments", "Block index", "Accumulated energy (J)")
    thousands_axis(axes)
    _draw_curves(axes, reproduction, devices, "energy_j")
    return figure


def _curve(reproduction: Reproduction, scheme: str, devices: int, quantity: Quantity) -> NDArray[np.float64] | None:
    """Rows of shape (seeds, T), or None where nothing was measured."""
    found: list[Curve] = [c for c in reproduction.curves if (c.scheme, c.devices) == (scheme, devices)]
    rows = over_seeds(getattr(found[0], quantity)) if found else np.empty(0)
    return rows if rows.size else None


def _published(scheme: str, devices: int, quantity: Quantity) -> float | None:
    for point in END_POINTS:
        if (point.scheme, point.devices, point.quantity) == (scheme, devices, quantity):
            return point.published
    return None


def _draw_curves(axes: Axes, reproduction: Reproduction, devices: int, quantity: Quantity) -> None:
    """Both schemes against the block index; accumulated quantities start from zero at block 0."""
    measured = {s: rows for s in SCHEMES if (rows := _curve(reproduction, s, devices, quantity)) is not None}
    if not measured:
        _nothing(axes)
        return
    labels: list[Label] = []
    blocks = max(rows.shape[1] for rows in measured.values())
    for scheme, rows in measured.items():
        _draw_line(axes, scheme, rows if quantity == "accuracy" else np.pad(rows, ((0, 0), (1, 0))), blocks)
        end = float(rows[:, -1].mean())
        name = f"{scheme}  {value_text(end, UNITS[quantity])}"
        labels.append(Label(end, name, SCHEME_COLOURS[scheme], bold=True))
        published = _published(scheme, devices, quantity)
        if published is not None and blocks >= BLOCKS:
            _draw_diamond(axes, scheme, BLOCKS, published)
            labels.append(
                Label(published, f"published {printed_text(published, UNITS[quantity])}", SCHEME_COLOURS[scheme])
            )
    block_axis(axes, blocks)
    if quantity == "accuracy":
        _limit_fractions(axes, [label.y for label in labels] + [float(rows.min()) for rows in measured.values()])
    else:
        axes.set_ylim(0, 1.08 * max([label.y for label in labels] + [float(rows.max()) for rows in measured.values()]))
    label_points(axes, blocks, labels)


def _draw_line(axes: Axes, scheme: str, rows: NDArray[np.float64], blocks: int) -> None:
    x = np.arange(blocks - rows.shape[1] + 1, blocks + 1, dtype=np.float64)
    colour = SCHEME_COLOURS[scheme]
    if len(rows) > 1:
        axes.fill_between(x, rows.min(axis=0), rows.max(axis=0), color=colour, alpha=0.18, linewidth=0)
    axes.plot(x, rows.mean(axis=0), color=colour, linestyle=SCHEME_DASHES[scheme])
    axes.plot(x[-1], rows[:, -1].mean(), marker="o", markersize=4.5, color=colour, clip_on=False, zorder=4)


def _draw_diamond(axes: Axes, scheme: str, x: float, y: float) -> None:
    axes.plot(
        x, y, marker="D", markersize=8.5, markerfacecolor=SURFACE, markeredgecolor=SCHEME_COLOURS[scheme],
        markeredgewidth=1.2, linestyle="none", clip_on=False, zorder=3,
    )  # fmt: skip


def _limit_fractions(axes: Axes, heights: list[float]) -> None:
    """Fractions end at 1, and start at the tenth below the lowest."""
    lowest = min(heights, default=0.0)
    axes.set_ylim(max(np.floor(10 * lowest - 0.2) / 10, 0.0), 1.0)


def _ends_by_devices(reproduction: Reproduction, scheme: str) -> dict[int, NDArray[np.float64]]:
    curves = sorted((c for c in reproduction.curves if c.scheme == scheme and c.accuracy), key=lambda c: c.devices)
    return {curve.devices: over_seeds(curve.accuracy)[:, -1] for curve in curves}


def _published_by_devices(scheme: str) -> dict[int, float]:
    points = [point for point in END_POINTS if point.scheme == scheme and point.quantity == "accuracy"]
    return {point.devices: point.published for point in sorted(points, key=lambda point: point.devices)}


def _draw_ends(axes: Axes, scheme: str, ends: dict[int, NDArray[np.float64]], published: dict[int, float]) -> None:
    colour = SCHEME_COLOURS[scheme]
    axes.plot(list(published), list(published.values()), color=colour, linewidth=0.9, linestyle=":")
    for devices, value in published.items():
        _draw_diamond(axes, scheme, devices, value)
    counts, means = list(ends), np.array([values.mean() for values in ends.values()])
    axes.plot(counts, means, color=colour, linestyle=SCHEME_DASHES[scheme])
    axes.plot(counts, means, color=colour, linestyle="none", marker="o", markersize=4.5, zorder=4)
    for devices, values in ends.items():
        if len(values) > 1:
            axes.vlines(devices, values.min(), values.max(), color=colour, linewidth=4, alpha=0.35)


def _end_labels(
    ends: dict[str, dict[int, NDArray[np.float64]]],
    published: dict[str, dict[int, float]],
    devices: int,
    *,
    named: bool,
) -> list[Label]:
    labels: list[Label] = []
    for scheme in SCHEMES:
        if devices in ends[scheme]:
            mean = float(ends[scheme][devices].mean())
            name = f"{scheme}  " if named else ""
            labels.append(Label(mean, f"{name}{value_text(mean, 'fraction')}", SCHEME_COLOURS[scheme], bold=True))
        if devices in published[scheme]:
            value = published[scheme][devices]
            labels.append(Label(value, f"published {value:.0%}", SCHEME_COLOURS[scheme]))
    return labels


def _nothing(axes: Axes) -> None:
    axes.set_axis_off()
    axes.text(0.5, 0.5, "not measured in this reproduction", transform=axes.transAxes, ha="center", color=MUTED)
