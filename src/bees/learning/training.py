"""Local training (Algorithm 1, LocalTraining) of many UEs at once.

Each UE starts from w_g, goes E times over its samples in mini-batches, and takes a step of SGD on each:
``w <- w - alpha grad L(w; b)``. UEs are computed one after the other inside of a compiled chunk, each on its own
weights while they are in the processor's cache, and chunks are shared among threads. So an update depends on the
seed, the UE and the round alone: not on the order of UEs, on who else trains, on chunks, or on threads.
"""

# JAX annotates its functions in part only.
# pyright: reportUnknownMemberType=none, reportUnknownVariableType=none, reportUnknownArgumentType=none
from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import jax
import numpy as np
from jax import lax
from jax import numpy as jnp

from bees.core.seeds import generator
from bees.learning.cpu import cpu_device
from bees.learning.models import Arrays, FlatWeights, check_weights, cross_entropy, flatten, unflatten
from bees.learning.workers import for_each, worker_count

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from bees.learning.datasets import Dataset
    from bees.learning.models import Model
    from bees.learning.partition import Partition
    from bees.scenario import Learning


class LocalTrainer:
    """Local SGD for any set of UEs, as fast as the machine allows, in bounded memory.

    Args:
        model: what is trained.
        dataset: whose training samples the partition refers to.
        partition: which UE holds which samples.
        learning: epochs, batch size, learning rate, clients per chunk.
        seed: of the experiment.
        threads: that share the chunks; by default see ``worker_count``. They change no result.
    """

    def __init__(
        self,
        model: Model,
        dataset: Dataset,
        partition: Partition,
        learning: Learning,
        seed: int,
        *,
        threads: int | None = None,
    ) -> None:
        self.model = model
        self.partition = partition
        self.learning = learning
        self.seed = seed
        self._threads = threads or worker_count()
        self._cpu = cpu_device()
        self._x = jax.device_put(dataset.x_train, self._cpu)
        self._y = jax.device_put(dataset.y_train, self._cpu)
        self._most_steps = learning.epochs * -(-partition.index.shape[1] // learning.batch_size)
        self._train_chunk = jax.jit(partial(_train_chunk, model, learning.learning_rate))

    def train(self, global_weights: FlatWeights, t: int, devices: Sequence[int] | NDArray[np.integer]) -> FlatWeights:
        """w_l of each of these UEs after its local epochs.

        Args:
            global_weights: w_g(t-1), float32, shape (P,).
            t: communication round.
            devices: indices of the UEs that train.

        Returns:
            float32, shape (len(devices), P), in the order of ``devices``.

        Raises:
            ModelShapeError: the weights don't fit the model.
        """
        weights = np.asarray(global_weights, dtype=np.float32)
        check_weights(self.model.description, weights[None])
        ids = np.asarray(devices, dtype=np.int64)
        size = self.learning.clients_per_chunk
        start = jax.device_put(weights, self._cpu)
        updates = np.empty((len(ids), len(weights)), dtype=np.float32)

        def train_from(first: int) -> None:
            chunk = ids[first : first + size]
            done = self._train_chunk(self._x, self._y, start, *self._schedule(chunk, t))
            updates[first : first + len(chunk)] = np.asarray(done)[: len(chunk)]

        for_each(train_from, range(0, len(ids), size), self._threads)
        return updates

    def _schedule(
        self,
        chunk: NDArray[np.int64],
        t: int,
    ) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]:
        """Samples and size of each mini-batch, and the number of steps, of each UE of a full-sized chunk.

        UEs that are missing to a full chunk take no step.
        """
        clients, batch = self.learning.clients_per_chunk, self.learning.batch_size
        samples = np.zeros((clients, self._most_steps, batch), dtype=np.int32)
        sizes = np.ones((clients, self._most_steps), dtype=np.int32)
        steps = np.zeros(clients, dtype=np.int32)
        for row, device in enumerate(chunk):
            batches, filled = mini_batches(
                self.partition.samples_of(int(device)), batch, self.learning.epochs, self.seed, int(device), t
            )
            steps[row] = len(batches)
            samples[row, : len(batches)] = batches
            sizes[row, : len(batches)] = filled
        return samples, sizes, steps


def mini_batches(
    samples: NDArray[np.int32],
    batch_size: int,
    epochs: int,
    seed: int,
    device: int,
    t: int,
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """The mini-batch set B_i of a UE: its samples, shuffled anew for each epoch, in batches.

    Args:
        samples: what the UE holds, shape (n_k,).
        batch_size: of a full batch.
        epochs: E.
        seed: of the experiment.
        device: the UE.
        t: communication round.

    Returns:
        samples of each batch, shape (E ceil(n_k/batch_size), batch_size), the last of an epoch filled up with
        samples that don't count; and how many of each batch count.
    """
    draw = generator(seed, "local training", device, t)
    per_epoch = -(-len(samples) // batch_size)
    batches = np.full((epochs, per_epoch * batch_size), samples[0], dtype=np.int32)
    for epoch in range(epochs):
        batches[epoch, : len(samples)] = draw.permutation(samples)
    sizes = np.full((epochs, per_epoch), batch_size, dtype=np.int32)
    sizes[:, -1] = len(samples) - (per_epoch - 1) * batch_size
    return batches.reshape(-1, batch_size), sizes.reshape(-1)


def _train_chunk(
    model: Model,
    learning_rate: float,
    x: jax.Array,
    y: jax.Array,
    start: jax.Array,
    samples: jax.Array,
    sizes: jax.Array,
    steps: jax.Array,
) -> jax.Array:
    """Updates of a chunk of UEs, shape (clients, P)."""

    def loss(arrays: Arrays, batch: jax.Array, size: jax.Array) -> jax.Array:
        # The samples that fill a batch up get weight 0, so their gradient is exactly 0.
        weight = (jnp.arange(len(batch)) < size) / size.astype(jnp.float32)
        return jnp.sum(weight * cross_entropy(model.logits(arrays, x[batch]), y[batch]))

    def train_client(client: tuple[jax.Array, jax.Array, jax.Array]) -> jax.Array:
        batches, filled, count = client

        def step(number: jax.Array, arrays: Arrays) -> Arrays:
            gradient = jax.grad(loss)(arrays, batches[number], filled[number])
            return tuple(w - learning_rate * g for w, g in zip(arrays, gradient, strict=True))

        return flatten(lax.fori_loop(0, count, step, unflatten(model.description, start)))

    return lax.map(train_client, (samples, sizes, steps))
