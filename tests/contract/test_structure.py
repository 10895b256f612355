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


# What the WebAssembly specification (3.0, "Instructions") lets follow an opcode: LEB128 integers, then raw bytes.
IMMEDIATES = {
    **dict.fromkeys([0x00, 0x01, 0x0F, 0x1A, 0x1B, *range(0x45, 0xC5)], (0, 0)),
    **dict.fromkeys([0x0C, 0x0D, 0x10, 0x20, 0x21, 0x22, 0x23, 0x24, 0x3F, 0x41, 0x42], (1, 0)),
    **dict.fromkeys(range(0x28, 0x3F), (2, 0)),
    0x43: (0, 4),
    0x44: (0, 8),
}
VECTOR_IMMEDIATES = {
    **dict.fromkeys(range(0x100), (0, 0)),
    **dict.fromkeys([*range(12), 92, 93], (2, 0)),
    **dict.fromkeys([12, 13], (0, 16)),
    **dict.fromkeys(range(21, 35), (0, 1)),
    **dict.fromkeys(range(84, 92), (2, 1)),
}
LONG = b"\x8b\x0b"
"""An integer of two bytes. A reader that takes it for instructions finds one that is allowed, and an ``end``."""
END = b"\x0b"


def leb(value: int) -> bytes:
    head, rest = value & 0x7F, value >> 7
    return bytes([head | 0x80]) + leb(rest) if rest else bytes([head])


def raw_module(body: bytes, local_groups: bytes = b"\0", functions: int = 1) -> bytes:
    """A module of one section: so many times the function with these instructions, none of which needs be valid."""
    function = local_groups + body + END
    code = leb(functions) + (leb(len(function)) + function) * functions
    return b"\0asm\x01\0\0\0" + b"\x0a" + leb(len(code)) + code


def is_refused(code: bytes) -> bool:
    try:
        check_structure(code)
    except ContractLoadError:
        return True
    return False


def followed(opcode: bytes, immediates: tuple[int, int]) -> bytes:
    integers, raw = immediates
    return opcode + LONG * integers + END * raw


@pytest.mark.parametrize("opcode", [o for o in range(256) if o not in (0x0B, 0x0E, 0x10, 0x1C, 0xFC, 0xFD)])
def test_of_every_opcode_the_reader_knows_what_follows_it_or_refuses_it(opcode: int) -> None:
    after = {0x02: LONG + END, 0x03: LONG + END, 0x04: LONG + b"\x05" + END}.get(opcode)
    code = bytes([opcode])
    if after is not None:
        check_structure(raw_module(code + after))
        assert is_refused(raw_module(code + after[:-1]))
    elif opcode in IMMEDIATES:
        check_structure(raw_module(followed(code, IMMEDIATES[opcode])))
    elif opcode == 0x05:
        check_structure(raw_module(code))
    else:
        name = "memory.grow" if opcode == 0x40 else f"{opcode:#04x}, which"
        with pytest.raises(ContractLoadError, match=name):
            check_structure(raw_module(code))


def test_of_every_vector_and_saturating_opcode_the_reader_knows_what_follows_it_or_refuses_it() -> None:
    for opcode, immediates in VECTOR_IMMEDIATES.items():
        check_structure(raw_module(followed(b"\xfd" + leb(opcode), immediates)))
    for opcode in range(8):
        check_structure(raw_module(b"\xfc" + leb(opcode)))
    for prefix, opcode in ((0xFD, 0x100), (0xFD, 0x101), (0xFC, 8), (0xFC, 9), (0xFC, 0x100)):
        with pytest.raises(ContractLoadError, match=f"{prefix:#04x} {opcode:#04x}"):
            check_structure(raw_module(bytes([prefix]) + leb(opcode)))


def test_calls_branch_tables_and_typed_selects_are_read_to_their_end() -> None:
    check_structure(raw_module(b"", functions=2))
    two = raw_module(b"\x10" + b"\x81\x00", functions=1)  # calls function 1, which is not there: not for this to say
    check_structure(two)
    for labels in range(4):
        check_structure(raw_module(b"\x0e" + leb(labels) + LONG * (labels + 1)))
    for types in range(4):
        check_structure(raw_module(b"\x1c" + leb(types) + END * types))


def test_sections_are_those_of_a_pure_function() -> None:
    bodies: dict[int, bytes] = dict.fromkeys((1, 3, 4, 6, 7, 10), b"\0")
    allowed = [
        n
        for n in range(256)
        if not is_refused(b"\0asm\x01\0\0\0" + bytes([n, len(bodies.get(n, b""))]) + bodies.get(n, b""))
    ]
    assert allowed == [0, 1, 3, 4, 5, 6, 7, 9, 10, 11]
    for section, problem in ((2, "imports"), (8, "a start function"), (12, "bulk memory"), (13, "exceptions")):
        with pytest.raises(ContractLoadError, match=f"may not have {problem}"):
            check_structure(b"\0asm\x01\0\0\0" + bytes([section, 0]))
    with pytest.raises(ContractLoadError, match="unknown section 14"):
        check_structure(b"\0asm\x01\0\0\0\x0e\0")


@pytest.mark.parametrize("header", [b"", b"\0asm", b"\0asm\x02\0\0\0", b"\0asm\x0d\0\x01\0"])
def test_only_modules_of_binary_format_1_are_read(header: bytes) -> None:
    with pytest.raises(ContractLoadError, match="binary format 1"):
        check_structure(header)


def test_what_is_just_within_a_bound_passes_and_one_more_does_not() -> None:
    nop, block, more = b"\x01", b"\x02\x40", b"\x0b"
    for within, beyond, problem in (
        (raw_module(b"", functions=64), raw_module(b"", functions=65), "65 functions; a contract may have 64"),
        (raw_module(nop * 16_382), raw_module(nop * 16_383), "function 0 is 16385 bytes long, over 16384"),
        (raw_module(b"", b"\x01" + leb(256) + b"\x7f"), raw_module(b"", b"\x01" + leb(257) + b"\x7f"), "256 locals"),
        (
            raw_module(b"", b"\x02" + leb(200) + b"\x7f" + leb(56) + b"\x7e"),
            raw_module(b"", b"\x02" + leb(200) + b"\x7f" + leb(57) + b"\x7e"),
            "function 0 has more than 256 locals",
        ),
        (raw_module(block * 31 + more * 31), raw_module(block * 32 + more * 32), "function 0 nests blocks deeper"),
    ):
        check_structure(within)
        with pytest.raises(ContractLoadError, match=problem):
            check_structure(beyond)


def test_an_integer_is_its_seven_bit_groups_and_no_longer_than_ten_bytes() -> None:
    def module_with_size(size: bytes) -> bytes:
        return b"\0asm\x01\0\0\0\0" + size + bytes(300)

    for size in (b"\xac\x02", b"\xac\x82\x00", b"\xac\x82" + b"\x80" * 7 + b"\0"):
        check_structure(module_with_size(size))
    with pytest.raises(ContractLoadError, match="an integer too long at byte 19"):
        check_structure(module_with_size(b"\xac\x82" + b"\x80" * 8 + b"\0"))


def test_what_is_cut_short_is_refused_where_it_ends() -> None:
    whole = raw_module(followed(b"\x44", (0, 8)))
    for end in range(9, len(whole)):
        with pytest.raises(ContractLoadError, match=f"cut short at byte {end}$"):
            check_structure(whole[:end])
    with pytest.raises(ContractLoadError, match="function 0 goes on after its end"):
        check_structure(raw_module(END))
    with pytest.raises(ContractLoadError, match="cut short at byte 15"):
        check_structure(b"\0asm\x01\0\0\0\x0a\x05\x01\x03\0\x02\x40" + bytes(9))
    check_structure(b"\0asm\x01\0\0\0\0\x02ab\0\0")


def test_a_table_section_is_read_to_the_elements() -> None:
    def module_with_tables(body: bytes) -> bytes:
        return b"\0asm\x01\0\0\0\x04" + leb(len(body)) + body

    check_structure(module_with_tables(b"\x00"))
    check_structure(module_with_tables(b"\x01\x70\x00\x40"))
    for body, problem in (
        (b"\x01\x70\x00\x41", "65 elements; a contract may have 64"),
        (b"\x02", "2 tables"),
        (b"", "cut"),
    ):
        with pytest.raises(ContractLoadError, match=problem):
            check_structure(module_with_tables(body))


def test_parameters_and_exports_are_bounded() -> None:
    def section(number: int, body: bytes) -> bytes:
        return b"\0asm\x01\0\0\0" + bytes([number]) + leb(len(body)) + body

    def types(*parameters: int) -> bytes:
        kinds = [b"\x60" + leb(count) + b"\x7b" * count + b"\x01\x7f" for count in parameters]
        return section(1, leb(len(kinds)) + b"".join(kinds))

    check_structure(types(32, 0, 32))
    check_structure(section(7, leb(64) + b"\x01e\x02\x00" * 64))
    for code, problem in (
        (types(6, 33), "type 1 has 33 parameters; a function may have 32"),
        (section(1, b"\x01\x5f\x00"), "type 0 is not that of a function"),
        (types(4)[:-1], "cut short"),
        (section(1, b"\x01\x60\x00\x02\x7f"), "cut short"),
        (section(7, leb(65)), "65 exports; a contract may have 64"),
        (section(7, leb(2) + b"\x01e\x02\x00"), "cut short"),
        (section(3, b"\x02\x00"), "cut short"),
        (section(6, b"\x01\x7f\x00\x41\x00"), "cut short"),
        (section(6, b"\x01\x70\x00\xd0\x70\x0b"), "global 0 has instruction 0xd0"),
    ):
        with pytest.raises(ContractLoadError, match=problem):
            check_structure(code)


def test_vectors_stay_inside() -> None:
    """The host's library aborts the process when it is asked for the type of an export with a vector in it."""
    zero = "(v128.const i64x2 0 0)"
    inside = f"(global $g (mut v128) {zero}) (func $f (param v128) (result v128) (global.get $g))"
    check_structure(module(inside, '(func (export "f") (param i32 i64 f32 f64))', '(export "memory" (memory 0))'))
    for text in (
        '(func (export "f") (param i32 v128))',
        f'(func (export "f") (result v128) {zero})',
        f'(global (export "g") v128 {zero})',
        f'(global i32 (i32.const 1)) (global (export "g") (mut v128) {zero})',
        '(func) (func $f (param v128)) (export "f" (func $f))',
    ):
        with pytest.raises(ContractLoadError, match="export 0 has a vector type"):
            check_structure(module(text))
    # What an export names need not be there; the runtime says so.
    check_structure(b"\0asm\x01\0\0\0\x07\x09\x02\x01f\x00\x05\x01g\x03\x05")


def test_what_lies_just_past_the_end_is_left_to_the_runtime_and_so_is_whether_a_global_may_change() -> None:
    def sections(*parts: tuple[int, bytes]) -> bytes:
        return b"\0asm\x01\0\0\0" + b"".join(bytes([number]) + leb(len(body)) + body for number, body in parts)

    one_type, one_global = (1, b"\x01\x60\x01\x7b\x00"), (6, b"\x01\x7b\x00\x41\x00\x0b")
    check_structure(sections(one_type, (3, b"\x01\x00"), (7, b"\x01\x01f\x00\x01")))
    check_structure(sections(one_type, (3, b"\x01\x01"), (7, b"\x01\x01f\x00\x00")))
    check_structure(sections(one_global, (7, b"\x01\x01g\x03\x01")))
    for exported in (
        sections(one_type, (3, b"\x01\x00"), (7, b"\x01\x01f\x00\x00")),
        sections(one_global, (7, b"\x01\x01g\x03\x00")),
    ):
        with pytest.raises(ContractLoadError, match="export 0 has a vector type"):
            check_structure(exported)
    check_structure(sections((6, b"\x01\x7f\x12\x41\x00\x0b")))


def test_recursion_names_the_first_function_that_takes_part() -> None:
    ring = ["(func)", "(func $f (call $g))", "(func $g (call $f))", "(func (call $f))"]
    with pytest.raises(ContractLoadError, match="function 1 recurses, or calls one that does"):
        check_structure(module(*ring))
