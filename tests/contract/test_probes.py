"""The self-test can fail: each setting is taken away, and missed."""

from __future__ import annotations

import pytest

from bees.contract.description import describe_virtual_machine
from bees.contract.probes import _check_memory, _Probe, check_behaviour
from bees.contract.runtime import SETTINGS, new_engine
from bees.core.errors import VirtualMachineError


def test_our_settings_hold() -> None:
    check_behaviour(new_engine(), describe_virtual_machine())


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"consume_fuel": False}, "fuel does not end a loop"),
        ({"cranelift_nan_canonicalization": False}, "NaN is not canonical"),
        ({"wasm_relaxed_simd": True}, "relaxed SIMD must be off"),
        ({"wasm_threads": True, "shared_memory": True}, "shared memory must be off"),
        ({"wasm_threads": True}, "must be off"),
        ({"wasm_bulk_memory": True}, "bulk memory must be off"),
        ({"wasm_memory64": True}, "64-bit memory must be off"),
        ({"wasm_multi_memory": True}, "several memories must be off"),
        ({"wasm_multi_value": True}, "several results must be off"),
        ({"wasm_tail_call": True}, "tail calls must be off"),
        ({"wasm_custom_page_sizes": True}, "page sizes must be off"),
    ],
)
def test_a_setting_that_does_not_hold_is_named(change: dict[str, bool], problem: str) -> None:
    with pytest.raises(VirtualMachineError, match=problem):
        check_behaviour(new_engine({**SETTINGS, **change}), describe_virtual_machine())


def test_a_memory_limit_that_does_not_hold_is_found() -> None:
    probe = _Probe(new_engine(), memory_limit_bytes=2**20)
    _check_memory(probe, 16)
    with pytest.raises(VirtualMachineError, match="grows over"):
        _check_memory(probe, 15)
    with pytest.raises(VirtualMachineError, match="does not grow"):
        _check_memory(probe, 17)
