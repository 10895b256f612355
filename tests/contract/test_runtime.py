"""One sandbox around one call: its limits hold by themselves, also for code that the loader would have refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import wasmtime

from bees.contract.description import describe_virtual_machine
from bees.contract.runtime import SETTINGS, Sandbox, compile_module, new_engine
from bees.core.errors import (
    ContractError,
    ContractInputError,
    ContractLoadError,
    ContractTrapError,
    OutOfFuelError,
    VirtualMachineError,
)

if TYPE_CHECKING:
    from bees.contract.description import VirtualMachineDescription

PAGE = 65_536
USUAL = describe_virtual_machine(fuel_limit=10_000, memory_limit_bytes=16 * PAGE)
HEAP = '(global (export "__heap_base") i32 (i32.const {}))'


@pytest.fixture(scope="module")
def engine() -> wasmtime.Engine:
    return new_engine()


def sandbox(
    engine: wasmtime.Engine, *parts: str, heap_base: int = 1000, description: VirtualMachineDescription = USUAL
) -> Sandbox:
    text = f'(module (memory (export "memory") 1) {HEAP.format(heap_base)} {" ".join(parts)})'
    return Sandbox(compile_module(engine, bytes(wasmtime.wat2wasm(text))), engine, description)


GROW = '(func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))'


def test_memory_never_grows_over_its_limit(engine: wasmtime.Engine) -> None:
    with sandbox(engine, GROW) as box:
        assert box.call("grow", 16) == 2**32 - 1
        assert box.call("grow", 15) == 1
        assert box.call("grow", 1) == 2**32 - 1
        assert box.memory_bytes == 16 * PAGE


def test_a_store_holds_one_instance_with_one_small_table(engine: wasmtime.Engine) -> None:
    with sandbox(engine, "(table 64 funcref)") as box, pytest.raises(wasmtime.WasmtimeError):
        wasmtime.Instance(box._store, compile_module(engine, bytes(wasmtime.wat2wasm("(module)"))), [])
    for tables in ("(table 65 funcref)", "(table 1 funcref) (table 1 funcref)"):
        with pytest.raises(VirtualMachineError, match="this machine cannot run the contract"):
            sandbox(engine, tables)


@pytest.mark.parametrize(
    ("part", "error"),
    [('(data (i32.const 65535) "ab")', ContractLoadError), ("(table 65 funcref)", VirtualMachineError)],
)
def test_what_cannot_be_instantiated_gives_its_memory_back_at_once(
    engine: wasmtime.Engine, monkeypatch: pytest.MonkeyPatch, part: str, error: type[Exception]
) -> None:
    closed: list[Sandbox] = []
    close = Sandbox.close
    monkeypatch.setattr(Sandbox, "close", lambda self: (closed.append(self), close(self)))
    with pytest.raises(error):
        sandbox(engine, part)
    assert len(closed) == 1


def test_leaving_the_sandbox_closes_it(engine: wasmtime.Engine) -> None:
    with sandbox(engine) as box:
        assert box.memory_bytes == PAGE
    with pytest.raises(Exception, match="closed"):
        _ = box.memory_bytes


def test_fuel_is_counted_from_the_limit(engine: wasmtime.Engine) -> None:
    count_down = "(loop (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))"
    spin = f'(func (export "spin") (param i32) (result i32) {count_down} (i32.const 3))'
    with sandbox(engine, spin) as box:
        assert (box.fuel_limit, box.fuel_used) == (10_000, 0)
        assert box.call("spin", 10) == 3
        few = box.fuel_used
        assert 0 < few < 200
        assert box.call("spin", 20) == 3
        assert few < box.fuel_used - few < 3 * few
        with pytest.raises(OutOfFuelError, match=r"^spin used up its 10000 units of fuel$"):
            box.call("spin", 100_000)


@pytest.mark.parametrize("heap_base", [0, 1, 15, 16, 17, 1000])
def test_arrays_lie_one_after_the_other_from_the_heap_base_each_on_16_bytes(
    engine: wasmtime.Engine, heap_base: int
) -> None:
    with sandbox(engine, heap_base=heap_base) as box:
        assert box.heap_base == heap_base
        first = -(-heap_base // 16) * 16
        assert box.lay_out(1, 4, 5, 0, 1) == [first, first + 16, first + 32, first + 64, first + 64]
        assert box.memory_bytes == PAGE


def test_memory_grows_to_hold_the_arrays_and_no_page_more(engine: wasmtime.Engine) -> None:
    for words, pages in ((PAGE // 4, 1), (PAGE // 4 + 1, 2), (2 * PAGE // 4, 2), (16 * PAGE // 4, 16)):
        with sandbox(engine, heap_base=0) as box:
            assert box.lay_out(words) == [0]
            assert box.memory_bytes == pages * PAGE


def test_arrays_beyond_the_memory_limit_are_refused(engine: wasmtime.Engine) -> None:
    problem = f"need {16 * PAGE + 4} bytes of contract memory, the limit of the genesis is {16 * PAGE}"
    with sandbox(engine, heap_base=0) as box, pytest.raises(ContractInputError, match=problem):
        box.lay_out(16 * PAGE // 4 + 1)
    odd = describe_virtual_machine(fuel_limit=10_000, memory_limit_bytes=2 * PAGE + 100)
    with sandbox(engine, heap_base=0, description=odd) as box:
        box.lay_out(2 * PAGE // 4)
    with sandbox(engine, heap_base=0, description=odd) as box, pytest.raises(ContractInputError):
        box.lay_out(2 * PAGE // 4 + 1)  # needs a third page, of which the limit leaves 100 bytes


def test_a_heap_base_in_the_upper_half_is_no_negative_number(engine: wasmtime.Engine) -> None:
    with sandbox(engine, heap_base=-16) as box:
        assert box.heap_base == 2**32 - 16


def test_words_are_a_view_of_memory_as_far_as_it_goes(engine: wasmtime.Engine) -> None:
    load = '(func (export "load") (param i32) (result i32) (i32.load (local.get 0)))'
    with sandbox(engine, load) as box:
        box.words(1024, 3, np.int32)[:] = [5, -1, 7]
        assert [box.call("load", 1024 + 4 * k) for k in range(3)] == [5, 2**32 - 1, 7]
        assert box.words(1024, 2, np.uint32).tolist() == [5, 2**32 - 1]
        assert box.words(1028, 2, np.int32).tolist() == [-1, 7]
        assert box.words(2**40, 0, np.uint32).tolist() == []
        assert box.words(2**40, 0, np.uint32).dtype == np.uint32
        assert len(box.words(0, PAGE // 4, np.int32)) == PAGE // 4
        assert box.words(PAGE - 4, 1, np.int32).tolist() == [0]
        for address, count in ((PAGE, 1), (PAGE - 4, 2), (4, PAGE // 4), (2**32 - 4, 1)):
            with pytest.raises(ContractError, match=f"address {address} lies outside of the contract's memory"):
                box.words(address, count, np.int32)


def test_arguments_and_results_are_unsigned(engine: wasmtime.Engine) -> None:
    same = '(func (export "same") (param i32) (result i32) (local.get 0))'
    less = '(func (export "less") (param i32 i32) (result i32) (i32.sub (local.get 0) (local.get 1)))'
    with sandbox(engine, same, less) as box:
        for number in (0, 1, 2**31 - 1, 2**31, 2**31 + 1, 2**32 - 1):
            assert box.call("same", number) == number
        assert box.call("less", 7, 3) == 4
        assert box.call("less", 3, 7) == 2**32 - 4


def test_a_trap_is_the_contracts_and_named_in_words(engine: wasmtime.Engine) -> None:
    divide = '(func (export "f") (result i32) (i32.div_u (i32.const 1) (i32.const 0)))'
    problem = r"^f trapped: integer division by zero$"
    with sandbox(engine, divide) as box, pytest.raises(ContractTrapError, match=problem):
        box.call("f")


def test_what_the_runtime_cannot_do_is_this_machines_fault(
    engine: wasmtime.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise wasmtime.WasmtimeError("somewhere:\n  deep inside\n  no room  \n")

    monkeypatch.setattr(wasmtime.Func, "__call__", fail)
    with (
        sandbox(engine, '(func (export "f") (result i32) (i32.const 1))') as box,
        pytest.raises(VirtualMachineError, match=r"^this machine could not run f: no room$"),
    ):
        box.call("f")


def test_code_that_is_not_valid_is_the_contracts_fault(engine: wasmtime.Engine) -> None:
    with pytest.raises(ContractLoadError, match=r"^not a valid module: "):
        compile_module(engine, b"\0asm\x01\0\0\0\x0a\x02\x01\x00")


def test_every_setting_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    class Config:
        def __setattr__(self, name: str, value: object) -> None:
            asked[name] = value

    monkeypatch.setattr(wasmtime, "Config", Config)
    monkeypatch.setattr(wasmtime, "Engine", lambda _config: "engine")
    assert new_engine() == "engine"
    off = (
        *("threads", "relaxed_simd", "bulk_memory", "tail_call", "multi_memory", "memory64", "multi_value"),
        *("exceptions", "function_references", "gc", "wide_arithmetic", "custom_page_sizes", "stack_switching"),
    )
    assert asked == SETTINGS
    assert asked == {
        **{f"wasm_{feature}": False for feature in off},
        "consume_fuel": True,
        "cranelift_nan_canonicalization": True,
        "wasm_simd": True,
        "shared_memory": False,
        "gc_support": False,
        "max_wasm_stack": 1_048_576,
        "parallel_compilation": False,
    }
