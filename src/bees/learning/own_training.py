"""The trainer of one device, or of several in a process, from their samples alone.

A server that trains in a device's place makes the very same one, so an update is the same bit by bit, whoever makes it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bees.learning.datasets import Dataset
from bees.learning.partition import NO_SAMPLE, Partition
from bees.learning.samples import sizes_of
from bees.learning.training import LocalTrainer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bees.learning.models import Model
    from bees.learning.samples import Samples
    from bees.scenario import Learning


def make_trainer(model: Model, data: Sequence[Samples], learning: Learning, seed: int) -> LocalTrainer:
    """A trainer in which UE k holds ``data[k]``.

    Args:
        model: what is trained.
        data: of each UE, checked.
        learning: epochs, batch size, learning rate.
        seed: of the shuffling.
    """
    counts = [len(own.y) for own in data]
    index = np.full((len(data), max(counts)), NO_SAMPLE, dtype=np.int32)
    start = 0
    for row, count in enumerate(counts):
        index[row, :count] = np.arange(start, start + count)
        start += count
    x, y = np.concatenate([own.x for own in data]), np.concatenate([own.y for own in data])
    classes = sizes_of(model)[1] or int(y.max()) + 1
    dataset = Dataset("own", x, y, x[:1], y[:1], classes, x.shape[1:])
    return LocalTrainer(model, dataset, Partition(index, np.array(counts, dtype=np.int32)), learning, seed, threads=1)
