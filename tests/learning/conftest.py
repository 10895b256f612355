from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bees.learning.datasets import Dataset, make_dataset


@pytest.fixture(scope="session")
def digits() -> Dataset:
    """Sparse, learnable samples of 8 x 8: each class lights its own two rows, and some noise."""
    draw = np.random.default_rng(5)

    def split(samples: int) -> tuple[Any, Any]:
        y = draw.integers(0, 4, samples)
        x = draw.random((samples, 8, 8)) * (draw.random((samples, 8, 8)) < 0.15)
        x[np.arange(samples)[:, None], 2 * y[:, None] + np.arange(2)] += 0.5
        x[:, 0, 0] = 0  # never lit
        return x.astype(np.float32), y

    x_train, y_train = split(700)
    x_test, y_test = split(1203)
    arrays = {"x_train": x_train, "y_train": y_train, "x_test": x_test, "y_test": y_test}
    return make_dataset("digits", arrays)
