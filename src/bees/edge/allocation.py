"""The bandwidth allocations that minimise a cell's round time, or its energy, at given powers.

Both rest on the rate ``r(b) = b log2(1 + S/b)`` with ``S = p h / N0`` in Hz (Eq. 5 with the noise N0 b), which grows
with b and is concave. With ``x = b / S`` it is ``r = S rho(x) / ln 2``, where ``rho(x) = x ln(1 + 1/x)`` lies between 0
and 1: no band, however wide, carries more than ``S / ln 2``. Under the literal noise reading the rate is linear in b
instead.

*Round time*: all UEs of a cell finish together, at the T for which ``sum of b_k(T) = B``, where ``r(b_k) = bits_k /
(T - other_k)``. The sum falls with T and is convex, so Newton's iteration from below climbs to the root and cannot
overshoot. *Energy*: at the minimum of ``sum of p bits_k / r(b_k)`` the marginal gain ``p bits_k r'(b_k) / r(b_k)^2`` of
a hertz is the same for all.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from bees.core.units import dbm_to_w
from bees.edge.channel import BITS_PER_BYTE
from bees.edge.groups import sum_by_group

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bees.edge.situation import Situation

    Array = NDArray[np.float64]

TOLERANCE = 1e-12
MOST_STEPS = 100
_SMALL = 1e-4
_LEAST = 1e-100
_ROUNDING = 1e-14
_FAINTEST, _LOUDEST = 1e-30, 1e60
"""S in Hz: who is fainter is not heard at all, and who is louder, as at 0 m, gains nothing by it."""


def fastest_shares_hz(situation: Situation, size_bytes: Array, other_s: Array) -> Array:
    """The shares under which the UE of each cell that finishes last finishes soonest, hertz, shape (K,).

    Args:
        situation: the block.
        size_bytes: what each sends, shape (K,); 0 gets no share.
        other_s: all that takes each UE's time besides sending, shape (K,).
    """
    share_hz, sends, group, groups = _begin(situation, size_bytes)
    if not sends.size:
        return share_hz
    B, bits, other = situation.radio.bandwidth_hz, size_bytes[sends] * float(BITS_PER_BYTE), other_s[sends]
    rate = _Rate(situation, sends)
    alone_s = bits / rate.of_hz(np.full(len(sends), B))
    # Nobody can be faster than alone in the whole band: the root lies above.
    round_s, hz = np.full(groups, -np.inf), np.full(len(sends), B)
    np.maximum.at(round_s, group, other + alone_s)
    for _ in range(MOST_STEPS):
        left_s = np.maximum(round_s[group] - other, alone_s)
        needed = bits / left_s
        hz = np.minimum(rate.hz_for(needed, hz), B)
        total_hz = sum_by_group(hz, group, groups)
        slope = sum_by_group(needed / left_s / rate.slope_at(hz), group, groups)
        excess_hz = np.maximum(total_hz - B, 0.0)
        if (excess_hz <= TOLERANCE * B).all():
            break
        round_s = round_s + np.divide(excess_hz, slope, out=np.zeros(groups), where=slope > 0)
    share_hz[sends] = _fill(B, hz, group, groups)
    return share_hz


def frugal_shares_hz(situation: Situation, size_bytes: Array) -> Array:
    """The shares under which the UEs of each cell spend the least energy on sending, hertz, shape (K,).

    Args:
        situation: the block.
        size_bytes: what each sends, shape (K,); 0 gets no share.
    """
    share_hz, sends, group, groups = _begin(situation, size_bytes)
    if not sends.size:
        return share_hz
    B, bits = situation.radio.bandwidth_hz, size_bytes[sends] * float(BITS_PER_BYTE)
    rate = _Rate(situation, sends)
    strength = rate.strength
    hz = np.sqrt(bits / strength) if rate.linear else _equal_marginal_hz(B, bits, strength, group, groups)
    share_hz[sends] = _fill(B, hz, group, groups)
    return share_hz


def _equal_marginal_hz(B: float, bits: Array, S: Array, group: NDArray[np.int64], groups: int) -> Array:
    """``bits_k r'(b_k) / r(b_k)^2`` equal within each group, and the sum of b_k equal to B.

    In logarithms, ``q(z) = ln rho' - 2 ln rho`` at ``z = ln x`` is nearly a line of slope -2, and the sum of bands
    nearly a power of the marginal gain, so Newton's iteration on both converges in a few steps.
    """
    weight = np.log(bits) - 2 * np.log(S)
    members = sum_by_group(np.ones(len(group)), group, groups)
    z = np.log(B / members[group] / S)
    marginal = _mean(weight + _log_marginal(z)[0], group, members)
    for _ in range(MOST_STEPS):
        level, slope = _log_marginal(z)
        step = (marginal[group] - weight - level) / slope
        z = z + np.clip(step, -3.0, 3.0)
        hz = S * np.exp(z)
        total_hz = sum_by_group(hz, group, groups)
        missing = np.log(B / np.where(members > 0, total_hz, B))
        gain = sum_by_group(hz / slope, group, groups) / np.where(members > 0, total_hz, 1.0)
        if max(np.abs(missing).max(), np.abs(step).max()) <= TOLERANCE:
            break
        marginal = marginal + np.divide(missing, gain, out=np.zeros(groups), where=gain < 0)
    return S * np.exp(z)


def _log_marginal(z: Array) -> tuple[Array, Array]:
    """``ln rho' - 2 ln rho`` at ``x = e^z``, and its slope in z."""
    x = np.exp(z)
    inverse = np.exp(-z)
    log = np.log1p(inverse)
    series = inverse**2 * (0.5 - inverse * (2 / 3 - 0.75 * inverse))
    first = np.where(inverse < _SMALL, series, log - inverse / (1 + inverse))
    rho = x * log
    return np.log(first) - 2 * np.log(rho), -1 / ((1 + x) ** 2 * first) - 2 * x * first / rho


def _mean(values: Array, group: NDArray[np.int64], members: Array) -> Array:
    return sum_by_group(values, group, len(members)) / np.maximum(members, 1)


def _fill(B: float, hz: Array, group: NDArray[np.int64], groups: int) -> Array:
    """The same proportions within each group, so that their sum is B, hertz, shape (K,)."""
    return hz * (B / sum_by_group(hz, group, groups)[group])


def _begin(situation: Situation, size_bytes: Array) -> tuple[Array, NDArray[np.int64], NDArray[np.int64], int]:
    """No shares yet, who sends and is heard at all, and in which band."""
    sends = np.flatnonzero((size_bytes > 0) & (_strength(situation) > _FAINTEST))
    return np.zeros(situation.devices), sends, situation.band[sends], situation.bands


def _strength(situation: Situation) -> Array:
    """``S = p h / N0``: in Hz, or under the literal noise reading the bit/s of each Hz."""
    with np.errstate(over="ignore"):
        received = situation.power_w * situation.gain / dbm_to_w(situation.radio.noise_psd_dbm_per_hz)
    if situation.radio.noise_reading == "psd_only":
        received = np.log1p(received) / math.log(2)
    return np.minimum(received, _LOUDEST)


class _Rate:
    """r(b) of each of some UEs, its inverse and its slope."""

    def __init__(self, situation: Situation, members: NDArray[np.int64]) -> None:
        self.strength = _strength(situation)[members]
        self.linear = situation.radio.noise_reading == "psd_only"

    def of_hz(self, hz: Array) -> Array:
        if self.linear:
            return self.strength * hz
        return hz * np.log1p(self.strength / hz) / math.log(2)

    def hz_for(self, rate: Array, near_hz: Array) -> Array:
        if self.linear:
            return rate / self.strength
        return bandwidth_for_rate_hz(rate, self.strength, near_hz)

    def slope_at(self, hz: Array) -> Array:
        if self.linear:
            return self.strength
        snr = self.strength / hz
        return np.maximum(np.log1p(snr) - snr / (1 + snr), _LEAST) / math.log(2)


def bandwidth_for_rate_hz(rate_bits_per_s: Array, strength_hz: Array, near_hz: Array | None = None) -> Array:
    """The b for which ``b log2(1 + S/b)`` is the rate, hertz; infinite where no band carries it. Arrays broadcast.

    With ``u = S/b`` and ``y = rate ln 2 / S`` it is the positive root of ``ln(1 + u) = y u``. As ``ln(1 + u) <= u /
    sqrt(1 + u)``, the root is at most ``1/y^2 - 1``; from there Newton's iteration falls to it and cannot overshoot,
    since ``ln(1 + u) - y u`` is concave. From left of the root, but right of the summit, its first step leads there
    too.

    Args:
        rate_bits_per_s: greater than 0.
        strength_hz: ``S = p h / N0``, greater than 0.
        near_hz: a guess, which saves steps.
    """
    y = np.maximum(rate_bits_per_s * math.log(2) / strength_hz, _LEAST)
    possible = y < 1
    y = np.where(possible, y, 0.5)
    u = 1 / y**2 - 1
    if near_hz is not None:
        guess = strength_hz / near_hz
        u = np.where(y * (1 + guess) > 1 + _SMALL, guess, u)
    for _ in range(MOST_STEPS):
        # As a quotient and not as a step from u, which would cancel where u is far from the root.
        last, u = u, (np.log1p(u) - u / (1 + u)) / (y - 1 / (1 + u))
        # Where y is nearly 1 the root is nearly 0, and no number has more digits than that.
        if (np.abs(u - last) <= TOLERANCE * u + _ROUNDING).all():
            break
    return np.where(possible, strength_hz / np.maximum(u, _LEAST), np.inf)
