from __future__ import annotations

from itertools import islice

import numpy as np

import bees
from bees.core.fixed_point import words_to_bytes
from bees.experiment import prepare_learning
from bees.ledger.commitments import hash_model
from bees.study.learning_only import learning_rounds

SMALL = ["blocks=3", "learning.hidden=4", "topology.devices=6", "topology.devices_per_server_max=3"]


def test_whatever_the_ledger_or_the_edge_world_does_the_models_are_those_of_the_full_run():
    unlike = ["offloading.policy=offload", "learning.partition=quantity_skew"]
    held_out = ["learning.selection_set=validation", "learning.validation_samples=500"]
    scenario = bees.load_scenario("quick-b-ei", [*SMALL, *unlike, *held_out])
    curve = list(learning_rounds(scenario, prepare_learning(scenario)))
    full = bees.run(scenario)
    assert [hash_model(words_to_bytes(words)).hex() for _, words in curve] == [row.model for row in full.rounds]
    assert [accuracy for accuracy, _ in curve] == list(full.accuracy)


def test_a_curve_can_be_left_early_and_leaves_the_world_as_it_was():
    scenario = bees.load_scenario("quick", [*SMALL, "blocks=1000000"])
    world = prepare_learning(scenario)
    before = world.initial_words.copy()
    first, second = (words for _, words in islice(learning_rounds(scenario, world), 2))
    assert not np.array_equal(first, second)
    assert np.array_equal(world.initial_words, before)
