"""Local training and evaluation spelled out: one UE, one mini-batch, one model at a time, in plain NumPy.

Slow and obvious. The fast paths are tested against it. For the MLP only, with its gradient written by hand.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bees.learning.training import mini_batches

if TYPE_CHECKING:
    from bees.learning.datasets import Dataset, EvaluationSet, Labels, Samples
    from bees.learning.models import MLP, FlatWeights
    from bees.learning.partition import Partition
    from bees.scenario import Learning

Weights = list[NDArray[np.float64]]


def local_training(
    model: MLP,
    dataset: Dataset,
    partition: Partition,
    learning: Learning,
    seed: int,
    global_weights: FlatWeights,
    t: int,
    device: int,
) -> NDArray[np.float64]:
    """Algorithm 1, LocalTraining(i, w), in float64, shape (P,)."""
    weights = _split(model, global_weights)
    samples = partition.samples_of(device)
    batches, sizes = mini_batches(samples, learning.batch_size, learning.epochs, seed, device, t)
    for batch, size in zip(batches, sizes, strict=True):
        b = batch[:size]
        gradient = _gradient(weights, dataset.x_train[b], dataset.y_train[b])
        weights = [w - learning.learning_rate * g for w, g in zip(weights, gradient, strict=True)]
    return np.concatenate([w.reshape(-1) for w in weights])


def margins(model: MLP, weights: FlatWeights, evaluation_set: EvaluationSet) -> NDArray[np.float64]:
    """Logit of the true class minus the largest of the others, of each sample, shape (T,)."""
    _, logits = _forward(_split(model, weights), evaluation_set.x)
    rows = np.arange(len(logits))
    true = logits[rows, evaluation_set.y]
    logits[rows, evaluation_set.y] = -np.inf
    return true - logits.max(axis=1)


def count_correct(model: MLP, weights: FlatWeights, evaluation_set: EvaluationSet) -> int:
    """Samples that one model classifies correctly; of equal logits the lowest class wins."""
    _, logits = _forward(_split(model, weights), evaluation_set.x)
    return int(np.sum(np.argmax(logits, axis=1) == evaluation_set.y))


def _split(model: MLP, flat: FlatWeights) -> Weights:
    sizes = [array.size for array in model.description.arrays]
    parts = np.split(flat.astype(np.float64), np.cumsum(sizes)[:-1])
    return [part.reshape(array.shape) for part, array in zip(parts, model.description.arrays, strict=True)]


def _forward(weights: Weights, x: Samples) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Hidden activations and logits."""
    hidden_weight, hidden_bias, output_weight, output_bias = weights
    hidden = np.maximum(x @ hidden_weight.T + hidden_bias, 0.0)
    return hidden, hidden @ output_weight.T + output_bias


def _gradient(weights: Weights, x: Samples, y: Labels) -> Weights:
    """Of the mean cross-entropy over the batch."""
    hidden, logits = _forward(weights, x)
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    d_logits = exponentials / exponentials.sum(axis=1, keepdims=True)
    d_logits[np.arange(len(y)), y] -= 1.0
    d_logits /= len(y)
    d_hidden = (d_logits @ weights[2]) * (hidden > 0)
    return [d_hidden.T @ x, d_hidden.sum(axis=0), d_logits.T @ hidden, d_logits.sum(axis=0)]
