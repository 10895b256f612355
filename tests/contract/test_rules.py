"""The rules equal their references, withstand what they are for, and have a result for few updates, too."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from bees.contract import reference_rules
from bees.contract.build import compile_contract
from bees.contract.description import describe_virtual_machine
from bees.contract.library import contract_names, load_contract_code
from bees.contract.reference_points import POINT_RULES, Ballot, exact_point, tolerance_words
from bees.contract.reference_rules import EXACT_RULES, mean_rows, squared_distance
from bees.contract.vm import VirtualMachine
from bees.core.errors import CompileError, ContractOutputError
from campaigns.rules import compare_rule

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

SOURCES = Path(__file__).parents[2] / "contracts"
MACHINE = VirtualMachine(describe_virtual_machine())
LOWEST, HIGHEST = -(2**31), 2**31 - 1
ROBUST = tuple(name for name in contract_names() if name not in {"argmax", "fedavg"})
SEVERAL = tuple(name for name in ROBUST if name not in {"krum", "nnm_krum", "bucketing_krum"})


def aggregate(
    name_or_code: str | bytes,
    rows: Any,
    w_prev: Any = None,
    *,
    correct: Sequence[int] | None = None,
    samples: Sequence[int] | None = None,
) -> list[int]:
    code = load_contract_code(name_or_code) if isinstance(name_or_code, str) else name_or_code
    updates = [np.asarray(row, np.int32) for row in rows]
    previous = np.zeros(len(updates[0]), np.int32) if w_prev is None else np.asarray(w_prev, np.int32)
    m = len(updates)
    return MACHINE.load(code).aggregate(correct or [1] * m, samples or [1] * m, updates, previous).tolist()


def built(name: str, *defines: str) -> bytes:
    pytest.importorskip("ziglang", reason="the compiler is a development dependency")
    return compile_contract(SOURCES / f"{name}.c", defines)


def random_rows(m: int, p: int, spread: int = 1000) -> NDArray[np.int32]:
    return np.random.default_rng([m, p]).integers(-spread, spread, (m, p), dtype=np.int32)


def test_every_contract_has_a_reference():
    assert set(contract_names()) == {"argmax", "fedavg"} | set(EXACT_RULES) | set(POINT_RULES)


@pytest.mark.parametrize("name", contract_names())
def test_a_contract_equals_its_reference(name: str):
    found = compare_rule(name, 60, seed=1)
    assert (found.inputs, found.wrong) == (60, 0)
    assert found.largest_deviation_words < (0.501 if name in POINT_RULES else 1e-9)


@pytest.mark.parametrize("name", ["trimmed_mean", "krum", "multi_krum", "nnm_median"])
def test_the_comparison_sees_a_rule_for_other_liars(name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(reference_rules, "FAULTY_PERCENT", 15)
    assert compare_rule(name, 40, seed=1).wrong > 0


@pytest.mark.parametrize("name", ["bucketing_median", "bucketing_krum"])
def test_the_comparison_sees_another_shuffle(name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(reference_rules, "hash_words", lambda _: 1)
    assert compare_rule(name, 40, seed=1).wrong > 0


@pytest.mark.parametrize("name", ROBUST)
@pytest.mark.parametrize("m", [1, 2, 3])
def test_few_equal_updates_give_themselves(name: str, m: int):
    row = [LOWEST, HIGHEST, -7, 0, 5]
    assert aggregate(name, [row] * m, [1, 2, 3, 4, 5]) == pytest.approx(row, abs=1)


@pytest.mark.parametrize("name", EXACT_RULES)
@pytest.mark.parametrize("shape", [(1, 300), (2, 256), (5, 257), (33, 513), (101, 40)])
def test_shapes_around_the_blocks_of_columns(name: str, shape: tuple[int, int]):
    rows = random_rows(*shape, spread=2**31 - 1)
    assert aggregate(name, rows) == EXACT_RULES[name](rows.tolist())


@pytest.mark.parametrize("name", ["krum", "multi_krum", "nnm_krum", "nnm_median", "bucketing_krum"])
def test_distances_stay_exact_where_64_bits_overflow(name: str):
    rows = np.full((9, 600), HIGHEST, np.int64)
    rows[::2] = LOWEST
    rows[np.arange(9), np.arange(9)] = np.arange(9)  # the rows differ by a few words only
    assert aggregate(name, rows) == EXACT_RULES[name](rows.tolist())


@pytest.mark.parametrize("name", POINT_RULES)
def test_points_of_many_columns_stay_close(name: str):
    rows = random_rows(12, 700, spread=2**20)
    rows[:3] = HIGHEST
    ballot = Ballot(list(range(12)), [5] * 12, rows.tolist(), [3] * 700)
    found = aggregate(name, rows, [3] * 700, correct=ballot.correct, samples=ballot.samples)
    exact = exact_point(name, ballot)
    assert max(abs(word - point) for word, point in zip(found, exact, strict=True)) <= tolerance_words(ballot)


@pytest.mark.parametrize("name", ["geometric_median", "bucketing_geometric_median"])
def test_a_start_on_one_row_that_is_far_from_all_others_loses_no_precision(name: str):
    """The first steps lie within some words of that row, and what they lose, the later ones would multiply."""
    rows = random_rows(18, 200, spread=2**31 - 1)
    start = reference_rules.bucketed(rows.tolist())[0] if name.startswith("bucketing") else rows[0].tolist()
    ballot = Ballot([1] * 18, [1] * 18, rows.tolist(), start)
    found, exact = aggregate(name, rows, start), exact_point(name, ballot)
    assert max(abs(word - point) for word, point in zip(found, exact, strict=True)) <= tolerance_words(ballot)


@pytest.mark.parametrize("name", ROBUST)
def test_so_many_updates_are_refused_that_tables_would_not_hold_them(name: str):
    with pytest.raises(ContractOutputError, match="no result"):
        aggregate(name, np.zeros((513, 1), np.int32))


@pytest.mark.parametrize("name", ["median", "geometric_median", "multi_krum"])
def test_as_many_as_the_tables_hold_are_taken(name: str):
    machine = VirtualMachine(describe_virtual_machine(fuel_limit=10**11))
    rows = [np.array([7], np.int32)] * 512
    contract = machine.load(load_contract_code(name))
    assert contract.aggregate([1] * 512, [1] * 512, rows, np.array([0], np.int32)).tolist() == [7]


@pytest.mark.parametrize("name", [name for name in ROBUST if not name.startswith("bucketing")])
def test_far_liars_move_a_robust_rule_little(name: str):
    """29 of 100 say the largest word; the honest lie within 1000 of w_g(t-1)."""
    rows = random_rows(100, 8).astype(np.int64)
    rows[:29] = HIGHEST
    correct = [100 if j >= 29 else 10 for j in range(100)]
    assert np.abs(aggregate("fedavg", rows)).max() > 10**8
    assert np.abs(aggregate(name, rows, correct=correct)).max() < 5000


@pytest.mark.parametrize("name", [name for name in ROBUST if name.startswith("bucketing")])
def test_bucketing_withstands_half_as_many(name: str):
    """A liar spoils its bucket, so 14 of 100 spoil up to 28 of the 50 rows' worth in the worst case of 2 per bucket."""
    rows = random_rows(100, 8).astype(np.int64)
    rows[:14] = HIGHEST
    assert np.abs(aggregate(name, rows)).max() < 5000


def test_krum_takes_an_honest_update_as_it_is():
    rows = random_rows(20, 30)
    rows[:6] = HIGHEST
    assert aggregate("krum", rows) in rows[6:].tolist()


def test_mixing_takes_the_nearest_ones():
    rows = random_rows(10, 3, spread=50).tolist()
    rows[:3] = [[10**6] * 3] * 3
    assert min(squared_distance(mix, [0, 0, 0]) for mix in reference_rules.mixed(rows)) < 10**4
    assert np.abs(aggregate("nnm_trimmed_mean", rows)).max() < 100


def test_buckets_depend_on_every_word():
    rows = random_rows(8, 5)
    order = reference_rules.shuffled(rows.tolist())
    changed = rows.copy()
    changed[7, 4] += 1
    assert sorted(order) == list(range(8))
    assert order != reference_rules.shuffled(changed.tolist())


def test_root_scores_decide_whom_to_trust():
    rows = [[100, 0], [0, 100], [-(10**6), -(10**6)]]
    assert aggregate("root_score", rows, correct=[80, 80, 40]) == [50, 50]
    assert aggregate("root_score", rows, correct=[80, 50, 0]) == [80, 20]


def test_without_any_trust_the_last_model_stays():
    assert aggregate("root_score", [[9, 9], [5, 5]], [1, 2], correct=[0, 0]) == [1, 2]


def test_a_longer_difference_is_shortened_to_the_median():
    assert aggregate("norm_clipping", [[10, 0], [0, 10], [1000, 0]]) == [7, 3]
    assert aggregate("norm_clipping", [[10, 0], [0, 10], [1000, 0]], samples=[1, 1, 8]) == [9, 1]


def test_the_share_of_liars_is_a_parameter():
    rows = random_rows(11, 20).tolist()
    assert aggregate(built("trimmed_mean", "BEES_FAULTY_PERCENT=0"), rows) == mean_rows(rows)
    assert aggregate(built("trimmed_mean", "BEES_FAULTY_PERCENT=49"), rows) == aggregate("median", rows)
    assert aggregate(built("multi_krum", "BEES_FAULTY_PERCENT=0"), rows) == mean_rows(rows)


def test_the_size_of_buckets_is_a_parameter():
    rows = random_rows(9, 20).tolist()
    assert aggregate(built("bucketing_median", "BEES_BUCKET_SIZE=1"), rows) == aggregate("median", rows)
    assert aggregate(built("bucketing_median", "BEES_BUCKET_SIZE=9"), rows) == mean_rows(rows)


def test_radius_limit_steps_and_smoothing_are_parameters():
    rows = [[1000, 0], [0, 1000]]
    assert aggregate(built("norm_clipping", "BEES_NORM_LIMIT=10"), rows) == [5, 5]
    one_step = built("centred_clipping", "BEES_CLIPPING_RADIUS=10", "BEES_CLIPPING_STEPS=1")
    assert aggregate(one_step, rows) == [5, 5]
    wide = built("geometric_median", "BEES_WEISZFELD_STEPS=1", "BEES_WEISZFELD_SMOOTHING=1e9")
    assert aggregate(wide, [[0, 0], [9, 0], [900, 0]]) == [303, 0]


def test_a_share_without_an_honest_majority_is_no_parameter():
    with pytest.raises(CompileError) as caught:
        built("median", "BEES_FAULTY_PERCENT=50")
    assert "majority of liars" in caught.value.output


@pytest.mark.parametrize("name", SEVERAL)
def test_a_rule_combines_and_does_not_just_pick(name: str):
    rows = [[0, 60], [60, 0], [30, 30], [31, 33]]
    assert aggregate(name, rows) not in rows[:2]
