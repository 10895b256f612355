from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest
from matplotlib.collections import FillBetweenPolyCollection

from bees.report.figures import PAPER_FIGURES, caption, legend, paper_figures
from bees.report.style import SCHEME_COLOURS, png_bytes, svg_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from matplotlib.figure import Figure

    from bees.reproduce.curves import Reproduction

    Reproductions = Callable[[int, int], Reproduction]


def draw(name: str, reproduction: Reproduction) -> Figure:
    return PAPER_FIGURES[name][0](reproduction)


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts]


@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize("blocks", [1, 2, 50])
@pytest.mark.parametrize("name", PAPER_FIGURES)
def test_every_figure_of_the_paper_draws(reproduction_of: Reproductions, name: str, seeds: int, blocks: int):
    figure = draw(name, reproduction_of(seeds, blocks))
    assert png_bytes(figure).startswith(b"\x89PNG")
    shown = " ".join(texts(figure))
    assert "BEES" in shown
    assert "B-EI" in shown
    # The paper's numbers are for 50 blocks: nothing else may stand beside them.
    assert ("published" in shown) == (blocks == 50)


@pytest.mark.parametrize("name", PAPER_FIGURES)
def test_figures_are_the_same_bytes_each_time(reproduction_of: Reproductions, name: str):
    first, second = (draw(name, reproduction_of(3, 50)) for _ in range(2))
    assert svg_text(first) == svg_text(second)


def test_lines_are_means_over_seeds_and_bands_their_extremes(reproduction_of: Reproductions):
    reproduction = reproduction_of(3, 50)
    axes = draw("figure_3", reproduction).axes[0]
    rows = np.array(reproduction.curve("BEES", 100).accuracy)
    lines = [
        line for line in axes.lines if line.get_color() == SCHEME_COLOURS["BEES"] and np.size(line.get_xdata()) == 50
    ]
    assert np.asarray(lines[0].get_ydata()) == pytest.approx(rows.mean(axis=0))
    band = next(c for c in axes.collections if isinstance(c, FillBetweenPolyCollection))
    heights = np.asarray(band.get_paths()[0].vertices)[:, 1]
    assert (heights.min(), heights.max()) == pytest.approx((rows.min(), rows.max()))
    assert not any(
        isinstance(c, FillBetweenPolyCollection) for c in draw("figure_3", reproduction_of(1, 50)).axes[0].collections
    )


def test_accumulated_curves_start_at_zero_and_end_at_the_measured_value(reproduction_of: Reproductions):
    reproduction = reproduction_of(1, 50)
    for name, quantity, devices in (("figure_5", "latency_s", 100), ("figure_8", "energy_j", 200)):
        line = draw(name, reproduction).axes[0].lines[0]
        heights = np.asarray(line.get_ydata())
        assert heights[0] == 0
        assert heights[-1] == pytest.approx(getattr(reproduction.curve("BEES", devices), quantity)[0][-1])


def test_what_was_not_run_has_no_figure(reproduction_of: Reproductions):
    whole = reproduction_of(1, 5)
    part = msgspec.structs.replace(whole, curves=(whole.curve("BEES", 100),))
    assert list(paper_figures(part)) == ["figure_3", "figure_4", "figure_5", "figure_6"]
    assert paper_figures(msgspec.structs.replace(whole, curves=())) == {}
    missing = draw("figure_8", part)
    assert texts(missing) == ["not measured in this reproduction"]
    assert svg_text(draw("figure_4", msgspec.structs.replace(whole, curves=())))


def test_captions_tell_what_is_measured_and_what_is_published(reproduction_of: Reproductions):
    reproduction = reproduction_of(1, 50)
    assert caption(reproduction, "figure_5") == (
        "After 50 blocks, BEES has taken 5.50 s (published 5.71 s) with 100 UEs; B-EI has taken 7.70 s with 100 UEs."
    )
    assert "with 50 UEs and" in caption(reproduction, "figure_4")
    assert "published" not in caption(reproduction_of(1, 5), "figure_5")
    assert legend(reproduction_of(3, 5)) == "Lines are means over 3 seeds, bands their minimum and maximum."
