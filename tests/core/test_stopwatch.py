from __future__ import annotations

import pytest

from bees.core.stopwatch import Stopwatch, untimed


class Clock:
    """Time that passes only when it is told to."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


def test_an_inner_phase_stops_the_outer_so_that_each_second_counts_once():
    clock = Clock()
    watch = Stopwatch(clock)
    with watch("outer"):
        clock.sleep(1)
        with watch("inner"):
            clock.sleep(2)
        with watch("outer"):
            clock.sleep(4)
        clock.sleep(8)
    assert watch.seconds == {"outer": 13, "inner": 2}


def test_time_outside_of_every_phase_is_nobodys():
    clock = Clock()
    watch = Stopwatch(clock)
    with watch("a"):
        clock.sleep(1)
    clock.sleep(2)
    with watch("b"):
        clock.sleep(4)
    assert watch.seconds == {"a": 1, "b": 4}


def test_a_phase_ends_when_it_raises():
    clock = Clock()
    watch = Stopwatch(clock)
    with pytest.raises(KeyError), watch("a"):
        raise KeyError
    with watch("b"):
        clock.sleep(1)
    assert watch.seconds == {"a": 0, "b": 1}


def test_the_own_clock_of_the_machine_goes_forward():
    watch = Stopwatch()
    with watch("a"):
        pass
    assert watch.seconds["a"] >= 0


def test_the_no_op_measures_nothing_and_nests():
    with untimed("a"), untimed("a"), untimed("b"):
        pass
