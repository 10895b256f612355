from __future__ import annotations

import msgspec
import pytest

from bees.contract.description import VirtualMachineDescription, describe_virtual_machine
from bees.core.canonical import decode, encode
from bees.core.errors import MalformedError


def test_it_is_a_record_with_one_spelling() -> None:
    description = describe_virtual_machine()
    assert decode(encode(description), VirtualMachineDescription) == description


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("fuel_limit", 0),
        ("memory_limit_bytes", 65_535),
        ("memory_limit_bytes", 2**31 + 1),
        ("contract_limit_bytes", 2**17 + 1),
        ("abi_version", 0),
        ("runtime", ""),
    ],
)
def test_impossible_limits_are_refused(field: str, value: object) -> None:
    wrong = msgspec.structs.replace(describe_virtual_machine(), **{field: value})
    with pytest.raises(MalformedError):
        decode(encode(wrong), VirtualMachineDescription)
