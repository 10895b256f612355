from __future__ import annotations

from pathlib import Path

import pytest

from bees.core.errors import InputError
from bees.report.network_figures import network_bytes, parts
from bees.report.style import svg_text
from bees.study.network import SPELLINGS, Row, measure, summarise_rows
from bees.study.rows import read_rows

DOCS = Path(__file__).parents[2] / "docs"
TINY = ["blocks=2", "learning.dataset=mnist-7x7", "learning.hidden=4"]


@pytest.fixture(scope="module")
def committed() -> list[Row]:
    return read_rows(DOCS / "studies" / "network.jsonl", Row)


def test_a_study_writes_a_row_per_spelling_and_goes_on_where_it_was(tmp_path: Path):
    path, notes = tmp_path / "rows.jsonl", list[str]()
    first = measure(path, SPELLINGS[:1], [0], notes.append, TINY)
    both = measure(path, (SPELLINGS[1], SPELLINGS[0]), [0], notes.append, TINY)
    assert both[0] == first[0]
    assert [row.spelling for row in both] == [SPELLINGS[0], SPELLINGS[1]]
    assert notes[-2:] == ["known already"] * 2
    assert read_rows(path, Row) == both
    words, short = both
    # 49-4-10 has 250 parameters.
    assert (words.update_bytes, short.update_bytes) == (1000, 501)
    assert words.traffic == short.traffic
    assert short.transmission_energy_j < words.transmission_energy_j
    assert short.energy_j - short.transmission_energy_j == pytest.approx(words.energy_j - words.transmission_energy_j)


def test_a_broken_line_is_named(tmp_path: Path):
    (tmp_path / "rows.jsonl").write_text("{}\n")
    with pytest.raises(InputError, match="line 1"):
        measure(tmp_path / "rows.jsonl", SPELLINGS, [0], print, TINY)


def test_the_page_says_what_was_measured(committed: list[Row]):
    page = (DOCS / "network.md").read_text()
    for row in committed:
        spelling = row.spelling
        fate = "" if spelling.update_encoding == "words" else spelling.quantisation_error.replace("_", " ")
        numbers = f"{row.update_bytes:,} | {row.accuracy:.4f} | {row.latency_s:.2f} | {row.full_mesh_latency_s:.2f}"
        energy = f"{row.energy_j:,.0f} | {row.transmission_energy_j:,.0f}"
        assert f"| `{spelling.update_encoding}` | {fate} | {numbers} | {energy} |" in page
    for row in committed[:3]:
        for spread in ("pull", "inline"):
            usage = row.usage(spread)
            kinds = (*parts(usage)[:2], usage.updates, usage.transactions, usage.proposals, usage.votes, usage.total)
            cells = " | ".join(f"{size / 1e6:.2f}" for size in kinds)
            assert f"| {spread} | `{row.spelling.update_encoding}` | {cells} |" in page


def test_the_figure_is_that_of_the_rows(committed: list[Row]):
    assert (DOCS / "figures" / "network_bytes.svg").read_text() == svg_text(network_bytes(committed))


def test_a_summary_is_a_mean_over_seeds(committed: list[Row]):
    assert len(summarise_rows(committed)) == len({row.spelling for row in committed})
    assert summarise_rows(committed)[0]["accuracy"] == committed[0].accuracy
