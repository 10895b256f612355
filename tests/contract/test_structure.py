from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

import pytest
import wasmtime
from hypothesis import given, settings
from hypothesis import strategies as st

from bees.contract.library import contract_names, load_contract_code
from bees.contract.structure import MAX_FUNCTIONS, MAX_LOCALS, MAX_NESTING, check_structure
from bees.core.errors import ContractLoadError

if TYPE_CHECKING:
    from bees.contract.vm import VirtualMachine


def module(*functions: str) -> bytes:
    return bytes(wasmtime.wat2wasm(f"(module (memory 1) (table 1 funcref) {' '.join(functions)})"))


@pytest.mark.parametrize("name", contract_names())
def test_packaged_contracts_pass(name: str) -> None:
    check_structure(load_contract_code(name))


ALLOWED = [
    "(block (br 0))",
    "(loop (br_if 0 (i32.const 0)))",
    "(if (i32.const 1) (then (nop)) (else (nop)))",
    "(block (block (br_table 0 1 0 (i32.const 300))))",
    "(drop (i64.const -9223372036854775808))",
    "(drop (f32.const 1.5)) (drop (f64.const nan:0x123))",
    "(drop (i32.load16_u offset=70000 align=1 (i32.const 0)))",
    "(drop (i64.extend32_s (i64.trunc_sat_f64_u (f64.const 3))))",
    "(drop (i8x16.shuffle 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 31 (v128.const i64x2 11 11) (v128.const i64x2 0 0)))",
    "(drop (v128.load32_lane offset=300 3 (i32.const 0) (v128.const i64x2 11 11)))",
    "(v128.store64_lane 1 (i32.const 0) (v128.const i64x2 11 11))",
    "(drop (v128.load64_zero (i32.const 8)))",
    "(drop (f64x2.extract_lane 1 (f64x2.nearest (v128.load8x8_s (i32.const 0)))))",
    "(drop (select (result i32) (i32.const 1) (i32.const 2) (i32.const 3)))",
    "(drop (memory.size))",
    "(drop (f64x2.promote_low_f32x4 (i32x4.trunc_sat_f64x2_s_zero (v128.const i64x2 11 11))))",
]


@pytest.mark.parametrize("body", ALLOWED)
def test_the_reader_finds_the_end_of_every_instruction(body: str) -> None:
    check_structure(module(f"(func {body})", "(func)"))
    # One byte off, and the function would seem to end elsewhere.
    check_structure(module(f"(func {body * 7})", f"(func (call 0) {body})"))


@pytest.mark.parametrize(
    ("functions", "problem"),
    [
        (["(func $f (call $f))"], "recurses"),
        (["(func $f (call $g))", "(func $g (call $h))", "(func $h (call $f))"], "recurses"),
        (["(func (call_indirect (i32.const 0)))"], "0x11"),
        (["(func (memory.fill (i32.const 0) (i32.const 0) (i32.const 1)))"], "0xfc 0x0b"),
        (["(func (memory.copy (i32.const 0) (i32.const 0) (i32.const 1)))"], "0xfc 0x0a"),
        (["(func (drop (table.grow (ref.null func) (i32.const 1))))"], "0xd0"),
        (["(func (return_call 0))"], "0x12"),
        (["(func (drop (memory.grow (i32.const 1))))"], "memory.grow, which may fail on one server only"),
        (["(table 1 funcref)"], "2 tables"),
        (["(func (drop (i32.atomic.load (i32.const 0))))"], "0xfe"),
        (["(func (drop (i8x16.relaxed_swizzle (v128.const i64x2 0 0) (v128.const i64x2 0 0))))"], "0xfd 0x100"),
        (["(func)"] * (MAX_FUNCTIONS + 1), "65 functions"),
        ([f"(func (local {'i32 ' * (MAX_LOCALS + 1)}))"], "256 locals"),
        ([f"(func {'(block ' * MAX_NESTING} {')' * MAX_NESTING})"], "deeper than 32"),
        ([f"(func {'(nop) ' * 16_400})"], "bytes long"),
        (["(func $f) (start $f)"], "start function"),
        (["(func) (tag)"], "exceptions"),
        (['(data $d "x") (func (memory.init $d (i32.const 0) (i32.const 0) (i32.const 1)))'], "bulk memory"),
    ],
)
def test_what_fuel_does_not_meter_is_bounded(functions: list[str], problem: str) -> None:
    with pytest.raises(ContractLoadError, match=problem):
        check_structure(module(*functions))


@pytest.mark.parametrize(("elements", "passes"), [("64", True), ("65", False), ("0 64", True), ("65 70", False)])
def test_a_table_starts_within_its_bound(elements: str, passes: bool) -> None:
    code = bytes(wasmtime.wat2wasm(f"(module (table {elements} funcref))"))
    with contextlib.nullcontext() if passes else pytest.raises(ContractLoadError, match="table of 65 elements"):
        check_structure(code)


def test_an_acyclic_call_graph_passes() -> None:
    check_structure(module("(func $f (call $g) (call $h))", "(func $g (call $h))", "(func $h)"))


def test_the_slowest_code_that_passes_compiles_soon(machine: VirtualMachine) -> None:
    """Without the bounds, 64 KB of nested loops kept the compiler for three minutes."""
    depth = MAX_NESTING - 2
    step = "(local.set {a} (local.get {b})) (br_if {out} (local.get 0))"
    unit = "(loop " * depth + "".join(
        step.format(a=7 * i % 256, b=(i + 1) % 256, out=depth - 1 - i) + ")" for i in range(depth)
    )
    code = module(*[f"(func (local {'i32 ' * 256}) {unit * 42})"] * 4)
    assert 55_000 < len(code) < 65_536
    check_structure(code)
    started = time.perf_counter()
    wasmtime.Module(machine._engine, code)
    assert time.perf_counter() - started < 10


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=200), st.sampled_from([b"", b"\x0a", b"\x0a\x7f\x01", b"\x0a\x80\x80\x80\x80\x80"]))
def test_random_bytes_are_refused_or_pass(tail: bytes, head: bytes) -> None:
    with contextlib.suppress(ContractLoadError):
        check_structure(b"\0asm\x01\0\0\0" + head + tail)
