"""The table of ``bees attack``: attacks by defences, for each fraction of attackers and each heterogeneity.

The terminal, the Markdown page and the heat map show the same panels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bees.study.attack_rows import Spread, Summary


class ProtocolAttack(Protocol):
    """What the table asks of a row of an attack on the protocol, which has no accuracy, but an outcome."""

    @property
    def attack(self) -> str:
        """Its name."""
        ...

    @property
    def by(self) -> str:
        """Who lies: servers or devices."""
        ...

    @property
    def liars(self) -> int:
        """How many."""
        ...

    @property
    def rounds(self) -> int:
        """Closed."""
        ...

    @property
    def skipped(self) -> int:
        """Of them, without a result: what it cost."""
        ...

    @property
    def convicted(self) -> Mapping[str, int]:
        """Liars that were, and in which round."""
        ...

    @property
    def outcome(self) -> str:
        """In one word."""
        ...


@dataclass(frozen=True)
class Panel:
    """Attacks by defences, under one fraction of attackers and one heterogeneity.

    Attributes:
        heterogeneity: label.
        fraction: of the devices that attack.
        attacks: labels of its rows, ``none`` first.
        defences: labels of its columns.
        cells: by attack and defence; those that were not run are missing.
    """

    heterogeneity: str
    fraction: float
    attacks: tuple[str, ...]
    defences: tuple[str, ...]
    cells: dict[tuple[str, str], Summary]

    @property
    def title(self) -> str:
        """What all of its cells have in common."""
        if not self.fraction:
            return f"Nobody attacks, {self.heterogeneity}"
        return f"{self.fraction:.0%} of the devices attack, {self.heterogeneity}"

    @property
    def backdoors(self) -> tuple[str, ...]:
        """Attacks that plant a backdoor."""
        cells = self.cells.items()
        planted = {attack for (attack, _), cell in cells if cell.backdoor_success is not None}
        return tuple(attack for attack in self.attacks if attack in planted)


def panels_of(summaries: Sequence[Summary]) -> list[Panel]:
    """A panel for each heterogeneity and fraction above 0, each with the row in which nobody attacks.

    Where nobody attacks anywhere, the row alone is a panel.
    """
    panels: list[Panel] = []
    for heterogeneity in dict.fromkeys(summary.heterogeneity for summary in summaries):
        of_split = [summary for summary in summaries if summary.heterogeneity == heterogeneity]
        alone = [summary for summary in of_split if not summary.fraction]
        fractions = sorted({summary.fraction for summary in of_split if summary.fraction}) or [0.0]
        for fraction in fractions:
            attacked = [summary for summary in of_split if summary.fraction == fraction and fraction]
            panels.append(_panel(heterogeneity, fraction, [*alone, *attacked]))
    return panels


def _panel(heterogeneity: str, fraction: float, summaries: list[Summary]) -> Panel:
    return Panel(
        heterogeneity=heterogeneity,
        fraction=fraction,
        attacks=tuple(dict.fromkeys(summary.attack for summary in summaries)),
        defences=tuple(dict.fromkeys(summary.defence for summary in summaries)),
        cells={(summary.attack, summary.defence): summary for summary in summaries},
    )


def cell_text(cell: Summary | None) -> str:
    """Accuracy after the last block and, in brackets, how often the backdoor opens; in percent."""
    if cell is None:
        return ""
    if cell.final_accuracy is None:
        return "failed"
    text = _percents(cell.final_accuracy)
    if cell.backdoor_success is not None:
        text += f" ({_percents(cell.backdoor_success)})"
    return f"{text}, {len(cell.problems)} failed" if cell.problems else text


def _percents(spread: Spread) -> str:
    if spread.least == spread.most:
        return f"{100 * spread.mean:.1f}"
    return f"{100 * spread.mean:.1f} [{100 * spread.least:.1f}, {100 * spread.most:.1f}]"


def markdown(panels: Sequence[Panel]) -> str:
    """All panels as Markdown tables; the best defence of each row in bold."""
    return "\n".join(_markdown_of(panel) for panel in panels)


def _markdown_of(panel: Panel) -> str:
    lines = [f"**{panel.title}**", "", f"| attack | {' | '.join(map(_escaped, panel.defences))} |"]
    lines.append(f"|---|{'---:|' * len(panel.defences)}")
    for attack in panel.attacks:
        best = best_of(panel, attack)
        texts = [cell_text(panel.cells.get((attack, defence))) for defence in panel.defences]
        texts = [f"**{text}**" if number in best else text for number, text in enumerate(texts)]
        lines.append(f"| {_escaped(attack)} | {' | '.join(texts)} |")
    return "\n".join([*lines, ""])


PROTOCOL_HEADS = ("attack on the protocol", "by", "outcome", "convicted", "rounds skipped")


def protocol_cells(row: ProtocolAttack) -> tuple[str, ...]:
    """A line of the table of attacks on the protocol, under ``PROTOCOL_HEADS``."""
    who = row.by if row.liars != 1 else row.by.removesuffix("s")
    caught = f"{len(row.convicted)} of {row.liars}" if row.convicted else "nobody"
    return row.attack, f"{row.liars} {who}", row.outcome, caught, f"{row.skipped} of {row.rounds}"


def protocol_markdown(rows: Sequence[ProtocolAttack]) -> str:
    """Attacks on the protocol as a Markdown table; empty where there are none."""
    if not rows:
        return ""
    lines = [f"| {' | '.join(PROTOCOL_HEADS)} |", f"|{'---|' * len(PROTOCOL_HEADS)}"]
    lines += [f"| {' | '.join(map(_escaped, protocol_cells(row)))} |" for row in rows]
    return "\n".join(["", "**Attacks on the protocol**", "", *lines, ""])


def best_of(panel: Panel, attack: str) -> set[int]:
    """The columns whose accuracy is the best of an attack's row; equals are all named."""
    cells = [panel.cells.get((attack, defence)) for defence in panel.defences]
    means = [None if cell is None or cell.final_accuracy is None else cell.final_accuracy.mean for cell in cells]
    most = max((mean for mean in means if mean is not None), default=None)
    return {number for number, mean in enumerate(means) if mean is not None and mean == most}


def _escaped(label: str) -> str:
    return label.replace("\\", "\\\\").replace("|", "\\|")
