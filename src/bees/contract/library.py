"""The contracts that come with BEES, built from ``contracts/`` and found by name; and those of users, by path."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from pathlib import Path

import msgspec

from bees.contract.description import LONGEST_CONTRACT_BYTES
from bees.core.errors import ContractLoadError, InputError, did_you_mean
from bees.core.hashes import digest

CONTRACT_LIST_FILE = "contracts.json"
_PACKAGE = "bees.contract"


class PackagedContract(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A line of the contract list.

    Attributes:
        name: such as ``"fedavg"``.
        source: the C file that it is built from.
        hash: of its code, in hex.
    """

    name: str
    source: str
    hash: str


class ContractList(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The packaged contracts, and what built them.

    Attributes:
        ziglang: version of the compiler.
        contracts: in order of their names.
    """

    ziglang: str
    contracts: tuple[PackagedContract, ...]


def code_file_name(name: str) -> str:
    """The file that holds a contract's code."""
    return f"{name}.wasm"


def hash_code(code: bytes) -> str:
    """The hash by which the contract list, and a chain, name a contract; in hex."""
    return digest("contract", code).hex()


@cache
def packaged_contracts() -> ContractList:
    """The list of packaged contracts."""
    listed = files(_PACKAGE).joinpath(CONTRACT_LIST_FILE).read_bytes()
    return msgspec.json.decode(listed, type=ContractList)


def contract_names() -> tuple[str, ...]:
    """Names that ``load_contract_code`` knows."""
    return tuple(contract.name for contract in packaged_contracts().contracts)


def is_contract_file(name: str) -> bool:
    """Whether this names a file with a contract's code, and no packaged contract."""
    return name.endswith(code_file_name(""))


def load_contract_code(name: str) -> bytes:
    """The WebAssembly code of a packaged contract, or of a file.

    Args:
        name: such as ``"fedavg"``, or the path of a ``.wasm`` file, relative to the working directory.

    Raises:
        InputError: there is no contract of this name, or no such file.
        ContractLoadError: its file is not the one that was packaged, or is no contract.
    """
    if is_contract_file(name):
        return _read_contract_file(name)
    for contract in packaged_contracts().contracts:
        if contract.name == name:
            code = files(_PACKAGE).joinpath(code_file_name(name)).read_bytes()
            _check_hash(contract, code)
            return code
    raise InputError(f"contract {name!r}", f"no such contract: {did_you_mean(name, contract_names())}")


def _read_contract_file(name: str) -> bytes:
    try:
        with Path(name).open("rb") as file:
            code = file.read(LONGEST_CONTRACT_BYTES + 1)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise InputError(name, f"cannot be read as a contract: {why}") from error
    if not code:
        raise ContractLoadError(f"{name} is empty")
    if len(code) > LONGEST_CONTRACT_BYTES:
        raise ContractLoadError(f"{name} is longer than {LONGEST_CONTRACT_BYTES} bytes, which no contract may be")
    return code


def _check_hash(contract: PackagedContract, code: bytes) -> None:
    found = hash_code(code)
    if found != contract.hash:
        raise ContractLoadError(
            f"{code_file_name(contract.name)} was altered: its hash is {found[:16]}, packaged was {contract.hash[:16]}"
        )
