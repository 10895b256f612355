from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest
from matplotlib.patches import Rectangle

from bees.report.run_figures import (
    BATTERIES_DRAWN,
    battery_figure,
    energy_split_figure,
    main_node_figure,
    run_figures,
    selection_figure,
)
from bees.report.style import png_bytes, svg_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from bees.results import DeviceTrace, RoundRow

    Runs = Callable[[int, int, int], tuple[tuple[RoundRow, ...], DeviceTrace]]


@pytest.mark.parametrize(("blocks", "devices", "servers"), [(1, 1, 1), (1, 100, 20), (50, 100, 20), (3, 400, 2)])
def test_every_figure_of_a_run_draws_the_same_each_time(run_of: Runs, blocks: int, devices: int, servers: int):
    first, second = (run_figures(*run_of(blocks, devices, servers), servers) for _ in range(2))
    assert list(first) == ["accuracy", "latency", "energy", "batteries", "main_nodes", "selection"]
    for name, drawn in first.items():
        assert png_bytes(drawn.figure).startswith(b"\x89PNG")
        assert svg_text(drawn.figure) == svg_text(second[name].figure)
        assert drawn.caption.endswith(".")


def test_a_run_that_never_published_and_selected_nobody_still_draws(run_of: Runs):
    rows, devices = run_of(3, 4, 2)
    idle = tuple(
        msgspec.structs.replace(
            row, main_node=None, selected=(), latency_s=0.0, computation_energy_j=0.0, transmission_energy_j=0.0
        )
        for row in rows
    )
    for drawn in run_figures(idle, devices, 2).values():
        assert svg_text(drawn.figure)


def test_energy_bars_stack_to_the_energy_of_the_block(run_of: Runs):
    rows, _ = run_of(4, 10, 2)
    bars = energy_split_figure(rows).axes[0].patches
    tops = [bar.get_y() + bar.get_height() for bar in bars[len(rows) :] if isinstance(bar, Rectangle)]
    assert tops == pytest.approx([row.energy_j for row in rows])


def test_main_nodes_stand_where_they_published_and_skipped_rounds_are_told(run_of: Runs):
    rows, _ = run_of(10, 10, 4)
    axes = main_node_figure(rows, 4).axes[0]
    squares = next(line for line in axes.lines if line.get_marker() == "s")
    shown = [tuple(point) for point in np.asarray(squares.get_xydata()).tolist()]
    assert shown == [(row.block, row.main_node) for row in rows if row.main_node is not None]
    assert "2 skipped" in [text.get_text() for text in axes.texts]


def test_selection_counts_are_those_of_the_rows(run_of: Runs):
    rows, _ = run_of(6, 30, 4)
    stems = selection_figure(rows, 30).axes[0].collections[0]
    heights = {round(foot[0]): head[1] for foot, head in (np.asarray(p.vertices).tolist() for p in stems.get_paths())}
    for device in range(30):
        assert heights.get(device, 0) == sum(device in row.selected for row in rows)


def test_of_many_batteries_a_bounded_number_is_drawn_and_the_median_is_of_all(run_of: Runs):
    _, devices = run_of(5, 4 * BATTERIES_DRAWN, 4)
    axes = battery_figure(devices).axes[0]
    assert len(axes.collections[0].get_paths()) == BATTERIES_DRAWN
    assert np.asarray(axes.lines[0].get_ydata()) == pytest.approx(np.median(devices.charge_j, axis=1))
