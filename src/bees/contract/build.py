"""Builds the packaged contracts: ``python -m bees.contract.build [--check]``.

The code depends on the C sources and the compiler's version alone, not on where or when it is built: sources are
named without their folder, and names, paths and debug information are stripped. So anybody can check that the
packaged code is what the sources say.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import msgspec

from bees.contract.library import (
    CONTRACT_LIST_FILE,
    ContractList,
    PackagedContract,
    code_file_name,
    contract_names,
    hash_code,
    load_contract_code,
    packaged_contracts,
)
from bees.core.errors import BeesError, CompileError, InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

ZIGLANG_VERSION = "0.17.1"

_FLAGS = (
    "--target=wasm32-freestanding",
    # SIMD is in; bulk memory, whose fuel does not grow with its work, is out.
    "-mcpu=mvp+mutable_globals+nontrapping_fptoint+sign_ext+simd128",
    *("-std=c17", "-O3", "-ffreestanding", "-fno-builtin", "-nostdlib"),
    *("-Wall", "-Wextra", "-Wconversion", "-Werror"),
    *("-Wl,--no-entry", "-Wl,--export=__heap_base", "-Wl,--strip-all"),
)
_PACKAGE = Path(__file__).parent
_SOURCES = _PACKAGE.parents[2] / "contracts"
_COMPILER = (sys.executable, "-m", "ziglang", "cc")
HEADERS = _PACKAGE / "include"
"""What a contract may include: in a checkout a link to ``contracts/``, in an installed package its files."""


def build_contracts(sources: Path) -> dict[str, bytes]:
    """Code of every contract whose C file lies in ``sources``, by name, in order of names.

    Raises:
        InputError: no sources, another compiler than the pinned one, or a source that does not compile.
    """
    check_compiler()
    files = sorted(sources.glob("*.c"))
    if not files:
        raise InputError(str(sources), "holds no C file: run this in a checkout, or give --sources")
    return {file.stem: compile_contract(file) for file in files}


def check_compiler() -> None:
    """Refuse another compiler than the pinned one.

    Raises:
        InputError: naming the version, and how to install it.
    """
    try:
        found = version("ziglang")
    except PackageNotFoundError:
        found = None
    if found != ZIGLANG_VERSION:
        problem = f"{ZIGLANG_VERSION} is pinned, {found or 'none'} is installed"
        raise InputError("ziglang", f"{problem}: pip install ziglang=={ZIGLANG_VERSION}")


def compile_contract(source: Path, defines: Sequence[str] = ()) -> bytes:
    """The WebAssembly code of one C file, by the pinned flags.

    Args:
        source: the C file. What it includes is looked for in its folder, then among the headers of BEES.
        defines: macros, as ``NAME=VALUE``.

    Raises:
        CompileError: it does not compile; ``output`` holds the compiler's words.
        InputError: another compiler than the pinned one.
    """
    check_compiler()
    with TemporaryDirectory(prefix="bees-contract-") as folder:
        output = Path(folder, code_file_name("contract"))
        macros = [f"-D{define}" for define in defines]
        # "./", since a name that starts with a dash would be an option.
        command = [*_COMPILER, *_FLAGS, *macros, "-I", str(HEADERS), "-o", str(output), f"./{source.name}"]
        caches = {"ZIG_GLOBAL_CACHE_DIR": folder, "ZIG_LOCAL_CACHE_DIR": folder}
        done = subprocess.run(  # noqa: S603  # the pinned compiler; a source is compiled, never run here
            command, cwd=source.parent, env=os.environ | caches, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise CompileError(str(source), "does not compile", done.stderr.rstrip())
        return output.read_bytes()


def list_contracts(built: dict[str, bytes]) -> ContractList:
    """The contract list that belongs to built code."""
    entries = (PackagedContract(name, f"contracts/{name}.c", hash_code(code)) for name, code in built.items())
    return ContractList(ZIGLANG_VERSION, tuple(entries))


def differences(built: ContractList, packaged: ContractList) -> list[str]:
    """One line for each contract that is not what the sources say."""
    ours = {contract.name: contract.hash for contract in built.contracts}
    theirs = {contract.name: contract.hash for contract in packaged.contracts}
    return [
        f"{name}: built {ours.get(name, 'nothing')[:16]}, packaged {theirs.get(name, 'nothing')[:16]}"
        for name in sorted(ours | theirs)
        if ours.get(name) != theirs.get(name)
    ]


def write_package(built: dict[str, bytes], package: Path) -> None:
    """Write the code of all contracts, and their list."""
    for name, code in built.items():
        (package / code_file_name(name)).write_bytes(code)
    listed = msgspec.json.format(msgspec.json.encode(list_contracts(built)), indent=2)
    (package / CONTRACT_LIST_FILE).write_bytes(listed + b"\n")


def main(arguments: list[str] | None = None) -> int:
    """Build and write, or build and compare; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bees.contract.build", description="Build the packaged contracts.")
    parser.add_argument("--check", action="store_true", help="compare with the packaged contracts, write nothing")
    parser.add_argument("--sources", type=Path, default=_SOURCES, help="folder of the C files")
    options = parser.parse_args(arguments)
    try:
        built = build_contracts(options.sources)
        if options.check:
            return _report_check(list_contracts(built))
        write_package(built, _PACKAGE)
    except BeesError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    for name, code in built.items():
        sys.stdout.write(f"{name}: {len(code)} bytes, {hash_code(code)}\n")
    return 0


def _report_check(built: ContractList) -> int:
    found = differences(built, packaged_contracts())
    for name in contract_names():
        load_contract_code(name)
    for line in found:
        sys.stderr.write(f"{line}\n")
    if not found:
        sys.stdout.write(f"{len(built.contracts)} contracts are what their sources say\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
