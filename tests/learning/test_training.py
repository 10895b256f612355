from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import jax
import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bees.core.errors import ModelShapeError
from bees.learning import reference
from bees.learning.models import CNN, MLP, Arrays, FlatWeights, cross_entropy, flatten, initial_weights, unflatten
from bees.learning.partition import Partition, make_partition
from bees.learning.training import LocalTrainer, mini_batches
from bees.scenario import Learning

if TYPE_CHECKING:
    from bees.learning.datasets import Dataset

LEARNING = Learning(
    partition="quantity_skew", epochs=2, batch_size=4, learning_rate=0.1, clients_per_chunk=5, dirichlet_alpha=1.0
)
DEVICES = 12
MODEL = MLP(64, 6, 4)
LONE = Partition(np.array([[5, 9, 11, 2, 8]], np.int32), np.array([5], np.int32))
"""One UE with a full batch and a fifth sample."""


@pytest.fixture(scope="module")
def partition(digits: Dataset) -> Partition:
    return make_partition(LEARNING, digits.y_train, DEVICES, 0)


@pytest.fixture(scope="module")
def trainer(digits: Dataset, partition: Partition) -> LocalTrainer:
    return LocalTrainer(MODEL, digits, partition, LEARNING, 7)


@pytest.fixture(scope="module")
def weights() -> FlatWeights:
    return initial_weights(MODEL, 7)


@pytest.fixture(scope="module")
def updates(trainer: LocalTrainer, weights: FlatWeights) -> FlatWeights:
    return trainer.train(weights, 3, range(DEVICES))


def test_all_at_once_equals_one_after_another(
    digits: Dataset, partition: Partition, weights: FlatWeights, updates: FlatWeights
):
    assert len(set(partition.n.tolist())) > 5
    assert any(n % LEARNING.batch_size for n in partition.n.tolist())
    for device in range(DEVICES):
        slow = reference.local_training(MODEL, digits, partition, LEARNING, 7, weights, 3, device)
        assert np.allclose(updates[device], slow, rtol=0, atol=2e-5)
        assert np.abs(updates[device] - weights).max() > 1e-3


def test_the_reference_gradient_is_that_of_jax(digits: Dataset, weights: FlatWeights):
    x, y = digits.x_train[:5], digits.y_train[:5]

    def loss(arrays: Arrays) -> jax.Array:
        return cross_entropy(MODEL.logits(arrays, jax.numpy.asarray(x)), jax.numpy.asarray(y)).mean()

    by_jax = flatten(jax.grad(loss)(unflatten(MODEL.description, weights)))
    by_hand = reference._gradient(reference._split(MODEL, weights), x, y)
    assert np.allclose(np.asarray(by_jax), np.concatenate([g.reshape(-1) for g in by_hand]), atol=1e-6)


@given(order=st.permutations(range(DEVICES)), left_out=st.integers(0, DEVICES - 1))
@settings(deadline=None, max_examples=10)
def test_an_update_depends_neither_on_order_nor_on_company(
    trainer: LocalTrainer, weights: FlatWeights, updates: FlatWeights, order: list[int], left_out: int
):
    some = [device for device in order if device != left_out]
    assert np.array_equal(trainer.train(weights, 3, some), updates[some])


@pytest.mark.parametrize(("chunk", "threads"), [(1, 1), (3, 2), (12, 1), (50, 4)])
def test_an_update_depends_neither_on_chunks_nor_on_threads(
    digits: Dataset, partition: Partition, weights: FlatWeights, updates: FlatWeights, chunk: int, threads: int
):
    learning = msgspec.structs.replace(LEARNING, clients_per_chunk=chunk)
    trainer = LocalTrainer(MODEL, digits, partition, learning, 7, threads=threads)
    assert np.array_equal(trainer.train(weights, 3, range(DEVICES)), updates)


@pytest.mark.parametrize("fill", [0, 13, 699])
def test_what_fills_a_partial_batch_has_exactly_no_effect(digits: Dataset, weights: FlatWeights, fill: int):
    loud = digits.x_train.copy()
    loud[699] = 1e6
    trainer = LocalTrainer(MODEL, replace(digits, x_train=loud), LONE, LEARNING, 0)
    samples, sizes, steps = trainer._schedule(np.array([0]), 1)
    assert (steps.tolist(), sizes[0].tolist()) == ([4, 0, 0, 0, 0], [4, 1, 4, 1])
    filled = samples.copy()
    filled[0, 1, 1:] = fill
    filled[0, 3, 1:] = fill
    one, other = (trainer._train_chunk(trainer._x, trainer._y, weights, s, sizes, steps) for s in (samples, filled))
    assert np.array_equal(np.asarray(one), np.asarray(other))


@pytest.mark.parametrize("nowhere", [-1, 0, 699])
def test_what_fills_a_partition_has_exactly_no_effect(
    digits: Dataset, partition: Partition, weights: FlatWeights, updates: FlatWeights, nowhere: int
):
    index = np.full((DEVICES, partition.index.shape[1] + 37), nowhere, dtype=np.int32)
    for device in range(DEVICES):
        index[device, : partition.n[device]] = partition.samples_of(device)
    roomy = LocalTrainer(MODEL, digits, Partition(index, partition.n), LEARNING, 7)
    assert np.array_equal(roomy.train(weights, 3, range(DEVICES)), updates)


def test_rounds_and_seeds_shuffle_anew(
    digits: Dataset, partition: Partition, trainer: LocalTrainer, weights: FlatWeights, updates: FlatWeights
):
    assert not np.array_equal(trainer.train(weights, 4, range(DEVICES)), updates)
    other = LocalTrainer(MODEL, digits, partition, LEARNING, 8)
    assert not np.array_equal(other.train(weights, 3, range(DEVICES)), updates)
    assert np.array_equal(trainer.train(weights, 3, range(DEVICES)), updates)


def test_inputs_that_are_never_lit_keep_their_weights(weights: FlatWeights, updates: FlatWeights, digits: Dataset):
    dark = np.flatnonzero(~digits.x_train.any(axis=0))
    assert dark.size
    hidden = updates[:, : 6 * 64].reshape(DEVICES, 6, 64)
    assert np.array_equal(
        hidden[:, :, dark], np.broadcast_to(weights[: 6 * 64].reshape(6, 64)[:, dark], (12, 6, len(dark)))
    )


def test_nobody_trains_nothing(trainer: LocalTrainer, weights: FlatWeights):
    assert trainer.train(weights, 1, []).shape == (0, MODEL.description.parameters)


def test_weights_of_another_model_are_refused(trainer: LocalTrainer):
    with pytest.raises(ModelShapeError, match="mlp-64-6-4"):
        trainer.train(np.zeros(3, np.float32), 1, [0])


def test_any_model_trains(digits: Dataset, partition: Partition):
    model = CNN((8, 8), 4)
    weights = initial_weights(model, 0)
    trainer = LocalTrainer(model, digits, partition, LEARNING, 0)
    update = trainer.train(weights, 1, [2])[0]
    batches, sizes = mini_batches(partition.samples_of(2), 4, 2, 0, 2, 1)
    arrays = unflatten(model.description, weights)

    @jax.jit
    @jax.grad
    def gradient(arrays: Arrays, x: jax.Array, y: jax.Array) -> jax.Array:
        return cross_entropy(model.logits(arrays, x), y).mean()

    for batch, size in zip(batches, sizes, strict=True):
        steepest = gradient(arrays, digits.x_train[batch[:size]], digits.y_train[batch[:size]])
        arrays = tuple(w - 0.1 * g for w, g in zip(arrays, steepest, strict=True))
    assert np.allclose(update, np.asarray(flatten(arrays)), atol=2e-5)


@given(n=st.integers(1, 40), batch=st.integers(1, 15), epochs=st.integers(1, 3), device=st.integers(0, 5))
@settings(deadline=None, max_examples=40)
def test_each_epoch_sees_each_sample_once(n: int, batch: int, epochs: int, device: int):
    samples = np.arange(100, 100 + n, dtype=np.int32)
    batches, sizes = mini_batches(samples, batch, epochs, 1, device, 2)
    per_epoch = -(-n // batch)
    assert batches.shape == (epochs * per_epoch, batch)
    assert sizes.tolist() == ([batch] * (per_epoch - 1) + [n - batch * (per_epoch - 1)]) * epochs
    counted = np.arange(batch) < sizes[:, None]
    for epoch in range(epochs):
        rows = slice(epoch * per_epoch, (epoch + 1) * per_epoch)
        assert np.array_equal(np.sort(batches[rows][counted[rows]]), samples)
    assert set(batches.reshape(-1).tolist()) <= set(samples.tolist())
