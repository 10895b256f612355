"""Plays every attack on the protocol again, and keeps the rows and their tables as evidence.

python -m campaigns.protocol_attacks
"""

from __future__ import annotations

from pathlib import Path

from bees.study.protocol_attacks import measure_protocol_attacks
from bees.study.protocol_table import tables

DOCS = Path(__file__).resolve().parents[1] / "docs"
ROWS = DOCS / "studies" / "protocol_attacks.jsonl"
PAGE = DOCS / "security.md"
BEGIN, END = "<!-- protocol attacks: begin -->", "<!-- protocol attacks: end -->"


def with_tables(page: str, text: str) -> str:
    """The page with these tables in their place."""
    before, _, rest = page.partition(BEGIN)
    return f"{before}{BEGIN}\n\n{text}\n{END}{rest.partition(END)[2]}"


def main() -> None:
    """Measure, and write down."""
    ROWS.unlink(missing_ok=True)
    rows = measure_protocol_attacks(ROWS, on_row=lambda row: print(f"{row.attack}, {row.liars}: {row.outcome}"))
    PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8"), tables(rows)), encoding="utf-8")


if __name__ == "__main__":
    main()
