"""Each contract beside its reference, on random inputs with ties and extreme values: ``python -m campaigns.rules``.

The rules of whole numbers must equal theirs word for word. Those with square roots must lie as close to a reference of
50 digits as rounding to words and double precision let them.
"""

from __future__ import annotations

import argparse
import zlib
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from bees.contract.description import describe_virtual_machine
from bees.contract.library import contract_names, load_contract_code
from bees.contract.reference import average_updates, select_most_accurate
from bees.contract.reference_points import (
    DIGITS,
    POINT_RULES,
    RELATIVE_TOLERANCE,
    Ballot,
    exact_point,
    tolerance_words,
)
from bees.contract.reference_rules import EXACT_RULES
from bees.contract.vm import VirtualMachine
from campaigns.evidence import write_evidence

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bees.contract.vm import Contract

INPUTS = 10_000
MOST_UPDATES, MOST_COLUMNS = 20, 40
BLOCK_EDGES = (255, 256, 257, 520)
"""Dimensions beside the contracts' block of columns."""
EDGY, COPIED = 0.01, 0.2
"""Shares of the inputs with such a dimension, and of those whose updates are copies of one another."""
LOWEST, HIGHEST = -(2**31), 2**31 - 1
SPREADS = (1, 3, 1000, 2**20, 2**31)


@dataclass(frozen=True)
class Comparison:
    """How a contract and its reference differ.

    Attributes:
        inputs: how many were tried.
        words: how many words they gave.
        wrong: inputs whose result, or selection, is not the reference's or not close enough to it.
        largest_deviation_words: the farthest of any word from the exact number, in words. Up to 1/2 is rounding.
    """

    inputs: int
    words: int
    wrong: int
    largest_deviation_words: float


def random_ballot(random: np.random.Generator) -> Ballot:
    """An input of any shape: ties, copies, extreme words, rows far away from all others."""
    m = int(random.integers(1, MOST_UPDATES + 1))
    p = int(random.choice(BLOCK_EDGES)) if random.random() < EDGY else _small_number(random, MOST_COLUMNS)
    spread = int(random.choice(SPREADS))
    w_prev = random.integers(-spread, spread, p, dtype=np.int64)
    updates = np.stack([_row(random, w_prev, spread) for _ in range(m)])
    if random.random() < COPIED:
        updates = updates[random.integers(0, m, m)]  # copies; now and then all are equal
    correct = random.integers(0, int(random.choice((1, 3, 10_000))), m)
    samples = random.integers(0, int(random.choice((1, 3, 1000, 2**32 // m))) + 1, m)
    samples[int(random.integers(0, m))] = max(1, samples.max())
    words = np.clip(updates, LOWEST, HIGHEST)
    return Ballot(correct.tolist(), _capped(samples), words.tolist(), np.clip(w_prev, LOWEST, HIGHEST).tolist())


def _small_number(random: np.random.Generator, most: int) -> int:
    return int(1 + (most - 1) * random.random() ** 3)


def _row(random: np.random.Generator, w_prev: NDArray[np.int64], spread: int) -> NDArray[np.int64]:
    match int(random.integers(0, 8)):
        case 0:
            return random.choice(np.array([LOWEST, LOWEST + 1, -1, 0, 1, HIGHEST - 1, HIGHEST]), len(w_prev))
        case 1:
            return np.full(len(w_prev), random.choice([LOWEST, HIGHEST]))
        case 2:
            return w_prev.copy()
        case 3:
            return random.integers(LOWEST, HIGHEST + 1, len(w_prev))
        case _:
            return w_prev + random.integers(-spread, spread + 1, len(w_prev))


def _capped(samples: NDArray[np.int64]) -> list[int]:
    total = int(samples.sum())
    kept = [int(n) * HIGHEST // total for n in samples] if total > HIGHEST else samples.tolist()
    return kept if sum(kept) else [1] * len(kept)


@cache
def _machine() -> VirtualMachine:
    return VirtualMachine(describe_virtual_machine())


def compare_rule(name: str, inputs: int, seed: int = 0) -> Comparison:
    """Run a contract and its reference on as many random inputs.

    Args:
        name: of a packaged contract.
        inputs: how many.
        seed: of the inputs.
    """
    contract = _machine().load(load_contract_code(name))
    random = np.random.default_rng([seed, zlib.crc32(name.encode())])
    words, wrong, largest = 0, 0, 0.0
    for _ in range(inputs):
        ballot = random_ballot(random)
        if name == "argmax":
            ballot = Ballot(ballot.correct[:1], [max(1, ballot.samples[0])], ballot.updates[:1], ballot.w_prev)
        found = _aggregate(contract, ballot)
        expected, tolerance = _expected(name, ballot)
        apart = max(float(abs(word - exact)) for word, exact in zip(found, expected, strict=True))
        wrong += apart > tolerance or not _selects_rightly(contract, name, random)
        words += len(found)
        largest = max(largest, apart)
    return Comparison(inputs, words, wrong, largest)


def _aggregate(contract: Contract, ballot: Ballot) -> list[int]:
    rows = [np.array(update, np.int32) for update in ballot.updates]
    return contract.aggregate(ballot.correct, ballot.samples, rows, np.array(ballot.w_prev, np.int32)).tolist()


def _expected(name: str, ballot: Ballot) -> tuple[list[Decimal], float]:
    """What a contract should give, and how far it may be from that."""
    if name in POINT_RULES:
        return exact_point(name, ballot), tolerance_words(ballot)
    if name == "argmax":
        words = list(ballot.updates[0])
    elif name == "fedavg":
        words = average_updates(ballot.samples, ballot.updates)
    else:
        words = EXACT_RULES[name](ballot.updates)
    return list(map(Decimal, words)), 0.0


def _selects_rightly(contract: Contract, name: str, random: np.random.Generator) -> bool:
    k, m = (int(number) for number in random.integers(1, 30, 2))
    correct = random.integers(0, int(random.choice((2, 10, 2**32))), k).tolist()
    expected = select_most_accurate(correct, 1 if name == "argmax" else m)
    return contract.select(correct, [1] * k, m) == expected


def main() -> None:
    """Compare all contracts, write the evidence, and print it in short."""
    parser = argparse.ArgumentParser(description="Compare every contract with its reference.")
    parser.add_argument("--inputs", type=int, default=INPUTS, help=f"for each contract; default {INPUTS}")
    inputs = parser.parse_args().inputs
    rules: dict[str, Any] = {}
    for name in contract_names():
        since = perf_counter()
        found = compare_rule(name, inputs)
        kind = (
            f"within 1/2 word and {RELATIVE_TOLERANCE} of the range of words, of {DIGITS} digits"
            if name in POINT_RULES
            else "equal in every word"
        )
        rules[name] = {
            "inputs": found.inputs,
            "words": found.words,
            "wrong": found.wrong,
            "largest_deviation_words": found.largest_deviation_words,
            "requirement": kind,
            "seconds": round(perf_counter() - since, 1),
        }
        print(
            f"{name}: {found.inputs} inputs, {found.wrong} wrong, at most {found.largest_deviation_words:.6f} words off"
        )
    print(write_evidence("rules", f"python -m campaigns.rules --inputs {inputs}", {"rules": rules}).name)
    if any(rule["wrong"] for rule in rules.values()):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
