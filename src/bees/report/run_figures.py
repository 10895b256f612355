"""Figures of a single run: how it learnt, where its energy went, and who did which duty."""

# pyright: reportUnknownMemberType=false
# Matplotlib's stubs leave **kwargs of its drawing methods untyped.
from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.ticker import MaxNLocator

from bees.report.style import (
    HONEY,
    MOSS,
    MUTED,
    RULE,
    SKY,
    Label,
    block_axis,
    label_points,
    new_axes,
    percent_axis,
    styled,
    thousands_axis,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure

    from bees.results import DeviceTrace, RoundRow

BATTERIES_DRAWN = 150
"""At most so many single batteries: more lines would print as one grey area. The median is of all of them."""


@styled
def accuracy_figure(rounds: Sequence[RoundRow]) -> Figure:
    """Accuracy of the global model, and of the UEs' models before aggregation, against the block index."""
    figure, axes = new_axes("Accuracy of the shared model", "Block index", "Accuracy")
    percent_axis(axes)
    blocks = [row.block for row in rounds]
    curves = {
        "shared": (np.array([row.accuracy for row in rounds]), HONEY, 1.9),
        "best UE": (np.array([row.best_local_accuracy for row in rounds]), SKY, 1.1),
        "mean UE": (np.array([row.mean_local_accuracy for row in rounds]), MUTED, 1.1),
    }
    for values, colour, width in reversed(curves.values()):
        axes.plot(blocks, values, color=colour, linewidth=width)
        axes.plot(blocks[-1], values[-1], color=colour, marker="o", markersize=4, clip_on=False)
    lowest = min(float(values.min()) for values, _, _ in curves.values())
    axes.set_ylim(max(np.floor(10 * lowest) / 10, 0.0), 1.0)
    block_axis(axes, blocks[-1])
    labels = [
        Label(values[-1], f"{name}  {values[-1]:.1%}", colour, bold=name == "shared")
        for name, (values, colour, _) in curves.items()
    ]
    label_points(axes, blocks[-1], labels)
    return figure


@styled
def latency_figure(rounds: Sequence[RoundRow]) -> Figure:
    """End-to-end delay of each block: that of its slowest UE."""
    figure, axes = new_axes("Delay of each block", "Block index", "Latency (s)")
    blocks = [row.block for row in rounds]
    times = np.array([row.latency_s for row in rounds])
    axes.vlines(blocks, 0, times, color=HONEY, linewidth=1.1, alpha=0.45)
    axes.plot(blocks, times, color=HONEY, linestyle="none", marker="o", markersize=3.4)
    block_axis(axes, blocks[-1])
    axes.set_ylim(0, 1.1 * max(float(times.max()), 1e-9))
    label_points(
        axes, blocks[-1], [Label(float(times.mean()), f"mean  {1e3 * times.mean():,.0f} ms", HONEY, bold=True)]
    )
    return figure


@styled
def energy_split_figure(rounds: Sequence[RoundRow]) -> Figure:
    """Energy of all UEs in each block, split into computation (Eq. 7) and transmission (Eq. 8)."""
    figure, axes = new_axes("Energy of each block", "Block index", "Energy of all UEs (J)")
    thousands_axis(axes)
    blocks = np.array([row.block for row in rounds])
    computation = np.array([row.computation_energy_j for row in rounds])
    transmission = np.array([row.transmission_energy_j for row in rounds])
    axes.bar(blocks, computation, width=0.82, color=HONEY, linewidth=0)
    axes.bar(blocks, transmission, width=0.82, bottom=computation, color=SKY, linewidth=0)
    block_axis(axes, int(blocks[-1]))
    axes.set_xlim(0.3, blocks[-1] + 0.7)
    axes.set_ylim(0, 1.06 * max(float((computation + transmission).max()), 1e-9))
    total = max(float((computation + transmission).sum()), 1e-9)
    labels = [
        Label(float(middle), f"{name}\n{part.sum():,.0f} J ({part.sum() / total:.0%})", colour, bold=True)
        for name, part, middle, colour in (
            ("computing", computation, computation[-1] / 2, HONEY),
            ("sending", transmission, computation[-1] + transmission[-1] / 2, SKY),
        )
    ]
    label_points(axes, blocks[-1] + 0.4, labels, lines=2)
    return figure


@styled
def battery_figure(devices: DeviceTrace) -> Figure:
    """Charge of the UEs' batteries after each block, and their median."""
    figure, axes = new_axes("Batteries of the devices", "Block index", "Charge (J)")
    thousands_axis(axes)
    charge_j = devices.charge_j
    blocks, count = charge_j.shape
    shown = np.unique(np.linspace(0, count - 1, min(count, BATTERIES_DRAWN), dtype=np.int64))
    x = np.arange(1, blocks + 1, dtype=np.float64)
    curves = [np.column_stack((x, charge_j[:, k])) for k in shown]
    axes.add_collection(LineCollection(curves, colors=MUTED, linewidths=0.6, alpha=0.4))
    median = np.median(charge_j, axis=1)
    axes.plot(x, median, color=HONEY)
    axes.plot(x[-1], median[-1], color=HONEY, marker="o", markersize=4, clip_on=False)
    axes.set_ylim(0, 1.06 * max(float(charge_j.max()), 1e-9))
    block_axis(axes, blocks)
    empty = int((charge_j[-1] <= 0).sum())
    labels = [
        Label(float(median[-1]), f"median  {median[-1]:,.0f} J", HONEY, bold=True),
        Label(float(charge_j[-1].max()), "fullest UE", MUTED),
        Label(float(charge_j[-1].min()), f"{empty} of {count} empty" if empty else "emptiest UE", MUTED),
    ]
    label_points(axes, blocks, labels)
    return figure


@styled
def main_node_figure(rounds: Sequence[RoundRow], servers: int) -> Figure:
    """Which edge server PoL made the main node of each block; a cross marks a skipped round."""
    figure, axes = new_axes("Who was the main node", "Block index", "Edge server")
    published = [(row.block, row.main_node) for row in rounds if row.main_node is not None]
    turns = Counter(server for _, server in published)
    x, y = [block for block, _ in published], [server for _, server in published]
    axes.hlines(sorted(turns), 0, rounds[-1].block, color=RULE, linewidth=0.6)
    axes.plot(x, y, linestyle="none", marker="s", markersize=4.2, color=HONEY)
    skipped = [row.block for row in rounds if row.main_node is None]
    axes.plot(skipped, [-1] * len(skipped), linestyle="none", marker="x", markersize=4.5, color=MUTED)
    block_axis(axes, rounds[-1].block)
    axes.grid(visible=False)
    axes.set_ylim(-1.6 if skipped else -0.6, servers - 0.4)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
    labels = [Label(server, f"server {server}: {count}×", HONEY, bold=True) for server, count in turns.most_common(4)]
    labels += [Label(-1, f"{len(skipped)} skipped", MUTED)] if skipped else []
    label_points(axes, rounds[-1].block, labels)
    return figure


@styled
def selection_figure(rounds: Sequence[RoundRow], devices: int) -> Figure:
    """In how many blocks each UE was among the selected set M."""
    figure, axes = new_axes("How often each device was selected", "User equipment", "Blocks in which selected")
    counts = Counter(device for row in rounds for device in row.selected)
    chosen = sorted(counts)
    heights = [counts[device] for device in chosen]
    axes.vlines(chosen, 0, heights, color=MOSS, linewidth=max(0.8, min(2.6, 260 / devices)))
    axes.set_xlim(-0.02 * devices - 0.5, devices - 0.5 + 0.02 * devices)
    axes.set_ylim(0, 1.12 * max(heights, default=1))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    axes.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    return figure


class Drawn(NamedTuple):
    """A figure with its title, and a caption that also serves those who can't see it."""

    figure: Figure
    title: str
    caption: str


def run_figures(rounds: Sequence[RoundRow], devices: DeviceTrace, servers: int) -> dict[str, Drawn]:
    """Every figure of a run that has at least one round, by name.

    Args:
        rounds: a row per block.
        devices: per-UE arrays.
        servers: N.
    """
    count = devices.charge_j.shape[1]
    return {
        "accuracy": Drawn(accuracy_figure(rounds), "Accuracy", _accuracy_caption(rounds)),
        "latency": Drawn(latency_figure(rounds), "Latency", _latency_caption(rounds)),
        "energy": Drawn(energy_split_figure(rounds), "Energy", _energy_caption(rounds)),
        "batteries": Drawn(battery_figure(devices), "Batteries", _battery_caption(devices)),
        "main_nodes": Drawn(main_node_figure(rounds, servers), "Main nodes", _main_node_caption(rounds, servers)),
        "selection": Drawn(selection_figure(rounds, count), "Selected devices", _selection_caption(rounds, count)),
    }


def _accuracy_caption(rounds: Sequence[RoundRow]) -> str:
    last = rounds[-1]
    right = f"The shared model gets {last.accuracy:.1%} of the test set right after block {last.block}."
    return f"{right} The thin lines are the best and the mean UE on the evaluation set, before aggregation."


def _latency_caption(rounds: Sequence[RoundRow]) -> str:
    last, times = rounds[-1], [row.latency_s for row in rounds]
    spread = f"from {1e3 * min(times):,.0f} to {1e3 * max(times):,.0f} ms"
    return f"A block waits for its slowest UE: {spread}, {last.total_latency_s:.2f} s after block {last.block}."


def _energy_caption(rounds: Sequence[RoundRow]) -> str:
    computing = sum(row.computation_energy_j for row in rounds)
    sending = sum(row.transmission_energy_j for row in rounds)
    return f"All UEs together used {computing:,.0f} J to compute (Eq. 7) and {sending:,.0f} J to send (Eq. 8)."


def _battery_caption(devices: DeviceTrace) -> str:
    last = devices.charge_j[-1]
    ends = f"the median UE ends with {np.median(last):,.0f} J, and {int((last <= 0).sum())} of {len(last)} end empty"
    lines = "one thin line per UE" if len(last) <= BATTERIES_DRAWN else f"{BATTERIES_DRAWN} UEs drawn as thin lines"
    return f"Charge left after each block, {lines}; {ends}."


def _main_node_caption(rounds: Sequence[RoundRow], servers: int) -> str:
    turns = {row.main_node for row in rounds if row.main_node is not None}
    skipped = sum(row.main_node is None for row in rounds)
    elected = f"{len(turns)} of {servers} edge servers published at least one round, as elected by Proof of Learning"
    return f"{elected}; {skipped} of {len(rounds)} rounds were skipped."


def _selection_caption(rounds: Sequence[RoundRow], devices: int) -> str:
    chosen = {device for row in rounds for device in row.selected}
    return f"{len(chosen)} of {devices} UEs were selected at least once. Only selected updates enter the shared model."
