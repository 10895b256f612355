"""The only part that touches wasmtime: its settings, and one call in a sandbox of its own.

Every wasmtime error ends here, as one of ``bees.core.errors``. What the code does wrong is a ContractError, the
same on every server. What this machine lacks, such as memory, is a VirtualMachineError: no vote may rest on it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import wasmtime

from bees.contract.description import PAGE_BYTES
from bees.contract.structure import MAX_TABLE_ELEMENTS
from bees.core.errors import (
    ContractError,
    ContractInputError,
    ContractLoadError,
    ContractTrapError,
    OutOfFuelError,
    VirtualMachineError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

    from numpy.typing import NDArray

    from bees.contract.description import VirtualMachineDescription

Word = TypeVar("Word", np.uint32, np.int32)

WORD_BYTES = 4
_ALIGNMENT_BYTES = 16
_STACK_BYTES = 2**20  # 64 functions that cannot recurse need less, see bees.contract.structure

_OFF = (
    "threads",
    "relaxed_simd",
    "bulk_memory",
    "tail_call",
    "multi_memory",
    "memory64",
    "multi_value",
    "exceptions",
    "function_references",
    "gc",
    "wide_arithmetic",
    "custom_page_sizes",
    "stack_switching",
)

SETTINGS: Mapping[str, bool | int] = {
    "consume_fuel": True,
    "cranelift_nan_canonicalization": True,
    "wasm_simd": True,
    **{f"wasm_{feature}": False for feature in _OFF},
    "shared_memory": False,
    "gc_support": False,
    "max_wasm_stack": _STACK_BYTES,
    "parallel_compilation": False,  # contracts are small, and a thread pool would outlive the compiler
}
"""With these, the same code on the same inputs ends the same on every machine."""


def new_engine(settings: Mapping[str, bool | int] = SETTINGS) -> wasmtime.Engine:
    """A compiler and runtime of these settings.

    They are only asked for here; ``bees.contract.probes`` finds out whether they hold.
    """
    config = wasmtime.Config()
    for name, value in settings.items():
        setattr(config, name, value)
    return wasmtime.Engine(config)


def compile_module(engine: wasmtime.Engine, code: bytes) -> wasmtime.Module:
    """Compile WebAssembly.

    Raises:
        ContractLoadError: it is not valid.
        VirtualMachineError: it is, but this machine cannot compile it.
    """
    try:
        return wasmtime.Module(engine, code)
    except wasmtime.WasmtimeError as error:
        _validate(engine, code)
        raise VirtualMachineError(f"this machine cannot compile the contract: {_one_line(error)}") from error


def _validate(engine: wasmtime.Engine, code: bytes) -> None:
    try:
        wasmtime.Module.validate(engine, code)
    except wasmtime.WasmtimeError as error:
        raise ContractLoadError(f"not a valid module: {_one_line(error)}") from error


class Sandbox:
    """A fresh instance of a module, with memory and fuel of its own, for one call.

    Attributes:
        fuel_limit: what it started with.
    """

    def __init__(
        self, module: wasmtime.Module, engine: wasmtime.Engine, description: VirtualMachineDescription
    ) -> None:
        """Instantiate a module whose memory and table are known to start within the limits.

        Raises:
            ContractLoadError: it traps, because its data lie outside of its memory.
            VirtualMachineError: this machine has no room for it.
        """
        self.fuel_limit = description.fuel_limit
        self._memory_limit_bytes = description.memory_limit_bytes
        self._store = wasmtime.Store(engine)
        self._store.set_limits(
            memory_size=description.memory_limit_bytes,
            table_elements=MAX_TABLE_ELEMENTS,
            instances=1,
            tables=1,
            memories=1,
        )
        self._store.set_fuel(description.fuel_limit)
        try:
            self._exports = wasmtime.Instance(self._store, module, []).exports(self._store)
        except wasmtime.Trap as trap:
            self.close()
            raise ContractLoadError(f"cannot be instantiated: {_one_line(trap)}") from trap
        except wasmtime.WasmtimeError as error:
            self.close()
            raise VirtualMachineError(f"this machine cannot run the contract: {_one_line(error)}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the memory back now, not when the collector gets to it."""
        self._store.close()

    @property
    def fuel_used(self) -> int:
        """Fuel that was used up so far."""
        return self.fuel_limit - self._store.get_fuel()

    @property
    def memory_bytes(self) -> int:
        """Size of the linear memory."""
        return self._memory.data_len(self._store)

    @property
    def heap_base(self) -> int:
        """The exported ``__heap_base``: the address from which on the contract has nothing of its own."""
        exported: Any = self._exports["__heap_base"]
        return int(exported.value(self._store)) % 2**32

    @property
    def _memory(self) -> wasmtime.Memory:
        exported: Any = self._exports["memory"]
        return exported

    def lay_out(self, *word_counts: int) -> list[int]:
        """Addresses of arrays of so many words, one after the other from the heap base; memory grows to hold them.

        Raises:
            ContractInputError: they do not fit in the memory limit.
            VirtualMachineError: the machine has no memory left.
        """
        addresses: list[int] = []
        end = self.heap_base
        for count in word_counts:
            start = -(-end // _ALIGNMENT_BYTES) * _ALIGNMENT_BYTES
            addresses.append(start)
            end = start + count * WORD_BYTES
        missing_pages = -(-(end - self.memory_bytes) // PAGE_BYTES)
        if end - end % -PAGE_BYTES > self._memory_limit_bytes:
            raise ContractInputError(
                f"the updates need {end} bytes of contract memory, the limit of the genesis is"
                f" {self._memory_limit_bytes}: raise it, or lower top-M"
            )
        if missing_pages > 0:
            self._grow(missing_pages)
        return addresses

    def _grow(self, pages: int) -> None:
        try:
            self._memory.grow(self._store, pages)
        except wasmtime.WasmtimeError as error:
            raise VirtualMachineError(
                f"this machine has no memory for {pages} more pages of contract memory"
            ) from error

    def words(self, address: int, count: int, kind: type[Word]) -> NDArray[Word]:
        """A view of ``count`` words of linear memory; of no use once the contract has run, or memory has grown.

        Raises:
            ContractError: they lie outside of memory.
        """
        if count == 0:
            return np.empty(0, kind)
        if address + count * WORD_BYTES > self.memory_bytes:
            raise ContractError(f"address {address} lies outside of the contract's memory")
        memory: Any = self._memory  # its buffer is untyped
        raw = memory.get_buffer_ptr(self._store, count * WORD_BYTES, address)
        return np.frombuffer(raw, np.dtype(kind).newbyteorder("<"))

    def call(self, name: str, *arguments: int) -> int:
        """Result of an exported function of i32, as an unsigned number.

        Raises:
            OutOfFuelError: it used up its fuel.
            ContractTrapError: it trapped.
            VirtualMachineError: this machine could not run it.
        """
        function: Any = self._exports[name]
        try:
            return int(function(self._store, *map(_as_i32, arguments))) % 2**32
        except wasmtime.Trap as trap:
            code = trap.trap_code
            if code is wasmtime.TrapCode.OUT_OF_FUEL:
                raise OutOfFuelError(f"{name} used up its {self.fuel_limit} units of fuel") from trap
            why = code.name.lower().replace("_", " ") if code else _one_line(trap)
            raise ContractTrapError(f"{name} trapped: {why}") from trap
        except wasmtime.WasmtimeError as error:
            raise VirtualMachineError(f"this machine could not run {name}: {_one_line(error)}") from error


def _as_i32(value: int) -> int:
    return value - 2**32 if value >= 2**31 else value


def _one_line(error: Exception) -> str:
    """The innermost cause that wasmtime gives; the lines before it tell where in wasmtime it was found."""
    return str(error).strip().splitlines()[-1].strip()
