from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest

from bees.core.model import describe
from bees.results import DeviceTrace, RoundRow, RunResult
from bees.scenario import Scenario

MODEL = describe("tiny", [("w1", (2, 3)), ("b1", (3,)), ("w2", (3, 1))], exponent=24)


def row(block: int, **changes: Any) -> RoundRow:
    usual: dict[str, Any] = {
        "block": block, "accuracy": 0.1 * block, "best_local_accuracy": 0.5, "mean_local_accuracy": 0.4,
        "latency_s": 0.25, "total_latency_s": 0.25 * block, "energy_j": 2.0, "computation_energy_j": 1.5,
        "transmission_energy_j": 0.5, "total_energy_j": 2.0 * block, "server_energy_j": 0.25,
        "charged_devices": 5, "participating_devices": 4, "active_devices": 4, "offloading_devices": 1,
        "uplink_bytes": 5e3, "downlink_bytes": 4e3, "backhaul_bytes": 0.0, "raw_bytes": 2e3, "raw_samples_shared": 7,
        "eligible_updates": 4, "selected": (0, 3), "main_node": 2, "model": "ab" * 32, "height": 3 * block,
    }  # fmt: skip
    return RoundRow(**{**usual, **changes})


def result(weights: np.ndarray | None = None) -> RunResult:
    flags, numbers = np.zeros((3, 4), dtype=np.bool_), np.zeros((3, 4))
    return RunResult(
        scenario=Scenario(),
        rounds=(row(1), row(2), row(3)),
        devices=DeviceTrace(flags, flags, flags, numbers, numbers, numbers, numbers, numbers),
        model=MODEL,
        weights=np.arange(12, dtype=np.float32) if weights is None else weights,
    )


def test_the_curves_are_the_rows_columns():
    made = result()
    assert made.accuracy == pytest.approx([0.1, 0.2, 0.3])
    assert list(made.total_latency_s) == [0.25, 0.5, 0.75]
    assert list(made.total_energy_j) == [2.0, 4.0, 6.0]


def test_the_model_comes_apart_into_its_arrays_by_name():
    arrays = result().arrays()
    assert list(arrays) == ["w1", "b1", "w2"]
    assert np.array_equal(arrays["w1"], [[0, 1, 2], [3, 4, 5]])
    assert np.array_equal(arrays["b1"], [6, 7, 8])
    assert np.array_equal(arrays["w2"], [[9], [10], [11]])
    assert {array.dtype for array in arrays.values()} == {np.dtype("float32")}


def test_weights_of_another_model_do_not_come_apart():
    with pytest.raises(ValueError, match="reshape"):
        result(np.arange(13, dtype=np.float32)).arrays()


@pytest.mark.parametrize("main_node", [2, None])
def test_a_row_comes_back_from_json_bit_by_bit(main_node: int | None):
    one = row(7, accuracy=0.1 + 0.2, energy_j=1e-300, total_latency_s=1 / 3, main_node=main_node, selected=())
    assert msgspec.json.decode(msgspec.json.encode(one), type=RoundRow) == one


@pytest.mark.parametrize("change", [{"block": "x"}, {"selected": 5}, {"height": None}, {"accuracy": "0.5"}])
def test_a_row_of_other_types_is_refused(change: dict[str, object]):
    data = msgspec.json.encode({**msgspec.to_builtins(row(1)), **change})
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(data, type=RoundRow)


def test_the_trace_gives_its_arrays_by_name():
    trace = DeviceTrace(*(np.full((2, 3), k) for k in range(8)))  # pyright: ignore[reportArgumentType]  # told apart
    arrays = trace.as_arrays()
    assert list(arrays) == [
        "offloads",
        "participates",
        "active",
        "compute_time_s",
        "transmit_time_s",
        "energy_j",
        "charge_j",
        "raw_bytes",
    ]
    assert [int(array[0, 0]) for array in arrays.values()] == list(range(8))
