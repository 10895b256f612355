"""The curves behind the paper's figures: what was measured, for each scheme, number of UEs and seed."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray  # noqa: TC002  # msgspec structs and their readers stand together here


class Curve(msgspec.Struct, frozen=True, kw_only=True):
    """One scheme with one number of UEs, over several seeds.

    Attributes:
        scheme: ``BEES`` or ``B-EI``.
        devices: K.
        seeds: in the order of the rows.
        accuracy: fraction right after each block, a row of T per seed; empty where only the physics was run.
        latency_s: accumulated end-to-end latency after each block, likewise.
        energy_j: accumulated energy after each block, likewise.
    """

    scheme: str
    devices: int
    seeds: tuple[int, ...]
    accuracy: tuple[tuple[float, ...], ...]
    latency_s: tuple[tuple[float, ...], ...]
    energy_j: tuple[tuple[float, ...], ...]


class Reproduction(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that the figures and the claims are made of.

    Attributes:
        version: of BEES.
        blocks: T.
        curves: one per scheme and K.
        seconds: wall-clock time of the computation.
    """

    version: str
    blocks: int
    curves: tuple[Curve, ...]
    seconds: float

    def curve(self, scheme: str, devices: int) -> Curve:
        """The curve of a scheme with K UEs.

        Raises:
            KeyError: it was not run.
        """
        for curve in self.curves:
            if (curve.scheme, curve.devices) == (scheme, devices):
                return curve
        raise KeyError((scheme, devices))


def over_seeds(rows: tuple[tuple[float, ...], ...]) -> NDArray[np.float64]:
    """Rows as an array of shape (seeds, T)."""
    return np.array(rows, dtype=np.float64)
