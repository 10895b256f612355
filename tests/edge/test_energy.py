from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bees.edge import reference
from bees.edge.energy import computation_energy_j, total_energy_j, transmission_energy_j


@settings(deadline=None, max_examples=100)
@given(
    capacitance=st.floats(1e-30, 1e-26),
    iterations=st.floats(0.1, 1e3),
    cycles=st.floats(1, 1e6),
    samples=st.integers(0, 10**6),
    frequency_hz=st.floats(1e6, 1e11),
    power_w=st.floats(1e-3, 100),
    time_s=st.floats(0, 1e4),
)
def test_eq_7_8_9_equal_the_scalar_reference(
    capacitance: float,
    iterations: float,
    cycles: float,
    samples: int,
    frequency_hz: float,
    power_w: float,
    time_s: float,
) -> None:
    compute_j = computation_energy_j(capacitance, iterations, np.array([cycles]), np.array([samples]), frequency_hz)
    transmit_j = transmission_energy_j(power_w, np.array([time_s]))
    expected_compute_j = reference.computation_energy_j(capacitance, iterations, cycles, samples, frequency_hz)
    expected_transmit_j = reference.transmission_energy_j(power_w, time_s)
    assert compute_j[0] == pytest.approx(expected_compute_j, rel=1e-12)
    assert transmit_j[0] == pytest.approx(expected_transmit_j, rel=1e-12)
    total_j = total_energy_j(transmit_j, compute_j)[0]
    assert total_j == pytest.approx(expected_compute_j + expected_transmit_j, rel=1e-12)


def test_one_sample_at_one_gigahertz() -> None:
    # 1e-28 * 1 * 2e4 * 1 * 1e18 = 2 microjoule
    assert computation_energy_j(1e-28, 1.0, np.array([2e4]), np.array([1]), 1e9)[0] == pytest.approx(2e-6)


def test_energy_grows_with_the_square_of_the_clock() -> None:
    slow, fast = (computation_energy_j(1e-28, 1.0, np.array([2e4]), np.array([600]), f)[0] for f in (1e9, 3e9))
    assert fast == pytest.approx(9 * slow)
