from __future__ import annotations

import random

from msgspec.structs import replace

from bees.report.attack_figures import DAMAGE, attack_figure, attack_figures
from bees.report.style import svg_text
from bees.study.attack_rows import CellRow, summarise
from bees.study.attack_table import panels_of

ATTACKS = ("sign_flip", "model_replacement")
DEFENCES = ("BEES (top 10)", "geometric_median")


def made_up_rows(seeds: int = 1, problem: str | None = None) -> list[CellRow]:
    draw = random.Random(3)
    planned = [("none", 0.0), *((attack, fraction) for fraction in (0.2, 0.4) for attack in ATTACKS)]
    return [
        CellRow(
            knobs={"seed": seed},
            attack=attack,
            defence=defence,
            fraction=fraction,
            heterogeneity=split,
            seed=seed,
            blocks=1,
            accuracy=(draw.uniform(0.1, 0.9),),
            backdoor_success=draw.random() if attack == "model_replacement" else None,
            selected=10.0,
            attackers_selected=1.0,
            refused_updates=0,
            ineligible_updates=0,
            outvoted_attestations=0,
            convicted=(),
            skipped_rounds=0,
            model="",
            problem=problem if attack == "sign_flip" else None,
            seconds=1.0,
        )
        for split in ("iid", "dirichlet 0.5")
        for seed in range(seeds)
        for attack, fraction in planned
        for defence in DEFENCES
    ]


def test_a_figure_for_each_heterogeneity_with_a_panel_for_each_fraction():
    figures = attack_figures(panels_of(summarise(made_up_rows())))
    assert list(figures) == ["attacks_iid", "attacks_dirichlet_0.5"]
    titles = [axes.get_title(loc="left") for axes in figures["attacks_iid"].axes]
    assert titles[0] == "20% of the devices attack, iid: accuracy"
    assert titles[2] == "40% of the devices attack, iid: accuracy"
    assert titles[1] == titles[3] == "... and how often the backdoor opens"


def test_each_cell_holds_the_number_of_its_rows():
    rows = [row for row in made_up_rows() if row.heterogeneity == "iid"]
    accuracy, backdoor = attack_figure(panels_of(summarise(rows))).axes[:2]
    written = [text.get_text() for text in accuracy.texts]
    assert written == [f"{100 * row.accuracy[-1]:.0f}" for row in rows if row.fraction in {0.0, 0.2}]
    planted = [row.backdoor_success for row in rows if row.backdoor_success is not None and row.fraction == 0.2]
    assert [text.get_text() for text in backdoor.texts] == [f"{100 * success:.0f}" for success in planted]


def test_a_spread_over_seeds_and_a_failure_are_said():
    panels = panels_of(summarise([row for row in made_up_rows(3, "broken") if row.heterogeneity == "iid"]))
    texts = [text.get_text() for text in attack_figure(panels).axes[0].texts]
    assert texts[2:4] == ["failed", "failed"]
    assert all("±" in text for text in texts[:2])


def test_the_darker_the_worse_also_without_colour():
    def lightness(damage: float) -> float:
        red, green, blue, _ = DAMAGE(damage)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    steps = [lightness(step / 20) for step in range(21)]
    assert steps == sorted(steps, reverse=True)
    assert steps[0] - steps[-1] > 0.6


def test_the_same_rows_give_the_same_bytes():
    panels = panels_of(summarise(made_up_rows()))[:1]
    assert svg_text(attack_figure(panels)) == svg_text(attack_figure(panels))


def test_a_label_is_drawn_as_it_is_written():
    """Two dollars would begin a formula, and a broken one would end the command after days of runs."""
    named = [replace(row, attack="$a_{$", defence="$\\frac{$") for row in made_up_rows()[:1]]
    assert "<svg" in svg_text(attack_figure(panels_of(summarise(named))))
