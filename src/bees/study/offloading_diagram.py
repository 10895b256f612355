"""Phase diagrams of offloading: which choice costs a typical UE less, over two of the quantities that decide it.

Costs are those of :mod:`bees.edge.costs`, cell by cell; the boundaries between them stand in closed form in
:mod:`bees.edge.break_even`, and a test holds the one against the other.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, Literal

import msgspec
import numpy as np

from bees.edge.break_even import (
    Trade,
    least_clock_by_energy_hz,
    most_clock_by_latency_hz,
    most_raw_bytes_by_energy,
    most_raw_bytes_by_latency,
)
from bees.edge.channel import channel_gain, transmit_power_w
from bees.edge.computation import local_iterations
from bees.edge.costs import rate_bits_per_s
from bees.edge.physics import MNIST_SAMPLE_BYTES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bees.scenario import Scenario

Plane = Literal["work", "hardware"]
Winners = Literal["local", "latency", "energy", "both"]

MNIST_TRAINING_SAMPLES = 60_000
CELLS = 41
RAW_BYTES: Final = (1e4, 1e9)
CYCLES: Final = (1e3, 1e8)
CLOCK_HZ: Final = (1e8, 1e11)
BANDWIDTH_HZ: Final = (1e6, 1e10)
WINNERS: Final[tuple[Winners, ...]] = ("local", "latency", "energy", "both")
"""By which measure offloading is the better choice: by neither, by one alone, by both; a cell holds the index."""


class Typical(msgspec.Struct, frozen=True, kw_only=True):
    """The UE for which a diagram is drawn: the means of what its scenario draws.

    Attributes:
        distance_m: from its server.
        samples: n.
        cycles_per_sample: C.
        server_cycles_per_sample: C_s.
        cpu_frequency_hz: f.
        server_cpu_frequency_hz: f_s.
        iterations: L.
        effective_capacitance: kappa.
        power_w: p.
        gain: h.
        noise_psd_dbm_per_hz: N0.
        bandwidth_hz: B, of the cell.
        update_bytes: u.
    """

    distance_m: float
    samples: float
    cycles_per_sample: float
    server_cycles_per_sample: float
    cpu_frequency_hz: float
    server_cpu_frequency_hz: float
    iterations: float
    effective_capacitance: float
    power_w: float
    gain: float
    noise_psd_dbm_per_hz: float
    bandwidth_hz: float
    update_bytes: float

    @property
    def real_bytes(self) -> float:
        """What its n samples of MNIST have, a byte per pixel."""
        return self.samples * MNIST_SAMPLE_BYTES


class Sharing(msgspec.Struct, frozen=True, kw_only=True):
    """What is varied from diagram to diagram.

    Attributes:
        sharers: among how many UEs B is divided.
        blocks: how many blocks one transmission of the raw data serves: 1, or all of a run.
    """

    sharers: int
    blocks: int


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """The two choices of the typical UE with so many raw bytes, and how far it stands from the boundaries.

    Attributes:
        raw_bytes: s.
        rate_bits_per_s: r.
        local_s: of a block at home.
        offload_s: of a block at the server.
        local_j: of a block at home.
        offload_j: of a block at the server.
        most_raw_bytes_by_latency: below which offloading is faster.
        most_raw_bytes_by_energy: below which it is cheaper.
        least_clock_by_energy_hz: above which it is cheaper.
        most_clock_by_latency_hz: below which it is faster; None if at any clock.
    """

    raw_bytes: float
    rate_bits_per_s: float
    local_s: float
    offload_s: float
    local_j: float
    offload_j: float
    most_raw_bytes_by_latency: float
    most_raw_bytes_by_energy: float
    least_clock_by_energy_hz: float
    most_clock_by_latency_hz: float | None


def typical(scenario: Scenario) -> Typical:
    """The means of what a scenario draws; the distance is the mean of its range."""
    radio, computation, topology = scenario.radio, scenario.computation, scenario.topology
    distance_m = (topology.distance_min_m + topology.distance_max_m) / 2
    held_out = scenario.learning.validation_samples if scenario.learning.selection_set == "validation" else 0
    return Typical(
        distance_m=distance_m,
        samples=(MNIST_TRAINING_SAMPLES - held_out) / topology.devices,
        cycles_per_sample=(computation.cycles_per_sample_min + computation.cycles_per_sample_max) / 2,
        server_cycles_per_sample=(computation.server_cycles_per_sample_min + computation.server_cycles_per_sample_max)
        / 2,
        cpu_frequency_hz=computation.cpu_frequency_hz,
        server_cpu_frequency_hz=computation.server_cpu_frequency_hz,
        iterations=local_iterations(computation, scenario.learning.epochs),
        effective_capacitance=computation.effective_capacitance,
        power_w=transmit_power_w(radio),
        gain=float(channel_gain(np.array(distance_m), radio.path_loss_exponent)),
        noise_psd_dbm_per_hz=radio.noise_psd_dbm_per_hz,
        bandwidth_hz=radio.bandwidth_hz,
        update_bytes=radio.update_bytes,
    )


def trade_of(ue: Typical, sharing: Sharing, raw_bytes: float) -> Trade:
    """What decides for this UE, with so many bytes of raw data."""
    return Trade(
        raw_bytes=raw_bytes,
        update_bytes=ue.update_bytes,
        blocks=sharing.blocks,
        rate_bits_per_s=_rate(ue, ue.bandwidth_hz / sharing.sharers),
        power_w=ue.power_w,
        iterations=ue.iterations,
        samples=ue.samples,
        cycles_per_sample=ue.cycles_per_sample,
        cpu_frequency_hz=ue.cpu_frequency_hz,
        effective_capacitance=ue.effective_capacitance,
        server_cycles_per_sample=ue.server_cycles_per_sample,
        server_cpu_frequency_hz=ue.server_cpu_frequency_hz,
    )


def axes_of(plane: Plane, cells: int = CELLS) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The values along x and y, evenly spaced in their logarithm: cycles and bytes, or band and clock."""
    x, y = (CYCLES, RAW_BYTES) if plane == "work" else (BANDWIDTH_HZ, CLOCK_HZ)
    return np.geomspace(*x, cells), np.geomspace(*y, cells)


def plane_of(plane: Plane, ue: Typical, sharing: Sharing, x: NDArray[np.float64], y: NDArray[np.float64]) -> Trade:
    """All trades of a diagram, a row for each y and a column for each x.

    Under ``hardware``, x is the band B of the cell, and the raw data has its real size.
    """
    trade, column = trade_of(ue, sharing, ue.real_bytes), y[:, None]
    if plane == "work":
        return replace(trade, cycles_per_sample=x[None, :], raw_bytes=column)
    return replace(trade, rate_bits_per_s=_rate(ue, x[None, :] / sharing.sharers), cpu_frequency_hz=column)


def winners(trade: Trade) -> NDArray[np.int64]:
    """Which choice wins each trade: an index into ``WINNERS``."""
    local, offload = trade.local(), trade.offload()
    return (offload.time_s < local.time_s) + 2 * (offload.energy_j < local.energy_j)


def draw(plane: Plane, ue: Typical, sharing: Sharing, cells: int = CELLS) -> tuple[str, ...]:
    """A diagram as text, a line for each y from the lowest and a digit of ``WINNERS`` for each x."""
    x, y = axes_of(plane, cells)
    return tuple("".join(map(str, line)) for line in winners(plane_of(plane, ue, sharing, x, y)))


def point_of(ue: Typical, sharing: Sharing, raw_bytes: float) -> Point:
    """The numbers of one point of the diagrams."""
    trade = trade_of(ue, sharing, raw_bytes)
    local, offload = trade.local(), trade.offload()
    fastest_hz = float(most_clock_by_latency_hz(trade))
    return Point(
        raw_bytes=raw_bytes,
        rate_bits_per_s=float(trade.rate_bits_per_s),
        local_s=float(local.time_s),
        offload_s=float(offload.time_s),
        local_j=float(local.energy_j),
        offload_j=float(offload.energy_j),
        most_raw_bytes_by_latency=float(most_raw_bytes_by_latency(trade)),
        most_raw_bytes_by_energy=float(most_raw_bytes_by_energy(trade)),
        least_clock_by_energy_hz=float(least_clock_by_energy_hz(trade)),
        most_clock_by_latency_hz=fastest_hz if np.isfinite(fastest_hz) else None,
    )


def _rate(ue: Typical, bandwidth_hz: NDArray[np.float64] | float) -> NDArray[np.float64]:
    return rate_bits_per_s(bandwidth_hz, ue.power_w, ue.gain, noise_psd_dbm_per_hz=ue.noise_psd_dbm_per_hz)
