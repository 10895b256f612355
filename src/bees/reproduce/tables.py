"""The claims as text: how a number is written, and the table of published beside measured for README and terminal."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bees.reproduce.claims import Claim

VERDICT_COLOURS: Final = {"reproduced": "green", "fitted": "yellow", "not reproduced": "red"}

_FORMATS: Final = {
    "fraction": (100.0, "{:.1f}%", "{:+.1f} points"),
    "share": (100.0, "{:.0f}% of blocks", "{:+.0f}% of blocks"),
    "points": (1.0, "{:.1f} points", "{:+.1f} points"),
    "s": (1.0, "{:.2f} s", "{:+.2f} s"),
    "J": (1.0, "{:,.0f} J", "{:+,.0f} J"),
    "R²": (1.0, "R² = {:.4f}", "{:+.4f}"),
}


def value_text(value: float, unit: str) -> str:
    """A value in its unit as people write it: 0.894 fraction is ``89.4%``, 6294 J is ``6,294 J``."""
    scale, form, _ = _FORMATS[unit]
    return form.format(scale * value)


def published_text(claim: Claim) -> str:
    """What the paper says: its number, or its words where it prints none."""
    if claim.published is None:
        return f"“{claim.quote}”"
    return printed_text(claim.published, claim.unit)


def printed_text(value: float, unit: str) -> str:
    """A published value with as many digits as the paper prints: whole percents."""
    return {"fraction": f"{value:.0%}", "points": f"{value:g} points"}.get(unit) or value_text(value, unit)


def measured_text(claim: Claim) -> str:
    """What was measured, with the standard deviation over seeds where there are several."""
    value = value_text(claim.measured, claim.unit)
    if claim.spread is None:
        return value
    scale, form, _ = _FORMATS[claim.unit]
    number = form.removeprefix("R² = ").partition("}")[0] + "}"
    return f"{value} ± {number.format(scale * claim.spread)}"


def difference_text(claim: Claim) -> str:
    """Measured minus published, with its share of the published for seconds and joules; a dash without a number."""
    if claim.difference is None or claim.published is None:
        return "–"
    scale, _, form = _FORMATS[claim.unit]
    text = _signed(form.format(scale * claim.difference))
    share = _signed(f"{claim.difference / claim.published:+.1%}")
    return f"{text} ({share})" if claim.unit in {"s", "J"} else text


def _signed(text: str) -> str:
    """A signed number with a real minus sign, and none on zero."""
    return text[1:] if not re.search("[1-9]", text) else text.replace("-", "−")


def claims_table_markdown(claims: Iterable[Claim]) -> str:
    """The table of claims in Markdown, a row each, ending in a line break."""
    lines = ["| Claim | Published | Measured | Difference | Verdict |", "|---|---|---|---|---|"]
    lines += [
        f"| {claim.claim} ({claim.source}) | {published_text(claim)} | {measured_text(claim)} "
        f"| {difference_text(claim)} | {claim.verdict} |"
        for claim in claims
    ]
    return "\n".join(lines) + "\n"


def claims_table(claims: Iterable[Claim]) -> Table:
    """The table of claims for the terminal."""
    table = Table(title="The paper's claims, published and measured", title_justify="left", show_lines=False)
    table.add_column("Claim")
    table.add_column("Source", no_wrap=True)
    for name in ("Published", "Measured", "Difference"):
        table.add_column(name, justify="right")
    table.add_column("Verdict", no_wrap=True)
    for claim in claims:
        cells = (claim.claim, claim.source, published_text(claim), measured_text(claim), difference_text(claim))
        table.add_row(*(Text(cell) for cell in cells), Text(claim.verdict, style=VERDICT_COLOURS[claim.verdict]))
    return table
