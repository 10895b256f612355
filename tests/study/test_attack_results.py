"""The default grid's committed rows are what docs/security.md shows."""

from __future__ import annotations

from pathlib import Path

from bees.study.attack_grid import cells_of, load_grid
from bees.study.attack_rows import summarise
from bees.study.attack_table import markdown, panels_of
from bees.study.attacks import missing_cells, rows_of

DOCS = Path(__file__).parents[2] / "docs"
ROWS = DOCS / "studies" / "attacks.jsonl"


def test_every_cell_of_the_default_grid_is_measured():
    assert missing_cells(ROWS, cells_of(load_grid("default"))) == []


def test_the_table_of_the_page_is_that_of_the_rows():
    rows = rows_of(ROWS, cells_of(load_grid("default")))
    assert markdown(panels_of(summarise(rows))).strip() in (DOCS / "security.md").read_text(encoding="utf-8")
