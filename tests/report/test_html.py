from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import msgspec
import pytest

from bees.core.errors import OutputError
from bees.report.content import READINGS, LedgerSummary, Provenance, RunRecord, reproduction_content, run_content
from bees.report.html import render, write_reproduction_report, write_run_report
from bees.scenario import Scenario

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bees.report.content import ReproductionRecord

HOSTILE = '<script>alert("x")</script>'
VOID = {"meta", "link", "br", "img", "input", "hr", "wbr"}


class Page(HTMLParser):
    """Checks that tags nest, and collects what the tests ask for."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"style", "svg"} & set(self.open):
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


@pytest.fixture(params=["run", "reproduction"])
def page_text(
    request: pytest.FixtureRequest,
    run_record: Callable[..., RunRecord],
    reproduction_record: Callable[..., ReproductionRecord],
) -> str:
    return render(
        run_content(run_record()) if request.param == "run" else reproduction_content(reproduction_record(seeds=3))
    )


def test_a_page_is_well_formed_and_loads_nothing(page_text: str):
    page = Page(page_text)
    tags = {tag for tag, _ in page.tags}
    assert not tags & {"script", "link", "iframe", "object", "embed", "img", "base", "form"}
    for _, attributes in page.tags:
        assert not any(name.startswith("on") for name in attributes)
        for name in ("src", "href", "srcset", "action", "data"):
            assert (attributes.get(name) or "#").startswith("#")
    assert not re.search(r"https?:|@import|url\((?!#)", page_text)


def test_ids_are_unique_and_every_reference_has_its_target(page_text: str):
    ids = [attributes["id"] for _, attributes in Page(page_text).tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    for reference in re.findall(r'(?:href="|url\()#([^")]+)', page_text):
        assert reference in ids


def test_a_page_can_be_read_without_seeing_it(page_text: str):
    page = Page(page_text)
    assert [attributes.get("lang") for tag, attributes in page.tags if tag == "html"] == ["en"]
    figures = [attributes for _, attributes in page.tags if attributes.get("role") == "img"]
    assert figures
    assert all(attributes.get("aria-label") for attributes in figures)
    headers = [attributes for tag, attributes in page.tags if tag == "th"]
    assert all(attributes.get("scope") in {"col", "row"} for attributes in headers)
    assert "prefers-color-scheme: dark" in page_text
    assert "@media print" in page_text


def test_a_page_is_the_same_each_time(
    run_record: Callable[..., RunRecord], reproduction_record: Callable[..., ReproductionRecord]
):
    assert render(run_content(run_record())) == render(run_content(run_record()))
    first, second = (render(reproduction_content(reproduction_record(seeds=3))) for _ in range(2))
    assert first == second


def test_every_claim_stands_on_the_page_with_its_verdict_and_reason(
    reproduction_record: Callable[..., ReproductionRecord],
):
    record = reproduction_record()
    text = Page(render(reproduction_content(record))).text
    assert len(record.claims) == 16
    for claim in record.claims:
        assert claim.claim in text
        assert claim.reason in text
    for verdict in ("reproduced", "fitted", "not reproduced"):
        assert f"{sum(claim.verdict == verdict for claim in record.claims)} {verdict}" in text


def test_hostile_names_stay_text(ledger: LedgerSummary, run_record: Callable[..., RunRecord]):
    rows, devices = run_record().rounds, run_record().devices
    provenance = Provenance(f"bees run {HOSTILE}", HOSTILE, (0,), HOSTILE, 1.0, {HOSTILE: f"'\"><img src=x>{HOSTILE}"})
    scenario = Scenario(name=HOSTILE)
    hostile_ledger = LedgerSummary(HOSTILE, 1, 1, 0, contract=HOSTILE, app_hash=HOSTILE)
    page_text = render(run_content(RunRecord(scenario, rows, devices, provenance, hostile_ledger, HOSTILE)))
    assert "<script" not in page_text
    assert "<img" not in page_text
    assert Page(page_text).text.count(HOSTILE) >= 8


def test_readings_name_real_knobs_and_show_where_the_schemes_differ(
    reproduction_record: Callable[..., ReproductionRecord],
):
    plain = msgspec.to_builtins(Scenario())
    for key in READINGS:
        section, _, name = key.partition(".")
        assert name in plain[section]
    content = reproduction_content(reproduction_record())
    assert {row.key for row in content.readings} == set(READINGS)
    assert {row.key for row in content.readings if row.differs} == {"radio.sharing", "ledger.contract"}


def test_an_interrupted_run_says_so_even_before_its_first_block(run_record: Callable[..., RunRecord]):
    record = run_record(blocks=0, problem="interrupted by Ctrl-C")
    text = Page(render(run_content(record))).text
    assert "This run did not end well. interrupted by Ctrl-C" in text
    assert "ended before its first block" in text


def test_a_short_reproduction_without_claims_or_ledger_is_a_page_too(
    reproduction_record: Callable[..., ReproductionRecord], provenance: Provenance
):
    record = reproduction_record(seeds=1, blocks=1)
    empty = type(record)(msgspec.structs.replace(record.reproduction, curves=()), (), {}, provenance)
    for each in (record, empty):
        Page(render(reproduction_content(each)))


def test_writing_leaves_the_page_and_every_figure_twice(
    tmp_path: Path, run_record: Callable[..., RunRecord], reproduction_record: Callable[..., ReproductionRecord]
):
    page = write_run_report(tmp_path / "run", run_record())
    assert page == tmp_path / "run" / "report.html"
    assert page.read_text(encoding="utf-8") == render(run_content(run_record()))
    write_reproduction_report(tmp_path / "paper", reproduction_record())
    found = sorted(path.name for path in (tmp_path / "paper" / "figures").iterdir())
    assert found == sorted(f"figure_{n}.{kind}" for n in range(3, 9) for kind in ("png", "svg"))


def test_a_folder_that_cannot_be_written_is_one_clear_line(tmp_path: Path, run_record: Callable[..., RunRecord]):
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(OutputError, match=r"file.figures: cannot be written: .*choose another place"):
        write_run_report(blocked, run_record())
