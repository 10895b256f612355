from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bees.edge.downlink import download
from bees.scenario import Radio

BITS = 8 * 80e3


def rate(gain: float, B: float, power_w: float) -> float:
    return B * math.log2(1 + power_w * gain / (10**-20.4 * B))


@settings(deadline=None, max_examples=60)
@given(
    gains=st.lists(st.floats(1e-13, 1e-8), min_size=1, max_size=8),
    cuts=st.integers(0, 8),
    power_w=st.floats(0.01, 10),
    receive_w=st.floats(0, 1),
    present=st.lists(st.booleans(), min_size=8, max_size=8),
)
def test_both_modes_equal_the_scalar_formulas(
    gains: list[float], cuts: int, power_w: float, receive_w: float, present: list[bool]
) -> None:
    cell = np.array([int(k >= cuts) for k in range(len(gains))])
    here = np.array(present[: len(gains)])
    for mode in ("broadcast", "unicast"):
        radio = Radio(downlink=mode, server_transmit_power_w=power_w, receive_power_w=receive_w)
        found = download(radio, 80e3, np.array(gains), cell, 2, here)
        radiated = [0.0, 0.0]
        for k, gain in enumerate(gains):
            members = [j for j in range(len(gains)) if cell[j] == cell[k] and here[j]]
            if not here[k]:
                assert found.time_s[k] == found.energy_j[k] == 0
                continue
            if mode == "broadcast":
                expected_s = BITS / min(rate(gains[j], 20e6, power_w) for j in members)
                radiated[cell[k]] = power_w * expected_s
            else:
                share = len(members)
                expected_s = BITS / (rate(gain, 20e6, power_w) / share)
                radiated[cell[k]] += power_w / share * expected_s
            assert found.time_s[k] == pytest.approx(expected_s, rel=1e-9)
            assert found.energy_j[k] == pytest.approx(receive_w * expected_s, rel=1e-9)
        assert found.server_energy_j == pytest.approx(radiated, rel=1e-9)


def test_the_paper_s_downlink_is_free() -> None:
    found = download(Radio(), 80e3, np.array([1e-9]), np.zeros(1, int), 1, np.ones(1, bool))
    assert (found.time_s[0], found.energy_j[0], found.server_energy_j[0]) == (0.0, 0.0, 0.0)
