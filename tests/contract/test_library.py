from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bees.contract import library
from bees.contract.library import PackagedContract, contract_names, load_contract_code, packaged_contracts
from bees.core.errors import ContractLoadError, InputError

if TYPE_CHECKING:
    from bees.contract.vm import VirtualMachine


def test_every_listed_contract_loads(machine: VirtualMachine) -> None:
    assert contract_names() == ("argmax", "fedavg")
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
