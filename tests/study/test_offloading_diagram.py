"""The diagrams are drawn cell by cell from the costs; here they are held against the boundaries in closed form."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

import bees
from bees.edge.break_even import (
    least_clock_by_energy_hz,
    most_clock_by_latency_hz,
    most_raw_bytes_by_energy,
    most_raw_bytes_by_latency,
)
from bees.edge.physics import simulate_physics
from bees.study.offloading_diagram import WINNERS, Sharing, axes_of, draw, plane_of, point_of, typical, winners

if TYPE_CHECKING:
    from bees.study.offloading_diagram import Plane, Typical

SHARINGS = [Sharing(sharers=n, blocks=m) for n in (1, 30) for m in (1, 50)]


def ue_of(preset: str) -> Typical:
    return typical(bees.load_scenario(preset))


@pytest.mark.parametrize("preset", ["paper", "sound"])
@pytest.mark.parametrize("sharing", SHARINGS)
def test_drawn_cells_lie_where_the_closed_form_says(preset: str, sharing: Sharing):
    ue = ue_of(preset)
    x, y = axes_of("work")
    trade = plane_of("work", ue, sharing, x, y)
    expected = (y[:, None] < most_raw_bytes_by_latency(trade)) + 2 * (y[:, None] < most_raw_bytes_by_energy(trade))
    assert np.array_equal(winners(trade), expected)
    x, y = axes_of("hardware")
    trade = plane_of("hardware", ue, sharing, x, y)
    faster, cheaper = y[:, None] < most_clock_by_latency_hz(trade), y[:, None] > least_clock_by_energy_hz(trade)
    assert np.array_equal(winners(trade), faster + 2 * cheaper)


@pytest.mark.parametrize("plane", ["work", "hardware"])
def test_text_and_table_are_one(plane: Plane):
    ue, sharing = ue_of("paper"), SHARINGS[0]
    lines = draw(plane, ue, sharing, cells=9)
    table = winners(plane_of(plane, ue, sharing, *axes_of(plane, cells=9)))
    assert [[int(digit) for digit in line] for line in lines] == table.tolist()
    assert {"0", "3"} <= set("".join(lines)) <= set("0123"[: len(WINNERS)])


def test_the_typical_ue_costs_what_the_mean_ue_of_the_physics_costs():
    scenario = bees.load_scenario("paper", ["radio.raw_data_reading=actual"])
    ue = ue_of("paper")
    point = point_of(ue, Sharing(sharers=30, blocks=1), ue.real_bytes)
    assert point.raw_bytes == 600 * 784
    for policy, joules in (("local", point.local_j), ("offload", point.offload_j)):
        one = bees.load_scenario("paper", ["radio.raw_data_reading=actual", f"offloading.policy={policy}"])
        mean_j = simulate_physics(one, 600).energy_j.sum() / scenario.blocks / scenario.topology.devices
        assert joules == pytest.approx(mean_j, rel=0.03)


def test_more_sharers_never_help_offloading_by_energy_or_latency_where_it_sends_more():
    ue = ue_of("paper")
    points = [point_of(ue, Sharing(sharers=n, blocks=1), 80e6) for n in (1, 5, 30, 100)]
    limits = [(p.most_raw_bytes_by_energy, p.most_raw_bytes_by_latency) for p in points]
    assert limits == sorted(limits, reverse=True)
