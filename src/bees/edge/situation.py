"""What holds in one block whatever the UEs decide: who takes part, how well each is heard, what each choice needs."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bees.scenario import Radio, ServerQueue


@dataclass(frozen=True)
class Situation:
    """One block before the decisions; arrays have shape (K,).

    Attributes:
        radio: B, N0, and how the band is shared.
        server_queue: how a server works for those who offload to it.
        server_capacity: channels of a cell, for ``per_user_channel``.
        power_w: p_k.
        cells: how many servers there are.
        cell: whose server the UE has, from 0 to ``cells - 1``.
        bands: how many bands are shared apart from one another.
        band: which of them the UE shares; its cell, or 0 for all where the network contends for one band.
        takes_part: who is not empty.
        raw_sent: whose raw data the server has already.
        gain: h_k.
        raw_bytes: L_k of Eq. 6 if it offloads.
        update_bytes: L_k of Eq. 6 if it computes.
        local_compute_s: t_k^C at the UE (Eq. 4).
        server_compute_s: t_k^C at its server, if that works for nobody else.
        local_compute_j: E_k^C (Eq. 7).
        server_compute_j: what its server spends on computing for it.
        download_s: until it has w_g.
        download_j: what that takes from its battery.
        radiated_j: what all servers together radiate for that, joule.
        model_bytes: of w_g, as it is downloaded.
    """

    radio: Radio
    server_queue: ServerQueue
    server_capacity: int
    power_w: float
    cells: int
    cell: NDArray[np.int64]
    bands: int
    band: NDArray[np.int64]
    takes_part: NDArray[np.bool_]
    raw_sent: NDArray[np.bool_]
    gain: NDArray[np.float64]
    raw_bytes: NDArray[np.float64]
    update_bytes: NDArray[np.float64]
    local_compute_s: NDArray[np.float64]
    server_compute_s: NDArray[np.float64]
    local_compute_j: NDArray[np.float64]
    server_compute_j: NDArray[np.float64]
    download_s: NDArray[np.float64]
    download_j: NDArray[np.float64]
    radiated_j: float = 0.0
    model_bytes: float = 0.0

    @property
    def devices(self) -> int:
        """K."""
        return len(self.gain)

    def without(self, absent: NDArray[np.bool_]) -> Situation:
        """The same block in which these UEs, shape (K,), take no part."""
        return replace(self, takes_part=self.takes_part & ~absent)

    def copies(
        self, index: NDArray[np.int64], cell: NDArray[np.int64], cells: int, band: NDArray[np.int64], bands: int
    ) -> Situation:
        """Several worlds side by side, none of which hears another.

        Args:
            index: which UEs, shape (Q,); a UE may stand in many worlds.
            cell: the cell of each of them, numbered over all worlds, shape (Q,).
            cells: how many there are.
            band: the band of each of them, likewise.
            bands: how many there are.
        """
        taken = {field.name: getattr(self, field.name) for field in fields(self)}
        arrays: dict[str, object] = {k: v[index] for k, v in taken.items() if isinstance(v, np.ndarray)}
        return replace(self, **{**arrays, "cell": cell, "cells": cells, "band": band, "bands": bands})
