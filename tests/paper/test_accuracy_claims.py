"""Section IV-C, accuracy and robustness: Figures 3 and 4, by the training and the contract of the full run.

What the paper claims and does not come out is held here too: these tests say what is true of this system.
"""

from __future__ import annotations

from functools import cache

import pytest

from bees.experiment import prepare_learning
from bees.scenario_file import load_scenario
from bees.study.learning_only import learning_rounds


@cache
def accuracy(preset: str, devices: int) -> tuple[float, ...]:
    scenario = load_scenario(preset, [f"topology.devices={devices}"])
    return tuple(accuracy for accuracy, _ in learning_rounds(scenario, prepare_learning(scenario)))


def test_the_model_of_the_paper_has_80_kb():
    model = prepare_learning(load_scenario("paper")).model.description
    assert model.parameters == 19_885
    assert model.update_bytes == pytest.approx(80e3, rel=0.01)


def test_fig_3_bees_reaches_89_percent_after_50_blocks():
    assert accuracy("paper", 100)[-1] == pytest.approx(0.89, abs=0.02)


def test_fig_3_bees_ends_above_b_ei():
    assert accuracy("paper", 100)[-1] > accuracy("b-ei", 100)[-1]


def test_fig_4_halving_the_ues_costs_bees_at_most_2_points():
    assert accuracy("paper", 50)[-1] > accuracy("paper", 100)[-1] - 0.02
