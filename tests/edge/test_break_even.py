from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bees.edge.break_even import (
    Trade,
    least_clock_by_energy_hz,
    most_clock_by_latency_hz,
    most_raw_bytes_by_energy,
    most_raw_bytes_by_latency,
)

PAPER = Trade(
    raw_bytes=80e6,
    update_bytes=80e3,
    blocks=1,
    rate_bits_per_s=12e6,
    power_w=10.0,
    iterations=18.6,
    samples=600.0,
    cycles_per_sample=2e4,
    cpu_frequency_hz=5.75e9,
    effective_capacitance=1e-28,
    server_cycles_per_sample=2e2,
    server_cpu_frequency_hz=5.75e9,
)


def spread(low: float, high: float) -> Any:
    return st.floats(math.log(low), math.log(high)).map(math.exp)


TRADES = st.builds(
    Trade,
    raw_bytes=spread(1e3, 1e9),
    update_bytes=spread(1e2, 1e6),
    blocks=st.integers(1, 100),
    rate_bits_per_s=spread(1e4, 1e10),
    power_w=spread(1e-3, 10),
    iterations=spread(1, 100),
    samples=spread(1, 1e5),
    cycles_per_sample=spread(1e2, 1e7),
    cpu_frequency_hz=spread(1e7, 1e10),
    effective_capacitance=spread(1e-29, 1e-26),
    server_cycles_per_sample=spread(1, 1e4),
    server_cpu_frequency_hz=spread(1e9, 1e11),
)


def test_the_paper_by_hand():
    saved_j = 1e-28 * 18.6 * 2e4 * 600 * 5.75e9**2
    by_energy = 80e3 + 12e6 * saved_j / (8 * 10)
    saved_s = 18.6 * 600 * (2e4 - 2e2) / 5.75e9
    by_latency = 80e3 + 12e6 * saved_s / 8
    assert float(most_raw_bytes_by_energy(PAPER)) == pytest.approx(by_energy)
    assert float(most_raw_bytes_by_latency(PAPER)) == pytest.approx(by_latency)
    assert by_energy < 80e6 / 400
    assert float(most_raw_bytes_by_energy(replace(PAPER, blocks=50))) == pytest.approx(50 * by_energy)


@settings(deadline=None, max_examples=200)
@given(trade=TRADES, side=st.sampled_from([1 - 1e-6, 1 + 1e-6]))
def test_on_either_side_of_a_boundary_the_costs_say_the_same_as_the_formula(trade: Trade, side: float):
    cases = (
        ("raw_bytes", most_raw_bytes_by_energy(trade), "energy_j", side < 1),
        ("raw_bytes", most_raw_bytes_by_latency(trade), "time_s", side < 1),
        ("cpu_frequency_hz", least_clock_by_energy_hz(trade), "energy_j", side > 1),
        ("cpu_frequency_hz", most_clock_by_latency_hz(trade), "time_s", side < 1),
    )
    for name, boundary, measure, offloads in cases:
        if not 0 < float(boundary) < math.inf:
            continue
        near = replace(trade, **{name: float(boundary) * side})
        local, offload = (float(getattr(cost, measure)) for cost in (near.local(), near.offload()))
        # What both have in common may drown the difference in rounding.
        if not math.isclose(local, offload, rel_tol=1e-12):
            assert (offload < local) == offloads, (name, measure)


def test_raw_data_no_larger_than_an_update_is_always_cheaper_to_send():
    small = replace(PAPER, raw_bytes=70e3)
    assert float(least_clock_by_energy_hz(small)) == 0
    free = replace(small, raw_bytes=0.0, server_cycles_per_sample=0.0)
    assert float(most_clock_by_latency_hz(free)) == math.inf


def test_where_the_server_is_slower_than_the_ue_no_data_is_small_enough():
    slow = replace(PAPER, server_cycles_per_sample=1e8)
    assert float(most_raw_bytes_by_latency(slow)) < 0


def test_values_broadcast_to_a_table():
    table = replace(PAPER, raw_bytes=np.geomspace(1e3, 1e8, 7)[:, None], cycles_per_sample=np.geomspace(1e3, 1e6, 5))
    assert table.offload().time_s.shape == (7, 1)
    assert (table.offload().energy_j < table.local().energy_j).shape == (7, 5)
    assert most_raw_bytes_by_energy(table).shape == (5,)
    assert most_clock_by_latency_hz(table).shape == (7, 5)
    assert least_clock_by_energy_hz(table).shape == (7, 5)
