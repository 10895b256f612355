from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bees.contract import library
from bees.contract.description import LONGEST_CONTRACT_BYTES
from bees.contract.library import PackagedContract, contract_names, load_contract_code, packaged_contracts
from bees.core.errors import ContractLoadError, InputError

if TYPE_CHECKING:
    from pathlib import Path

    from bees.contract.vm import VirtualMachine


def test_every_listed_contract_loads(machine: VirtualMachine) -> None:
    assert {"argmax", "fedavg", "median", "nnm_krum", "root_score"} <= set(contract_names())
    for name in contract_names():
        machine.load(load_contract_code(name))


def test_an_unknown_name_gets_a_suggestion() -> None:
    with pytest.raises(InputError, match="did you mean 'fedavg'"):
        load_contract_code("fedavgg")


def test_an_altered_contract_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    listed = packaged_contracts()
    other = PackagedContract("fedavg", "contracts/fedavg.c", "00" * 32)
    monkeypatch.setattr(library, "packaged_contracts", lambda: type(listed)(listed.ziglang, (other,)))
    with pytest.raises(ContractLoadError, match="altered"):
        load_contract_code("fedavg")


def test_a_contract_of_a_users_own_is_found_by_its_path(tmp_path: Path) -> None:
    path = tmp_path / "mine.wasm"
    path.write_bytes(load_contract_code("argmax"))
    assert load_contract_code(str(path)) == load_contract_code("argmax")


@pytest.mark.parametrize(("size", "problem"), [(0, "is empty"), (LONGEST_CONTRACT_BYTES + 1, "is longer than")])
def test_a_file_of_an_impossible_length_is_refused(tmp_path: Path, size: int, problem: str) -> None:
    path = tmp_path / "mine.wasm"
    path.write_bytes(bytes(size))
    with pytest.raises(ContractLoadError, match=f"mine.wasm {problem}"):
        load_contract_code(str(path))


@pytest.mark.parametrize("name", ["nowhere.wasm", "a\0b.wasm", ".wasm", "x" * 300 + ".wasm"])
def test_a_file_that_cannot_be_read_is_named(name: str) -> None:
    with pytest.raises(InputError, match="cannot be read as a contract"):
        load_contract_code(name)
