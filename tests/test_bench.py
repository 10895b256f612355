from __future__ import annotations

import json
from typing import Any

import pytest

import bees
from bees.bench import (
    OTHER_PHASES,
    WARM_UP_ROUNDS,
    bench,
    bench_contracts,
    compare_learning,
    peak_memory_mb,
    price_verification,
)
from bees.contract.library import contract_names
from bees.core.errors import MissingExtraError
from bees.learning.baselines import BASELINES

MEASURED = 2
SCENARIO = bees.load_scenario(
    "quick",
    [f"blocks={WARM_UP_ROUNDS + MEASURED}", "learning.hidden=4", "topology.devices=6",
     "topology.devices_per_server_max=3"],
)  # fmt: skip


@pytest.fixture(scope="module")
def steps() -> list[object]:
    return []


@pytest.fixture(scope="module")
def report(steps: list[object]) -> dict[str, Any]:
    return bench(SCENARIO, lambda: steps.append(None))


def test_it_says_what_was_measured(report: dict[str, Any]):
    assert (report["rounds"], report["servers"], report["devices"]) == (MEASURED, 4, 6)
    assert json.loads(json.dumps(report, allow_nan=False)) == report


def test_every_round_of_both_measurements_is_a_step(report: dict[str, Any], steps: list[object]):
    assert len(steps) == 2 * SCENARIO.blocks


def test_the_phases_of_the_contract_are_there_and_take_time(report: dict[str, Any]):
    assert {"sense", "train", "evaluate", "sign", "verify", "contract", "commit"} <= report["phases"].keys()
    for measured in (report["shared_checks"], report["own_checks"]):
        assert all(seconds >= 0 for seconds in measured["phases"].values())
        assert measured["phases"]["train"] > 0
        assert 0 < measured["fastest_round_s"] <= measured["round_s"]


def test_a_rounds_phases_are_nearly_all_of_it(report: dict[str, Any]):
    """Medians of parts need not sum to the median of the whole, but nothing large may go untimed."""
    assert 0.5 * report["round_s"] < sum(report["phases"].values()) < 1.5 * report["round_s"]


def test_the_ledger_is_all_that_is_not_learning(report: dict[str, Any]):
    for measured in (report["shared_checks"], report["own_checks"]):
        others_s = sum(measured["phases"].get(phase, 0.0) for phase in OTHER_PHASES)
        assert measured["ledger_s"] == pytest.approx(measured["round_s"] - others_s)
    shared, own = report["shared_checks"], report["own_checks"]
    assert report["ledger_share"] == pytest.approx(shared["ledger_s"] / shared["round_s"])
    assert report["ledger_ms_per_replica"] == pytest.approx(1e3 * own["ledger_s"] / 4)
    assert 0 < report["ledger_share"] < 1


def test_replicas_that_do_everything_themselves_verify_more(report: dict[str, Any]):
    assert report["own_checks"]["phases"]["verify"] > report["shared_checks"]["phases"]["verify"]


def test_each_reading_of_who_verifies_has_its_price_beside_learning_without_a_ledger(report: dict[str, Any]):
    steps: list[object] = []
    price = price_verification(SCENARIO, report, lambda: steps.append(None))
    assert list(price) == ["plain FedAvg", "main_node", "all_servers"]
    assert len(steps) == 2 * SCENARIO.blocks
    assert price["plain FedAvg"]["ledger_share"] == 0
    assert all(cost["round_s"] > 0 for cost in price.values())
    for reading in ("main_node", "all_servers"):
        assert 0 < price[reading]["ledger_share"] < 1
        assert price[reading]["ledger_ms_per_replica"] > 0
    assert price["all_servers"]["ledger_ms_per_replica"] == report["ledger_ms_per_replica"]


def test_every_contract_has_its_speed_and_its_fuel_beside_numpys_mean():
    report = bench_contracts(updates=9, parameters=100)
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    assert (report["updates"], report["parameters"]) == (9, 100)
    assert tuple(report["contracts"]) == contract_names()
    for name, one in report["contracts"].items():
        rows = 1 if name == "argmax" else 9
        assert one["gb_per_s"] == pytest.approx(4 * rows * 100 / one["seconds"] / 1e9)
        assert 0 < one["fuel"] < report["fuel_limit"]
    assert report["numpy_mean"]["gb_per_s"] == pytest.approx(4 * 900 / report["numpy_mean"]["seconds"] / 1e9)


def test_the_peak_of_memory_is_that_of_a_process_with_jax(report: dict[str, Any]):
    assert 50 < report["peak_memory_mb"] <= peak_memory_mb() < 1e6


def test_a_comparison_that_cannot_be_run_says_why(monkeypatch: pytest.MonkeyPatch):
    def missing(name: str, *_: object) -> float:
        raise MissingExtraError(name, "not installed")

    monkeypatch.setattr("bees.bench.measure_baseline", missing)
    results = compare_learning(SCENARIO, 1)
    assert results.keys() == {"BEES", *BASELINES}
    assert isinstance(results["BEES"], float)
    assert results["BEES"] > 0
    assert all(results[name] == f"{name}: not installed" for name in BASELINES)
