from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bees.edge import reference
from bees.edge.outcome import realise
from bees.edge.sharing import bandwidth_of_each_hz
from bees.scenario import Radio, Sharing

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from bees.edge.situation import Situation

    Make = Callable[..., Situation]

CELLS = np.array([3, 2, 1])
B = 20e6


def shares(situation: Situation, uploading: NDArray[np.bool_] | None = None) -> NDArray[np.float64]:
    uploads = np.ones(situation.devices, dtype=bool) if uploading is None else uploading
    size_bytes = np.where(uploads, situation.update_bytes, 0.0)
    return bandwidth_of_each_hz(situation, size_bytes, uploads, situation.local_compute_s)


@pytest.mark.parametrize(
    ("sharing", "expected_hz"),
    [
        ("per_user_channel", [20e6 / 30] * 6),
        ("equal_share", [20e6 / 3] * 3 + [20e6 / 2] * 2 + [20e6]),
        ("contending", [20e6 / 6] * 6),
        ("full_band", [20e6] * 6),
        ("tdma", [20e6] * 6),
    ],
)
def test_each_way_of_sharing_the_band(make_situation: Make, sharing: Sharing, expected_hz: list[float]) -> None:
    assert shares(make_situation(CELLS, radio=Radio(sharing=sharing))) == pytest.approx(expected_hz)


@pytest.mark.parametrize(
    ("sharing", "expected_hz"),
    [
        ("per_user_channel", [20e6 / 30, 0, 20e6 / 30, 0, 0, 20e6 / 30]),
        ("equal_share", [10e6, 0, 10e6, 0, 0, 20e6]),
        ("contending", [20e6 / 3, 0, 20e6 / 3, 0, 0, 20e6 / 3]),
        ("full_band", [20e6, 0, 20e6, 0, 0, 20e6]),
    ],
)
def test_only_who_uploads_takes_a_share(make_situation: Make, sharing: Sharing, expected_hz: list[float]) -> None:
    uploading = np.array([True, False, True, False, False, True])
    assert shares(make_situation(CELLS, radio=Radio(sharing=sharing)), uploading) == pytest.approx(expected_hz)


@pytest.mark.parametrize("sharing", ["per_user_channel", "equal_share", "contending", "min_time", "min_energy"])
def test_nobody_uploads(make_situation: Make, sharing: Sharing) -> None:
    situation = make_situation(CELLS, radio=Radio(sharing=sharing))
    assert not shares(situation, np.zeros(6, dtype=bool)).any()


def rates(situation: Situation, hz: NDArray[np.float64]) -> NDArray[np.float64]:
    noise = [reference.noise_power_w(-174.0, float(b), times_bandwidth=True) for b in hz]
    pairs = zip(hz, situation.gain, noise, strict=True)
    return np.array([reference.data_rate_bits_per_s(float(b), 0.1, float(g), n) for b, g, n in pairs])


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 2**32), sizes=st.lists(st.integers(0, 6), min_size=1, max_size=4).filter(any))
def test_min_time_lets_a_cell_finish_together_and_as_bisection_finds(
    make_situation: Make, seed: int, sizes: list[int]
) -> None:
    situation = make_situation(np.array(sizes), seed=seed, radio=Radio(sharing="min_time"))
    hz = shares(situation)
    finish_s = situation.local_compute_s + 8 * situation.update_bytes / rates(situation, hz)
    for cell in range(len(sizes)):
        members = np.flatnonzero(situation.cell == cell)
        if not members.size:
            continue
        assert hz[members].sum() == pytest.approx(B, rel=1e-9)
        best_s = reference.least_round_time_s(
            B,
            [
                reference.Sender(
                    float(situation.update_bytes[k]), float(situation.local_compute_s[k]), 0.1, float(situation.gain[k])
                )
                for k in members
            ],
            noise_psd_dbm_per_hz=-174.0,
        )
        assert finish_s[members] == pytest.approx([best_s] * len(members), rel=1e-8)


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 2**32), size=st.integers(1, 6), data=st.data())
def test_no_other_split_costs_less_energy_than_min_energy(
    make_situation: Make, seed: int, size: int, data: st.DataObject
) -> None:
    situation = make_situation(np.array([size]), seed=seed, radio=Radio(sharing="min_energy"))
    hz = shares(situation)
    assert hz.sum() == pytest.approx(B, rel=1e-9)

    def energy_j(split: NDArray[np.float64]) -> float:
        return float((0.1 * 8 * situation.update_bytes / rates(situation, split)).sum())

    other = np.array(data.draw(st.lists(st.floats(0.01, 1.0), min_size=size, max_size=size)))
    assert energy_j(hz) <= energy_j(B * other / other.sum()) * (1 + 1e-9)
    # Nor does moving a little from one to another help.
    for giver in range(size):
        for taker in set(range(size)) - {giver}:
            moved = hz.copy()
            moved[giver] -= 1e-3 * hz[giver]
            moved[taker] += 1e-3 * hz[giver]
            assert energy_j(hz) <= energy_j(moved) * (1 + 1e-12)


@pytest.mark.parametrize("sharing", ["min_time", "min_energy"])
def test_under_the_literal_noise_the_same_optima_hold(make_situation: Make, sharing: Sharing) -> None:
    radio = Radio(sharing=sharing, noise_reading="psd_only")
    situation = make_situation(np.array([4]), seed=3, radio=radio)
    hz = shares(situation)
    efficiency = np.log2(1 + 0.1 * situation.gain / 10**-20.4)
    bits = 8 * situation.update_bytes
    assert hz.sum() == pytest.approx(B)
    if sharing == "min_time":
        finish_s = situation.local_compute_s + bits / (efficiency * hz)
        assert finish_s == pytest.approx([finish_s[0]] * 4)
    else:
        marginal = bits / efficiency / hz**2
        assert marginal == pytest.approx([marginal[0]] * 4)


def outcome_of(make_situation: Make, sharing: Sharing, **changes: Any) -> tuple[float, float]:
    situation = make_situation(np.full(50, 5), seed=1, radio=Radio(sharing=sharing), **changes)
    outcome = realise(situation, np.zeros(situation.devices, dtype=bool))
    slowest = np.zeros(50)
    np.maximum.at(slowest, situation.cell, outcome.time_s)
    return float(slowest.sum()), float(outcome.transmit_energy_j.sum())


def test_each_optimum_beats_every_other_way_in_its_own_currency(make_situation: Make) -> None:
    ways: list[Sharing] = ["per_user_channel", "equal_share", "min_time", "min_energy"]
    found = {way: outcome_of(make_situation, way) for way in ways}
    assert min(found, key=lambda way: found[way][0]) == "min_time"
    assert min(found, key=lambda way: found[way][1]) == "min_energy"


def test_turns_cost_less_energy_than_any_split_but_more_waiting(make_situation: Make) -> None:
    _, turns_j = outcome_of(make_situation, "tdma")
    assert turns_j < outcome_of(make_situation, "min_energy")[1]


def test_a_channel_as_wide_as_the_sky_stays_finite(make_situation: Make) -> None:
    situation = make_situation(np.array([3]), radio=Radio(sharing="min_time", bandwidth_hz=1e18))
    assert (shares(situation) > 0).all()
    assert math.isfinite(shares(situation).sum())


@pytest.mark.parametrize("sharing", ["min_time", "min_energy"])
def test_who_cannot_be_heard_gets_no_share_and_costs_the_others_nothing(make_situation: Make, sharing: Sharing) -> None:
    situation = make_situation(np.array([3]), radio=Radio(sharing=sharing), gain=np.array([0.0, 1e-9, 1e-10]))
    hz = shares(situation)
    assert hz[0] == 0
    assert hz[1:].sum() == pytest.approx(B)
