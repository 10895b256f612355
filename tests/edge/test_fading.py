from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bees.edge.fading import block_gain, cellular_gain, path_gain, shadowed_gain
from bees.scenario import Radio

FAR = np.full(200_000, 200.0)


@settings(deadline=None, max_examples=60)
@given(distance_m=st.floats(1, 1e5))
def test_the_cellular_model_equals_the_scalar_formula(distance_m: float) -> None:
    loss_db = 128.1 + 37.6 * math.log10(distance_m / 1000)
    assert cellular_gain(np.array([distance_m]))[0] == pytest.approx(10 ** (-loss_db / 10), rel=1e-12)
    assert path_gain(Radio(path_loss="3gpp"), np.array([distance_m]))[0] == pytest.approx(10 ** (-loss_db / 10))


def test_one_kilometre_loses_128_decibel() -> None:
    assert cellular_gain(np.array([1000.0]))[0] == pytest.approx(10**-12.81)


@settings(deadline=None, max_examples=60)
@given(distance_m=st.floats(1, 1e4), gamma=st.floats(2, 5), reference_db=st.floats(-60, 0))
def test_the_power_law_has_its_gain_at_one_metre(distance_m: float, gamma: float, reference_db: float) -> None:
    radio = Radio(path_loss_exponent=gamma, reference_gain_db=reference_db)
    expected = 10 ** (reference_db / 10) / distance_m**gamma
    assert path_gain(radio, np.array([distance_m]))[0] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("path_loss", ["power_law", "3gpp"])
def test_touching_the_antenna_the_gain_has_no_bound(path_loss: str) -> None:
    assert path_gain(Radio(path_loss=path_loss), np.array([0.0]))[0] == np.inf  # pyright: ignore[reportArgumentType]


def test_shadowing_is_log_normal_and_stays_for_the_run() -> None:
    radio = Radio(shadowing_db=8.0)
    gain = shadowed_gain(radio, FAR, seed=1)
    shadow_db = 10 * np.log10(gain / path_gain(radio, FAR))
    assert shadow_db.mean() == pytest.approx(0.0, abs=0.1)
    assert shadow_db.std() == pytest.approx(8.0, rel=0.02)
    assert gain.tobytes() == shadowed_gain(radio, FAR, seed=1).tobytes()
    assert gain.tobytes() != shadowed_gain(radio, FAR, seed=2).tobytes()


def test_without_shadowing_and_fading_the_gain_is_the_path_s() -> None:
    assert np.array_equal(shadowed_gain(Radio(), FAR, 0), path_gain(Radio(), FAR))
    assert np.array_equal(block_gain(Radio(), FAR, 0, 1), FAR)


def test_rayleigh_fading_is_exponential_and_new_in_each_block() -> None:
    mean = np.full(200_000, 3e-9)
    first, second = (block_gain(Radio(fading="rayleigh"), mean, 5, block) for block in (1, 2))
    assert first.mean() == pytest.approx(3e-9, rel=0.01)
    assert (first > 3e-9 * math.log(2)).mean() == pytest.approx(0.5, abs=0.01)  # the median of Exp(1) is ln 2
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.01
    assert first.tobytes() == block_gain(Radio(fading="rayleigh"), mean, 5, 1).tobytes()
