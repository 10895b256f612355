from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bees.core.units import db_to_ratio, dbm_to_w, ratio_to_db, w_to_dbm


@pytest.mark.parametrize(("db", "ratio"), [(0, 1), (10, 10), (20, 100), (-30, 1e-3), (3.0102999566398121, 2)])
def test_decibels(db: float, ratio: float):
    assert db_to_ratio(db) == pytest.approx(ratio, rel=1e-14)
    assert ratio_to_db(ratio) == pytest.approx(db, abs=1e-13)


@pytest.mark.parametrize(("dbm", "power_w"), [(0, 1e-3), (10, 1e-2), (30, 1.0), (40, 10.0), (-174, 10**-20.4)])
def test_decibel_milliwatts(dbm: float, power_w: float):
    assert dbm_to_w(dbm) == pytest.approx(power_w, rel=1e-13)
    assert w_to_dbm(power_w) == pytest.approx(dbm, abs=1e-12)


@given(st.floats(-300, 300))
def test_there_and_back(value: float):
    assert ratio_to_db(db_to_ratio(value)) == pytest.approx(value, abs=1e-10)
    assert w_to_dbm(dbm_to_w(value)) == pytest.approx(value, abs=1e-10)
