"""The accuracy curve of a scenario without a ledger: the same training, the same contract, no chain.

A search over readings runs hundreds of curves. The chain does not change what is learnt (a test shows that the
full run gives the same w_g), so the search leaves it out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bees.contract.description import describe_virtual_machine
from bees.contract.library import load_contract_code
from bees.contract.vm import VirtualMachine
from bees.core.fixed_point import dequantise, quantise
from bees.experiment import make_speller

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bees.core.fixed_point import Words
    from bees.experiment import LearningWorld
    from bees.scenario import Scenario


def learning_rounds(scenario: Scenario, world: LearningWorld) -> Iterator[tuple[float, Words]]:
    """Accuracy of w_g(t) on the test set and its words, for each block t; every UE takes part in every round."""
    machine = VirtualMachine(describe_virtual_machine(fuel_limit=scenario.ledger.fuel))
    contract = machine.load(load_contract_code(scenario.ledger.contract))
    exponent = world.model.description.exponent
    speller = make_speller(scenario.learning, world.model.description)
    words, everybody = world.initial_words, np.arange(len(world.samples))
    samples = [int(n) for n in world.samples]
    for t in range(1, scenario.blocks + 1):
        trained = quantise(world.trainer.train(dequantise(words, exponent), t, everybody), exponent)
        sent = [speller.spell(device, own, words) for device, own in enumerate(trained)]
        updates = np.stack([speller.model.read_update(data, words) for data in sent])
        correct = [int(c) for c in world.score(dequantise(updates, exponent))]
        picked = contract.select(correct, samples, scenario.ledger.top_m)
        scores, counts = [correct[i] for i in picked], [samples[i] for i in picked]
        words = contract.aggregate(scores, counts, [updates[i] for i in picked], words)
        yield world.test_accuracy(words), words
