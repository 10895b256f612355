from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pytest

from bees.edge.situation import Situation
from bees.scenario import Radio

if TYPE_CHECKING:
    from numpy.typing import NDArray


class MakeSituation(Protocol):
    def __call__(self, cell_sizes: NDArray[np.int64], *, seed: int = 0, **changes: Any) -> Situation: ...


def random_situation(cell_sizes: NDArray[np.int64], *, seed: int = 0, **changes: Any) -> Situation:
    """Cells of these sizes whose UEs are as unlike as can be: neither choice is always the better one."""
    rng = np.random.default_rng(seed)
    cells, K = len(cell_sizes), int(np.sum(cell_sizes))
    cell = np.repeat(np.arange(cells), cell_sizes)
    radio: Radio = changes.pop("radio", Radio())
    contends = radio.sharing == "contending"

    def spread(low: float, high: float) -> NDArray[np.float64]:
        return np.exp(rng.uniform(np.log(low), np.log(high), K))

    drawn: dict[str, Any] = {
        "radio": radio,
        "server_queue": "none",
        "server_capacity": 30,
        "power_w": 0.1,
        "cells": cells,
        "cell": cell,
        "bands": 1 if contends else cells,
        "band": np.zeros_like(cell) if contends else cell,
        "takes_part": np.ones(K, dtype=np.bool_),
        "raw_sent": np.zeros(K, dtype=np.bool_),
        "gain": spread(1e-12, 1e-8),
        "raw_bytes": spread(1e3, 1e6),
        "update_bytes": spread(1e4, 1e5),
        "local_compute_s": spread(1e-3, 1.0),
        "server_compute_s": spread(1e-4, 0.1),
        "local_compute_j": spread(1e-4, 1e-1),
        "server_compute_j": np.zeros(K),
        "download_s": np.zeros(K),
        "download_j": np.zeros(K),
    }
    return Situation(**{**drawn, **changes})


@pytest.fixture(scope="session")
def make_situation() -> MakeSituation:
    return random_situation
