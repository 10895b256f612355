from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from bees.contract.build import HEADERS, compile_contract
from bees.contract.description import describe_virtual_machine
from bees.contract.library import load_contract_code, packaged_contracts
from bees.contract.reference import average_updates
from bees.contract.source import purpose, read_template
from bees.contract.trial_inputs import TrialSizes, trial_rounds
from bees.contract.vm import VirtualMachine
from bees.core.errors import CompileError

ROOT = Path(__file__).parents[2]


def test_the_package_has_the_very_headers_and_sources_of_the_checkout():
    ours = {path.relative_to(ROOT / "contracts"): path.read_bytes() for path in (ROOT / "contracts").rglob("*.[ch]")}
    packaged = {path.relative_to(HEADERS): path.read_bytes() for path in HEADERS.rglob("*.[ch]")}
    assert packaged == ours
    assert {"bees_contract.h", "rule.c", "fedavg.c"} <= {path.name for path in packaged}


def test_each_packaged_contract_says_what_it_does_in_one_line():
    said = [purpose(known.source) for known in packaged_contracts().contracts]
    assert all(len(line) > 20 and line.isprintable() for line in said)
    assert len(set(said)) == len(said)
    assert purpose("contracts/argmax.c") == "The model of the most accurate UE, as it is: how B-EI shares intelligence"
    assert purpose("contracts/nowhere.c") == ""


def test_the_template_is_a_mean_that_is_exact(tmp_path: Path):
    pytest.importorskip("ziglang", reason="the compiler is a development dependency")
    source = tmp_path / "rule.c"
    source.write_text(read_template())
    machine = VirtualMachine(describe_virtual_machine())
    contract = machine.load(compile_contract(source))
    for given in trial_rounds(TrialSizes(7, 9, 7), 5):
        picked = contract.select(given.correct, given.samples, given.top_m)
        assert picked == tuple(range(min(len(given.correct), given.top_m)))
        correct, samples = [given.correct[k] for k in picked], [given.samples[k] for k in picked]
        found = contract.aggregate(correct, samples, [given.updates[k] for k in picked], given.w_prev)
        assert found.tolist() == average_updates(samples, [given.updates[k].tolist() for k in picked])


def test_a_copy_elsewhere_compiles_to_the_same_code_and_a_macro_changes_it(tmp_path: Path):
    pytest.importorskip("ziglang", reason="the compiler is a development dependency")
    source = tmp_path / "-odd name.c"
    source.write_bytes((HEADERS / "argmax.c").read_bytes())
    assert compile_contract(source) == load_contract_code("argmax")
    source.write_text(source.read_text().replace("best = 0", "best = FIRST"))
    assert compile_contract(source, ["FIRST=0"]) == load_contract_code("argmax")
    assert compile_contract(source, ["FIRST=1"]) != load_contract_code("argmax")


def test_the_compilers_words_come_with_the_error(tmp_path: Path):
    pytest.importorskip("ziglang", reason="the compiler is a development dependency")
    (tmp_path / "wrong.c").write_text('#include "bees_contract.h"\nint f(void) { return undeclared; }\n')
    with pytest.raises(CompileError) as refusal:
        compile_contract(tmp_path / "wrong.c")
    assert "undeclared" in refusal.value.output
    assert "undeclared" in str(refusal.value)
    assert str(refusal.value).isprintable()


def test_a_wheel_holds_headers_sources_and_template(tmp_path: Path):
    """As whoever installs BEES without a checkout needs them: built as pip would, from a copy."""
    pytest.importorskip("setuptools", reason="a development dependency")
    copy = tmp_path / "copy"
    for name in ("contracts", "src/bees/contract", "src/bees/__init__.py", "pyproject.toml", "README.md", "LICENSE"):
        source, target = ROOT / name, copy / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(source, target, symlinks=True) if source.is_dir() else shutil.copy(source, target)
    backend = "from setuptools.build_meta import build_wheel; build_wheel('out')"
    (copy / "out").mkdir()
    subprocess.run([sys.executable, "-c", backend], cwd=copy, check=True, capture_output=True)
    (wheel,) = (copy / "out").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        inside = {name: archive.read(name) for name in archive.namelist() if "/include/" in name}
    assert inside == {
        f"bees/contract/include/{path.relative_to(ROOT / 'contracts')}": path.read_bytes()
        for path in (ROOT / "contracts").rglob("*.[ch]")
    }
