"""What the edge world carries from one block to the next, and nothing else does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class EdgeState:
    """The UEs between two blocks; arrays have shape (K,).

    Attributes:
        charge_j: what the batteries hold. Lyapunov's virtual queue is this less a constant.
        raw_sent: whose raw data its server keeps, under ``raw_data_sent = "once"``.
        samples_shared: how many of its samples have ever left the UE, kept by the server or not.
    """

    charge_j: NDArray[np.float64]
    raw_sent: NDArray[np.bool_]
    samples_shared: NDArray[np.int64]

    @classmethod
    def start(cls, charge_j: NDArray[np.float64]) -> EdgeState:
        """Before the first block: these charges, and all data at home."""
        return cls(charge_j, np.zeros(len(charge_j), dtype=np.bool_), np.zeros(len(charge_j), dtype=np.int64))
