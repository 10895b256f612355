"""How many evaluation samples each model gets right: the score that servers attest, and that UEs are selected by.

A model predicts the class with the largest logit; of equal ones, the lowest class.

Scoring 100 models on 10,000 samples is most of the arithmetic of a round. For the MLP, the first layers of all
models are one matrix product. Features and samples are sorted so that it can be cut down: a block of samples
needs a leading run of the features only, and all that is skipped is exactly zero.
"""

# JAX annotates its functions in part only.
# pyright: reportUnknownMemberType=none, reportUnknownVariableType=none, reportUnknownArgumentType=none
from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple, Protocol

import jax
import numpy as np
from jax import lax
from jax import numpy as jnp
from numpy.typing import NDArray

from bees.learning.cpu import cpu_device
from bees.learning.models import MLP, FlatWeights, check_weights, unflatten
from bees.learning.workers import for_each, worker_count

if TYPE_CHECKING:
    from bees.learning.datasets import EvaluationSet
    from bees.learning.models import Model

Counts = NDArray[np.int64]

_SAMPLES_PER_BLOCK = 500
_FEATURES_STEP = 64
_SAMPLES_PER_CALL = 100
"""Of a model that is scored alone: what it computes on them should stay in the processor's cache."""


class Evaluator:
    """Scores models on one evaluation set.

    Args:
        model: their architecture.
        evaluation_set: the samples.
        models_per_chunk: models scored at once; bounds memory. Set it to K where K is smaller.
        threads: that share the work; by default see ``worker_count``. They change no result.
    """

    def __init__(
        self, model: Model, evaluation_set: EvaluationSet, *, models_per_chunk: int = 100, threads: int | None = None
    ) -> None:
        self.model = model
        self.evaluation_set = evaluation_set
        self._size = models_per_chunk
        workers = threads or worker_count()
        self._one = _AnyModelCounter(model, evaluation_set, workers)
        self._many: _Counter = _MLPCounter(model, evaluation_set, workers) if isinstance(model, MLP) else self._one

    def evaluate_all(self, models: FlatWeights) -> Counts:
        """Samples that each model classifies correctly.

        Args:
            models: float32, shape (K, P).

        Returns:
            int64, shape (K,).

        Raises:
            ModelShapeError: the models don't fit the description.
        """
        given = np.asarray(models, dtype=np.float32)
        check_weights(self.model.description, given)
        if len(given) == 1:
            return self._one(given)
        counts = np.empty(len(given), dtype=np.int64)
        for first in range(0, len(given), self._size):
            chunk = given[first : first + self._size]
            # A chunk is always full, so that each program is compiled once, however many models there are.
            missing = np.zeros((self._size - len(chunk), given.shape[1]), dtype=np.float32)
            counts[first : first + len(chunk)] = self._many(np.concatenate([chunk, missing]))[: len(chunk)]
        return counts

    def accuracy(self, weights: FlatWeights) -> float:
        """Fraction of the evaluation set that one model, shape (P,), classifies correctly."""
        return int(self.evaluate_all(weights[None])[0]) / len(self.evaluation_set)


class _Counter(Protocol):
    def __call__(self, models: FlatWeights) -> Counts: ...


class _Block(NamedTuple):
    """Samples, one per column, cut down to the leading features; and their labels."""

    x: jax.Array
    y: jax.Array


class _MLPCounter:
    def __init__(self, model: MLP, evaluation_set: EvaluationSet, workers: int) -> None:
        self._workers = workers
        cpu = cpu_device()
        features, blocks = sort_by_lit_features(evaluation_set.x)
        self._blocks = [
            _Block(
                jax.device_put(np.ascontiguousarray(evaluation_set.x[np.ix_(rows, features[:width])].T), cpu),
                jax.device_put(evaluation_set.y[rows], cpu),
            )
            for rows, width in blocks
        ]
        self._stack = jax.jit(partial(_stack_layers, model, features))
        self._count = jax.jit(_count_block)
        self._cpu = cpu

    def __call__(self, models: FlatWeights) -> Counts:
        layers = self._stack(jax.device_put(models, self._cpu))

        def count(block: _Block) -> Counts:
            return np.asarray(self._count(layers, block), dtype=np.int64)

        return np.stack(for_each(count, self._blocks, self._workers)).sum(axis=0)


class _AnyModelCounter:
    def __init__(self, model: Model, evaluation_set: EvaluationSet, workers: int) -> None:
        self._workers = workers
        self._cpu = cpu_device()
        self._set = evaluation_set
        self._count = jax.jit(partial(_count_model, model))

    def __call__(self, models: FlatWeights) -> Counts:
        starts = range(0, len(self._set), _SAMPLES_PER_CALL)
        jobs = [(model, slice(start, start + _SAMPLES_PER_CALL)) for model in models for start in starts]

        def count(job: tuple[FlatWeights, slice]) -> int:
            model, rows = job
            return int(self._count(model, self._set.x[rows], self._set.y[rows]))

        counts = for_each(count, jobs, self._workers)
        return np.array(counts, dtype=np.int64).reshape(len(models), len(starts)).sum(axis=1)


def sort_by_lit_features(x: NDArray[np.float32]) -> tuple[NDArray[np.int64], list[tuple[NDArray[np.int64], int]]]:
    """An order of features, and blocks of samples of which each is zero beyond a leading run of them.

    Args:
        x: samples, shape (T, inputs).

    Returns:
        the order of the features; and for each block its samples, and how many leading features cover all that
        is not zero in them (rounded up, so that blocks share a few shapes).
    """
    features, needed = _peel(x != 0)
    order = np.argsort(needed, kind="stable")
    blocks: list[tuple[NDArray[np.int64], int]] = []
    for start in range(0, len(x), _SAMPLES_PER_BLOCK):
        rows = order[start : start + _SAMPLES_PER_BLOCK]
        width = -(-max(int(needed[rows].max()), 1) // _FEATURES_STEP) * _FEATURES_STEP
        blocks.append((rows, min(width, x.shape[1])))
    return features, blocks


def _peel(lit: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Order features from the last to the first: next is always the one that the fewest remaining samples light.

    Those samples need all features up to this one, and leave with it.

    Returns:
        the order of the features, and the number of leading features that each sample needs.
    """
    samples, inputs = lit.shape
    features, needed = np.empty(inputs, dtype=np.int64), np.zeros(samples, dtype=np.int64)
    remaining = np.ones(samples, dtype=np.bool_)
    lit_by = lit.sum(axis=0).astype(np.float64)
    for position in range(inputs - 1, -1, -1):
        feature = int(np.argmin(lit_by))
        features[position] = feature
        leaving = np.flatnonzero(lit[:, feature] & remaining)
        needed[leaving] = position + 1
        remaining[leaving] = False
        lit_by -= lit[leaving].sum(axis=0)
        lit_by[feature] = np.inf
    return features, needed


class _Layers(NamedTuple):
    """The arrays of K models, stacked.

    Attributes:
        hidden_weight: shape (inputs, K hidden), features in the order of the blocks.
        hidden_bias: shape (K hidden, 1).
        output_weight: shape (K, classes, hidden).
        output_bias: shape (K, classes, 1).
    """

    hidden_weight: jax.Array
    hidden_bias: jax.Array
    output_weight: jax.Array
    output_bias: jax.Array


def _stack_layers(model: MLP, features: NDArray[np.int64], models: jax.Array) -> _Layers:
    hidden_weight, hidden_bias, output_weight, output_bias = jax.vmap(partial(unflatten, model.description))(models)
    by_feature = hidden_weight.reshape(-1, model.inputs).T[features]
    return _Layers(by_feature, hidden_bias.reshape(-1, 1), output_weight, output_bias[:, :, None])


def _count_block(layers: _Layers, block: _Block) -> jax.Array:
    """Correct predictions of each model on the samples of a block, shape (K,)."""
    width, samples = block.x.shape
    k, _, width_hidden = layers.output_weight.shape
    first = lax.dot_general(layers.hidden_weight[:width], block.x, (((0,), (0,)), ((), ())))
    hidden = jax.nn.relu(first + layers.hidden_bias).reshape(k, width_hidden, samples)
    logits = layers.output_weight @ hidden + layers.output_bias
    return jnp.sum(jnp.argmax(logits, axis=1) == block.y, axis=1)


def _count_model(model: Model, weights: jax.Array, x: jax.Array, y: jax.Array) -> jax.Array:
    predicted = jnp.argmax(model.logits(unflatten(model.description, weights), x), axis=1)
    return jnp.sum(predicted == y)
