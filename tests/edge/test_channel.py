from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bees.edge import reference
from bees.edge.channel import (
    channel_gain,
    data_rate_bits_per_s,
    noise_power_w,
    transmission_time_s,
    transmit_power_w,
)
from bees.scenario import Radio


def test_ten_db_is_ten_watt_or_ten_milliwatt() -> None:
    assert transmit_power_w(Radio()) == pytest.approx(10.0)
    assert transmit_power_w(Radio(power_reading="db_milliwatt")) == pytest.approx(0.010)
    assert transmit_power_w(Radio(power_reading="db_milliwatt", transmit_power_db=24)) == pytest.approx(0.251, rel=1e-3)


def test_noise_of_one_hertz_and_of_a_channel() -> None:
    bandwidth_hz = np.array([1.0, 20e6])
    assert noise_power_w(Radio(), bandwidth_hz) == pytest.approx([3.98e-21, 7.96e-14], rel=1e-3)
    assert noise_power_w(Radio(noise_reading="psd_only"), bandwidth_hz) == pytest.approx([3.98e-21] * 2, rel=1e-3)


@settings(deadline=None, max_examples=150)
@given(
    distance_m=st.floats(0.5, 5e3),
    gamma=st.floats(1.5, 6),
    bandwidth_hz=st.floats(1e3, 1e9),
    power_db=st.floats(-30, 40),
    psd_dbm=st.floats(-180, -100),
    size_bytes=st.floats(1, 1e9),
    in_milliwatt=st.booleans(),
    times_bandwidth=st.booleans(),
)
def test_arrays_equal_the_scalar_reference(
    distance_m: float,
    gamma: float,
    bandwidth_hz: float,
    power_db: float,
    psd_dbm: float,
    size_bytes: float,
    in_milliwatt: bool,
    times_bandwidth: bool,
) -> None:
    radio = Radio(
        transmit_power_db=power_db,
        power_reading="db_milliwatt" if in_milliwatt else "db_watt",
        noise_psd_dbm_per_hz=psd_dbm,
        noise_reading="psd_times_bandwidth" if times_bandwidth else "psd_only",
    )
    power_w = reference.transmit_power_w(power_db, in_milliwatt=in_milliwatt)
    gain = reference.channel_gain(distance_m, gamma)
    noise_w = reference.noise_power_w(psd_dbm, bandwidth_hz, times_bandwidth=times_bandwidth)
    assert transmit_power_w(radio) == pytest.approx(power_w, rel=1e-12)
    assert channel_gain(np.array([distance_m]), gamma)[0] == pytest.approx(gain, rel=1e-12)
    assert noise_power_w(radio, np.array([bandwidth_hz]))[0] == pytest.approx(noise_w, rel=1e-12)

    one = np.ones(1)
    rate = data_rate_bits_per_s(bandwidth_hz * one, power_w, gain * one, noise_w * one)
    if power_w * gain / noise_w > 1e-6:  # below, log2(1 + x) of the reference has lost too many digits
        expected_rate = reference.data_rate_bits_per_s(bandwidth_hz, power_w, gain, noise_w)
        assert rate[0] == pytest.approx(expected_rate, rel=1e-9)
        expected_s = reference.transmission_time_s(size_bytes, expected_rate)
        assert transmission_time_s(size_bytes, rate)[0] == pytest.approx(expected_s, rel=1e-9)
    else:
        assert rate[0] == pytest.approx(bandwidth_hz * power_w * gain / noise_w / math.log(2), rel=1e-5)


def test_a_doubled_band_at_constant_signal_to_noise_halves_the_time() -> None:
    one = np.ones(1)
    slow = data_rate_bits_per_s(1e6 * one, 10.0, 1e-10 * one, 1e-14 * one)
    fast = data_rate_bits_per_s(2e6 * one, 10.0, 1e-10 * one, 1e-14 * one)
    assert transmission_time_s(80e3, slow) == pytest.approx(2 * transmission_time_s(80e3, fast))


def test_eight_bits_to_the_byte() -> None:
    assert transmission_time_s(80e3, np.array([640e3])) == pytest.approx(1.0)


def test_touching_the_antenna_takes_no_time() -> None:
    gain = channel_gain(np.array([0.0, 1.0]), 4.47)
    assert gain[0] == np.inf
    assert gain[1] == 1.0
    rate = data_rate_bits_per_s(np.full(2, 1e6), 10.0, gain, np.full(2, 1e-14))
    time_s = transmission_time_s(80e3, rate)
    assert time_s[0] == 0.0
    assert 0 < time_s[1] < np.inf


def test_without_a_band_there_is_no_rate_and_only_nothing_arrives() -> None:
    rate = data_rate_bits_per_s(np.zeros(2), 10.0, np.full(2, 1e-10), np.zeros(2))
    assert rate.tolist() == [0.0, 0.0]
    assert transmission_time_s(np.array([0.0, 1.0]), rate).tolist() == [0.0, np.inf]


def test_a_very_weak_signal_still_gets_through() -> None:
    rate = data_rate_bits_per_s(np.ones(1), 1.0, np.full(1, 1e-20), np.ones(1))
    assert rate[0] == pytest.approx(1e-20 / math.log(2))
