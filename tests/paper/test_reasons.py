"""Each number in ``bees.reproduce.reasons`` is what the committed rows of the study say."""

from __future__ import annotations

from pathlib import Path

from bees.reproduce.published import ACCURACY_TOLERANCE
from bees.reproduce.reasons import REASONS
from bees.study.readings import Row, read_rows

ROWS = read_rows(Path(__file__).parents[2] / "docs" / "studies" / "readings.jsonl")


def is_mild(row: Row) -> bool:
    """One epoch at the preset's speed, from Dirichlet 0.2 to IID."""
    setting = row.setting
    usual = (setting.epochs, setting.learning_rate, setting.batch_size) == (1, 0.01, 10)
    return usual and (
        setting.partition == "iid" or (setting.partition == "dirichlet" and setting.dirichlet_alpha >= 0.2)
    )


def skewed(epochs: int) -> list[Row]:
    return [
        r for r in ROWS if (r.setting.dirichlet_alpha, r.setting.epochs, r.setting.learning_rate) == (0.1, epochs, 0.01)
    ]


MILD = [row for row in ROWS if is_mild(row)]


def test_bees_hardly_depends_on_the_partition():
    assert len({row.setting for row in MILD}) >= 5
    assert "between 88% and 90%" in REASONS["accuracy_bees"]
    assert all(0.875 <= row.accuracy["BEES-100"] < 0.905 for row in MILD)


def test_b_ei_stays_close_to_bees_under_mild_skew_and_falls_under_strong_skew():
    assert "within 5 points of BEES" in REASONS["accuracy_bei"]
    assert all(row.accuracy["BEES-100"] - row.accuracy["B-EI-100"] < 0.05 for row in MILD)
    assert "5 local epochs B-EI has 74% and BEES 87%" in REASONS["accuracy_bei"]
    rows = skewed(epochs=5)
    b_ei = sum(row.accuracy["B-EI-100"] for row in rows) / len(rows)
    bees = sum(row.accuracy["BEES-100"] for row in rows) / len(rows)
    assert (round(b_ei, 2), round(bees, 2)) == (0.74, 0.87)
    assert abs(b_ei - 0.72) <= ACCURACY_TOLERANCE
    assert abs(bees - 0.89) <= ACCURACY_TOLERANCE


def test_fewer_ues_help_bees_under_mild_skew():
    assert all(row.accuracy["BEES-50"] > row.accuracy["BEES-100"] for row in MILD)


def test_no_setting_comes_near_54_percent():
    lowest = min((row for row in ROWS if row.accuracy["BEES-50"] >= 0.8), key=lambda row: row.accuracy["B-EI-50"])
    assert "the lowest B-EI is 73% (Dirichlet 0.1, 3 epochs)" in REASONS["accuracy_bei_50"]
    assert round(lowest.accuracy["B-EI-50"], 2) == 0.73
    assert (lowest.setting.dirichlet_alpha, lowest.setting.epochs) == (0.1, 3)


def test_b_ei_leads_early_only_with_iid_data():
    leading = [row for row in ROWS if row.b_ei_ahead > 4]
    assert {row.setting.partition for row in leading} == {"iid"}
    assert max(row.b_ei_ahead for row in leading) == 5
