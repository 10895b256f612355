"""Bytes between all participants in one communication round, by kind of link, spelling and spread of updates."""

# pyright: reportUnknownMemberType=false
# Matplotlib's stubs leave **kwargs of its drawing methods untyped.
from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bees.core.update_codec import UPDATE_ENCODINGS
from bees.engines.network_usage import SPREADS, NetworkUsage, count_usage
from bees.report.style import HONEY, LABEL_PT, MOSS, MUTED, SKY, new_axes, styled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from bees.core.update_codec import UpdateEncoding
    from bees.engines.network_usage import Spread
    from bees.study.network import Row

KINDS: Final = (("up to the servers", MOSS), ("down to the UEs", SKY), ("between the servers", HONEY))
NAMES: Final[dict[Spread, str]] = {"pull": "commitment, bytes pulled", "inline": "bytes in the transaction"}
_MB: Final = 1e6


def parts(usage: NetworkUsage) -> tuple[float, float, float]:
    """Bytes per round by the kinds of links that are drawn."""
    return usage.device_to_server, usage.server_to_device, usage.between_servers


@styled
def network_bytes(rows: Sequence[Row]) -> Figure:
    """Bytes per round, stacked by kind of link; the traffic of the first row, with updates spelled in each way."""
    figure, axes = new_axes("What one communication round sends", "MB per round", "")
    bars: list[tuple[Spread, UpdateEncoding]] = [
        (spread, encoding) for spread in SPREADS for encoding in UPDATE_ENCODINGS
    ]
    places = [number + (number >= len(UPDATE_ENCODINGS)) for number in range(len(bars))]
    ends = _draw(axes, rows[0], bars, places)
    axes.set_yticks(places, [encoding for _, encoding in bars])
    axes.set_ylim(max(places) + 0.6, -1.1)
    axes.set_xlim(0, 1.16 * max(ends))
    axes.grid(axis="x")
    axes.grid(visible=False, axis="y")
    for place, end in zip(places, ends, strict=True):
        axes.annotate(f"{end:.0f}", (end, place), xytext=(4, 0), textcoords="offset points", va="center", color=MUTED)
    for number, spread in enumerate(SPREADS):
        top = places[number * len(UPDATE_ENCODINGS)] - 0.72
        axes.annotate(
            NAMES[spread], (0, top), xytext=(2, 0), textcoords="offset points", va="center", fontsize=LABEL_PT
        )
    axes.legend(frameon=False, loc="lower right", fontsize=LABEL_PT - 0.5)
    return figure


def _draw(axes: Axes, row: Row, bars: list[tuple[Spread, UpdateEncoding]], places: list[int]) -> list[float]:
    ends = [0.0] * len(bars)
    sizes = [parts(count_usage(row.traffic, encoding, spread)) for spread, encoding in bars]
    for kind, (name, colour) in enumerate(KINDS):
        widths = [size[kind] / _MB for size in sizes]
        axes.barh(places, widths, left=ends, color=colour, height=0.62, label=name)
        ends = [end + width for end, width in zip(ends, widths, strict=True)]
    return ends
