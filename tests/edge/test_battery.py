from __future__ import annotations

import numpy as np
import pytest

from bees.core.errors import ScenarioError
from bees.edge.battery import debit, initial_charge_j, is_charged
from bees.scenario import Battery


def test_initial_charges_are_uniform_fractions_of_the_capacity() -> None:
    charge_j = initial_charge_j(Battery(), 10_000, seed=0)
    assert charge_j.min() >= 10e3
    assert charge_j.max() <= 20e3
    assert charge_j.mean() == pytest.approx(15e3, rel=0.01)
    assert charge_j.tobytes() == initial_charge_j(Battery(), 10_000, seed=0).tobytes()
    assert charge_j.tobytes() != initial_charge_j(Battery(), 10_000, seed=1).tobytes()


def test_debit_stops_at_empty() -> None:
    left_j = debit(np.array([5.0, 5.0, 5.0, 0.0]), np.array([2.0, 5.0, 9.0, 1.0]))
    assert left_j.tolist() == [3.0, 0.0, 0.0, 0.0]
    assert is_charged(left_j).tolist() == [True, False, False, False]


def test_a_range_upside_down_is_refused_by_its_key() -> None:
    with pytest.raises(ScenarioError, match=r"battery\.device_initial_min = 0\.9: above device_initial_max = 0\.5"):
        initial_charge_j(Battery(device_initial_min=0.9, device_initial_max=0.5), 3, seed=0)
