"""The rows of attacks on the protocol as the Markdown tables of ``docs/security.md``."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bees.study.protocol_attacks import ProtocolRow

_REASONS_NAMED = 2
_HEADS = (
    "attack",
    "by one",
    "by six",
    "lies sent",
    "refused, most often for",
    "convicted, by round",
    "time",
    "bytes",
    "w_g as without lies",
)
_BEYOND_HEADS = ("attack", "liars", "honest servers cut off", "outcome", "broken invariant", "w_g as without lies")


def tables(rows: Sequence[ProtocolRow]) -> str:
    """Three tables: lies of servers, lies of devices, and where the bound is."""
    within = [row for row in rows if not (row.is_beyond or row.cut_off)]
    beyond = [row for row in rows if row.is_beyond or row.cut_off]
    parts = ["**By servers**", _within([row for row in within if row.by == "servers"])]
    parts += ["**By devices**", _within([row for row in within if row.by == "devices"])]
    parts += ["**At the bound and beyond**", _table(_BEYOND_HEADS, [_beyond_cells(row) for row in beyond])]
    return "\n\n".join(parts) + "\n"


def _within(rows: Sequence[ProtocolRow]) -> str:
    names = list(dict.fromkeys(row.attack for row in rows))
    pairs = [[row for row in rows if row.attack == name] for name in names]
    return _table(_HEADS, [_cells(min(pair, key=_liars), max(pair, key=_liars)) for pair in pairs])


def _liars(row: ProtocolRow) -> int:
    return row.liars


def _cells(few: ProtocolRow, many: ProtocolRow) -> tuple[str, ...]:
    sent = f"{many.lies:,}" if many.lies or not many.withheld else f"{many.withheld:,} withheld"
    return (
        many.attack,
        few.outcome,
        many.outcome,
        sent,
        _refusals(many),
        _convictions(many),
        _times(many.pace.virtual_s, many.honest_pace.virtual_s),
        _times(many.pace.bytes, many.honest_pace.bytes),
        _models(many),
    )


def _beyond_cells(row: ProtocolRow) -> tuple[str, ...]:
    return (row.attack, str(row.liars), str(row.cut_off), row.outcome, row.broken or "none", _models(row))


def _refusals(row: ProtocolRow) -> str:
    reasons = sorted(row.refused.items(), key=lambda item: (-item[1], item[0]))
    named = ", ".join(reason.removesuffix("Error") for reason, _ in reasons[:_REASONS_NAMED])
    return f"{sum(row.refused.values()):,}: {named}" if named else "0"


def _convictions(row: ProtocolRow) -> str:
    if not row.convicted:
        return "nobody"
    return f"{len(row.convicted)} of {row.liars}, {max(row.convicted.values())}"


def _models(row: ProtocolRow) -> str:
    compared = row.same_models + sum(row.other_models.values())
    causes = "; ".join(f"{count} {name}" for name, count in row.other_models.items())
    return f"{row.same_models} of {compared}" + (f"; {causes}" if causes else "")


def _times(value: float, honest: float) -> str:
    return f"{value / honest:.2f}"


def _table(heads: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    return "\n".join([_line(heads), f"|{'---|' * len(heads)}", *map(_line, lines)])


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
