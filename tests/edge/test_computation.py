from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bees.core.errors import ScenarioError
from bees.edge import reference
from bees.edge.computation import check_computation, computation_time_s, draw_cycles, local_iterations
from bees.scenario import Computation


@settings(deadline=None, max_examples=100)
@given(
    iterations=st.floats(0.1, 1e3),
    cycles=st.floats(1, 1e6),
    samples=st.integers(0, 10**6),
    frequency_hz=st.floats(1e6, 1e11),
)
def test_eq_4_equals_the_scalar_reference(iterations: float, cycles: float, samples: int, frequency_hz: float) -> None:
    found = computation_time_s(iterations, np.array([cycles]), np.array([samples]), frequency_hz)
    assert found[0] == pytest.approx(reference.computation_time_s(iterations, cycles, samples, frequency_hz), rel=1e-12)


def test_no_samples_take_no_time() -> None:
    assert computation_time_s(18.6, np.array([2e4]), np.array([0]), 5.75e9)[0] == 0.0


def test_cycles_lie_in_their_ranges() -> None:
    cycles = draw_cycles(Computation(), 10_000, seed=0, block=1)
    for drawn, low in ((cycles.device, 1e4), (cycles.server, 1e2)):
        assert drawn.min() >= low
        assert drawn.max() <= 3 * low
        assert drawn.mean() == pytest.approx(2 * low, rel=0.02)


def test_cycles_are_drawn_again_for_every_block_or_once() -> None:
    again = [draw_cycles(Computation(), 10, seed=0, block=t).device for t in (1, 2)]
    once = [draw_cycles(Computation(redraw="once"), 10, seed=0, block=t).device for t in (1, 2)]
    assert (again[0] != again[1]).all()
    assert (once[0] == once[1]).all()


def test_a_block_can_be_drawn_alone_and_in_any_order() -> None:
    forward = [draw_cycles(Computation(), 10, seed=3, block=t).server for t in (1, 2, 3)]
    backward = [draw_cycles(Computation(), 10, seed=3, block=t).server for t in (3, 2, 1)][::-1]
    assert np.array_equal(forward, backward)


def test_iterations_are_decoupled_or_the_epochs_trained() -> None:
    assert local_iterations(Computation(), epochs=5) == 18.6
    assert local_iterations(Computation(iterations_reading="epochs"), epochs=5) == 5.0


@pytest.mark.parametrize(
    ("computation", "key"),
    [
        (Computation(cycles_per_sample_min=1e9), "computation.cycles_per_sample_min"),
        (Computation(server_cycles_per_sample_min=1e9), "computation.server_cycles_per_sample_min"),
    ],
)
def test_a_range_upside_down_is_refused_by_its_key(computation: Computation, key: str) -> None:
    with pytest.raises(ScenarioError) as refusal:
        check_computation(computation)
    assert refusal.value.key == key
