"""Scores updates on the evaluation set that the genesis pins."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bees.core.errors import InputError
from bees.core.fixed_point import dequantise
from bees.learning.datasets import load_dataset
from bees.learning.described import model_of
from bees.learning.evaluation import Evaluator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bees.core.fixed_point import Words
    from bees.ledger.genesis import Genesis
    from bees.node.config import ScoringSection

_MODELS_AT_ONCE = 16


class Scorer:
    """Counts how many evaluation samples each update gets right; a ``Score`` of the duties.

    Args:
        genesis: names the model and the evaluation set.
        section: where the set is.

    Attributes:
        model: as it is evaluated.

    Raises:
        DatasetError: the data cannot be read.
        InputError: it is another set than the genesis pins, or there is no such model.
    """

    def __init__(self, genesis: Genesis, section: ScoringSection) -> None:
        evaluation_set = load_dataset(section.data).test_set
        if evaluation_set.hash != genesis.evaluation_set:
            wanted = genesis.evaluation_set.hex()[:16]
            problem = f"its test samples are not the evaluation set {wanted} of the genesis"
            raise InputError(f"scoring.data = {section.data!r}", problem)
        self._description = genesis.model
        at_once = min(_MODELS_AT_ONCE, len(genesis.devices))
        self.model = model_of(genesis.model, section.model)
        self._evaluator = Evaluator(self.model, evaluation_set, models_per_chunk=at_once, threads=section.threads)
        # Compiled now: the first ATTEST would else be half over before a score is there.
        for count in {1, min(2, at_once)}:
            self._evaluator.evaluate_all(np.zeros((count, genesis.model.parameters), dtype=np.float32))

    def __call__(self, updates: Sequence[bytes], global_model: Words) -> list[int]:
        """Counts, in the order of the updates."""
        counts: list[int] = []
        for first in range(0, len(updates), _MODELS_AT_ONCE):
            part = updates[first : first + _MODELS_AT_ONCE]
            words = np.stack([self._description.read_update(update, global_model) for update in part])
            counts += map(int, self._evaluator.evaluate_all(dequantise(words, self._description.exponent)))
        return counts

    def accuracy(self, words: Words) -> float:
        """Fraction of the evaluation set that a model gets right."""
        return self._evaluator.accuracy(dequantise(words, self._description.exponent))
