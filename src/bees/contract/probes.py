"""Finds out by trying whether the runtime keeps its settings.

Some versions of some runtimes accept a setting silently and ignore it. So each setting that a result depends on
has a probe: a few lines of WebAssembly text that come out differently when it does not hold.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import wasmtime

from bees.contract.description import PAGE_BYTES
from bees.core.errors import VirtualMachineError

if TYPE_CHECKING:
    from collections.abc import Callable

    from bees.contract.description import VirtualMachineDescription

_PROBE_FUEL = 10_000

_REFUSED = {
    "relaxed SIMD": "(module (func (param v128) (result v128)"
    " (f32x4.relaxed_madd (local.get 0) (local.get 0) (local.get 0))))",
    "shared memory": "(module (memory 1 1 shared))",
    "atomic instructions": "(module (memory 1) (func (result i32) (i32.atomic.load (i32.const 0))))",
    "bulk memory": "(module (memory 1) (func (memory.fill (i32.const 0) (i32.const 0) (i32.const 1))))",
    "64-bit memory": "(module (memory i64 1))",
    "several memories": "(module (memory 1) (memory 1))",
    "several results": "(module (func (result i32 i32) (i32.const 0) (i32.const 0)))",
    "tail calls": "(module (func (return_call 0)))",
    "exceptions": "(module (tag))",
    "garbage collection": "(module (type (struct)))",
    "page sizes": "(module (memory 1 (pagesize 1)))",
}

_LOOP = "(module (func (export 'f') (result i32) (loop (br 0)) (unreachable)))"
_RECURSION = "(module (func $f (export 'f') (result i32) (call $f)))"
_GROW = "(module (memory 1) (func (export 'f') (result i32) (memory.grow (i32.const {pages}))))"
_MEMORY = "(module (memory {pages}) (func (export 'f') (result i32) (i32.const 0)))"

# Uncanonical, x86 makes 0xffc00000 of 0 / 0, and all machines let a NaN's payload through.
_NAN = {
    "f32 0 / 0": ("(i32.reinterpret_f32 (f32.div (f32.const 0) (f32.const 0)))", 0x7FC0_0000),
    "f32 + 1": (
        "(i32.reinterpret_f32 (f32.add (f32.reinterpret_i32 (i32.const 0xffa00001)) (f32.const 1)))",
        0x7FC0_0000,
    ),
    "f64 + 1": (
        (
            "(i32.wrap_i64 (i64.shr_u (i64.reinterpret_f64"
            " (f64.add (f64.reinterpret_i64 (i64.const -1)) (f64.const 1))) (i64.const 32)))"
        ),
        0x7FF8_0000,
    ),
    "f32x4 + 1": (
        "(i32x4.extract_lane 2 (f32x4.add (i32x4.splat (i32.const -1)) (f32x4.splat (f32.const 1))))",
        0x7FC0_0000,
    ),
}


def check_behaviour(engine: wasmtime.Engine, description: VirtualMachineDescription) -> None:
    """Try every setting that a result depends on.

    Raises:
        VirtualMachineError: naming the first that does not hold.
    """
    probe = _Probe(engine, description.memory_limit_bytes)
    _check_fuel(probe)
    _check_memory(probe, description.memory_limit_bytes // PAGE_BYTES)
    for name, (expression, expected) in _NAN.items():
        found = probe.run(f"(module (func (export 'f') (result i32) {expression}))")
        _require(found == expected, f"NaN is not canonical in {name}: {found}")
    for name, text in _REFUSED.items():
        _require(isinstance(probe.compile(text), str), f"{name} must be off, but is accepted")


def _check_fuel(probe: _Probe) -> None:
    _require(probe.run(_LOOP) is wasmtime.TrapCode.OUT_OF_FUEL, "fuel does not end a loop")
    _require(probe.run(_LOOP, fuel=0) is wasmtime.TrapCode.OUT_OF_FUEL, "a call runs without fuel")
    deep = probe.run(_RECURSION, fuel=2**40)
    _require(deep is wasmtime.TrapCode.STACK_OVERFLOW, "the stack does not end a recursion")


def _check_memory(probe: _Probe, pages: int) -> None:
    grows = probe.run(_GROW.format(pages=pages - 1)) == 1
    _require(grows, f"memory does not grow to {pages} pages; are {pages * PAGE_BYTES / 1e6:.0f} MB free?")
    _require(probe.run(_GROW.format(pages=pages)) == 2**32 - 1, "memory grows over its limit")
    _require(isinstance(probe.run(_MEMORY.format(pages=pages + 1)), str), "memory starts over its limit")


def _require(holds: bool, problem: str) -> None:
    if not holds:
        raise VirtualMachineError(f"the WebAssembly runtime fails its self-test: {problem}")


class _Probe:
    """Compiles and runs small modules under the limits of contracts."""

    def __init__(self, engine: wasmtime.Engine, memory_limit_bytes: int) -> None:
        self._engine, self._memory_limit_bytes = engine, memory_limit_bytes

    def compile(self, text: str) -> wasmtime.Module | str:
        """The module, or why it was refused."""
        code = bytes(wasmtime.wat2wasm(text.replace("'", '"')))
        try:
            return wasmtime.Module(self._engine, code)
        except wasmtime.WasmtimeError as error:
            return str(error)

    def run(self, text: str, fuel: int = _PROBE_FUEL) -> int | str | wasmtime.TrapCode | None:
        """What the exported function returns, unsigned; or the trap; or why it could not run."""
        module = self.compile(text)
        if isinstance(module, str):
            return module
        store = wasmtime.Store(self._engine)
        try:
            store.set_limits(memory_size=self._memory_limit_bytes, instances=1, memories=1)
            store.set_fuel(fuel)
            exported: Any = wasmtime.Instance(store, module, []).exports(store)["f"]
            function: Callable[[wasmtime.Store], int] = exported
            return function(store) % 2**32
        except wasmtime.Trap as trap:
            return trap.trap_code
        except wasmtime.WasmtimeError as error:
            return str(error)
        finally:
            store.close()
