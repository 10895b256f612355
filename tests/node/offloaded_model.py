"""A model with the parameters of the small world, to be trained for real: a linear classifier of 4 numbers."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from bees.faults.world import shared_world


class Tiny:
    """4 inputs, 2 classes, no bias."""

    description = shared_world(4, 4).genesis.model

    def init(self, draw: Any):  # noqa: ARG002  # a model draws where it wants to
        return np.zeros(self.description.parameters, np.float32)

    def logits(self, arrays: Any, x: Any):
        return x @ arrays[0].reshape(4, 2)


TINY = Tiny()


def asleep() -> Tiny:
    """A model that nobody has the time to wait for."""
    time.sleep(3600)
    return TINY
