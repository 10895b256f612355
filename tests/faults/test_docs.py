"""docs/faults.md names every behaviour and every invariant that there is."""

from __future__ import annotations

import re
from pathlib import Path

from bees.adversary.protocol.behaviours import DEVICE_BEHAVIOURS, SERVER_BEHAVIOURS
from campaigns.counterexamples import HUNTS

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "faults.md").read_text(encoding="utf-8")


def _first_cells() -> set[str]:
    rows = re.findall(r"^\| ([^|]+) \|", PAGE, re.MULTILINE)
    return {name.strip() for row in rows for name in row.split(", ")}


def test_every_behaviour_has_its_row() -> None:
    assert _first_cells() >= {*SERVER_BEHAVIOURS, *DEVICE_BEHAVIOURS}


def test_every_invariant_has_its_row() -> None:
    sources = (ROOT / "src" / "bees" / "faults").glob("*.py")
    invariants = {name for path in sources for name in re.findall(r'InvariantError\(\s*"([^"]+)"', path.read_text())}
    assert len(invariants) > 8
    assert _first_cells() >= invariants | {hunt.invariant for hunt in HUNTS}
