"""The ends of every knob of the edge world: a refusal, an empty network or numbers, but never NaN or a traceback."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import numpy as np
import pytest

from bees.core.errors import BeesError
from bees.edge.physics import simulate_physics
from bees.scenario_checks import MAGNITUDE_LIMIT, PHYSICS
from bees.scenario_file import describe_knobs, load_scenario

if TYPE_CHECKING:
    from bees.edge.history import PhysicsHistory
    from bees.scenario_knobs import Knob

KNOBS = [knob for knob in describe_knobs() if knob.key.split(".")[0] in PHYSICS[1:]]


def an_end(knob: Knob, rng: random.Random) -> object:
    if knob.choices:
        return rng.choice(knob.choices)
    if knob.type == "whole number":
        return rng.choice([1, 2, 1000])
    low = knob.minimum if knob.minimum is not None else 1 / MAGNITUDE_LIMIT if knob.above is not None else -299.0
    bounded = knob.minimum is not None or knob.above is not None
    high = knob.maximum if knob.maximum is not None else MAGNITUDE_LIMIT if bounded else 299.0
    return rng.choice([low, high, 1e-9, 1.0, 1e12, knob.default])


def play(changes: list[str], samples: int) -> PhysicsHistory | str:
    try:
        return simulate_physics(load_scenario("paper", [*changes, "blocks=3"]), samples)
    except BeesError as error:
        return str(error)


@pytest.mark.parametrize("seed", range(12))
def test_a_world_at_its_ends_has_numbers_or_a_reason(seed: int) -> None:
    rng, played = random.Random(seed), 0
    for _ in range(25):
        knobs = rng.sample(KNOBS, rng.randint(1, 6))
        changes = [f"{knob.key}={an_end(knob, rng)}" for knob in knobs]
        history = play(changes, rng.choice([0, 600]))
        if isinstance(history, str):
            assert len(history.splitlines()) == 1
            continue
        played += 1
        for values in (history.latency_s, history.energy_j, history.charge_j, history.uplink_bytes):
            assert not np.isnan(values).any(), changes
        assert np.isfinite(history.energy_j).all(), changes
        assert (history.raw_bytes <= history.uplink_bytes).all(), changes
    assert played > 0
