from __future__ import annotations

import os
import shutil
from pathlib import Path
from tempfile import gettempdir

import pytest

from bees.contract import build
from bees.contract.library import contract_names, load_contract_code

pytest.importorskip("ziglang", reason="the compiler is a development dependency")

SOURCES = Path(__file__).parents[2] / "contracts"


def test_the_sources_give_the_packaged_code_from_any_folder(tmp_path: Path) -> None:
    elsewhere = tmp_path / "quite" / "another place"
    shutil.copytree(SOURCES, elsewhere)
    for file in elsewhere.iterdir():
        os.utime(file, (0, 0))
    assert build.main(["--check", "--sources", str(elsewhere)]) == 0


def test_no_path_and_no_tool_is_named_in_the_code() -> None:
    words = (b"contracts", b"bees", b".c\0", b".h\0", b"zig", b"clang")
    places = (str(SOURCES.parent).lower(), f"{gettempdir().lower()}/")
    for name in contract_names():
        code = load_contract_code(name)
        assert not [word for word in (*words, *map(str.encode, places)) if word in code.lower()]


def test_check_finds_a_changed_source(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("argmax.c", "bees_contract.h"):
        shutil.copy(SOURCES / name, tmp_path)
    source = tmp_path / "argmax.c"
    source.write_text(source.read_text().replace("correct[i] > correct[best]", "correct[i] >= correct[best]"))
    assert build.main(["--check", "--sources", str(tmp_path)]) == 1
    told = capsys.readouterr().err
    assert "argmax: built" in told
    assert "fedavg: built nothing" in told


def test_what_does_not_compile_gets_the_compilers_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "wrong.c").write_text("int f( {")
    assert build.main(["--check", "--sources", str(tmp_path)]) == 2
    assert "wrong.c: does not compile:" in capsys.readouterr().err


def test_a_folder_without_sources(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert build.main(["--sources", str(tmp_path)]) == 2
    assert "holds no C file" in capsys.readouterr().err


def test_another_compiler_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(build, "ZIGLANG_VERSION", "0.0.1")
    assert build.main(["--check"]) == 2
    assert "pip install ziglang==0.0.1" in capsys.readouterr().err
