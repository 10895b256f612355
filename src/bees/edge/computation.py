"""The computation of a local update: the cycles C_k that a sample takes, and the time of Eq. 4."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bees.core.errors import ScenarioError
from bees.core.seeds import generator

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from bees.scenario import Computation

    Values = NDArray[np.float64] | float
    Samples = NDArray[np.int64] | NDArray[np.float64]


@dataclass(frozen=True)
class Cycles:
    """C_k in CPU cycles per sample.

    Attributes:
        device: when the UE computes, shape (K,).
        server: when its server computes for it, shape (K,).
    """

    device: NDArray[np.float64]
    server: NDArray[np.float64]


def check_computation(computation: Computation) -> None:
    """Refuse ranges of C_k that are upside down.

    Raises:
        ScenarioError: names the key.
    """
    for prefix in ("", "server_"):
        key = f"{prefix}cycles_per_sample_min"
        least, most = getattr(computation, key), getattr(computation, f"{prefix}cycles_per_sample_max")
        if least > most:
            problem = f"above {prefix}cycles_per_sample_max = {most:g}; lower it"
            raise ScenarioError("scenario", problem, f"computation.{key}", least)


def draw_cycles(computation: Computation, devices: int, seed: int, block: int) -> Cycles:
    """C_k of block t: U(1, 3) 10^4 for UEs, U(1, 3) 10^2 for servers (section IV-A).

    Args:
        computation: ranges, and whether C_k is drawn again for every block (``redraw``).
        devices: K.
        seed: of the experiment.
        block: t.
    """
    rng = generator(seed, "cycles", block if computation.redraw == "every_block" else "once")
    device = rng.uniform(computation.cycles_per_sample_min, computation.cycles_per_sample_max, devices)
    server = rng.uniform(computation.server_cycles_per_sample_min, computation.server_cycles_per_sample_max, devices)
    return Cycles(device, server)


def local_iterations(computation: Computation, epochs: int) -> float:
    """L_k of Eq. 4 and 7: its own constant, or the epochs that are really trained (``iterations_reading``)."""
    return float(epochs) if computation.iterations_reading == "epochs" else computation.local_iterations


def computation_time_s(
    iterations: Values, cycles_per_sample: NDArray[np.float64], samples: Samples, cpu_frequency_hz: Values
) -> NDArray[np.float64]:
    """``t_k^C = L_k C_k n_k / f_k`` (Eq. 4), seconds; arrays broadcast."""
    return iterations * cycles_per_sample * samples / cpu_frequency_hz
