from __future__ import annotations

from typing import TYPE_CHECKING, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bees.edge import reference
from bees.edge.outcome import realise
from bees.edge.queueing import fifo_wait_s
from bees.edge.reference_joint import Cell, CellDevice
from bees.scenario import NoiseReading, Radio, ServerQueue, Sharing

if TYPE_CHECKING:
    from collections.abc import Callable

    from bees.edge.situation import Situation

    Make = Callable[..., Situation]

SHARINGS = sorted(set(get_args(Sharing)) - {"min_energy"})
QUEUES = get_args(ServerQueue)


def cell_of(situation: Situation) -> Cell:
    radio = situation.radio
    return Cell(radio.sharing, situation.server_queue, radio.bandwidth_hz, situation.power_w, -174.0, 30)


def devices_of(situation: Situation, cell: int) -> list[CellDevice]:
    return [
        CellDevice(
            float(situation.gain[k]),
            float(situation.raw_bytes[k]),
            float(situation.update_bytes[k]),
            float(situation.local_compute_s[k]),
            float(situation.server_compute_s[k]),
            float(situation.local_compute_j[k]),
            bool(situation.raw_sent[k]),
        )
        for k in np.flatnonzero(situation.cell == cell)
    ]


@settings(deadline=None, max_examples=120)
@given(
    seed=st.integers(0, 2**32),
    sizes=st.lists(st.integers(0, 6), min_size=1, max_size=3).filter(any),
    sharing=st.sampled_from(SHARINGS),
    queue=st.sampled_from(QUEUES),
    data=st.data(),
)
def test_a_joint_decision_leads_where_the_scalar_reference_says(
    make_situation: Make, seed: int, sizes: list[int], sharing: Sharing, queue: ServerQueue, data: st.DataObject
) -> None:
    sizes = [sum(sizes)] if sharing == "contending" else sizes  # one cell is then the whole network
    K = sum(sizes)
    flags = st.lists(st.booleans(), min_size=K, max_size=K)
    raw_sent, decision = np.array(data.draw(flags)), np.array(data.draw(flags))
    situation = make_situation(
        np.array(sizes), seed=seed, radio=Radio(sharing=sharing), server_queue=queue, raw_sent=raw_sent
    )
    outcome = realise(situation, decision)
    for cell in range(len(sizes)):
        members = np.flatnonzero(situation.cell == cell)
        expected = cell_of(situation).outcome(devices_of(situation, cell), decision[members].tolist())
        for k, (time_s, energy_j) in zip(members, expected, strict=True):
            assert outcome.time_s[k] == pytest.approx(time_s, rel=1e-7)
            assert outcome.energy_j[k] == pytest.approx(energy_j, rel=1e-7)


@settings(deadline=None, max_examples=60)
@given(
    lines=st.lists(
        st.lists(st.tuples(st.sampled_from([0.0, 0.5, 1.0, 2.5]), st.floats(0, 2)), max_size=9), min_size=1, max_size=4
    )
)
def test_all_lines_at_once_wait_as_one_line_after_the_other(lines: list[list[tuple[float, float]]]) -> None:
    flat = [(ready, service, number) for number, line in enumerate(lines) for ready, service in line]
    ready, service = (np.array([row[i] for row in flat], dtype=float) for i in (0, 1))
    line = np.array([row[2] for row in flat], dtype=np.int64)
    found = fifo_wait_s(ready, service, line, np.ones(len(flat), dtype=bool))
    expected = [w for one in lines for w in reference.fifo_wait_s([r for r, _ in one], [s for _, s in one])]
    assert found == pytest.approx(expected, abs=1e-12)


def test_who_does_not_queue_neither_waits_nor_lets_wait() -> None:
    ready, service = np.zeros(3), np.array([1.0, 5.0, 1.0])
    line = np.zeros(3, dtype=np.int64)
    assert fifo_wait_s(ready, service, line, np.array([True, False, True])).tolist() == [0.0, 0.0, 1.0]


def test_raw_data_that_the_server_has_are_not_sent_again(make_situation: Make) -> None:
    situation = make_situation(np.array([2]), raw_sent=np.array([True, False]))
    outcome = realise(situation, np.array([True, True]))
    assert outcome.uplink_bytes.tolist() == [0.0, situation.raw_bytes[1]]
    assert (outcome.transmit_time_s[0], outcome.energy_j[0]) == (0.0, 0.0)
    assert outcome.time_s[0] == situation.server_compute_s[0]


def test_who_offloads_nothing_leaves_its_band_to_the_others(make_situation: Make) -> None:
    situation = make_situation(
        np.array([3]), radio=Radio(sharing="equal_share"), raw_sent=np.array([True, False, False])
    )
    crowded = realise(situation, np.array([False, False, False]))
    relieved = realise(situation, np.array([True, False, False]))
    assert (relieved.transmit_time_s[1:] < crowded.transmit_time_s[1:]).all()


@pytest.mark.parametrize("sharing", get_args(Sharing))
@pytest.mark.parametrize("noise", get_args(NoiseReading))
@pytest.mark.parametrize("gain", [0.0, 1e-320, 1e300, np.inf])
def test_the_limits_of_a_channel(make_situation: Make, sharing: Sharing, noise: NoiseReading, gain: float) -> None:
    """From d = 0, where the gain has no bound, to where nothing is heard: it takes no time, or for ever."""
    radio = Radio(sharing=sharing, noise_reading=noise)
    situation = make_situation(np.array([2, 1]), radio=radio, gain=np.array([1e-9, gain, gain]))
    outcome = realise(situation, np.zeros(3, dtype=bool))
    assert not np.isnan(outcome.time_s).any()
    assert outcome.transmit_time_s[0] < 0.1
    assert (outcome.transmit_time_s[1:] < 1e-2).all() if gain > 1 else (outcome.transmit_time_s[1:] > 1e90).all()
