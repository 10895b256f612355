from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING

import numpy as np
import pytest
from msgspec.structs import replace

from bees.contract.description import describe_virtual_machine
from bees.contract.library import contract_names, load_contract_code
from bees.contract.trial_inputs import LARGEST_COUNT, LEAST, MOST, TrialSizes, honest_round, trial_rounds
from bees.contract.try_out import Trial, try_out
from bees.core.errors import ContractLoadError, InputError, OutOfFuelError

if TYPE_CHECKING:
    from collections.abc import Callable

SIZES = TrialSizes(devices=12, parameters=40, top_m=5)
RULES = describe_virtual_machine(fuel_limit=50_000_000)


def tried(code: bytes, sizes: TrialSizes = SIZES, seed: int = 0) -> Trial:
    return try_out(code, sizes, RULES, seed)


def aggregate_that(body: str) -> str:
    head = '(func (export "aggregate") (param $m i32) (param $p i32) (param i32 i32) (param $q i32) (param i32)'
    return f"{head} (param $out i32) (result i32) {body})"


@pytest.mark.parametrize("name", contract_names())
def test_every_packaged_contract_meets_what_a_chain_demands(name: str):
    for sizes in (SIZES, TrialSizes(1, 1, 1), TrialSizes(40, 7, 40)):
        trial = tried(load_contract_code(name), sizes)
        assert (trial.passed, trial.complete, trial.failures) == (True, True, ())


def test_what_is_told_of_fedavg_is_what_is_known_of_it():
    trial = tried(load_contract_code("fedavg"))
    assert (trial.order_matters, trial.order_matters_at_ties) == (False, True)
    assert trial.honest_share_outside == 0
    assert [one.selected for one in trial.attackers] == 4 * [True]
    assert min(one.share_outside for one in trial.attackers[:3]) == 1.0
    ordinary = trial.rounds[0]
    assert (ordinary.name, ordinary.selected) == ("ordinary", 5)
    assert 0 < ordinary.select_fuel < trial.most_fuel < RULES.fuel_limit
    assert trial.gb_per_s == pytest.approx(4 * 5 * 40 / trial.seconds / 1e9)
    assert trial.memory_bytes % 65_536 == 0


def test_the_same_seed_gives_the_same_rounds_and_another_seed_others():
    for first, again, other in zip(*(list(trial_rounds(SIZES, seed)) for seed in (3, 3, 4)), strict=True):
        assert first.name == again.name == other.name
        assert np.array_equal(first.updates, again.updates)
        assert (first.correct, first.samples) == (again.correct, again.samples)
    assert not np.array_equal(honest_round(SIZES, 3).updates, honest_round(SIZES, 4).updates)


@pytest.mark.parametrize("sizes", [SIZES, TrialSizes(1, 1, 1), TrialSizes(2, 3, 2**31)])
def test_the_rounds_keep_what_the_abi_promises_and_reach_its_ends(sizes: TrialSizes):
    rounds = {given.name: given for given in trial_rounds(sizes, 0)}
    for given in rounds.values():
        k = len(given.correct)
        assert k == len(given.samples) == len(given.updates) >= 1
        assert given.updates.dtype == given.w_prev.dtype == np.int32
        assert given.updates.shape[1:] == given.w_prev.shape
        assert min(given.samples) >= 1
        assert 0 < sum(given.samples) <= LARGEST_COUNT
        assert 0 <= min(given.correct) <= max(given.correct) <= LARGEST_COUNT
        assert given.top_m >= 1
    assert len(set(honest_round(sizes, 0).correct)) == sizes.devices
    assert set(rounds["extreme words"].updates.flat) <= {LEAST, MOST}
    assert sum(rounds["lopsided samples"].samples) == LARGEST_COUNT
    assert len(rounds["one update"].correct) == 1


def test_a_trap_is_named_with_its_round(contract_code: Callable[..., bytes]):
    """It traps where the first word is the least one."""
    body = f"(if (i32.eq (i32.load (local.get $q)) (i32.const {LEAST})) (then (unreachable))) (i32.const 0)"
    trial = tried(contract_code(aggregate=aggregate_that(body)))
    assert not trial.passed
    assert trial.complete
    assert {one.failure for one in trial.failures} == {"trap"}
    names = {one.name for one in trial.failures}
    assert {"all INT32_MIN", "opposite extremes"} <= names
    assert "ordinary" not in names
    assert "aggregate trapped: unreachable" in trial.failures[0].problem


def test_wrong_indices_are_a_failure(select_code: Callable[..., bytes]):
    for body in (
        "(i32.store (local.get $out) (local.get $k)) (i32.const 1)",
        "(i32.const 0)",
        "(i32.store offset=4 (local.get $out) (i32.const 0)) (i32.const 2)",
    ):
        trial = tried(select_code(body))
        assert not trial.passed
        assert {one.failure for one in trial.failures} == {"wrong index"}


def test_a_refusal_is_told_and_no_failure_unless_there_is_nothing_else(contract_code: Callable[..., bytes]):
    only_large = contract_code(aggregate=aggregate_that("(i32.lt_u (local.get $p) (i32.const 2))"))
    trial = tried(only_large)
    assert trial.passed
    assert [one.name for one in trial.refusals] == ["one parameter"]
    never = tried(contract_code(aggregate=aggregate_that("(i32.const 1)")))
    assert not never.passed
    assert never.failures == ()
    assert len(never.refusals) == len(never.rounds)
    assert never.order_matters is None
    assert never.attackers == ()


def test_an_endless_loop_ends_the_trial_at_once(contract_code: Callable[..., bytes]):
    for part in (
        {"aggregate": aggregate_that("(loop (br 0)) (unreachable)")},
        {"select": '(func (export "select") (param i32 i32 i32 i32 i32) (result i32) (loop (br 0)) (unreachable))'},
    ):
        since = monotonic()
        trial = tried(contract_code(**part))
        assert monotonic() - since < 5
        assert (trial.passed, trial.complete, len(trial.rounds)) == (False, False, 1)
        assert trial.rounds[0].failure == "out of fuel"
    endless = '(func (export "abi_version") (result i32) (loop (br 0)) (unreachable))'
    with pytest.raises(OutOfFuelError):
        tried(contract_code(abi_version=endless))


def test_a_memory_bomb_is_not_even_loaded(contract_code: Callable[..., bytes]):
    with pytest.raises(ContractLoadError, match="memory"):
        tried(contract_code(memory='(memory (export "memory") 65536)'))
    with pytest.raises(ContractLoadError, match=r"memory\.grow|grow"):
        tried(contract_code(aggregate=aggregate_that("(memory.grow (i32.const 60000))")))


def test_sizes_that_no_memory_holds_are_refused():
    with pytest.raises(InputError, match="MiB"):
        tried(load_contract_code("fedavg"), TrialSizes(100_000, 100_000, 1))
    small = replace(RULES, memory_limit_bytes=2**20)
    with pytest.raises(InputError, match="top-M"):
        try_out(load_contract_code("fedavg"), TrialSizes(100, 10_000, 100), small, 0)
