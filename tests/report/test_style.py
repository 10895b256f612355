from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bees.report.style import (
    HONEY,
    SURFACE,
    THEME_VARIABLES,
    Label,
    inline_svg,
    label_points,
    moved_apart,
    new_axes,
    png_bytes,
    styled,
    svg_text,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@styled
def drawing() -> Figure:
    figure, axes = new_axes("Title", "x", "y")
    axes.plot([0, 1], [0, 1], color=HONEY, marker="o", markerfacecolor=SURFACE)
    axes.set_ylim(0, 1)
    label_points(axes, 1, [Label(1.0, "one", HONEY, bold=True), Label(0.99, "nearly <one>", HONEY)])
    return figure


def test_the_same_figure_has_the_same_bytes_and_no_date():
    assert svg_text(drawing()) == svg_text(drawing())
    assert png_bytes(drawing()) == png_bytes(drawing())
    both_ways = drawing()
    png_bytes(both_ways)
    assert svg_text(both_ways) == svg_text(drawing())
    assert "dc:date" not in svg_text(drawing())


def test_a_reader_s_own_settings_change_nothing_and_are_left_alone():
    plain = svg_text(drawing())
    with mpl.rc_context({"font.size": 30, "axes.facecolor": "red", "svg.hashsalt": "other"}):
        assert svg_text(drawing()) == plain
        assert mpl.rcParams["font.size"] == 30


def test_an_inline_figure_takes_its_colours_from_the_page_and_keeps_its_ids_to_itself():
    svg = inline_svg(drawing(), "fig")
    assert not any(colour in svg for colour in THEME_VARIABLES)
    assert f"var({THEME_VARIABLES[HONEY]})" in svg
    assert svg.startswith("<svg")
    assert "viewBox" in svg[: svg.index(">")]
    assert "DejaVu" not in svg
    assert "nearly &lt;one&gt;" in svg
    for reference in ('id="', 'href="#', "url(#"):
        assert all(rest.startswith("fig-") for rest in svg.split(reference)[1:])


@settings(deadline=None, max_examples=100)
@given(st.lists(st.floats(-100, 100), max_size=12).map(sorted), st.floats(0.01, 20))
def test_labels_moved_apart_keep_their_order_their_gap_and_their_middle(heights: list[float], gap: float):
    moved = moved_apart(heights, gap)
    assert len(moved) == len(heights)
    assert all(b - a >= gap * (1 - 1e-9) - 1e-9 for a, b in pairwise(moved))
    if heights:
        assert np.mean(moved) == pytest.approx(np.mean(heights), abs=1e-6)
    if all(b - a >= gap for a, b in pairwise(heights)):
        assert moved == pytest.approx(heights)
