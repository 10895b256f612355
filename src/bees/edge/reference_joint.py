"""What UEs of one cell do to one another, once more, in plain Python and one by one: the slow reference of ``realise``.

Nothing here shares code with the arrays but the scalar formulas of :mod:`bees.edge.reference`.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

from bees.edge.reference import (
    Sender,
    data_rate_bits_per_s,
    fifo_wait_s,
    least_round_time_s,
    noise_power_w,
    transmission_energy_j,
    transmission_time_s,
)


@dataclass(frozen=True)
class CellDevice:
    """One UE of a cell; units as in ``Situation``.

    Attributes:
        gain: h_k.
        raw_bytes: sent if it offloads and the server lacks them.
        update_bytes: sent if it computes.
        local_compute_s: at the UE.
        server_compute_s: at the server.
        local_compute_j: at the UE.
        raw_sent: whether the server has its raw data.
    """

    gain: float
    raw_bytes: float
    update_bytes: float
    local_compute_s: float
    server_compute_s: float
    local_compute_j: float
    raw_sent: bool


@dataclass(frozen=True)
class Cell:
    """What the UEs of one cell share.

    Attributes:
        sharing: as in ``Radio``, all but ``min_energy``.
        server_queue: as in ``Computation``.
        bandwidth_hz: B.
        power_w: p_k.
        noise_psd_dbm_per_hz: N0.
        channels: of ``per_user_channel``.
    """

    sharing: str
    server_queue: str
    bandwidth_hz: float
    power_w: float
    noise_psd_dbm_per_hz: float
    channels: int

    def outcome(self, devices: list[CellDevice], decision: list[bool]) -> list[tuple[float, float]]:
        """Seconds and joule of each UE under these decisions."""
        pairs = list(zip(devices, decision, strict=True))
        sizes = [(0.0 if d.raw_sent else d.raw_bytes) if off else d.update_bytes for d, off in pairs]
        before_s = [0.0 if off else d.local_compute_s for d, off in pairs]
        after_s = [d.server_compute_s if off else 0.0 for d, off in pairs]
        send_s = self._send_s(devices, decision, sizes, [b + a for b, a in zip(before_s, after_s, strict=True)])
        turn_s = self._turn_s(before_s, send_s, sizes)
        sent_s = [b + t + s for b, t, s in zip(before_s, turn_s, send_s, strict=True)]
        done_s = self._done_s(decision, sent_s, after_s)
        return [
            (time_s, transmission_energy_j(self.power_w, s) + (0.0 if off else d.local_compute_j))
            for (d, off), s, time_s in zip(pairs, send_s, done_s, strict=True)
        ]

    def _send_s(
        self, devices: list[CellDevice], decision: list[bool], sizes: list[float], other_s: list[float]
    ) -> list[float]:
        uploads = [not (off and d.raw_sent) for d, off in zip(devices, decision, strict=True)]
        if self.sharing == "min_time":
            senders = [
                Sender(size, other, self.power_w, d.gain)
                for d, size, other in zip(devices, sizes, other_s, strict=True)
                if size > 0
            ]
            if not senders:
                return [0.0] * len(devices)
            end_s = least_round_time_s(self.bandwidth_hz, senders, noise_psd_dbm_per_hz=self.noise_psd_dbm_per_hz)
            return [end_s - other if size > 0 else 0.0 for size, other in zip(sizes, other_s, strict=True)]
        parts = {"per_user_channel": self.channels, "equal_share": sum(uploads), "contending": sum(uploads)}
        share_hz = self.bandwidth_hz / max(parts.get(self.sharing, 1), 1)
        noise_w = noise_power_w(self.noise_psd_dbm_per_hz, share_hz, times_bandwidth=True)
        rates = [data_rate_bits_per_s(share_hz, self.power_w, d.gain, noise_w) for d in devices]
        return [transmission_time_s(size, rate) for size, rate in zip(sizes, rates, strict=True)]

    def _turn_s(self, before_s: list[float], send_s: list[float], sizes: list[float]) -> list[float]:
        turn_s = [0.0] * len(sizes)
        if self.sharing == "tdma":
            senders = [k for k, size in enumerate(sizes) if size > 0]
            for k, wait_s in zip(
                senders, fifo_wait_s([before_s[k] for k in senders], [send_s[k] for k in senders]), strict=True
            ):
                turn_s[k] = wait_s
        return turn_s

    def _done_s(self, decision: list[bool], sent_s: list[float], after_s: list[float]) -> list[float]:
        offloaders = [k for k, off in enumerate(decision) if off]
        done_s = [sent + after for sent, after in zip(sent_s, after_s, strict=True)]
        if self.server_queue == "shared":
            for k in offloaders:
                done_s[k] = sent_s[k] + after_s[k] * len(offloaders)
        if self.server_queue == "fifo":
            waits_s = fifo_wait_s([sent_s[k] for k in offloaders], [after_s[k] for k in offloaders])
            for k, wait_s in zip(offloaders, waits_s, strict=True):
                done_s[k] += wait_s
        return done_s

    def least_cost(self, devices: list[CellDevice], latency_weight: float) -> float:
        """The least ``w max t_k + (1 - w) sum E_k`` over all joint decisions."""
        costs: list[float] = []
        for decision in product((False, True), repeat=len(devices)):
            outcome = self.outcome(devices, list(decision))
            slowest_s, total_j = max(time_s for time_s, _ in outcome), sum(energy_j for _, energy_j in outcome)
            costs.append(latency_weight * slowest_s + (1 - latency_weight) * total_j)
        return min(costs)
