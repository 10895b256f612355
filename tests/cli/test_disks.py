"""A disk that is full, read-only or in the way: one clear line, exit code 2, and what was committed stays."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bees.engines.audit import export_chain, verify_chain
from bees.run_folder import read_rounds

if TYPE_CHECKING:
    from collections.abc import Iterator

BEES = Path(sys.executable).with_name("bees")
TINY = ["run", "quick", "--set", "blocks=12", "-q"]
CHAIN_BYTES_THAT_FIT = 150_000
"""Less than the chain of the run needs, and more than its genesis."""

LIMITED = """
import os, resource, sys

limit = int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
os.execv(sys.argv[2], sys.argv[2:])
"""
"""Starts a command that may write no larger file."""

needs_posix_users = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="this system knows no users")


def bees(*arguments: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [str(BEES), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, **options)


def one_line(done: subprocess.CompletedProcess[str], *words: str) -> str:
    assert done.returncode == 2, done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("bees: ")
    assert all(word in lines[0] for word in words), lines[0]
    return lines[0]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "whole"
    done = bees(*TINY, "--out", folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system that is soon full."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", str(folder)]
    try:
        done = subprocess.run(mount, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount command")
    if done.returncode != 0:
        pytest.skip(f"no file system may be mounted: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def export_of(folder: Path, to: Path) -> bytes:
    with to.open("wb") as out:
        export_chain(folder / "chain.db", out)
    return to.read_bytes()


def assert_goes_on_to_the_same_end(folder: Path, whole: Path, tmp_path: Path) -> None:
    done = bees("run", "--resume", folder, "-q")
    assert done.returncode == 0, done.stderr
    assert (folder / "rounds.jsonl").read_bytes() == (whole / "rounds.jsonl").read_bytes()
    assert export_of(folder, tmp_path / "a") == export_of(whole, tmp_path / "b")


# A full disk


def test_a_disk_that_fills_up_in_the_middle_of_a_run_costs_nothing_that_was_committed(
    small_disk: Path, whole: Path, tmp_path: Path
):
    (small_disk / "ballast").write_bytes(bytes(300_000))
    folder = small_disk / "run"
    told = one_line(bees(*TINY, "--out", folder), "chain.db: database or disk is full; free some space", "--resume")
    assert str(folder) in told
    rows = read_rounds(folder)
    assert 0 < len(rows) < 12
    verdict = verify_chain(folder / "chain.db")
    assert verdict.valid, verdict.reason
    assert verdict.blocks >= rows[-1].height
    assert json.loads((folder / "status.json").read_text())["status"] in {"failed", "running"}

    # As if there were room again; what the little disk has left would hold the chain, but no report.
    shutil.copytree(folder, tmp_path / "run")
    assert_goes_on_to_the_same_end(tmp_path / "run", whole, tmp_path)


def test_a_limit_on_file_sizes_is_a_full_disk_too(whole: Path, tmp_path: Path):
    folder = tmp_path / "run"
    limited = [sys.executable, "-c", LIMITED, str(CHAIN_BYTES_THAT_FIT), BEES, *TINY, "--out", folder]
    done = subprocess.run(limited, capture_output=True, text=True, timeout=300, check=False)
    one_line(done, "chain.db: disk I/O error", "limit on file sizes", f"bees run --resume {folder}")
    status = json.loads((folder / "status.json").read_text())
    assert (status["status"], status["error"]) == ("failed", "StorageError")
    rows = read_rounds(folder)
    assert len(rows) == status["blocks_done"] > 0
    verdict = verify_chain(folder / "chain.db")
    assert (verdict.valid, verdict.blocks >= rows[-1].height) == (True, True), verdict.reason
    assert_goes_on_to_the_same_end(folder, whole, tmp_path)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_resuming_on_a_full_disk_keeps_the_rows_and_the_chain(whole: Path, tmp_path: Path):
    folder = tmp_path / "run"
    shutil.copytree(whole, folder)
    (folder / "scenario.toml.draft").symlink_to("/dev/full")
    before = (folder / "rounds.jsonl").read_bytes()
    one_line(
        bees("run", "--resume", folder, "-q"), "scenario.toml: cannot be written: No space left", "free some space"
    )
    assert (folder / "rounds.jsonl").read_bytes() == before
    assert verify_chain(folder / "chain.db").valid


def test_an_export_that_does_not_fit_leaves_none(small_disk: Path, whole: Path):
    (small_disk / "ballast").write_bytes(bytes(550_000))
    one_line(bees("chain", whole, "--export", small_disk / "out"), "out: cannot be written: No space left", "free some")
    assert [path.name for path in small_disk.iterdir()] == ["ballast"]


def test_a_report_that_does_not_fit_keeps_the_one_that_is_there(small_disk: Path, whole: Path):
    folder = small_disk / "run"
    shutil.copytree(whole, folder, ignore=shutil.ignore_patterns("figures", "report.html", "chain.db"))
    (folder / "report.html").write_text("the report of before")
    room = shutil.disk_usage(small_disk).free
    (small_disk / "ballast").write_bytes(bytes(room - 8192))
    one_line(bees("report", folder), str(folder), "cannot be written: No space left", "free some space")
    assert (folder / "report.html").read_text() == "the report of before"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("form", [[], ["--json"]])
def test_an_output_that_is_full_is_one_line(form: list[str]):
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [str(BEES), "presets", *form], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False
        )
    one_line(done, "No space left")


# No place to write


COMMANDS: dict[str, list[str]] = {
    "run": ["run", "quick", "--set", "blocks=1", "-q", "--out", "{place}/new"],
    "reproduce": ["reproduce", "-q", "--out", "{place}/new"],
    "study": ["study", "readings", "-q", "--out", "{place}/new/rows.jsonl"],
    "export": ["chain", "{whole}", "--export", "{place}/new"],
}


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_a_path_below_a_file_is_one_line(command: list[str], whole: Path, tmp_path: Path):
    (tmp_path / "file").write_text("data")
    place = tmp_path / "file"
    done = bees(*(part.format(place=place, whole=whole) for part in command))
    one_line(done, f"{place}/new", "cannot be written", "choose another place")
    assert place.read_text() == "data"


WITHOUT_ROOT = """
import ctypes, os, sys
from bees.cli.main import run_command

CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, VERSION_3 = 1, 2, 0x20080522
if os.geteuid() == 0:
    libc = ctypes.CDLL(None, use_errno=True)
    header, sets = (ctypes.c_uint32 * 2)(VERSION_3, 0), (ctypes.c_uint32 * 6)()
    assert libc.capget(header, sets) == 0
    sets[0] &= ~(1 << CAP_DAC_OVERRIDE | 1 << CAP_DAC_READ_SEARCH)
    assert libc.capset(header, sets) == 0
sys.exit(run_command(sys.argv[1:]))
"""
"""Root writes anywhere, so it gives up the two capabilities that let it."""


def bees_without_root(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", WITHOUT_ROOT, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


@needs_posix_users
@pytest.mark.skipif(sys.platform != "linux", reason="capabilities are a Linux matter")
@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_a_read_only_folder_is_one_line(command: list[str], whole: Path, tmp_path: Path):
    place = tmp_path / "closed"
    place.mkdir(mode=0o500)
    done = bees_without_root(*(part.format(place=place, whole=whole) for part in command))
    one_line(done, f"{place}/new", "cannot be written: Permission denied", "change the rights")
    assert not list(place.iterdir())


@needs_posix_users
@pytest.mark.skipif(sys.platform != "linux", reason="capabilities are a Linux matter")
@pytest.mark.parametrize("command", [["report", "{run}"], ["run", "--resume", "{run}", "-q"]], ids=["report", "resume"])
def test_a_run_s_folder_that_became_read_only_is_one_line(command: list[str], whole: Path, tmp_path: Path):
    run = tmp_path / "run"
    shutil.copytree(whole, run, ignore=shutil.ignore_patterns("figures"))
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    run.chmod(0o500)
    done = bees_without_root(*(part.format(run=run) for part in command))
    run.chmod(0o700)
    one_line(done, str(run), "cannot be written: Permission denied", "change the rights")
    assert {path.name: path.read_bytes() for path in run.iterdir()} == before


@needs_posix_users
@pytest.mark.skipif(sys.platform != "linux", reason="capabilities are a Linux matter")
def test_a_chain_that_may_not_be_read_is_not_called_invalid(whole: Path, tmp_path: Path):
    shutil.copyfile(whole / "chain.db", tmp_path / "chain.db")
    (tmp_path / "chain.db").chmod(0)
    done = bees_without_root("verify", tmp_path)
    told = one_line(done, "chain.db: unable to open database file", "may read and write")
    assert "not valid" not in told + done.stdout


# A reproduction that cannot begin


@pytest.mark.parametrize("change", ["blocks=0", "topology.sevrers=3", "learning.dataset=nowhere.npz"])
def test_a_refused_reproduction_leaves_no_folder(tmp_path: Path, change: str):
    folder = tmp_path / "reproduction"
    one_line(bees("reproduce", "--set", change, "-q", "--out", folder), change.partition("=")[0])
    assert not list(tmp_path.iterdir())
