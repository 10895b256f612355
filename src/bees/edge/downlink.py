"""How w_g(t-1) reaches the UEs of a cell (``radio.downlink``): the time it takes, and what it costs at either end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bees.edge.channel import data_rate_bits_per_s, noise_power_w, transmission_time_s
from bees.edge.groups import sum_by_group

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bees.scenario import Radio


@dataclass(frozen=True)
class Download:
    """The download of one block.

    Attributes:
        time_s: until each UE has w_g, shape (K,); 0 for a UE that takes no part.
        energy_j: what receiving takes from each UE's battery, shape (K,).
        server_energy_j: what each server radiates, shape (cells,).
    """

    time_s: NDArray[np.float64]
    energy_j: NDArray[np.float64]
    server_energy_j: NDArray[np.float64]


def download(
    radio: Radio,
    size_bytes: float,
    gain: NDArray[np.float64],
    cell: NDArray[np.int64],
    cells: int,
    takes_part: NDArray[np.bool_],
) -> Download:
    """Time and energy of bringing w_g to all UEs that take part.

    ``broadcast`` sends once over the whole band, at the rate of the UE that hears worst. ``unicast`` sends to each of
    the n UEs of a cell over B/n with 1/n of the power, so that each has the signal-to-noise ratio of the whole band.

    Args:
        radio: B, N0, the server's power, and the mode.
        size_bytes: of w_g.
        gain: h_k, shape (K,); the channel is the same in both directions.
        cell: of each UE, shape (K,).
        cells: how many there are.
        takes_part: who receives, shape (K,).
    """
    if radio.downlink == "free":
        nothing = np.zeros(len(gain))
        return Download(nothing, nothing, np.zeros(cells))
    B = np.array(radio.bandwidth_hz)
    rate = data_rate_bits_per_s(B, radio.server_transmit_power_w, gain, noise_power_w(radio, B))
    if radio.downlink == "broadcast":
        slowest = np.full(cells, np.inf)
        np.minimum.at(slowest, cell[takes_part], rate[takes_part])
        cell_s = np.where(np.isfinite(slowest), transmission_time_s(size_bytes, slowest), 0.0)
        time_s = np.where(takes_part, cell_s[cell], 0.0)
        radiated_j = radio.server_transmit_power_w * cell_s
    else:
        listeners = np.maximum(sum_by_group(takes_part, cell, cells), 1.0)[cell]
        time_s = np.where(takes_part, transmission_time_s(size_bytes, rate) * listeners, 0.0)
        radiated_j = sum_by_group(radio.server_transmit_power_w / listeners * time_s, cell, cells)
    return Download(time_s, radio.receive_power_w * time_s, radiated_j)
