from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import wasmtime

from bees.contract.description import describe_virtual_machine
from bees.contract.vm import VirtualMachine

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture(scope="session")
def machine() -> VirtualMachine:
    return VirtualMachine(
        describe_virtual_machine(fuel_limit=20_000_000, memory_limit_bytes=64 * 2**20, contract_limit_bytes=2**16)
    )


_PARTS = {
    "memory": '(memory (export "memory") 1)',
    "heap_base": '(global (export "__heap_base") i32 (i32.const 1024))',
    "abi_version": '(func (export "abi_version") (result i32) (i32.const 2))',
    "select": '(func (export "select") (param i32 i32 i32 i32 i32) (result i32)'
    " (i32.store (local.get 4) (i32.const 0)) (i32.const 1))",
    "aggregate": '(func (export "aggregate") (param i32 i32 i32 i32 i32 i32 i32) (result i32) (i32.const 0))',
    "extra": "",
}


@pytest.fixture(scope="session")
def contract_code() -> Callable[..., bytes]:
    """A small valid contract, with the parts that are named replaced."""

    def assemble(**parts: str) -> bytes:
        text = _PARTS | parts
        first = text.pop("imports", "")
        return bytes(wasmtime.wat2wasm(f"(module {first} {' '.join(text.values())})"))

    return assemble


@pytest.fixture(scope="session")
def select_code(contract_code: Callable[..., bytes]) -> Callable[..., bytes]:
    """A contract whose ``select`` has this body."""

    def assemble(body: str, **parts: str) -> bytes:
        head = (
            '(func (export "select") (param $k i32) (param $correct i32) (param $n i32) (param $m i32) (param $out i32)'
        )
        return contract_code(select=f"{head} (result i32) (local $x i32) {body})", **parts)

    return assemble
