"""The equations once more, for one UE, in plain Python: the slow reference that tests hold the arrays against.

Nothing here shares code with the arrays, and nothing here is made for speed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


def transmit_power_w(transmit_power_db: float, *, in_milliwatt: bool) -> float:
    """``10^(p/10)``, in watt or in milliwatt."""
    power = 10 ** (transmit_power_db / 10)
    return power / 1000 if in_milliwatt else power


def channel_gain(distance_m: float, path_loss_exponent: float) -> float:
    """``h_k = r^-gamma``."""
    return 1 / distance_m**path_loss_exponent


def noise_power_w(noise_psd_dbm_per_hz: float, bandwidth_hz: float, *, times_bandwidth: bool) -> float:
    """``N0 b_k``, or the number ``N0`` as Eq. 5 prints it."""
    psd_w_per_hz = 10 ** (noise_psd_dbm_per_hz / 10) / 1000
    return psd_w_per_hz * bandwidth_hz if times_bandwidth else psd_w_per_hz


def data_rate_bits_per_s(bandwidth_hz: float, power_w: float, gain: float, noise_w: float) -> float:
    """``r_k = b_k log2(1 + p_k h_k / N0)`` (Eq. 5)."""
    return bandwidth_hz * math.log2(1 + power_w * gain / noise_w)


def transmission_time_s(size_bytes: float, rate_bits_per_s: float) -> float:
    """``t_k^T = L_k / r_k`` (Eq. 6)."""
    return 8 * size_bytes / rate_bits_per_s


def computation_time_s(iterations: float, cycles: float, samples: int, frequency_hz: float) -> float:
    """``t_k^C = L_k C_k n_k / f_k`` (Eq. 4)."""
    return iterations * cycles * samples / frequency_hz


def computation_energy_j(
    capacitance: float, iterations: float, cycles: float, samples: int, frequency_hz: float
) -> float:
    """``E_k^C = kappa L_k C_k n_k f_k^2`` (Eq. 7)."""
    return capacitance * iterations * cycles * samples * frequency_hz * frequency_hz


def transmission_energy_j(power_w: float, time_s: float) -> float:
    """``E_k^T = p_k t_k^T`` (Eq. 8)."""
    return power_w * time_s


@dataclass(frozen=True)
class DeviceBlock:
    """One UE in one block: what goes in, and Eq. 4 to 9 in the order in which they happen.

    Attributes:
        bandwidth_hz: b_k.
        power_w: p_k.
        gain: h_k.
        noise_w: what divides p_k h_k.
        iterations: L_k of Eq. 4 and 7.
        samples: n_k.
        device_cycles: C_k at the UE.
        server_cycles: C_k at the server.
        device_frequency_hz: f_k of the UE.
        server_frequency_hz: f_k of the server.
        capacitance: kappa.
        raw_bytes: L_k of Eq. 6 when it offloads.
        update_bytes: L_k of Eq. 6 when it computes.
    """

    bandwidth_hz: float
    power_w: float
    gain: float
    noise_w: float
    iterations: float
    samples: int
    device_cycles: float
    server_cycles: float
    device_frequency_hz: float
    server_frequency_hz: float
    capacitance: float
    raw_bytes: float
    update_bytes: float

    def compute_time_s(self, *, offloads: bool) -> float:
        """Of the server if it offloads, else of the UE."""
        if offloads:
            return computation_time_s(self.iterations, self.server_cycles, self.samples, self.server_frequency_hz)
        return computation_time_s(self.iterations, self.device_cycles, self.samples, self.device_frequency_hz)

    def transmit_time_s(self, *, offloads: bool) -> float:
        """Of the raw data if it offloads, else of the update."""
        rate = data_rate_bits_per_s(self.bandwidth_hz, self.power_w, self.gain, self.noise_w)
        return transmission_time_s(self.raw_bytes if offloads else self.update_bytes, rate)

    def energy_j(self, *, offloads: bool) -> float:
        """``E_k^total = E_k^T + E_k^C`` (Eq. 9); a UE that offloads spends nothing on computation."""
        transmission_j = transmission_energy_j(self.power_w, self.transmit_time_s(offloads=offloads))
        if offloads:
            return transmission_j
        return transmission_j + computation_energy_j(
            self.capacitance, self.iterations, self.device_cycles, self.samples, self.device_frequency_hz
        )

    def time_s(self, *, offloads: bool) -> float:
        """``t_k^C + t_k^T``."""
        return self.compute_time_s(offloads=offloads) + self.transmit_time_s(offloads=offloads)


@dataclass(frozen=True)
class Sender:
    """One UE of a cell that shares a band.

    Attributes:
        size_bytes: what it sends.
        other_s: all that takes its time besides.
        power_w: p_k.
        gain: h_k.
    """

    size_bytes: float
    other_s: float
    power_w: float
    gain: float

    def band_to_finish_hz(self, time_s: float, most_hz: float, noise_psd_dbm_per_hz: float) -> float:
        """The least band with which it is done at ``time_s``, by bisection; infinite if ``most_hz`` are not enough."""

        def finish_s(hz: float) -> float:
            noise_w = noise_power_w(noise_psd_dbm_per_hz, hz, times_bandwidth=True)
            rate = data_rate_bits_per_s(hz, self.power_w, self.gain, noise_w)
            return self.other_s + transmission_time_s(self.size_bytes, rate)

        if finish_s(most_hz) > time_s:
            return math.inf
        low, high = 0.0, most_hz
        for _ in range(100):
            middle = (low + high) / 2
            low, high = (low, middle) if finish_s(middle) <= time_s else (middle, high)
        return high


def least_round_time_s(bandwidth_hz: float, senders: list[Sender], *, noise_psd_dbm_per_hz: float) -> float:
    """The soonest that all of a cell can be done when they share the band as they like, by bisection."""

    def fits(time_s: float) -> bool:
        needed = (sender.band_to_finish_hz(time_s, bandwidth_hz, noise_psd_dbm_per_hz) for sender in senders)
        return sum(needed) <= bandwidth_hz

    low, high = 0.0, 1.0
    while not fits(high):
        high *= 2
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (low, middle) if fits(middle) else (middle, high)
    return high


def fifo_wait_s(ready_s: list[float], service_s: list[float]) -> list[float]:
    """How long each waits in one line: who is ready first is served first, on a tie the lower index."""
    wait_s, free_s = [0.0] * len(ready_s), -math.inf
    for k in sorted(range(len(ready_s)), key=lambda k: (ready_s[k], k)):
        begin_s = max(ready_s[k], free_s)
        wait_s[k], free_s = begin_s - ready_s[k], begin_s + service_s[k]
    return wait_s
