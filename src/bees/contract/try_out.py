"""Tries a contract out: what a chain demands of it, what it costs, and what it withstands.

A chain demands that a call ends without a trap, within its fuel, with indices that ascend. All else is told, and judged
by whoever chooses the contract: a refusal skips a round, and what a wild update does depends on the rule.
"""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Literal

import numpy as np

from bees.contract.runtime import Sandbox, compile_module, new_engine
from bees.contract.trial_inputs import LEAST, MOST, TrialRound, TrialSizes, honest_round, trial_rounds
from bees.contract.vm import VirtualMachine
from bees.core.errors import ContractError, ContractInputError, ContractOutputError, InputError, OutOfFuelError
from bees.core.seeds import generator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bees.contract.description import VirtualMachineDescription
    from bees.contract.vm import Contract
    from bees.core.fixed_point import Words

TRIAL_LIMIT_BYTES = 2**30
"""The most words of updates that a trial makes."""

_TIMED_CALLS = 3

Failure = Literal["trap", "out of fuel", "wrong index", "not the same twice"]


@dataclass(frozen=True)
class TriedRound:
    """What came of one round.

    Attributes:
        name: of the round; with the seed and the sizes it says all of what the contract was given.
        selected: how many updates were picked; 0 when it failed before.
        select_fuel: of the call of select.
        aggregate_fuel: of the call of aggregate.
        failure: which demand of the chain it breaks, or None.
        refused: whether aggregate said that it has no result, so that a chain would skip the round.
        problem: the failure or refusal in words, or empty.
    """

    name: str
    selected: int = 0
    select_fuel: int = 0
    aggregate_fuel: int = 0
    failure: Failure | None = None
    refused: bool = False
    problem: str = ""


@dataclass(frozen=True)
class WildAttacker:
    """What one update, with the best score of all, does to the result.

    Attributes:
        sends: its words.
        selected: whether it was among those picked.
        share_outside: of the coordinates of w_g, those that lie outside of the range of the honest updates picked.
    """

    sends: str
    selected: bool
    share_outside: float


@dataclass(frozen=True)
class Trial:
    """All that a trial has found.

    Attributes:
        rounds: the ordinary one, then the hostile ones, as far as they were tried.
        complete: whether all rounds were tried; an endless loop ends the trial.
        fuel_limit: of one call.
        most_fuel: the most that a call used.
        memory_bytes: linear memory for the ordinary round.
        seconds: of the ordinary round's aggregate, the best of three calls, with the copy into the contract's memory.
        gb_per_s: bytes of the selected updates over those seconds.
        order_matters: whether numbering the devices otherwise changes w_g where no two scores are equal; None when it
            has no result.
        order_matters_at_ties: likewise where all scores are equal.
        honest_share_outside: as for an attacker, with none; such as by rounding or momentum.
        attackers: one of each kind.
    """

    rounds: tuple[TriedRound, ...]
    complete: bool
    fuel_limit: int
    most_fuel: int
    memory_bytes: int
    seconds: float
    gb_per_s: float
    order_matters: bool | None
    order_matters_at_ties: bool | None
    honest_share_outside: float | None
    attackers: tuple[WildAttacker, ...]

    @property
    def passed(self) -> bool:
        """Whether it meets what every chain demands, and has a result for some round."""
        return self.complete and not self.failures and any(not one.refused for one in self.rounds)

    @property
    def failures(self) -> tuple[TriedRound, ...]:
        """Rounds in which it breaks a demand."""
        return tuple(one for one in self.rounds if one.failure is not None)

    @property
    def refusals(self) -> tuple[TriedRound, ...]:
        """Rounds that a chain would skip."""
        return tuple(one for one in self.rounds if one.refused)


def try_out(code: bytes, sizes: TrialSizes, description: VirtualMachineDescription, seed: int) -> Trial:
    """Load a contract under the rules of a chain, and run it on ordinary and on hostile rounds.

    Args:
        code: the WebAssembly module.
        sizes: of the rounds.
        description: the virtual machine of the chain.
        seed: of all numbers.

    Raises:
        ContractError: it cannot be loaded.
        InputError: the sizes need more memory than a trial, or the contract, may have.
        VirtualMachineError: this machine cannot run it.
    """
    if 4 * sizes.devices * sizes.parameters > TRIAL_LIMIT_BYTES:
        raise InputError("--devices, --parameters", f"the updates would take more than {TRIAL_LIMIT_BYTES >> 20} MiB")
    contract = VirtualMachine(description).load(code)
    memory_bytes = _memory_bytes(code, sizes, description)
    rounds: list[TriedRound] = []
    for given in trial_rounds(sizes, seed):
        rounds.append(_try_round(contract, given))
        if rounds[-1].failure == "out of fuel":
            break  # Each further call may burn as long.
    complete = rounds[-1].failure != "out of fuel"
    seconds, gb_per_s = _speed(contract, sizes, seed) if complete and not rounds[0].problem else (0.0, 0.0)
    return Trial(
        rounds=tuple(rounds),
        complete=complete,
        fuel_limit=description.fuel_limit,
        most_fuel=max(max(one.select_fuel, one.aggregate_fuel) for one in rounds),
        memory_bytes=memory_bytes,
        seconds=seconds,
        gb_per_s=gb_per_s,
        order_matters=_order_matters(contract, sizes, seed, ties=False) if complete else None,
        order_matters_at_ties=_order_matters(contract, sizes, seed, ties=True) if complete else None,
        honest_share_outside=_honest_share(contract, sizes, seed) if complete else None,
        attackers=_attack(contract, sizes, seed) if complete else (),
    )


def _memory_bytes(code: bytes, sizes: TrialSizes, description: VirtualMachineDescription) -> int:
    """Linear memory that a call of aggregate has."""
    engine = new_engine()
    m, p = min(sizes.top_m, sizes.devices), sizes.parameters
    with Sandbox(compile_module(engine, code), engine, description) as sandbox:
        try:
            sandbox.lay_out(m, m, m * p, p, p)
        except ContractInputError as error:
            raise InputError("--top-m, --parameters", str(error)) from error
        return sandbox.memory_bytes


def _run(contract: Contract, given: TrialRound) -> tuple[tuple[int, ...], Words]:
    """A round as a chain does it; both calls."""
    picked = contract.select(given.correct, given.samples, given.top_m)
    return picked, _aggregate(contract, given, picked)


def _aggregate(contract: Contract, given: TrialRound, picked: Sequence[int]) -> Words:
    correct, samples = [given.correct[k] for k in picked], [given.samples[k] for k in picked]
    return contract.aggregate(correct, samples, [given.updates[k] for k in picked], given.w_prev)


def _try_round(contract: Contract, given: TrialRound) -> TriedRound:
    selected = select_fuel = aggregate_fuel = 0
    try:
        picked = contract.select(given.correct, given.samples, given.top_m)
        selected, select_fuel = len(picked), contract.fuel_used
        words = _aggregate(contract, given, picked)
        aggregate_fuel = contract.fuel_used
        again = _run(contract, given)
    except ContractError as error:
        refused = isinstance(error, ContractOutputError) and selected > 0
        failure = None if refused else _failure(error)
        return TriedRound(given.name, selected, select_fuel, contract.fuel_used, failure, refused, str(error))
    if again[0] != picked or not np.array_equal(again[1], words):
        problem = "the same round gave two results"
        return TriedRound(given.name, selected, select_fuel, aggregate_fuel, "not the same twice", problem=problem)
    return TriedRound(given.name, selected, select_fuel, aggregate_fuel)


def _failure(error: ContractError) -> Failure:
    if isinstance(error, OutOfFuelError):
        return "out of fuel"
    return "wrong index" if isinstance(error, ContractOutputError) else "trap"


def _speed(contract: Contract, sizes: TrialSizes, seed: int) -> tuple[float, float]:
    given = honest_round(sizes, seed)
    picked = contract.select(given.correct, given.samples, given.top_m)
    seconds: list[float] = []
    for _ in range(_TIMED_CALLS):
        since = perf_counter()
        _aggregate(contract, given, picked)
        seconds.append(perf_counter() - since)
    best = min(seconds)
    return best, 4 * len(picked) * sizes.parameters / best / 1e9


def _result(contract: Contract, given: TrialRound) -> Words | None:
    try:
        return _run(contract, given)[1]
    except ContractError:
        return None


def _order_matters(contract: Contract, sizes: TrialSizes, seed: int, *, ties: bool) -> bool | None:
    given = honest_round(sizes, seed, "order")
    if ties:
        given = _changed(given, correct=(1,) * sizes.devices)
    order: list[int] = generator(seed, "trial order").permutation(sizes.devices).tolist()
    other = TrialRound(
        given.name,
        tuple(given.correct[k] for k in order),
        tuple(given.samples[k] for k in order),
        given.updates[order],
        given.w_prev,
        given.top_m,
    )
    first, second = _result(contract, given), _result(contract, other)
    return None if first is None or second is None else not np.array_equal(first, second)


def _honest_share(contract: Contract, sizes: TrialSizes, seed: int) -> float | None:
    given = honest_round(sizes, seed, "attack")
    try:
        picked, words = _run(contract, given)
    except ContractError:
        return None
    return _share_outside(words, given.updates[list(picked)])


def _attack(contract: Contract, sizes: TrialSizes, seed: int) -> tuple[WildAttacker, ...]:
    """A device that is usually picked sends what no honest one would; all others are honest."""
    if sizes.devices == 1:
        return ()
    given = honest_round(sizes, seed, "attack")
    rng = generator(seed, "trial attacker")
    try:
        usually_picked = contract.select(given.correct, given.samples, given.top_m)
    except ContractError:
        return ()
    attacker = int(rng.choice(usually_picked))
    far = given.w_prev.astype(np.int64) + 1000 * (given.updates[attacker].astype(np.int64) - given.w_prev)
    wild = {
        "INT32_MAX everywhere": np.full(sizes.parameters, MOST, np.int32),
        "INT32_MIN everywhere": np.full(sizes.parameters, LEAST, np.int32),
        "either, at random": np.array([LEAST, MOST], np.int32)[rng.integers(0, 2, sizes.parameters)],
        "1000 times its step": np.clip(far, LEAST, MOST).astype(np.int32),
    }
    tried = (_strike(contract, given, attacker, name, row) for name, row in wild.items())
    return tuple(one for one in tried if one is not None)


def _strike(contract: Contract, given: TrialRound, attacker: int, name: str, row: Words) -> WildAttacker | None:
    updates = given.updates.copy()
    updates[attacker] = row
    correct = list(given.correct)
    correct[attacker] = max(correct) + 1
    struck = _changed(given, correct=tuple(correct), updates=updates)
    try:
        picked, words = _run(contract, struck)
    except ContractError:
        return None
    honest = [k for k in picked if k != attacker] or [k for k in range(len(correct)) if k != attacker]
    return WildAttacker(name, attacker in picked, _share_outside(words, given.updates[honest]))


def _share_outside(words: Words, honest: Words) -> float:
    outside = (words < honest.min(axis=0)) | (words > honest.max(axis=0))
    return int(np.count_nonzero(outside)) / len(words)


def _changed(given: TrialRound, *, correct: tuple[int, ...], updates: Words | None = None) -> TrialRound:
    rows = given.updates if updates is None else updates
    return TrialRound(given.name, correct, given.samples, rows, given.w_prev, given.top_m)
