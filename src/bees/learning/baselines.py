"""The learning work of one round as others would write it, so that a reader can compare on their own machine.

Each baseline trains every UE from w_g with the same model, partition and mini-batch sizes, then scores every
update on the test set. No ledger, no tricks. ``python -m bees.learning.baselines NAME ROUNDS`` measures one in a
process of its own, with JAX as it comes: how BEES sets JAX up would slow plain JAX down.
"""

# JAX annotates its functions in part only.
# pyright: reportUnknownMemberType=none, reportUnknownVariableType=none, reportUnknownArgumentType=none
from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from importlib.util import find_spec
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, Any

import jax
import msgspec
import numpy as np
from jax import lax
from jax import numpy as jnp

from bees.core.errors import InputError, MissingExtraError
from bees.core.seeds import generator
from bees.learning.datasets import load_dataset
from bees.learning.models import MLP, Arrays, FlatWeights, cross_entropy, flatten, initial_weights, unflatten
from bees.learning.partition import make_partition, selection_split
from bees.scenario import Scenario

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


BASELINES = {"plain JAX vmap": jax_vmap_round, "plain PyTorch loop": torch_loop_round}


def measure_baseline(name: str, scenario: Scenario, rounds: int) -> float:
    """Median seconds of one round of a baseline, measured in a process of its own.

    Args:
        name: one of ``BASELINES``.
        scenario: data, partition and MLP.
        rounds: measured, after one that warms up.

    Raises:
        MissingExtraError: PyTorch is asked for and not installed.
        InputError: the baseline cannot run this scenario.
    """
    if BASELINES[name] is torch_loop_round and find_spec("torch") is None:
        raise _torch_is_missing()
    done = subprocess.run(  # noqa: S603  # our own module
        [sys.executable, "-m", "bees.learning.baselines", name, str(rounds)],
        input=msgspec.json.encode(scenario),
        capture_output=True,
        check=False,
    )
    if done.returncode:
        complaint = done.stderr.decode(errors="replace").strip().splitlines() or ["it ended without a word"]
        raise InputError(name, complaint[-1])
    return float(done.stdout)


def _median_round(name: str, scenario: Scenario, rounds: int) -> float:
    learning, seed = scenario.learning, scenario.seed
    dataset, _ = selection_split(load_dataset(learning.dataset), learning, seed)
    partition = make_partition(learning, dataset.y_train, scenario.topology.devices, seed)
    model = MLP(dataset.inputs, learning.hidden, dataset.classes)
    learning_round = BASELINES[name](model, dataset, partition, learning, seed)
    weights = initial_weights(model, seed)
    seconds: list[float] = []
    for t in range(rounds + 1):
        since = perf_counter()
        learning_round(weights, t)
        seconds.append(perf_counter() - since)
    return median(seconds[1:])


def _torch_is_missing() -> MissingExtraError:
    return MissingExtraError("PyTorch baseline", "PyTorch is not installed; pip install 'bees-edge[compare]'")


def _import_torch() -> Any:  # noqa: ANN401  # PyTorch is optional, so its types are not at hand
    try:
        return import_module("torch")
    except ImportError as error:
        raise _torch_is_missing() from error


if __name__ == "__main__":
    given = msgspec.json.decode(sys.stdin.buffer.read(), type=Scenario)
    print(_median_round(sys.argv[1], given, int(sys.argv[2])))  # noqa: T201  # what the caller reads
