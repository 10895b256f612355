"""Rounds as a chain may have them, ordinary and hostile: what a contract is tried on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bees.core.seeds import generator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    _Make = Callable[["TrialSizes", int, str], "TrialRound"]

LEAST, MOST = -(2**31), 2**31 - 1
LARGEST_COUNT = 2**32 - 1
HONEST_SPREAD = 2.0**18
"""Standard deviation of honest updates around w_g(t-1) in words: 1/64 at an exponent of 24."""


@dataclass(frozen=True)
class TrialRound:
    """What a contract is given in one round.

    Attributes:
        name: what is special about it.
        correct: scores, K.
        samples: n_k, K; they sum to less than 2^32.
        updates: words, int32 of shape (K, P).
        w_prev: words of w_g(t-1), shape (P,).
        top_m: M of the genesis, at least 1; may exceed K.
    """

    name: str
    correct: tuple[int, ...]
    samples: tuple[int, ...]
    updates: NDArray[np.int32]
    w_prev: NDArray[np.int32]
    top_m: int


@dataclass(frozen=True)
class TrialSizes:
    """How large the rounds are.

    Attributes:
        devices: K, the eligible updates.
        parameters: P, the words of a model.
        top_m: M.
    """

    devices: int
    parameters: int
    top_m: int


def honest_round(sizes: TrialSizes, seed: int, name: str = "ordinary") -> TrialRound:
    """Updates close to w_g(t-1), different scores, a few hundred samples each."""
    rng = generator(seed, "trial", name)
    w_prev = rng.integers(-(2**24), 2**24, sizes.parameters).astype(np.int32)
    noise = np.rint(rng.normal(0.0, HONEST_SPREAD, (sizes.devices, sizes.parameters)))
    updates = (w_prev + noise).astype(np.int32)
    correct = tuple(int(count) for count in rng.permutation(10 * sizes.devices)[: sizes.devices])
    samples = tuple(int(count) for count in rng.integers(1, 1001, sizes.devices))
    return TrialRound(name, correct, samples, updates, w_prev, sizes.top_m)


def trial_rounds(sizes: TrialSizes, seed: int) -> Iterator[TrialRound]:
    """The ordinary round, then each hostile one; every one follows from ``seed`` and its own name."""
    yield honest_round(sizes, seed)
    for name, make in _HOSTILE.items():
        yield make(sizes, seed, name)


def _words(sizes: TrialSizes, seed: int, name: str, choices: tuple[int, ...] | None = None) -> NDArray[np.int32]:
    rng, shape = generator(seed, "trial words", name), (sizes.devices, sizes.parameters)
    if choices is None:
        return rng.integers(LEAST, MOST, shape, np.int32, endpoint=True)
    return np.array(choices, np.int32)[rng.integers(0, len(choices), shape)]


def _with(
    sizes: TrialSizes,
    seed: int,
    name: str,
    *,
    correct: int | None = None,
    samples: tuple[int, ...] | None = None,
    updates: NDArray[np.int32] | None = None,
    w_prev: int | None = None,
) -> TrialRound:
    """The ordinary round with some of it replaced."""
    usual = honest_round(sizes, seed, name)
    return TrialRound(
        name,
        usual.correct if correct is None else (correct,) * sizes.devices,
        usual.samples if samples is None else samples,
        usual.updates if updates is None else updates,
        usual.w_prev if w_prev is None else np.full(sizes.parameters, w_prev, np.int32),
        usual.top_m,
    )


def _sized(devices: int | None = None, parameters: int | None = None, top_m: int | None = None) -> _Make:
    """An ordinary round of another size, no larger than what is tried."""

    def make(sizes: TrialSizes, seed: int, name: str) -> TrialRound:
        smaller = TrialSizes(
            min(devices or sizes.devices, sizes.devices),
            min(parameters or sizes.parameters, sizes.parameters),
            top_m or sizes.top_m,
        )
        return honest_round(smaller, seed, name)

    return make


def _lopsided(sizes: TrialSizes, seed: int, name: str) -> TrialRound:
    rest = sizes.devices - 1
    return _with(sizes, seed, name, samples=(LARGEST_COUNT - rest, *[1] * rest), updates=_words(sizes, seed, name))


def _opposites(sizes: TrialSizes, seed: int, name: str) -> TrialRound:
    updates = np.full((sizes.devices, sizes.parameters), MOST, np.int32)
    updates[::2] = LEAST
    return _with(sizes, seed, name, updates=updates, correct=7)


def _all_equal(sizes: TrialSizes, seed: int, name: str) -> TrialRound:
    row = honest_round(sizes, seed, name).updates[:1]
    return _with(sizes, seed, name, updates=np.repeat(row, sizes.devices, axis=0))


def _constant(word: int, w_prev: int) -> _Make:
    def make(sizes: TrialSizes, seed: int, name: str) -> TrialRound:
        updates = np.full((sizes.devices, sizes.parameters), word, np.int32)
        return _with(sizes, seed, name, updates=updates, w_prev=w_prev)

    return make


def _scored(correct: int) -> _Make:
    return lambda sizes, seed, name: _with(sizes, seed, name, correct=correct)


_HOSTILE: dict[str, _Make] = {
    "equal scores": _scored(7),
    "scores of 0": _scored(0),
    "largest scores": _scored(LARGEST_COUNT),
    "one update": _sized(devices=1),
    "two updates": _sized(devices=2),
    "three updates": _sized(devices=3),
    "one parameter": _sized(parameters=1),
    "17 parameters": _sized(parameters=17),
    "top_m of 1": _sized(top_m=1),
    "top_m above K": _sized(devices=5, top_m=64),
    "equal updates": _all_equal,
    "any words": lambda sizes, seed, name: _with(sizes, seed, name, updates=_words(sizes, seed, name)),
    "extreme words": lambda sizes, seed, name: _with(
        sizes, seed, name, updates=_words(sizes, seed, name, (LEAST, MOST)), w_prev=LEAST
    ),
    "opposite extremes": _opposites,
    "all INT32_MIN": _constant(LEAST, MOST),
    "all INT32_MAX": _constant(MOST, LEAST),
    "all 0": _constant(0, 0),
    "lopsided samples": _lopsided,
}
