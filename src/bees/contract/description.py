"""What a genesis pins of the virtual machine: runtime, its version, the ABI and three limits.

The result of a contract that ends is fixed by the WebAssembly specification. Whether it ends within its fuel is
fixed by the runtime's version, which decides what an instruction costs.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated

from msgspec import Meta

from bees.core.canonical import Record

RUNTIME = "wasmtime"
ABI_VERSION = 2
PAGE_BYTES = 65_536
LONGEST_CONTRACT_BYTES = 2**17
"""Keeps the frames of all functions of a contract within the stack, see ``bees.contract.structure``."""

DEFAULT_FUEL_LIMIT = 1_000_000_000
"""Fuel of one call in a new genesis."""
_LEAST_MEMORY_BYTES = 256 * 2**20
_MOST_MEMORY_BYTES = 2**31

_Positive = Annotated[int, Meta(ge=1, le=2**31)]
_Name = Annotated[str, Meta(min_length=1, max_length=64)]


class VirtualMachineDescription(Record, frozen=True):
    """The virtual machine that every server of a chain runs.

    Attributes:
        runtime: name of the WebAssembly runtime.
        runtime_version: its version, which fixes what an instruction costs in fuel.
        abi_version: of the ABI in ``contracts/bees_contract.h``.
        fuel_limit: fuel of one call of a contract; most instructions cost 1.
        memory_limit_bytes: the largest linear memory of a contract.
        contract_limit_bytes: the longest code.
    """

    runtime: _Name
    runtime_version: _Name
    abi_version: _Positive
    fuel_limit: Annotated[int, Meta(ge=1, le=2**63 - 1)]
    memory_limit_bytes: Annotated[int, Meta(ge=PAGE_BYTES, le=_MOST_MEMORY_BYTES)]
    contract_limit_bytes: Annotated[int, Meta(ge=1, le=LONGEST_CONTRACT_BYTES)]


def installed_runtime_version() -> str:
    """Version of the runtime on this machine."""
    return version(RUNTIME)


def memory_for(model_bytes: int, updates: int) -> int:
    """The memory limit for a new genesis, in bytes: with large models the default would skip every round.

    Args:
        model_bytes: of w_g.
        updates: M, how many a contract is given at most.
    """
    arrays_bytes = (updates + 2) * model_bytes  # w_g(t-1) and w_g(t) beside them
    twice = -(-2 * arrays_bytes // PAGE_BYTES) * PAGE_BYTES  # the other half is for static arrays
    return min(max(_LEAST_MEMORY_BYTES, twice), _MOST_MEMORY_BYTES)


def describe_virtual_machine(
    *,
    fuel_limit: int = DEFAULT_FUEL_LIMIT,
    memory_limit_bytes: int = _LEAST_MEMORY_BYTES,
    contract_limit_bytes: int = 64 * 2**10,
) -> VirtualMachineDescription:
    """The virtual machine of this machine, for a new genesis.

    Args:
        fuel_limit: of one call. The default is about half a second of plain computation (ten seconds of the worst code
            that was tried), and 80 times what FedAvg needs for 100 updates of the paper's model.
        memory_limit_bytes: the default holds 3,000 updates of the paper's model.
        contract_limit_bytes: the default is some thirty times the length of FedAvg.
    """
    return VirtualMachineDescription(
        runtime=RUNTIME,
        runtime_version=installed_runtime_version(),
        abi_version=ABI_VERSION,
        fuel_limit=fuel_limit,
        memory_limit_bytes=memory_limit_bytes,
        contract_limit_bytes=contract_limit_bytes,
    )
