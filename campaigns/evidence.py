"""How a measurement is kept: its numbers, beside the command, the revision and the machine that they came from."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
EVIDENCE = ROOT / "docs" / "evidence"


def write_evidence(name: str, command: str, results: dict[str, Any], folder: Path = EVIDENCE) -> Path:
    """Write ``docs/evidence/<name>.json``: results, and what somebody needs to measure them again.

    Keys are sorted, so two measurements can be compared line by line.

    Args:
        name: of the file, without its ending.
        command: what was run, as a user types it in the repository's root.
        results: what was measured; plain JSON values without NaN, units in the keys.
        folder: where to write it.

    Returns:
        The file.
    """
    document = {"command": command, "date": _now(), "machine": machine(), "results": results, "revision": revision()}
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    # Replaced whole, so that an interrupted campaign leaves the last evidence as it was.
    fresh = path.with_name(f".{name}.json.part")
    fresh.write_text(json.dumps(document, indent=2, sort_keys=True, allow_nan=False) + "\n", encoding="utf-8")
    fresh.replace(path)
    return path


def revision() -> dict[str, Any]:
    """The git commit that is checked out, and whether any file but the evidence itself differs from it.

    Both are None outside of a git checkout.
    """
    changes = _git("status", "--porcelain", "--", ".", ":(exclude)docs/evidence")
    return {"commit": _git("rev-parse", "HEAD"), "dirty": None if changes is None else bool(changes)}


def machine() -> dict[str, Any]:
    """The kind of machine, without names or addresses."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    system = f"{platform.system()} {platform.machine()}"
    return {"cores": usable, "cpu": _cpu_model(), "platform": system, "python": platform.python_version()}


def _now() -> str:
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _git(*arguments: str) -> str | None:
    command = ["git", *arguments]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()
