"""The packaged contracts equal exact arithmetic."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bees.contract.description import describe_virtual_machine
from bees.contract.library import load_contract_code
from bees.contract.reference import average_updates, select_most_accurate
from bees.contract.vm import VirtualMachine
from bees.core.errors import ContractOutputError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

    Ballot = tuple[list[int], list[list[int]]]

LOWEST, HIGHEST = -(2**31), 2**31 - 1

MACHINE = VirtualMachine(describe_virtual_machine())
FEDAVG = MACHINE.load(load_contract_code("fedavg"))
ARGMAX = MACHINE.load(load_contract_code("argmax"))


def aggregate(samples: list[int], updates: Sequence[Any]) -> list[int]:
    rows = [np.asarray(update, np.int32) for update in updates]
    return FEDAVG.aggregate([0] * len(samples), samples, rows, np.zeros(len(rows[0]), np.int32)).tolist()


words = st.one_of(st.sampled_from([LOWEST, LOWEST + 1, -1, 0, 1, HIGHEST - 1, HIGHEST]), st.integers(LOWEST, HIGHEST))


weights = st.one_of(st.integers(0, 9), st.integers(0, 2**32 - 1))


@st.composite
def ballots(draw: st.DrawFn) -> Ballot:
    m, p = draw(st.integers(1, 7)), draw(st.integers(1, 40))
    samples = draw(st.lists(weights, min_size=m, max_size=m))
    total = sum(samples)
    if total >= 2**32:
        samples = [n * (2**32 - 1) // total for n in samples]
    if sum(samples) == 0:
        samples[0] = 1
    rows = st.lists(words, min_size=p, max_size=p)
    return samples, [draw(rows) for _ in range(m)]


@settings(deadline=None, max_examples=150)
@given(ballots(), st.randoms(use_true_random=False))
def test_fedavg_equals_rational_arithmetic_in_any_order(ballot: Ballot, random: Random) -> None:
    samples, updates = ballot
    expected = average_updates(samples, updates)
    assert aggregate(samples, updates) == expected
    order = list(range(len(samples)))
    random.shuffle(order)
    assert aggregate([samples[i] for i in order], [updates[i] for i in order]) == expected


@pytest.mark.parametrize("p", [1, 3, 15, 16, 17, 31, 33])
@pytest.mark.parametrize("samples", [[2**32 - 1], [2**31, 2**31 - 1], [2**32 - 2, 1], [1, 1]])
@pytest.mark.parametrize(("first", "second"), [(LOWEST, LOWEST), (HIGHEST, HIGHEST), (LOWEST, HIGHEST)])
def test_fedavg_at_the_ends_of_the_range(samples: list[int], first: int, second: int, p: int) -> None:
    updates = [[first] * p, [second] * p][: len(samples)]
    assert aggregate(samples, updates) == average_updates(samples, updates)


def test_fedavg_rounds_ties_to_even() -> None:
    half = np.arange(-40, 40, dtype=np.int32)
    assert aggregate([1, 1], [half, half + 1]) == [round((2 * q + 1) / 2) for q in half.tolist()]
    # 2^31 - 1 samples of q and 2^31 - 1 of q + 1: the tie of the largest even total.
    largest = 2**31 - 1
    assert aggregate([largest, largest], [half, half + 1]) == [round((2 * q + 1) / 2) for q in half.tolist()]


def test_fedavg_rounds_ties_to_even_where_floats_cannot_tell() -> None:
    """In 14% of such ties the float estimate inside the contract is wrong, to either side."""
    generator = np.random.default_rng(3)
    for half in generator.integers(2**20, 2**31, 40).tolist():
        lower = generator.integers(LOWEST, HIGHEST, 200)
        assert aggregate([half, half], [lower, lower + 1]) == (lower + lower % 2).tolist()


@settings(deadline=None, max_examples=100)
@given(st.integers(2, 2**32 - 1), st.lists(st.integers(LOWEST, HIGHEST - 1), min_size=1, max_size=40))
def test_fedavg_next_to_a_tie(total: int, lower: list[int]) -> None:
    """One sample more or less than half of them moves q + 1/2 to one side: the finest decision there is."""
    for upper_samples in {total // 2, total // 2 + 1, (total - 1) // 2} - {0, total}:
        samples = [total - upper_samples, upper_samples]
        updates = [lower, [q + 1 for q in lower]]
        assert aggregate(samples, updates) == average_updates(samples, updates)


def test_fedavg_of_the_papers_model() -> None:
    generator = np.random.default_rng(1)
    updates = [generator.integers(-(2**25), 2**25, 19_885, dtype=np.int32) for _ in range(10)]
    samples = generator.integers(1, 1200, 10).tolist()
    assert aggregate(samples, updates) == average_updates(samples, [update.tolist() for update in updates])


def test_updates_may_be_read_only_and_are_left_alone() -> None:
    update = np.frombuffer(np.arange(20, dtype="<i4").tobytes(), "<i4")
    result = FEDAVG.aggregate([0], [3], [update], np.zeros(20, np.int32))
    assert result.tolist() == update.tolist()
    result[0] = 7  # the caller's own
    assert FEDAVG.aggregate([0], [3], [update], np.zeros(20, np.int32))[0] == 0


scores = st.lists(st.one_of(st.integers(0, 3), st.integers(0, 2**32 - 1)), min_size=1, max_size=60)


@settings(deadline=None, max_examples=200)
@given(scores, st.integers(1, 70))
@example([2**32 - 1] * 5, 3)
@example([0] * 5, 3)
@example([2**32 - 1, 0, 2**31, 2**31 - 1], 2)
def test_select_takes_the_most_accurate(correct: list[int], m: int) -> None:
    samples = [1] * len(correct)
    assert FEDAVG.select(correct, samples, m) == select_most_accurate(correct, m)
    assert ARGMAX.select(correct, samples, m) == select_most_accurate(correct, 1)


@settings(deadline=None, max_examples=30)
@given(st.lists(words, min_size=1, max_size=70))
def test_argmax_copies(update: list[int]) -> None:
    row = np.array(update, np.int32)
    assert ARGMAX.aggregate([0], [5], [row], np.zeros(len(row), np.int32)).tolist() == update


def test_argmax_refuses_two() -> None:
    row = np.zeros(3, np.int32)
    with pytest.raises(ContractOutputError, match="status 1"):
        ARGMAX.aggregate([0, 0], [5, 5], [row, row], row)


def test_fuel_does_not_depend_on_the_values() -> None:
    generator = np.random.default_rng(2)
    used: set[int] = set()
    for _ in range(3):
        aggregate([1, 2], generator.integers(-9, 9, (2, 100)).tolist())
        used.add(FEDAVG.fuel_used)
    assert len(used) == 1
    assert 0 < used.pop() < 100_000
