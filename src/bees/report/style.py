"""The one look of all figures: colours, rules and lettering, and their bytes, the same on every machine and day.

Figures are drawn with Matplotlib's object-oriented API, so that no figure leaves state behind. Colours are
Okabe-Ito's in spirit: BEES and B-EI differ in hue (safe for the common colour blindnesses), in lightness and in dash.
"""

# pyright: reportUnknownMemberType=false
# Matplotlib's stubs leave **kwargs of its drawing methods untyped.
from __future__ import annotations

import io
import re
from functools import wraps
from typing import TYPE_CHECKING, Any, Final, NamedTuple, ParamSpec

import matplotlib.style
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from matplotlib.axes import Axes

P = ParamSpec("P")

SURFACE: Final = "#fffffe"
INK: Final = "#1c2024"
MUTED: Final = "#687078"
RULE: Final = "#dfe2e6"
HONEY: Final = "#c26a00"
SKY: Final = "#2f6fb3"
MOSS: Final = "#4d7d5b"

THEME_VARIABLES: Final = {
    SURFACE: "--surface",
    INK: "--ink",
    MUTED: "--muted",
    RULE: "--rule",
    HONEY: "--honey",
    SKY: "--sky",
    MOSS: "--moss",
}
"""Which CSS custom property takes a figure colour's place in a page, so that one figure serves light and dark."""

SCHEME_COLOURS: Final = {"BEES": HONEY, "B-EI": SKY}
SCHEME_DASHES: Final = {"BEES": "-", "B-EI": (0, (5, 1.6))}

WIDTH_IN: Final = 5.0
HEIGHT_IN: Final = 3.1
LABEL_PT: Final = 9.0

RC: Final[dict[str, Any]] = {
    "axes.axisbelow": True,
    "axes.edgecolor": MUTED,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.labelcolor": MUTED,
    "axes.labelpad": 5.0,
    "axes.labelsize": LABEL_PT,
    "axes.linewidth": 0.6,
    "axes.spines.left": False,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": INK,
    "axes.titlelocation": "left",
    "axes.titlepad": 10.0,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "figure.constrained_layout.h_pad": 0.1,
    "figure.constrained_layout.use": True,
    "figure.constrained_layout.w_pad": 0.1,
    "figure.facecolor": SURFACE,
    "figure.figsize": (WIDTH_IN, HEIGHT_IN),
    "font.family": ["DejaVu Sans"],
    "font.size": LABEL_PT,
    "grid.color": RULE,
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.9,
    "lines.solid_capstyle": "round",
    "savefig.dpi": 220,
    "svg.fonttype": "path",
    "svg.hashsalt": "bees",
    "text.color": INK,
    "xtick.color": MUTED,
    "xtick.labelcolor": MUTED,
    "xtick.labelsize": LABEL_PT - 0.5,
    "xtick.major.size": 3.0,
    "xtick.major.width": 0.6,
    "ytick.color": MUTED,
    "ytick.labelcolor": MUTED,
    "ytick.labelsize": LABEL_PT - 0.5,
    "ytick.major.size": 0.0,
}
_LAYOUT_FIXED: Final[dict[str, Any]] = {"figure.constrained_layout.use": False}


class Label(NamedTuple):
    """A word beside the point that it names, in place of a legend.

    Attributes:
        y: height of the point, in data units.
        text: the word.
        colour: of the word.
        bold: whether it names a line, rather than a reference.
    """

    y: float
    text: str
    colour: str
    bold: bool = False


def styled(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Draws under our style alone, whatever the reader's own Matplotlib settings are, and fixes the layout.

    The constrained layout moves on a little with each drawing; left at work, a figure's SVG would depend on whether
    its PNG was written first.
    """

    @wraps(draw)
    def under_style(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with matplotlib.style.context(["default", RC]):
            figure = draw(*args, **kwargs)
            figure.draw_without_rendering()
            # With any engine, even the one called "none", Matplotlib draws twice whenever it writes a file.
            with matplotlib.style.context([_LAYOUT_FIXED]):
                figure.set_layout_engine(None)
            return figure

    return under_style


def new_axes(title: str, x: str, y: str) -> tuple[Figure, Axes]:
    """A figure with one pair of axes, titled and labelled."""
    figure = Figure(figsize=(WIDTH_IN, HEIGHT_IN))
    axes: Axes = figure.add_subplot()
    axes.set_title(title)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    return figure, axes


def block_axis(axes: Axes, blocks: int) -> None:
    """An x axis from 0 to T with whole numbers."""
    axes.set_xlim(0, max(blocks, 1) * 1.012)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))


def percent_axis(axes: Axes) -> None:
    """A y axis of fractions, written as percents."""
    axes.yaxis.set_major_formatter(FuncFormatter(_percent))


def thousands_axis(axes: Axes) -> None:
    """A y axis whose numbers have thousands separators."""
    axes.yaxis.set_major_formatter(FuncFormatter(_thousands))


def _percent(value: float, _position: int | None) -> str:
    return f"{100 * value:.0f}%"


def _thousands(value: float, _position: int | None) -> str:
    return f"{value:,.0f}" if value.is_integer() else f"{value:,g}"


def label_points(axes: Axes, x: float, labels: Iterable[Label], *, left: bool = False, lines: int = 1) -> None:
    """Writes labels beside the points at ``x``, moved apart vertically where they would overlap.

    Args:
        axes: their y limits must be final.
        x: of the points.
        labels: in any order.
        left: write to the left of the points, not to the right.
        lines: of text in the tallest label.
    """
    ordered = sorted(labels, key=lambda label: label.y)
    low, high = axes.get_ylim()
    line_height = (high - low) * (0.15 + 1.2 * lines) * LABEL_PT / (72 * HEIGHT_IN * 0.74)
    heights = moved_apart([label.y for label in ordered], line_height)
    for label, height in zip(ordered, heights, strict=True):
        axes.annotate(
            label.text,
            (x, height),
            xytext=(-9 if left else 9, 0),
            textcoords="offset points",
            ha="right" if left else "left",
            va="center",
            color=label.colour,
            fontweight="bold" if label.bold else "normal",
            fontsize=LABEL_PT if label.bold else LABEL_PT - 0.5,
            annotation_clip=False,
        )


def moved_apart(heights: list[float], gap: float) -> list[float]:
    """Ascending heights, moved as little as a pairwise merge allows until neighbours are ``gap`` apart.

    Overlapping neighbours become one group, spread evenly about the mean of where its members want to be.
    """
    groups: list[list[float]] = []
    for height in heights:
        groups.append([height])
        while len(groups) > 1 and _bottom(groups[-1], gap) < _top(groups[-2], gap) + gap:
            groups[-2:] = [groups[-2] + groups[-1]]
    return [_bottom(group, gap) + i * gap for group in groups for i in range(len(group))]


def _bottom(group: list[float], gap: float) -> float:
    return float(np.mean(group)) - gap * (len(group) - 1) / 2


def _top(group: list[float], gap: float) -> float:
    return float(np.mean(group)) + gap * (len(group) - 1) / 2


def svg_text(figure: Figure, *, page_font: bool = False) -> str:
    """The figure as SVG, the same text for the same figure.

    Args:
        figure: drawn by one of our functions.
        page_font: leave text as text, to be set in the font of the page that it stands in, instead of as outlines.
    """
    buffer = io.StringIO()
    with matplotlib.style.context(["default", RC, _LAYOUT_FIXED, {"svg.fonttype": "none" if page_font else "path"}]):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


def png_bytes(figure: Figure) -> bytes:
    """The figure as PNG, the same bytes for the same figure on the same Matplotlib."""
    buffer = io.BytesIO()
    with matplotlib.style.context(["default", RC, _LAYOUT_FIXED]):
        figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def inline_svg(figure: Figure, name: str) -> str:
    """The figure as an ``<svg>`` element for an HTML page: themed by CSS, in the page's font, ids of its own.

    Args:
        figure: drawn by one of our functions.
        name: prefix of its ids, unique in the page.
    """
    svg = svg_text(figure, page_font=True)
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r'href="#', f'href="#{name}-', svg)
    svg = re.sub(r"url\(#", f"url(#{name}-", svg)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r' xmlns(:\w+)?="[^"]*"', "", svg).replace("xlink:href", "href")
    svg = re.sub(r"font: (bold |\d+ )?([\d.]+px)[^;\"]*", _page_font, svg)
    svg = re.sub(r"font-family: [^;\"]*;? ?", "", svg)
    for colour, variable in THEME_VARIABLES.items():
        svg = svg.replace(colour, f"var({variable})")
    return svg.strip()


def _page_font(match: re.Match[str]) -> str:
    weight = (match[1] or "").strip()
    return f"font-size: {match[2]}" + (f"; font-weight: {weight}" if weight else "")
