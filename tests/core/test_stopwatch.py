from __future__ import annotations

import time

import pytest

from bees.core.stopwatch import Stopwatch, untimed


def test_an_inner_phase_stops_the_outer_so_that_each_second_counts_once():
    watch = Stopwatch()
    start = time.perf_counter()
    with watch("outer"):
        time.sleep(0.01)
        with watch("inner"):
            time.sleep(0.02)
        with watch("outer"):
            time.sleep(0.01)
    whole = time.perf_counter() - start
    assert watch.seconds["inner"] >= 0.02
    assert watch.seconds["outer"] >= 0.02
    assert sum(watch.seconds.values()) == pytest.approx(whole, abs=2e-3)


def test_time_outside_of_every_phase_is_nobodys():
    watch = Stopwatch()
    with watch("a"):
        pass
    time.sleep(0.02)
    with watch("b"):
        pass
    assert sum(watch.seconds.values()) < 0.01


def test_a_phase_ends_when_it_raises():
    watch = Stopwatch()
    with pytest.raises(KeyError), watch("a"):
        raise KeyError
    with watch("b"):
        time.sleep(0.01)
    assert watch.seconds["a"] < 0.005 <= watch.seconds["b"]


def test_the_no_op_measures_nothing_and_nests():
    with untimed("a"), untimed("a"), untimed("b"):
        pass
