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


def rounded_means(rows: list[Row]) -> tuple[float, float]:
    """Of B-EI and of BEES, 100 UEs."""
    b_ei, bees = (sum(row.accuracy[key] for row in rows) / len(rows) for key in ("B-EI-100", "BEES-100"))
    return round(b_ei, 2), round(bees, 2)


def is_near_both(row: Row) -> bool:
    published = {"BEES-100": 0.89, "B-EI-100": 0.72}
    return all(abs(row.accuracy[key] - value) <= ACCURACY_TOLERANCE for key, value in published.items())


MILD = [row for row in ROWS if is_mild(row)]


def test_bees_hardly_depends_on_the_partition():
    assert len({row.setting for row in MILD}) >= 5
    assert "between 88% and 90%" in REASONS["accuracy_bees"]
    assert all(0.875 <= row.accuracy["BEES-100"] < 0.905 for row in MILD)


def test_b_ei_stays_close_to_bees_under_mild_skew_and_falls_under_strong_skew():
    assert "within 5 points of BEES" in REASONS["accuracy_bei"]
    assert all(row.accuracy["BEES-100"] - row.accuracy["B-EI-100"] < 0.05 for row in MILD)
    assert "3 epochs B-EI has 75% and BEES 85%" in REASONS["accuracy_bei"]
    assert rounded_means(skewed(epochs=3)) == (0.75, 0.85)
    assert "5 epochs, on one of 2 seeds" in REASONS["accuracy_bei"]
    assert [is_near_both(row) for row in skewed(epochs=5)].count(True) == 1
    assert len(skewed(epochs=5)) == 2
    assert not any(is_near_both(row) for row in ROWS if row not in skewed(epochs=5))


def test_fewer_ues_help_bees_under_mild_skew():
    assert all(row.accuracy["BEES-50"] > row.accuracy["BEES-100"] for row in MILD)


def test_no_setting_comes_near_54_percent():
    lowest = min((row for row in ROWS if row.accuracy["BEES-50"] >= 0.8), key=lambda row: row.accuracy["B-EI-50"])
    assert "the lowest B-EI of any setting and seed is 71% (Dirichlet 0.1)" in REASONS["accuracy_bei_50"]
    assert round(lowest.accuracy["B-EI-50"], 2) == 0.71
    assert lowest.setting.dirichlet_alpha == 0.1


def test_b_ei_leads_early_only_with_iid_data_or_shards():
    leading = {(row.setting.partition, row.seed): row.b_ei_ahead for row in ROWS if row.b_ei_ahead > 4}
    assert sorted((partition, ahead) for (partition, _), ahead in leading.items()) == [("iid", 5), ("shards", 6)]
    assert "(5 of them, both schemes nearly equal) and with two shards per UE (6)" in REASONS["early_lead"]
