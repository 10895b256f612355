"""Smart contracts: WebAssembly that every edge server executes (Algorithm 1, ``SmartContract``).

A contract is a pure function of what it is given. Each call runs in a fresh instance, so nothing that an earlier
call left behind can change the next; it has no imports, so it sees no clock, no randomness and no file; and its
fuel and memory are limited, so whatever code is deployed, a call ends.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

import numpy as np
import wasmtime

from bees.contract.description import PAGE_BYTES, RUNTIME, installed_runtime_version
from bees.contract.probes import check_behaviour
from bees.contract.runtime import Sandbox, compile_module, new_engine
from bees.contract.structure import check_structure
from bees.core.errors import (
    ContractInputError,
    ContractLoadError,
    ContractOutputError,
    VirtualMachineError,
)
from bees.core.hashes import digest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bees.contract.description import VirtualMachineDescription
    from bees.core.fixed_point import Words

_COMPILED_LIMIT = 8
_WORD_LIMIT = 2**32


class VirtualMachine:
    """Executes contracts. One may serve all replicas of a process; it keeps compiled code, and nothing else.

    Attributes:
        description: what the genesis pins.
        version_difference: None, or what an auditor with another version than the genesis' must know.
    """

    def __init__(self, description: VirtualMachineDescription, *, accept_other_version: bool = False) -> None:
        """Start the runtime, and test that it keeps its limits.

        Args:
            description: what the genesis pins.
            accept_other_version: run although another version of the runtime is installed. Results are the same by
                the WebAssembly specification, but an instruction may cost other fuel, so that a call close to its
                limit may end where it did not, or the other way round. Good for an auditor, who reports
                ``version_difference`` beside the verdict; never for a server that votes.

        Raises:
            VirtualMachineError: another runtime or version is installed, or it does not keep a limit.
        """
        self.description = description
        self.version_difference = _compare_version(description)
        if self.version_difference and not accept_other_version:
            raise VirtualMachineError(
                f"{self.version_difference}: pip install {RUNTIME}=={description.runtime_version}"
            )
        self._engine = new_engine()
        self._compiled: OrderedDict[bytes, wasmtime.Module] = OrderedDict()
        self.self_test()

    def self_test(self) -> None:
        """Find out by trying whether the runtime behaves as it was set to; it may accept a setting and ignore it.

        Raises:
            VirtualMachineError: naming the setting that does not hold.
        """
        check_behaviour(self._engine, self.description)

    def load(self, code: bytes) -> Contract:
        """The contract of this code. Compiled once, then found by its hash.

        Raises:
            ContractLoadError: it is no contract, or breaks a limit.
            VirtualMachineError: this machine cannot compile or run it, whatever it is.
        """
        key = digest("contract", code)
        module = self._compiled.get(key)
        if module is None:
            module = self._compile(code)
            self._compiled[key] = module
            if len(self._compiled) > _COMPILED_LIMIT:
                self._compiled.popitem(last=False)
        self._compiled.move_to_end(key)
        return Contract(module, self._engine, self.description)

    def _compile(self, code: bytes) -> wasmtime.Module:
        limit = self.description.contract_limit_bytes
        if len(code) > limit:
            raise ContractLoadError(f"{len(code)} bytes of code, the limit of the genesis is {limit}")
        check_structure(code)
        module = compile_module(self._engine, code)
        _check_exports(module, self.description)
        _check_instance(Sandbox(module, self._engine, self.description), self.description)
        return module


class Contract:
    """A loaded contract.

    Attributes:
        fuel_used: by the last call. The runtime loses count of a call that traps.
    """

    def __init__(
        self, module: wasmtime.Module, engine: wasmtime.Engine, description: VirtualMachineDescription
    ) -> None:
        """Made by ``VirtualMachine.load``."""
        self._module, self._engine, self._description = module, engine, description
        self.fuel_used = 0

    def select(self, correct: Sequence[int], samples: Sequence[int], m: int) -> tuple[int, ...]:
        """Which updates are aggregated.

        Args:
            correct: c of each eligible update, K integers, in ascending order of device ids.
            samples: ``n_k``, K integers.
            m: M, how many to pick at most.

        Returns:
            1 to min(m, K) indices, ascending.

        Raises:
            ContractInputError: nothing to select from, or a number that is no u32.
            ContractOutputError: what it returned are no such indices.
            ContractTrapError: it trapped.
            OutOfFuelError: it used up its fuel.
            VirtualMachineError: this machine could not run it.
        """
        k = len(correct)
        if k == 0 or k != len(samples) or m < 1:
            raise ContractInputError(f"cannot select {m} of {k} updates with {len(samples)} sample counts")
        scores, counts = _as_u32(correct, "correct"), _as_u32(samples, "samples")
        m = min(m, k)
        with self._sandbox() as sandbox:
            at_correct, at_samples, at_index = sandbox.lay_out(k, k, m)
            sandbox.words(at_correct, k, np.uint32)[:] = scores
            sandbox.words(at_samples, k, np.uint32)[:] = counts
            count = self._call(sandbox, "select", k, at_correct, at_samples, m, at_index)
            if not 1 <= count <= m:
                raise ContractOutputError(f"select picked {count} updates, not 1 to {m}")
            picked = tuple(map(int, sandbox.words(at_index, count, np.uint32)))
        _check_indices(picked, k)
        return picked

    def aggregate(
        self, correct: Sequence[int], samples: Sequence[int], updates: Sequence[Words], w_prev: Words
    ) -> Words:
        """``w_g(t)`` from the selected updates (Eq. 3, for FedAvg).

        Args:
            correct: c of the selected updates, M integers, in the order of ``updates``.
            samples: ``n_m``, M integers that sum to 1 up to 2^32 - 1.
            updates: ``w_m(t)`` as words, M arrays of shape (P,); each is asked for once, when its turn comes.
            w_prev: ``w_g(t-1)`` as words, shape (P,).

        Returns:
            words, shape (P,).

        Raises:
            ContractInputError: counts or shapes do not fit, or memory does not hold them.
            ContractOutputError: it says that it has no result.
            ContractTrapError: it trapped.
            OutOfFuelError: it used up its fuel.
            VirtualMachineError: this machine could not run it.
        """
        m, p = len(updates), len(w_prev)
        scores, counts = _as_u32(correct, "correct"), _as_u32(samples, "samples")
        _check_inputs(scores, counts, m, w_prev)
        with self._sandbox() as sandbox:
            at_correct, at_samples, at_updates, at_prev, at_out = sandbox.lay_out(m, m, m * p, p, p)
            sandbox.words(at_correct, m, np.uint32)[:] = scores
            sandbox.words(at_samples, m, np.uint32)[:] = counts
            rows = sandbox.words(at_updates, m * p, np.int32).reshape(m, p)
            for index in range(m):
                update = updates[index]
                _check_update(index, update, w_prev)
                rows[index] = update
            sandbox.words(at_prev, p, np.int32)[:] = w_prev
            arrays = at_correct, at_samples, at_updates, at_prev, at_out
            status = self._call(sandbox, "aggregate", m, p, *arrays)
            if status:
                raise ContractOutputError(f"aggregate has no result (status {status})")
            return sandbox.words(at_out, p, np.int32).astype(np.int32)

    def _sandbox(self) -> Sandbox:
        return Sandbox(self._module, self._engine, self._description)

    def _call(self, sandbox: Sandbox, name: str, *arguments: int) -> int:
        try:
            return sandbox.call(name, *arguments)
        finally:
            self.fuel_used = sandbox.fuel_used


def _compare_version(description: VirtualMachineDescription) -> str | None:
    installed = installed_runtime_version()
    if description.runtime != RUNTIME:
        raise VirtualMachineError(f"the genesis pins {description.runtime}, only {RUNTIME} is known")
    if description.runtime_version == installed:
        return None
    return f"the genesis pins {RUNTIME} {description.runtime_version}, {installed} is installed"


def _check_exports(module: wasmtime.Module, description: VirtualMachineDescription) -> None:
    exports = {export.name: export.type for export in module.exports}
    for name, parameters in (("abi_version", 0), ("select", 5), ("aggregate", 7)):
        if not _is_i32_function(exports.get(name), parameters):
            raise ContractLoadError(f"must export {name}: a function of {parameters} i32 that returns an i32")
    heap_base = exports.get("__heap_base")
    if not (
        isinstance(heap_base, wasmtime.GlobalType)
        and heap_base.content == wasmtime.ValType.i32()
        and not heap_base.mutable
    ):
        raise ContractLoadError("must export __heap_base: an immutable global i32")
    memory = exports.get("memory")
    if not isinstance(memory, wasmtime.MemoryType):
        raise ContractLoadError("must export memory")
    if memory.limits.max is not None:
        raise ContractLoadError("its memory has a maximum of its own; the limit is the genesis'")
    # Found out from the declaration: a failure to instantiate is then this machine's, not the contract's.
    needed = memory.limits.min * PAGE_BYTES
    if needed > description.memory_limit_bytes:
        raise ContractLoadError(
            f"its memory starts with {needed} bytes, the limit of the genesis is {description.memory_limit_bytes}"
        )


def _is_i32_function(kind: object, parameters: int) -> bool:
    i32 = wasmtime.ValType.i32()
    return (
        isinstance(kind, wasmtime.FuncType)
        and [p == i32 for p in kind.params] == [True] * parameters
        and [r == i32 for r in kind.results] == [True]
    )


def _check_instance(sandbox: Sandbox, description: VirtualMachineDescription) -> None:
    with sandbox:
        if sandbox.heap_base > sandbox.memory_bytes:
            raise ContractLoadError(f"__heap_base {sandbox.heap_base} lies outside of its memory")
        found = sandbox.call("abi_version")
        if found != description.abi_version:
            raise ContractLoadError(f"speaks ABI {found}, the genesis pins {description.abi_version}")


def _as_u32(values: Sequence[int], name: str) -> list[int]:
    for index, value in enumerate(values):
        if not 0 <= value < _WORD_LIMIT:
            raise ContractInputError(f"{name}[{index}] = {value} is outside of 0 to 2^32 - 1")
    return list(values)


def _check_inputs(correct: Sequence[int], samples: Sequence[int], updates: int, w_prev: Words) -> None:
    if not len(correct) == len(samples) == updates > 0:
        counts = f"{len(correct)} scores and {len(samples)} sample counts"
        raise ContractInputError(f"{updates} updates with {counts}")
    if not 0 < sum(samples) < _WORD_LIMIT:
        raise ContractInputError(f"the samples sum to {sum(samples)}, outside of 1 to 2^32 - 1")
    if w_prev.ndim != 1 or len(w_prev) == 0 or w_prev.dtype != np.int32:
        raise ContractInputError(f"w_prev is {w_prev.dtype} of shape {w_prev.shape}, not int32 words")


def _check_update(index: int, update: Words, w_prev: Words) -> None:
    if update.shape != w_prev.shape or update.dtype != np.int32:
        raise ContractInputError(
            f"update {index} is {update.dtype} of shape {update.shape}, not int32 of {w_prev.shape}"
        )


def _check_indices(picked: tuple[int, ...], k: int) -> None:
    for before, index in zip((-1, *picked), picked, strict=False):
        if not before < index < k:
            raise ContractOutputError(f"select picked {list(picked)}: not ascending indices below {k}")
