"""The learning work of one round as others would write it, so that a reader can compare on their own machine.

Each baseline trains every UE from w_g with the same model, partition and mini-batch sizes, then scores every
update on the evaluation set. No ledger, no tricks.
"""

# JAX annotates its functions in part only.
# pyright: reportUnknownMemberType=none, reportUnknownVariableType=none, reportUnknownArgumentType=none
from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from jax import lax
from jax import numpy as jnp

from bees.core.errors import MissingExtraError
from bees.core.seeds import generator
from bees.learning.models import MLP, Arrays, FlatWeights, cross_entropy, flatten, unflatten

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from bees.learning.datasets import Dataset
    from bees.learning.models import Model
    from bees.learning.partition import Partition
    from bees.scenario import Learning

    LearningRound = Callable[[FlatWeights, int], tuple[FlatWeights, NDArray[np.int64]]]
    """From w_g(t-1) and t to the updates, shape (K, P), and their correct counts, shape (K,)."""


def jax_vmap_round(
    model: Model, dataset: Dataset, partition: Partition, learning: Learning, seed: int
) -> LearningRound:
    """Plain JAX: ``vmap`` over the UEs of a scan over mini-batches, ``vmap`` over the models of their scores.

    UEs need equal sizes; samples beyond the last full mini-batch are left out.
    """
    x, y = jnp.asarray(dataset.x_train), jnp.asarray(dataset.y_train)
    x_test, y_test = jnp.asarray(dataset.x_test), jnp.asarray(dataset.y_test)
    index = jnp.asarray(partition.index[:, : int(partition.n.min())])
    devices, share = index.shape
    steps = share // learning.batch_size

    def loss(arrays: Arrays, xb: jax.Array, yb: jax.Array) -> jax.Array:
        return jnp.mean(cross_entropy(model.logits(arrays, xb), yb))

    def step(arrays: Arrays, batch: jax.Array) -> tuple[Arrays, None]:
        gradient = jax.grad(loss)(arrays, x[batch], y[batch])
        return tuple(w - learning.learning_rate * g for w, g in zip(arrays, gradient, strict=True)), None

    def train_client(flat: jax.Array, samples: jax.Array, key: jax.Array) -> jax.Array:
        arrays = unflatten(model.description, flat)
        for epoch_key in jax.random.split(key, learning.epochs):
            shuffled = jax.random.permutation(epoch_key, samples)[: steps * learning.batch_size]
            arrays, _ = lax.scan(step, arrays, shuffled.reshape(steps, learning.batch_size))
        return flatten(arrays)

    def score(flat: jax.Array) -> jax.Array:
        logits = model.logits(unflatten(model.description, flat), x_test)
        return jnp.sum(jnp.argmax(logits, axis=1) == y_test)

    train = jax.jit(jax.vmap(train_client, in_axes=(None, 0, 0)))
    score_all = jax.jit(jax.vmap(score))

    def learning_round(weights: FlatWeights, t: int) -> tuple[FlatWeights, NDArray[np.int64]]:
        keys = jax.random.split(jax.random.fold_in(jax.random.key(seed), t), devices)
        updates = train(weights, index, keys)
        return np.asarray(updates), np.asarray(score_all(updates)).astype(np.int64)

    return learning_round


def torch_loop_round(
    model: MLP, dataset: Dataset, partition: Partition, learning: Learning, seed: int
) -> LearningRound:
    """Plain PyTorch: a loop over the UEs and their mini-batches, a loop over the models of their scores.

    Raises:
        MissingExtraError: PyTorch is not installed.
    """
    torch = _import_torch()
    x, y = torch.tensor(dataset.x_train), torch.tensor(dataset.y_train, dtype=torch.int64)
    x_test, y_test = torch.tensor(dataset.x_test), torch.tensor(dataset.y_test, dtype=torch.int64)
    network = torch.nn.Sequential(
        torch.nn.Linear(model.inputs, model.hidden),
        torch.nn.ReLU(),
        torch.nn.Linear(model.hidden, model.classes),
    )
    parameters = list(network.parameters())

    def train_client(weights: FlatWeights, samples: NDArray[np.int32], draw: np.random.Generator) -> FlatWeights:
        torch.nn.utils.vector_to_parameters(torch.tensor(weights), parameters)
        optimiser = torch.optim.SGD(parameters, lr=learning.learning_rate)
        for _ in range(learning.epochs):
            for batch in torch.tensor(draw.permutation(samples), dtype=torch.int64).split(learning.batch_size):
                optimiser.zero_grad()
                torch.nn.functional.cross_entropy(network(x[batch]), y[batch]).backward()
                optimiser.step()
        return torch.nn.utils.parameters_to_vector(parameters).detach().numpy().copy()

    def score(weights: FlatWeights) -> int:
        torch.nn.utils.vector_to_parameters(torch.tensor(weights), parameters)
        with torch.no_grad():
            return int((network(x_test).argmax(1) == y_test).sum())

    def learning_round(weights: FlatWeights, t: int) -> tuple[FlatWeights, NDArray[np.int64]]:
        draw = generator(seed, "torch baseline", t)
        updates = np.stack([train_client(weights, partition.samples_of(k), draw) for k in range(len(partition.n))])
        return updates, np.array([score(update) for update in updates], dtype=np.int64)

    return learning_round


def _import_torch() -> Any:  # noqa: ANN401  # PyTorch is optional, so its types are not at hand
    try:
        return import_module("torch")
    except ImportError as error:
        fix = "pip install 'bees-edge[compare]'"
        raise MissingExtraError("PyTorch baseline", f"PyTorch is not installed; {fix}") from error
