"""docs/contracts.md names every contract, every macro, and the ABI as it is."""

from __future__ import annotations

import re
from pathlib import Path

from bees.contract.build import HEADERS, ZIGLANG_VERSION
from bees.contract.description import ABI_VERSION, DEFAULT_FUEL_LIMIT, describe_virtual_machine
from bees.contract.library import contract_names
from bees.contract.structure import MAX_FUNCTION_BYTES, MAX_FUNCTIONS
from bees.contract.trial_inputs import TrialSizes, trial_rounds

DOC = (Path(__file__).parents[2] / "docs" / "contracts.md").read_text()
WORDS = " ".join(DOC.split())


def test_the_table_names_each_packaged_contract_once():
    table = DOC.partition("| contract | rule | macros |")[2].partition("\n\n")[0]
    named = [name for row in table.splitlines()[2:] for name in re.findall(r"`(\w+)`", row.split("|")[1])]
    assert sorted(named) == sorted(contract_names())
    assert f"comes with {len(contract_names())} of them" in WORDS


def test_each_macro_that_can_be_defined_is_named_and_no_other():
    sources = "\n".join(path.read_text() for path in HEADERS.glob("*.[ch]"))
    settable = set(re.findall(r"#ifndef (BEES_\w+)\n#define \1 ", sources))
    assert {name for name in re.findall(r"`(BEES_\w+)`", DOC) if not name.endswith(("_OK", "_REFUSED"))} == settable


def test_the_abi_and_the_limits_are_those_of_the_code():
    header = " ".join((HEADERS / "bees_contract.h").read_text().split())
    (block,) = (code for code in re.findall(r"```c\n(.*?)```", DOC, re.DOTALL) if "uint32_t select" in code)
    for declaration in block.partition("\n\n")[2].split(";")[:2]:
        assert " ".join(declaration.split()) in header
    machine = describe_virtual_machine()
    assert f"(ABI version {ABI_VERSION})" in WORDS
    assert DEFAULT_FUEL_LIMIT == 10**9
    assert f"{machine.contract_limit_bytes >> 10} KiB (" in WORDS
    assert f"{MAX_FUNCTIONS} functions of {MAX_FUNCTION_BYTES >> 10} KiB" in WORDS
    assert f"{machine.memory_limit_bytes >> 20} MiB, arrays included" in WORDS
    assert f"ziglang=={ZIGLANG_VERSION}" in WORDS
    assert f"runs {len(list(trial_rounds(TrialSizes(3, 3, 3), 0)))} rounds" in WORDS
