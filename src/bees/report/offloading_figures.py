"""Figures of ``bees study offloading``: phase diagrams, accuracy against joules and seconds, survivors, and privacy.

In the diagrams cells are what was measured, row by row of the study; the lines are the boundaries in closed form.
"""

# pyright: reportUnknownMemberType=false
# Matplotlib's stubs leave **kwargs of its drawing methods untyped.
from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke

from bees.edge.break_even import (
    least_clock_by_energy_hz,
    most_clock_by_latency_hz,
    most_raw_bytes_by_energy,
    most_raw_bytes_by_latency,
)
from bees.report.style import (
    HEIGHT_IN,
    HONEY,
    INK,
    LABEL_PT,
    MOSS,
    MUTED,
    SKY,
    SURFACE,
    WIDTH_IN,
    Label,
    block_axis,
    label_points,
    percent_axis,
    styled,
)
from bees.study.offloading import DiagramRow, LearningRow, PolicyRow
from bees.study.offloading_diagram import WINNERS, axes_of, plane_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from bees.study.offloading import Row

TINTS: Final = {"local": "#eceef0", "latency": "#cadcf0", "energy": "#d0e2d6", "both": "#f7d8b0"}
MEANINGS: Final = {
    "local": "stay: offloading saves neither",
    "latency": "offloading saves time only",
    "energy": "offloading saves energy only",
    "both": "offloading saves both",
}
DIAGRAM_HEIGHT_IN: Final = 4.1


@dataclass(frozen=True)
class Panel:
    """One diagram of a figure.

    Attributes:
        title: above it.
        constants: the preset of its typical UE.
        plane: what its axes are.
        sharers: among how many UEs the band is divided.
        once: whether the raw data is sent once in a run, or in every block.
        others: further numbers of sharers, of which the boundaries alone are drawn.
    """

    title: str
    constants: str
    plane: str
    sharers: int
    once: bool
    others: tuple[int, ...] = ()


DIAGRAMS: Final = {
    "offloading_work": (
        Panel("Raw data sent in every block", "paper", "work", 30, once=False, others=(1,)),
        Panel("Raw data sent once in 50 blocks", "paper", "work", 30, once=True, others=(1,)),
    ),
    "offloading_sound": (
        Panel("Sound constants, every block", "sound", "work", 5, once=False, others=(1,)),
        Panel("Sound constants, once in 50 blocks", "sound", "work", 5, once=True, others=(1,)),
    ),
    "offloading_hardware": (
        Panel("The paper's constants, 0.47 MB", "paper", "hardware", 30, once=False, others=(1,)),
        Panel("Sound constants, 0.39 MB", "sound", "hardware", 5, once=False, others=(1,)),
    ),
}
SURVIVAL: Final = (
    (
        "Batteries of 20 J",
        "UEs that are not empty",
        (
            ("small batteries", "local", "at home", SKY),
            ("small batteries", "offload", "every block", MUTED),
            ("small batteries", "battery", "battery", MOSS),
            ("small batteries, sticky", "lifetime", "sent once", HONEY),
        ),
    ),
    (
        "... and 0.6 W of harvest",
        "Updates that arrive",
        (
            ("harvest", "local", "at home", SKY),
            ("harvest", "offload", "every block", MUTED),
            ("harvest", "battery", "battery", MOSS),
            ("harvest, sticky", "lifetime", "sent once", HONEY),
        ),
    ),
)
"""Title, y axis, and the lines: world, policy, label, colour."""
LEARNT: Final = (
    ("real size", "offload", "every block", MUTED),
    ("paper", "local", "at home", SKY),
    ("small batteries", "local", "at home, 20 J", MOSS),
    ("sticky", "latency", "sent once", HONEY),
)
PRIVACY: Final = (
    ("paper", "local", "at home"),
    ("paper", "offload", "80 MB, every block"),
    ("real size", "offload", "real size, every block"),
    ("sticky", "latency", "real size, sent once"),
    ("3gpp", "energy", "3GPP, by energy"),
    ("small batteries", "battery", "20 J, battery below 20%"),
)


def offloading_figures(rows: Sequence[Row]) -> dict[str, Figure]:
    """All figures, by the name of their file; those for which a row is missing are left out."""
    drawn: dict[str, Callable[[], Figure]] = {
        **{name: lambda panels=panels: diagram_figure(rows, panels) for name, panels in DIAGRAMS.items()},
        "offloading_accuracy": lambda: accuracy_figure(rows),
        "offloading_survivors": lambda: survival_figure(rows),
        "offloading_privacy": lambda: privacy_figure(rows),
    }
    figures: dict[str, Figure] = {}
    for name, draw in drawn.items():
        try:
            figures[name] = draw()
        except LookupError:
            continue
    return figures


@styled
def diagram_figure(rows: Sequence[Row], panels: Sequence[Panel]) -> Figure:
    """Phase diagrams side by side.

    Raises:
        LookupError: a diagram is not among the rows.
    """
    figure = Figure(figsize=(2 * WIDTH_IN * 0.8, DIAGRAM_HEIGHT_IN))
    for index, panel in enumerate(panels):
        axes: Axes = figure.add_subplot(1, len(panels), index + 1)
        axes.set_title(panel.title)
        _draw_diagram(axes, diagram_row(rows, panel), panel)
    patches: list[Any] = [Patch(facecolor=TINTS[name], label=MEANINGS[name]) for name in ("both", "energy", "latency")]
    patches += [
        Patch(facecolor=TINTS["local"], label=MEANINGS["local"]),
        Line2D([], [], color=INK, label="boundary by energy"),
        Line2D([], [], color=INK, linestyle=(0, (4, 2)), label="boundary by latency"),
        Line2D([], [], color=MUTED, linewidth=0.9, label="... alone on the band"),
    ]
    figure.legend(handles=patches, loc="outside lower center", ncols=4, frameon=False, fontsize=LABEL_PT - 1)
    return figure


def diagram_row(rows: Sequence[Row], panel: Panel) -> DiagramRow:
    """The row of a panel.

    Raises:
        LookupError: there is none.
    """
    wanted = (panel.constants, panel.plane, panel.sharers, panel.once)
    for row in rows:
        if isinstance(row, DiagramRow):
            found = (row.constants, row.plane, row.sharing.sharers, row.sharing.blocks > 1)
            if found == wanted:
                return row
    raise LookupError(panel.title)


@styled
def accuracy_figure(rows: Sequence[Row]) -> Figure:
    """Accuracy against the joules of all UEs, and against seconds; mining the same blocks as a line far to the right.

    Raises:
        LookupError: a pair was not trained.
    """
    figure = Figure(figsize=(2 * WIDTH_IN * 0.8, HEIGHT_IN * 1.1))
    sides = (("total_energy_j", "Energy of all UEs (J)"), ("total_latency_s", "End-to-end latency (s)"))
    for index, (column, name) in enumerate(sides):
        axes: Axes = figure.add_subplot(1, 2, index + 1)
        axes.set_xlabel(name)
        axes.set_xscale("log")
        percent_axis(axes)
        axes.set_ylabel("Test accuracy")
        for world, policy, label, colour in LEARNT:
            row = learning_row(rows, world, policy)
            x, y = np.array(getattr(row, column)), np.array(row.accuracy)
            axes.plot(x, y, color=colour, label=label)
            axes.plot(x[-1], y[-1], color=colour, marker="o", markersize=4)
        axes.set_ylim(0, 1)
    axes = figure.axes[0]
    mining_j = policy_row(rows, "paper", "local").mining_energy_j
    axes.axvline(mining_j, color=MUTED, linestyle=(0, (1, 2)), linewidth=1.2)
    axes.set_xlim(right=2.2 * mining_j)
    axes.annotate(
        "mining them,\nno learning",
        (mining_j, 0.1),
        xytext=(-4, 0),
        textcoords="offset points",
        ha="right",
        color=MUTED,
        fontsize=LABEL_PT - 1,
    )
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False, fontsize=LABEL_PT - 0.5)
    axes.set_title("Accuracy against joules")
    figure.axes[1].set_title("... and against seconds")
    return figure


@styled
def survival_figure(rows: Sequence[Row]) -> Figure:
    """UEs that are not empty, and updates that arrive, block by block.

    Raises:
        LookupError: a policy was not run.
    """
    figure = Figure(figsize=(2 * WIDTH_IN * 0.8, HEIGHT_IN))
    for index, (title, name, lines) in enumerate(SURVIVAL):
        axes: Axes = figure.add_subplot(1, 2, index + 1)
        axes.set_title(title)
        axes.set_xlabel("Block index")
        axes.set_ylabel(name)
        found = [(policy_row(rows, world, policy), label, colour) for world, policy, label, colour in lines]
        last = max(row.blocks for row, _, _ in found)
        labels: list[Label] = []
        for row, label, colour in found:
            counts = np.array(row.charged if index == 0 else row.arrived)
            blocks = np.arange(len(counts)) + index
            if index == 0 and row.ended_at is not None:  # nobody is left from there on
                counts, blocks = np.append(counts, 0), np.append(blocks, last)
            axes.plot(blocks, counts, color=colour, drawstyle="steps-post" if index == 0 else "default", clip_on=False)
            height = float(counts.min()) if index == 0 and row.ended_at is not None else float(counts[-1])
            labels.append(Label(height, f"{label} (to {row.ended_at})" if row.ended_at else label, colour, bold=True))
        axes.set_ylim(0, 106)
        block_axis(axes, last)
        label_points(axes, last, labels)
    return figure


@styled
def privacy_figure(rows: Sequence[Row]) -> Figure:
    """Raw data that left their owners, and how many distinct samples that were.

    Raises:
        LookupError: a policy was not run.
    """
    figure = Figure(figsize=(WIDTH_IN * 1.25, HEIGHT_IN))
    axes: Axes = figure.add_subplot()
    axes.set_title("What leaves its owner in a run")
    axes.set_xlabel("Raw data sent (MB)")
    axes.grid(visible=False, axis="y")
    axes.grid(visible=True, axis="x")
    axes.set_xscale("log")
    axes.set_xlim(1, 1e6)
    for height, (world, policy, _) in enumerate(PRIVACY):
        row = policy_row(rows, world, policy)
        megabytes = row.raw_bytes / 1e6
        if megabytes > 1:
            axes.barh(height, megabytes, height=0.62, color=HONEY if row.raw_samples_shared else SKY, linewidth=0)
        text = f"{megabytes:,.0f} MB, {row.raw_samples_shared:,} distinct samples" if megabytes else "nothing"
        axes.annotate(
            text,
            (max(megabytes, 1), height),
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            fontsize=LABEL_PT - 1,
            annotation_clip=False,
        )
    axes.set_yticks(range(len(PRIVACY)), [label for _, _, label in PRIVACY])
    axes.set_ylim(len(PRIVACY) - 0.4, -0.7)
    return figure


def policy_row(rows: Sequence[Row], world: str, policy: str) -> PolicyRow:
    """The first row of a policy in a world.

    Raises:
        LookupError: there is none, or the policy refused that world.
    """
    for row in rows:
        if isinstance(row, PolicyRow) and (row.world, row.policy) == (world, policy) and row.refused is None:
            return row
    raise LookupError(f"{policy} in {world}")


def learning_row(rows: Sequence[Row], world: str, policy: str) -> LearningRow:
    """The first row of a pair that was trained.

    Raises:
        LookupError: there is none.
    """
    for row in rows:
        if isinstance(row, LearningRow) and (row.world, row.policy) == (world, policy):
            return row
    raise LookupError(f"{policy} in {world}")


def _draw_diagram(axes: Axes, row: DiagramRow, panel: Panel) -> None:
    x, y = axes_of(row.plane, len(row.cells))
    _draw_cells(axes, row.cells, _edges(x), _edges(y))
    axes.set_xscale("log")
    axes.set_yscale("log")
    for sharers in (row.sharing.sharers, *panel.others):
        _draw_boundaries(axes, row, sharers, x, y, main=sharers == row.sharing.sharers)
    axes.set_xlim(x[0], x[-1])
    axes.set_ylim(y[0], y[-1])
    axes.grid(visible=False)
    points = _points(row)
    for at_x, at_y, label in points:
        axes.plot(at_x, at_y, marker="D", markersize=5.5, color=INK, markerfacecolor=SURFACE, markeredgewidth=1.4)
        axes.annotate(
            label,
            (at_x, at_y),
            xytext=(-7, 0),
            textcoords="offset points",
            ha="right",
            va="center",
            fontsize=LABEL_PT - 1,
            fontweight="bold",
            path_effects=[withStroke(linewidth=2.5, foreground=SURFACE)],
        )
    if row.plane == "work":
        axes.set_xlabel("CPU cycles per sample at the UE")
        axes.set_ylabel("Raw data of a UE (bytes)")
    else:
        axes.set_xlabel("Bandwidth of a cell (Hz)")
        axes.set_ylabel("Clock of the UE (Hz)")


def _points(row: DiagramRow) -> list[tuple[float, float, str]]:
    if row.plane == "hardware":
        return [(row.ue.bandwidth_hz, row.ue.cpu_frequency_hz, row.constants)]
    cycles = row.ue.cycles_per_sample
    published = [(cycles, row.published.raw_bytes, "the paper\n80 MB")] if row.constants == "paper" else []
    return [*published, (cycles, row.real.raw_bytes, f"real size\n{row.real.raw_bytes / 1e6:.2f} MB")]


def _draw_cells(axes: Axes, cells: tuple[str, ...], x: NDArray[np.float64], y: NDArray[np.float64]) -> None:
    """Runs of equal cells as one rectangle each: a drawing of some hundred shapes instead of thousands."""
    for index, name in enumerate(WINNERS):
        boxes: list[list[tuple[float, float]]] = []
        for line, (low, high) in zip(cells, pairwise(y), strict=True):
            at = 0
            for digit, run in groupby(line):
                end = at + len(list(run))
                if int(digit) == index:
                    boxes.append([(x[at], low), (x[end], low), (x[end], high), (x[at], high)])
                at = end
        axes.add_collection(
            PolyCollection(boxes, facecolors=TINTS[name], edgecolors=TINTS[name], linewidths=0.4, zorder=0.5)
        )


def _draw_boundaries(
    axes: Axes, row: DiagramRow, sharers: int, x: NDArray[np.float64], y: NDArray[np.float64], *, main: bool
) -> None:
    trade = plane_of(row.plane, row.ue, msgspec.structs.replace(row.sharing, sharers=sharers), x, y)
    if row.plane == "work":
        by_energy, by_latency = most_raw_bytes_by_energy(trade), most_raw_bytes_by_latency(trade)
    else:
        by_energy, by_latency = least_clock_by_energy_hz(trade), most_clock_by_latency_hz(trade)
    look: dict[str, Any] = {"color": INK if main else MUTED, "linewidth": 1.5 if main else 0.9}
    for values, dash in ((by_energy, "-"), (by_latency, (0, (4, 2)))):
        line = np.broadcast_to(values, (1, len(x))).ravel()
        shown = np.isfinite(line) & (line > 0)
        axes.plot(x[shown], line[shown], linestyle=dash, **look)


def _edges(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of cells around values that are evenly spaced in their logarithm."""
    half = np.sqrt(values[1] / values[0])
    return np.append(values / half, values[-1] * half)
