"""Which UE holds which training samples: the heterogeneous local datasets L_k of the paper (section III).

The paper says "equally distributed" and "non-IID", and leaves the rest open; each partition here is a published
one. No sample is ever given twice.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from bees.core.errors import ScenarioError, did_you_mean
from bees.core.seeds import generator
from bees.learning.datasets import EvaluationSet

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from bees.learning.datasets import Dataset, Labels
    from bees.scenario import Learning

NO_SAMPLE = -1


@dataclass(frozen=True, eq=False)
class Partition:
    """The samples of each UE.

    Attributes:
        index: positions in the training set, int32, shape (K, n_max); each row ends in ``NO_SAMPLE``.
        n: n_k, samples that each UE holds, int32, shape (K,).
    """

    index: NDArray[np.int32]
    n: NDArray[np.int32]

    def samples_of(self, device: int) -> NDArray[np.int32]:
        """Positions of the samples of one UE, shape (n_k,)."""
        return self.index[device, : self.n[device]]


def make_partition(learning: Learning, labels: Labels, devices: int, seed: int) -> Partition:
    """Split the training samples as the scenario says.

    Args:
        learning: names the partition and its parameters.
        labels: of the training samples, shape (n,).
        devices: K.
        seed: of the experiment.

    Raises:
        ScenarioError: there are more UEs, or shards, than samples.
    """
    makers: dict[str, Callable[[], Partition]] = {
        "iid": lambda: iid(len(labels), devices, seed),
        "shards": lambda: shards(labels, devices, learning.shards_per_device, seed),
        "dirichlet": lambda: dirichlet(labels, devices, learning.dirichlet_alpha, seed),
        "quantity_skew": lambda: quantity_skew(len(labels), devices, learning.dirichlet_alpha, seed),
    }
    if learning.partition not in makers:
        hint = did_you_mean(learning.partition, tuple(makers))
        raise ScenarioError("scenario", f"no such partition; {hint}", "learning.partition", learning.partition)
    return makers[learning.partition]()


def iid(samples: int, devices: int, seed: int) -> Partition:
    """Equal shares of a shuffled training set; sizes differ by one at most, and every sample is used.

    Raises:
        ScenarioError: K exceeds n.
    """
    _check_enough(samples, devices)
    shuffled = generator(seed, "partition", "iid").permutation(samples)
    return _cut(shuffled, _even_sizes(samples, devices))


def shards(labels: Labels, devices: int, shards_per_device: int, seed: int) -> Partition:
    """Label-sorted shards, a few to each UE (McMahan et al. 2017, section 3). Every sample is used.

    Raises:
        ScenarioError: there are more shards than samples.
    """
    samples, count = len(labels), devices * shards_per_device
    _check_enough(samples, devices)
    if count > samples:
        problem = f"{devices} UEs would need {count} shards, but there are {samples} samples"
        raise ScenarioError("scenario", problem, "learning.shards_per_device", shards_per_device)
    by_label = np.argsort(labels, kind="stable")
    sizes = _even_sizes(samples, count)
    starts = np.cumsum(sizes) - sizes
    drawn = generator(seed, "partition", "shards").permutation(count).reshape(devices, shards_per_device)
    order = np.concatenate([by_label[starts[s] : starts[s] + sizes[s]] for s in drawn.reshape(-1)])
    return _cut(order, sizes[drawn].sum(axis=1))


def dirichlet(labels: Labels, devices: int, alpha: float, seed: int) -> Partition:
    """Label skew with equal sizes: each UE draws its mix of classes q_k ~ Dir(alpha) (Hsu, Qi, Brown 2019).

    Each gets n_k = floor(n/K) samples without replacement; a class that is used up leaves the mix, and the rest
    of it is scaled up. The remaining n mod K samples stay unused.

    Args:
        labels: of the training samples, shape (n,).
        devices: K.
        alpha: concentration, the same for each class; small means few classes per UE.
        seed: of the experiment.

    Raises:
        ScenarioError: K exceeds n.
    """
    _check_enough(len(labels), devices)
    draw = generator(seed, "partition", "dirichlet")
    available = np.bincount(labels)
    classes = len(available)
    share = len(labels) // devices
    shuffled = draw.permutation(len(labels))
    by_label = shuffled[np.argsort(labels[shuffled], kind="stable")]
    next_of_class = np.cumsum(available) - available
    order = np.empty(share * devices, dtype=np.int64)
    # In the order of the devices: what one takes is gone for the next.
    for device in range(devices):
        taken = _draw_mix(draw, _draw_proportions(draw, alpha, classes), available, share)
        order[device * share : (device + 1) * share] = np.concatenate(
            [by_label[next_of_class[c] : next_of_class[c] + taken[c]] for c in range(classes)]
        )
        available = available - taken
        next_of_class = next_of_class + taken
    return _cut(order, np.full(devices, share))


def quantity_skew(samples: int, devices: int, alpha: float, seed: int) -> Partition:
    """Equal mixes, unequal sizes: sizes follow Dir(alpha) over the UEs, at least 1 each. Every sample is used.

    Raises:
        ScenarioError: K exceeds n.
    """
    _check_enough(samples, devices)
    draw = generator(seed, "partition", "quantity skew")
    sizes = 1 + draw.multinomial(samples - devices, _draw_proportions(draw, alpha, devices))
    return _cut(draw.permutation(samples), sizes)


def selection_split(dataset: Dataset, learning: Learning, seed: int) -> tuple[Dataset, EvaluationSet]:
    """The data to train on, and the samples by which UEs are ranked and selected.

    ``test`` is the paper's reading: rank by the test set. ``validation`` holds samples out of the training set,
    so that the test set stays unseen until the end.

    Raises:
        ScenarioError: fewer training samples than should be held out.
    """
    if learning.selection_set == "test":
        return dataset, dataset.test_set
    held_out = learning.validation_samples
    if held_out >= len(dataset.y_train):
        problem = f"{dataset.name} has only {len(dataset.y_train)} training samples"
        raise ScenarioError("scenario", problem, "learning.validation_samples", held_out)
    shuffled = generator(seed, "validation").permutation(len(dataset.y_train))
    out, kept = np.sort(shuffled[:held_out]), np.sort(shuffled[held_out:])
    training = replace(dataset, x_train=dataset.x_train[kept], y_train=dataset.y_train[kept])
    return training, EvaluationSet(dataset.x_train[out], dataset.y_train[out])


def _check_enough(samples: int, devices: int) -> None:
    if devices > samples:
        problem = f"more UEs than the {samples} training samples; each needs at least one"
        raise ScenarioError("scenario", problem, "topology.devices", devices)


def _even_sizes(samples: int, parts: int) -> NDArray[np.int64]:
    return samples // parts + (np.arange(parts) < samples % parts)


def _cut(order: NDArray[np.int64], sizes: NDArray[np.int64]) -> Partition:
    """Consecutive runs of ``order``, one per UE."""
    index = np.full((len(sizes), sizes.max()), NO_SAMPLE, dtype=np.int32)
    index[np.arange(index.shape[1]) < sizes[:, None]] = order[: sizes.sum()]
    return Partition(index, sizes.astype(np.int32))


def _draw_proportions(draw: np.random.Generator, alpha: float, parts: int) -> NDArray[np.float64]:
    proportions = draw.dirichlet(np.full(parts, alpha))
    # For a tiny alpha every gamma draw may underflow to zero; the limit is one part that takes all.
    return (
        proportions if proportions.sum() > 0 and np.isfinite(proportions).all() else np.eye(parts)[draw.integers(parts)]
    )


def _draw_mix(
    draw: np.random.Generator, mix: NDArray[np.float64], available: NDArray[np.int64], wanted: int
) -> NDArray[np.int64]:
    """How many samples of each class, ``wanted`` in all, none beyond what is available."""
    taken = np.zeros_like(available)
    while (missing := wanted - int(taken.sum())) > 0:
        left = available - taken
        weights = np.where(left > 0, mix, 0.0)
        if weights.sum() <= 0:
            weights = left.astype(np.float64)
        taken += np.minimum(draw.multinomial(missing, weights / weights.sum()), left)
    return taken
