"""The report: one HTML file that opens offline, with its figures inside, and the same figures as SVG and PNG."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from bees.report.content import reproduction_content, run_content
from bees.report.style import inline_svg, png_bytes, svg_text
from bees.run_folder import cannot_write, write_bytes, write_text

if TYPE_CHECKING:
    from pathlib import Path

    from bees.report.content import ReportInput, ReproductionRecord, RunRecord

VERDICT_SIGNS = {"reproduced": "✓", "fitted": "≈", "not reproduced": "✕"}
"""So that a verdict can be told without its colour."""

VERDICT_MEANINGS = {
    "reproduced": "measured, with nothing chosen to make it so",
    "fitted": "it agrees, but a constant or a reading that the paper leaves open was chosen to meet it",
    "not reproduced": "measured, and it does not agree",
}


def write_run_report(folder: Path, record: RunRecord) -> Path:
    """Writes ``figures/*.svg``, ``figures/*.png`` and ``report.html`` into a run's folder.

    Returns:
        The path of ``report.html``.

    Raises:
        OutputError: the folder can't be written.
    """
    return _write(folder, run_content(record))


def write_reproduction_report(folder: Path, record: ReproductionRecord) -> Path:
    """Writes the paper's figures and ``report.html`` into a folder; as ``write_run_report``."""
    return _write(folder, reproduction_content(record))


def render(report: ReportInput) -> str:
    """The page, self-contained: no script, and nothing that is loaded from elsewhere."""
    return _environment().get_template("report.html.j2").render(
        report=report,
        figures=[(f, Markup(inline_svg(f.figure, f.name))) for f in report.figures],  # noqa: S704  # our own drawing
        signs=VERDICT_SIGNS,
        meanings=VERDICT_MEANINGS,
    )  # fmt: skip


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("bees.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def _write(folder: Path, report: ReportInput) -> Path:
    page, figures = folder / "report.html", folder / "figures"
    try:
        figures.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(figures, error) from error
    for item in report.figures:
        write_text(figures, f"{item.name}.svg", svg_text(item.figure))
        write_bytes(figures, f"{item.name}.png", png_bytes(item.figure))
    write_text(folder, page.name, render(report))
    return page
