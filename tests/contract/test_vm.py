"""Whatever is deployed, and whatever it is given, costs its fuel and nothing else."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pytest
import wasmtime
from hypothesis import given, settings
from hypothesis import strategies as st

from bees.contract.description import LONGEST_CONTRACT_BYTES, describe_virtual_machine
from bees.contract.library import load_contract_code
from bees.contract.runtime import SETTINGS, new_engine
from bees.contract.vm import VirtualMachine
from bees.core.errors import (
    ContractError,
    ContractInputError,
    ContractLoadError,
    ContractOutputError,
    ContractTrapError,
    OutOfFuelError,
    VirtualMachineError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Assemble = Callable[..., bytes]

ROW = np.arange(5, dtype=np.int32)


def select(machine: VirtualMachine, code: bytes, k: int = 4, m: int = 2) -> tuple[int, ...]:
    return machine.load(code).select([1] * k, [1] * k, m)


def test_the_small_contract_is_valid(machine: VirtualMachine, contract_code: Assemble) -> None:
    contract = machine.load(contract_code())
    assert contract.select([3], [1], 1) == (0,)
    assert contract.aggregate([0], [1], [ROW], ROW).tolist() == [0] * 5


@pytest.mark.parametrize(
    ("parts", "problem"),
    [
        ({"memory": "(memory 1)"}, "must export memory"),
        ({"memory": '(memory (export "memory") 1 2)'}, "maximum of its own"),
        (
            {"memory": '(memory (export "memory") 1025)'},
            "starts with 67174400 bytes, the limit of the genesis is 67108864",
        ),
        ({"heap_base": ""}, "__heap_base"),
        ({"heap_base": '(global (export "__heap_base") i64 (i64.const 0))'}, "__heap_base"),
        ({"heap_base": '(global (export "__heap_base") (mut i32) (i32.const 0))'}, "__heap_base"),
        ({"heap_base": '(global (export "__heap_base") i32 (i32.const -16))'}, "outside of its memory"),
        ({"abi_version": ""}, "abi_version"),
        ({"abi_version": '(func (export "abi_version") (result i32) (i32.const 1))'}, "speaks ABI 1"),
        ({"select": ""}, "must export select"),
        ({"select": '(global (export "select") i32 (i32.const 0))'}, "must export select"),
        ({"select": '(func (export "select") (param i32 i32 i32 i32) (result i32) (i32.const 1))'}, "5 i32"),
        ({"select": '(func (export "select") (param i32 i32 i32 i32 i64) (result i32) (i32.const 1))'}, "5 i32"),
        ({"aggregate": '(func (export "aggregate") (param i32 i32 i32 i32 i32 i32 i32))'}, "returns an i32"),
        ({"aggregate": ""}, "must export aggregate"),
        ({"imports": '(import "env" "clock" (func))'}, "imports"),
        ({"imports": '(import "wasi_snapshot_preview1" "random_get" (func (param i32 i32) (result i32)))'}, "imports"),
        ({"extra": "(func $f) (start $f)"}, "start function"),
        ({"extra": "(table 65 funcref)"}, "table"),
        ({"extra": '(data (i32.const 65535) "ab")'}, "out of bounds"),
        ({"extra": "(func (result i32) (i64.const 0))"}, "not a valid module"),
    ],
)
def test_what_breaks_the_abi_is_refused(
    machine: VirtualMachine, contract_code: Assemble, parts: dict[str, str], problem: str
) -> None:
    with pytest.raises(ContractLoadError, match=problem):
        machine.load(contract_code(**parts))


def test_an_abi_version_that_never_answers(machine: VirtualMachine, contract_code: Assemble) -> None:
    with pytest.raises(OutOfFuelError):
        machine.load(
            contract_code(abi_version='(func (export "abi_version") (result i32) (loop (br 0)) (unreachable))')
        )


@pytest.mark.parametrize("code", [b"", b"\0asm", b"(module)", b"\0asm\x02\0\0\0", b"MZ" * 40])
def test_what_is_no_module_is_refused(machine: VirtualMachine, code: bytes) -> None:
    with pytest.raises(ContractLoadError):
        machine.load(code)


def test_too_much_code_is_refused(machine: VirtualMachine) -> None:
    with pytest.raises(ContractLoadError, match="the limit of the genesis is 65536"):
        machine.load(b"\0asm\x01\0\0\0" + b"\0" * 2**16)


@settings(deadline=None, max_examples=150)
@given(tail=st.binary(max_size=300))
def test_random_bytes_never_raise_anything_else(machine: VirtualMachine, tail: bytes) -> None:
    for code in (tail, b"\0asm\x01\0\0\0" + tail):
        with pytest.raises(ContractError):
            machine.load(code)


@settings(deadline=None, max_examples=200)
@given(position=st.integers(0, 2**16), byte=st.integers(0, 255), cut=st.booleans())
def test_a_damaged_contract_never_raises_anything_else(
    machine: VirtualMachine, position: int, byte: int, cut: bool
) -> None:
    code = bytearray(load_contract_code("fedavg"))
    position %= len(code)
    code[position] = byte
    damaged = bytes(code[:position] if cut else code)
    try:
        contract = machine.load(damaged)
        picked = contract.select([3, 1, 2], [1, 1, 1], 2)
        assert all(0 <= index < 3 for index in picked)
        assert contract.aggregate([0, 0], [1, 1], [ROW, ROW], ROW).shape == ROW.shape
    except ContractError:
        pass


def test_an_endless_loop_costs_its_fuel(machine: VirtualMachine, select_code: Assemble) -> None:
    contract = machine.load(select_code("(loop (br 0)) (unreachable)"))
    started = time.perf_counter()
    with pytest.raises(OutOfFuelError, match="20000000 units of fuel"):
        contract.select([1], [1], 1)
    assert time.perf_counter() - started < 5
    assert contract.fuel_used == machine.description.fuel_limit


def test_a_memory_bomb_is_refused(machine: VirtualMachine, select_code: Assemble) -> None:
    grow_all = "(block (loop (br_if 1 (i32.eq (memory.grow (i32.const 1)) (i32.const -1))) (br 0)))"
    with pytest.raises(ContractLoadError, match=r"memory\.grow"):
        machine.load(select_code(grow_all + "(i32.const 1)"))


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("(unreachable)", "unreachable"),
        ("(i32.div_u (i32.const 1) (i32.const 0))", "integer division by zero"),
        ("(i32.load (i32.const -4))", "memory out of bounds"),
        ("(i32.trunc_f32_s (f32.const nan))", "bad conversion to integer"),
    ],
)
def test_a_trap_is_named(machine: VirtualMachine, select_code: Assemble, body: str, why: str) -> None:
    with pytest.raises(ContractTrapError, match=f"select trapped: {why}"):
        select(machine, select_code(body))


def store(*indices: int) -> str:
    return " ".join(f"(i32.store offset={4 * i} (local.get $out) (i32.const {x}))" for i, x in enumerate(indices))


@pytest.mark.parametrize(
    ("indices", "count"),
    [((0, 0), 2), ((1, 0), 2), ((4,), 1), ((-1,), 1), ((0, 4), 2), ((), 0), ((0, 1), 3), ((0,), -1)],
)
def test_indices_that_the_abi_forbids_are_refused(
    machine: VirtualMachine, select_code: Assemble, indices: tuple[int, ...], count: int
) -> None:
    with pytest.raises(ContractOutputError):
        select(machine, select_code(f"{store(*indices)} (i32.const {count})"))


def test_indices_that_the_abi_allows_are_taken(machine: VirtualMachine, select_code: Assemble) -> None:
    assert select(machine, select_code(f"{store(1, 3)} (i32.const 2)")) == (1, 3)


def test_a_call_leaves_nothing_behind(machine: VirtualMachine, select_code: Assemble) -> None:
    """A global that counts calls, and a mark in memory, are both gone with the instance."""
    body = """
      (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
      (i32.store (i32.const 8) (i32.add (i32.load (i32.const 8)) (i32.const 1)))
      (i32.store (local.get $out) (i32.sub (i32.add (global.get $calls) (i32.load (i32.const 8))) (i32.const 2)))
      (i32.const 1)"""
    contract = machine.load(select_code(body, extra="(global $calls (mut i32) (i32.const 0))"))
    assert {contract.select([1] * 4, [1] * 4, 1) for _ in range(3)} == {(0,)}


def test_memory_beyond_the_arrays_starts_empty(machine: VirtualMachine, select_code: Assemble) -> None:
    """Filled with ones by one contract, found empty by the next."""
    fill = "(loop (i32.store (local.get $x) (i32.const -1)) (local.set $x (i32.add (local.get $x) (i32.const 4)))"
    fill += " (br_if 0 (i32.lt_u (local.get $x) (i32.const 65536)))) (i32.store (local.get $out) (i32.const 0))"
    assert select(machine, select_code(f"{fill} (i32.const 1)")) == (0,)
    look = "(i32.store (local.get $out) (i32.load (i32.const 60000))) (i32.const 1)"
    assert select(machine, select_code(look)) == (0,)


def test_nan_has_one_spelling(machine: VirtualMachine, contract_code: Assemble) -> None:
    """Payloads go in as words of an update and come out as the canonical NaN, scalar and SIMD."""
    body = """(func (export "aggregate") (param i32 i32 i32 i32 i32 i32 i32) (result i32)
      (f32.store (local.get 6) (f32.add (f32.load (local.get 4)) (f32.const 1)))
      (f32.store offset=4 (local.get 6)
        (f32x4.extract_lane 1 (f32x4.mul (v128.load (local.get 4)) (v128.load (local.get 4)))))
      (i32.const 0))"""
    update = np.array([0x7FA00001, 0xFFFFFFFF, 0xFFC00123, 0x7F800001, 0], np.uint32).view(np.int32)
    out = machine.load(contract_code(aggregate=body)).aggregate([0], [1], [update], ROW)
    assert out.view(np.uint32)[:2].tolist() == [0x7FC00000, 0x7FC00000]


def test_a_full_stack_of_functions_fits(contract_code: Assemble) -> None:
    """No recursion and few functions: the deepest chain of the fattest frames must not overflow the stack."""
    roomy = VirtualMachine(describe_virtual_machine(contract_limit_bytes=LONGEST_CONTRACT_BYTES))
    keep = " ".join(f"(v128.load offset={i % 128} (local.get 0))" for i in range(240))
    chain = [
        f"(func $f{i} (param i32) (result v128) {keep} (call $f{i + 1} (local.get 0)) {'(v128.or) ' * 240})"
        for i in range(60)
    ]
    chain.append("(func $f60 (param i32) (result v128) (v128.load (local.get 0)))")
    body = """(func (export "select") (param i32 i32 i32 i32 i32) (result i32)
      (v128.store (local.get 4) (call $f0 (i32.const 0))) (i32.const 1))"""
    code = contract_code(select=body, extra=" ".join(chain))
    assert 100_000 < len(code) <= LONGEST_CONTRACT_BYTES
    assert select(roomy, code) == (0,)


@pytest.mark.parametrize(
    ("samples", "updates", "problem"),
    [
        ([], [], "0 updates"),
        ([1, 2], [ROW], "1 updates with 2 scores"),
        ([0], [ROW], "sum to 0"),
        ([2**32 - 1, 1], [ROW, ROW], "sum to 4294967296"),
        ([-1, 2], [ROW, ROW], r"samples\[0\] = -1"),
        ([2**32], [ROW], r"samples\[0\] = 4294967296"),
        ([1], [ROW[:4]], "update 0"),
        ([1], [ROW.astype(np.int64)], "update 0 is int64"),
        ([1], [ROW.reshape(1, 5)], "update 0"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(
    machine: VirtualMachine, contract_code: Assemble, samples: list[int], updates: list[NDArray[Any]], problem: str
) -> None:
    with pytest.raises(ContractInputError, match=problem):
        machine.load(contract_code()).aggregate([0] * len(samples), samples, updates, ROW)


@pytest.mark.parametrize(("correct", "m"), [([], 1), ([1], 0), ([1, 2], 1), ([-1], 1), ([2**32], 1)])
def test_selections_that_do_not_fit_are_refused(
    machine: VirtualMachine, contract_code: Assemble, correct: list[int], m: int
) -> None:
    with pytest.raises(ContractInputError):
        machine.load(contract_code()).select(correct, [1], m)


def test_updates_over_the_memory_limit_are_refused(machine: VirtualMachine, contract_code: Assemble) -> None:
    update = np.zeros(2**22, np.int32)
    with pytest.raises(ContractInputError, match="limit of the genesis"):
        machine.load(contract_code()).aggregate([0] * 4, [1] * 4, [update] * 4, update)


def test_code_is_compiled_once_and_old_code_is_dropped(
    machine: VirtualMachine, select_code: Assemble, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled: list[bytes] = []
    check = VirtualMachine._compile

    def compile_and_count(self: VirtualMachine, code: bytes) -> wasmtime.Module:
        compiled.append(code)
        return check(self, code)

    monkeypatch.setattr(VirtualMachine, "_compile", compile_and_count)
    codes = [select_code(f"{store(i)} (i32.const 1)") for i in range(12)]
    for index in (0, 0, *range(12), 0):
        assert machine.load(codes[index]).select([1] * 20, [1] * 20, 1) == (index,)
    assert compiled == [*codes, codes[0]]
    assert len(machine._compiled) <= 8


def test_eight_compiled_contracts_are_kept_and_the_one_used_longest_ago_goes_first(
    machine: VirtualMachine, select_code: Assemble
) -> None:
    fresh = VirtualMachine(machine.description)
    codes = [select_code(f"{store(i)} (i32.const 1)") for i in range(9)]
    modules = [fresh.load(code)._module for code in codes[:8]]
    assert [fresh.load(code)._module for code in codes[:8]] == modules
    assert fresh.load(codes[0])._module is modules[0]
    fresh.load(codes[8])
    assert fresh.load(codes[0])._module is modules[0]
    assert fresh.load(codes[1])._module is not modules[1]


def test_code_up_to_its_limit_is_taken(machine: VirtualMachine, contract_code: Assemble) -> None:
    code = contract_code()
    for limit, passes in ((len(code), True), (len(code) - 1, False)):
        small = VirtualMachine(msgspec.structs.replace(machine.description, contract_limit_bytes=limit))
        if passes:
            small.load(code)
        else:
            with pytest.raises(ContractLoadError, match=f"the limit of the genesis is {limit}"):
                small.load(code)


def test_memory_may_start_at_its_limit(machine: VirtualMachine, contract_code: Assemble) -> None:
    machine.load(contract_code(memory='(memory (export "memory") 1024)'))


def test_a_runtime_that_does_not_keep_its_limits_is_not_started(
    machine: VirtualMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bees.contract.vm.new_engine", lambda: new_engine({**SETTINGS, "consume_fuel": False}))
    with pytest.raises(VirtualMachineError, match="fuel does not end a loop"):
        VirtualMachine(machine.description)


def test_a_contract_that_has_not_run_has_used_no_fuel(machine: VirtualMachine, contract_code: Assemble) -> None:
    contract = machine.load(contract_code())
    assert contract.fuel_used == 0
    contract.select([1], [1], 1)
    assert contract.fuel_used > 0


def test_a_contract_sees_all_sample_counts_beside_its_answer(machine: VirtualMachine, select_code: Assemble) -> None:
    body = f"{store(1)} (i32.store offset=4 (local.get $out) (i32.load offset=16 (local.get $n))) (i32.const 2)"
    assert machine.load(select_code(body)).select([9] * 8, [8, 8, 8, 8, 5, 8, 8, 8], 2) == (1, 5)


def test_a_contract_is_asked_for_no_more_updates_than_there_are(machine: VirtualMachine, select_code: Assemble) -> None:
    code = select_code(f"{store(0, 1)} (local.get $m)")
    assert select(machine, code, k=2, m=5) == (0, 1)


def test_a_contract_sees_the_last_global_model(machine: VirtualMachine, contract_code: Assemble) -> None:
    body = """(func (export "aggregate") (param i32 i32 i32 i32 i32 i32 i32) (result i32)
      (i32.store (local.get 6) (i32.load offset=4 (local.get 5))) (i32.const 0))"""
    assert machine.load(contract_code(aggregate=body)).aggregate([0], [1], [ROW], ROW + 6).tolist() == [7, 0, 0, 0, 0]


def test_a_contract_sees_the_scores_of_what_it_aggregates(machine: VirtualMachine, contract_code: Assemble) -> None:
    body = """(func (export "aggregate") (param i32 i32 i32 i32 i32 i32 i32) (result i32)
      (i32.store (local.get 6) (i32.load offset=4 (local.get 2))) (i32.const 0))"""
    assert machine.load(contract_code(aggregate=body)).aggregate([8, 9], [1, 1], [ROW, ROW], ROW)[0] == 9


def test_scores_that_do_not_fit_the_updates_are_refused(machine: VirtualMachine, contract_code: Assemble) -> None:
    with pytest.raises(ContractInputError, match="1 updates with 2 scores and 1 sample counts"):
        machine.load(contract_code()).aggregate([1, 2], [1], [ROW], ROW)


@pytest.mark.parametrize(
    "w_prev", [ROW.reshape(1, 5), ROW.reshape(5, 1), ROW.astype(np.int64), ROW.astype(np.uint32), ROW[:0]]
)
def test_a_global_model_that_is_no_row_of_words_is_refused(
    machine: VirtualMachine, contract_code: Assemble, w_prev: NDArray[Any]
) -> None:
    with pytest.raises(ContractInputError, match=f"w_prev is {w_prev.dtype} of shape"):
        machine.load(contract_code()).aggregate([0], [1], [w_prev], w_prev)


def test_a_number_that_is_no_word_is_named(machine: VirtualMachine, contract_code: Assemble) -> None:
    contract = machine.load(contract_code())
    with pytest.raises(ContractInputError, match=r"^correct\[1\] = -1 is outside"):
        contract.select([1, -1], [1, 1], 1)
    with pytest.raises(ContractInputError, match=r"^samples\[0\] = 4294967296 is outside"):
        contract.select([1, 1], [2**32, 1], 1)
    with pytest.raises(ContractInputError, match=r"^correct\[0\] = -1 is outside"):
        contract.aggregate([-1], [1], [ROW], ROW)
    with pytest.raises(ContractInputError, match="cannot select 1 of 0 updates"):
        contract.select([], [], 1)


def test_another_runtime_is_named(machine: VirtualMachine) -> None:
    other = msgspec.structs.replace(machine.description, runtime="wasmer")
    with pytest.raises(VirtualMachineError, match="wasmer"):
        VirtualMachine(other, accept_other_version=True)


def test_another_version_runs_only_for_who_accepts_it(machine: VirtualMachine) -> None:
    installed = machine.description.runtime_version
    other = msgspec.structs.replace(machine.description, runtime_version="1.2.3")
    with pytest.raises(VirtualMachineError, match=rf"pins wasmtime 1\.2\.3, {installed} is installed"):
        VirtualMachine(other)
    auditor = VirtualMachine(other, accept_other_version=True)
    assert auditor.version_difference == f"the genesis pins wasmtime 1.2.3, {installed} is installed"
    assert auditor.load(load_contract_code("argmax")).select([1, 2], [1, 1], 1) == (1,)
    assert machine.version_difference is None


# What this machine lacks is no fact about the contract


def test_a_contract_that_has_loaded_and_finds_no_room_is_not_to_blame(
    machine: VirtualMachine, contract_code: Assemble, monkeypatch: pytest.MonkeyPatch
) -> None:
    contract = machine.load(contract_code())

    def fail(*_: object) -> None:
        raise wasmtime.WasmtimeError("mmap failed\nCaused by:\nCannot allocate memory (os error 12)")

    monkeypatch.setattr(wasmtime, "Instance", fail)
    with pytest.raises(VirtualMachineError, match="this machine cannot run the contract: Cannot allocate memory"):
        contract.select([1], [1], 1)
    with pytest.raises(VirtualMachineError):
        machine.load(contract_code(extra="(func)"))


def test_a_valid_module_that_does_not_compile_is_not_to_blame(
    machine: VirtualMachine, contract_code: Assemble, monkeypatch: pytest.MonkeyPatch
) -> None:
    class NoRoom(wasmtime.Module):
        def __init__(self, *_: object) -> None:
            raise wasmtime.WasmtimeError("Cannot allocate memory (os error 12)")

    monkeypatch.setattr(wasmtime, "Module", NoRoom)
    with pytest.raises(VirtualMachineError, match="cannot compile"):
        machine.load(contract_code(extra="(func) (func)"))
    with pytest.raises(ContractLoadError, match="not a valid module"):
        machine.load(contract_code(extra="(func (result i32) (i64.const 0))"))


def test_memory_that_cannot_grow_within_its_limit_is_this_machines_fault(
    machine: VirtualMachine, contract_code: Assemble, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise wasmtime.WasmtimeError("failed to grow memory by `20`")

    monkeypatch.setattr(wasmtime.Memory, "grow", fail)
    update = np.zeros(2**18, np.int32)
    with pytest.raises(VirtualMachineError, match="no memory for 48 more pages"):
        machine.load(contract_code()).aggregate([0], [1], [update], update)


_STARVED = """
import resource
from pathlib import Path
from bees.contract.description import describe_virtual_machine
from bees.contract.library import load_contract_code
from bees.contract.vm import VirtualMachine
from bees.core.errors import VirtualMachineError

contract = VirtualMachine(describe_virtual_machine()).load(load_contract_code("fedavg"))
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 200 * 2**20,) * 2)
try:
    contract.select([1, 2], [1, 1], 1)
except VirtualMachineError as error:
    print("cannot judge:", error)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits the address space as Linux does")
def test_a_process_out_of_address_space_does_not_blame_the_contract() -> None:
    done = subprocess.run([sys.executable, "-c", _STARVED], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.startswith("cannot judge: this machine cannot run the contract"), done.stderr
