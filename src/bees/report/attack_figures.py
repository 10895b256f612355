"""The heat map of ``bees attack``: the darker a cell, the less accuracy is left, or the more often a backdoor opens.

One hue, whose lightness says everything, so that neither a colour-blind eye nor a grey print loses any of it; the
number stands in each cell.
"""

# pyright: reportUnknownMemberType=false
# Matplotlib's stubs leave **kwargs of its drawing methods untyped.
from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from bees.report.style import INK, LABEL_PT, MUTED, RULE, SURFACE, styled

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from matplotlib.axes import Axes

    from bees.study.attack_rows import Spread, Summary
    from bees.study.attack_table import Panel

PALE: Final = "#fdf6ea"
DARK: Final = "#5e3200"
DAMAGE: Final = LinearSegmentedColormap.from_list("damage", [PALE, "#f3cd8f", "#d98a26", "#a35a08", DARK])
DARK_FROM: Final = 0.64
"""Damage from which a number is written in the colour of the paper."""
CHANCE: Final = 0.1
"""Accuracy of guessing among ten digits: nothing is left to destroy."""

CELL_WIDTH_IN: Final = 0.78
CELL_HEIGHT_IN: Final = 0.28
NAMES_IN: Final = 1.65
HEADS_IN: Final = 1.0
TITLE_IN: Final = 0.45
FOOT_IN: Final = 0.45
FOOT_CHARACTERS_PER_IN: Final = 14
EXPLANATION: Final = (
    "Percent of the test set; the darker, the less is left of it, or the more often the backdoor opens. Framed: the "
    "best defence of the row. ±: half of what lies between the seeds' least and most."
)
DEFENCE_CHARACTERS: Final = 11


def attack_figures(panels: Sequence[Panel]) -> dict[str, Figure]:
    """A heat map for each heterogeneity, by the name of its file, with a panel for each fraction."""
    splits = list(dict.fromkeys(panel.heterogeneity for panel in panels))
    return {
        f"attacks_{split.replace(' ', '_')}": attack_figure([p for p in panels if p.heterogeneity == split])
        for split in splits
    }


@styled
def attack_figure(panels: Sequence[Panel]) -> Figure:
    """Accuracy after the last block, attack by defence, a panel below the other; then how often a backdoor opens."""
    columns = max(len(panel.defences) for panel in panels)
    blocks = [block for panel in panels for block in _blocks(panel)]
    heights = [len(block.attacks) * CELL_HEIGHT_IN + (HEADS_IN if block.has_heads else TITLE_IN) for block in blocks]
    size = (NAMES_IN + columns * CELL_WIDTH_IN, sum(heights) + FOOT_IN)
    figure = Figure(figsize=size)
    grid = figure.add_gridspec(len(blocks), 1, height_ratios=heights)
    for number, block in enumerate(blocks):
        _draw(figure.add_subplot(grid[number]), block)
    figure.supxlabel(
        textwrap.fill(EXPLANATION, int(size[0] * FOOT_CHARACTERS_PER_IN)),
        fontsize=LABEL_PT - 1,
        color=MUTED,
    )
    return figure


@dataclass(frozen=True)
class _Block:
    panel: Panel
    title: str
    attacks: tuple[str, ...]
    spread_of: Callable[[Summary], Spread | None]
    damage_of: Callable[[float], float]
    has_heads: bool


def _blocks(panel: Panel) -> list[_Block]:
    title = f"{panel.title}: accuracy"
    blocks = [_Block(panel, title, panel.attacks, lambda cell: cell.final_accuracy, _lost, has_heads=True)]
    if panel.backdoors:
        # It stands right below, with the same columns.
        title = "... and how often the backdoor opens"
        blocks.append(_Block(panel, title, panel.backdoors, lambda cell: cell.backdoor_success, float, has_heads=False))
    return blocks


def _lost(accuracy: float) -> float:
    return min(1.0, (1.0 - accuracy) / (1.0 - CHANCE))


def _draw(axes: Axes, block: _Block) -> None:
    panel = block.panel
    axes.set_title(block.title)
    for row, attack in enumerate(block.attacks):
        damages: dict[int, float] = {}
        for column, defence in enumerate(panel.defences):
            cell = panel.cells.get((attack, defence))
            spread = None if cell is None else block.spread_of(cell)
            if spread is not None:
                damages[column] = block.damage_of(spread.mean)
            _draw_cell(axes, (column, row), spread, damages.get(column), was_run=cell is not None)
        for column in (c for c, damage in damages.items() if damage == min(damages.values())):
            ink = _ink(damages[column])
            axes.add_patch(Rectangle((column - 0.46, row - 0.43), 0.92, 0.86, fill=False, edgecolor=ink, linewidth=1.1))
    axes.set_xlim(-0.5, len(panel.defences) - 0.5)
    axes.set_ylim(len(block.attacks) - 0.5, -0.5)
    heads = [_wrapped(defence) for defence in panel.defences] if block.has_heads else []
    axes.set_xticks(range(len(heads)), heads, color=INK, parse_math=False)
    names = [attack.replace("_", " ") for attack in block.attacks]
    axes.set_yticks(range(len(names)), names, color=INK, parse_math=False)
    axes.tick_params(length=0)
    axes.xaxis.tick_top()
    axes.grid(visible=False)
    axes.spines["bottom"].set_visible(False)


def _draw_cell(axes: Axes, at: tuple[int, int], spread: Spread | None, damage: float | None, *, was_run: bool) -> None:
    colour = SURFACE if damage is None else DAMAGE(damage)
    axes.add_patch(Rectangle((at[0] - 0.5, at[1] - 0.5), 1, 1, facecolor=colour, edgecolor=SURFACE if damage else RULE))
    text = "failed" if was_run else ""
    if spread is not None:
        text = f"{100 * spread.mean:.0f}"
        if spread.least != spread.most:
            text += f" ±{50 * (spread.most - spread.least):.0f}"
    axes.text(*at, text, ha="center", va="center", color=_ink(damage or 0.0), fontsize=LABEL_PT - 0.5)


def _ink(damage: float) -> str:
    return SURFACE if damage > DARK_FROM else INK


def _wrapped(label: str) -> str:
    name, bracket, rest = label.replace("_", " ").partition(" (")
    parts = [name, f"({rest}"] if bracket else [name]
    return "\n".join(line for part in parts for line in textwrap.wrap(part, DEFENCE_CHARACTERS))
