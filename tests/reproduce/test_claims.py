from __future__ import annotations

import json
from typing import Any, cast

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bees.reproduce.claims import Claim, claims_of, r_squared, summary, verdict_counts
from bees.reproduce.curves import Curve, Reproduction
from bees.reproduce.published import (
    ACCURACY_TOLERANCE,
    BLOCKS,
    END_POINTS,
    ENERGY_TOLERANCE,
    HALVING_LOSS_POINTS,
    LATENCY_TOLERANCE,
    EndPoint,
)
from bees.reproduce.tables import claims_table, claims_table_markdown, difference_text, measured_text, published_text


def curve(
    scheme: str,
    devices: int,
    *,
    accuracy: float | None = 0.5,
    latency_s: float = 5.0,
    energy_j: float = 6000.0,
    seeds: tuple[int, ...] = (0,),
    blocks: int = BLOCKS,
) -> Curve:
    """Straight curves that end at the given values; a quantity that is None was not run."""

    def rows(end: float | None) -> tuple[tuple[float, ...], ...]:
        return () if end is None else tuple(tuple(end * np.arange(1, blocks + 1) / blocks) for _ in seeds)

    return Curve(
        scheme=scheme,
        devices=devices,
        seeds=seeds,
        accuracy=rows(accuracy),
        latency_s=rows(latency_s),
        energy_j=rows(energy_j),
    )


def reproduction(*curves: Curve, blocks: int = BLOCKS) -> Reproduction:
    return Reproduction(version="0.1.0", blocks=blocks, curves=curves, seconds=1.5)


def by_key(*curves: Curve, **arguments: Any) -> dict[str, Claim]:
    return {claim.key: claim for claim in claims_of(reproduction(*curves), **arguments)}


def as_published(seeds: tuple[int, ...] = (0,)) -> tuple[Curve, ...]:
    return (
        curve("BEES", 100, accuracy=0.89, latency_s=5.71, energy_j=6294, seeds=seeds),
        curve("BEES", 50, accuracy=0.88, latency_s=5.0, energy_j=5000, seeds=seeds),
        curve("BEES", 150, accuracy=None, energy_j=7631, seeds=seeds),
        curve("BEES", 200, accuracy=None, energy_j=8895, seeds=seeds),
        curve("B-EI", 100, accuracy=0.72, latency_s=7.0, energy_j=7000, seeds=seeds),
        curve("B-EI", 50, accuracy=0.54, seeds=seeds),
        curve("B-EI", 150, accuracy=None, energy_j=9000, seeds=seeds),
        curve("B-EI", 200, accuracy=None, energy_j=9900, seeds=seeds),
    )


def test_every_printed_number_and_order_of_the_paper_has_a_claim():
    assert set(by_key(*as_published())) == {
        *(point.key for point in END_POINTS),
        *("early_lead", "halving_loss", "latency_linear", "latency_order", "latency_gap_grows"),
        *("energy_order_100", "energy_order_150", "energy_order_200"),
    }


def test_the_paper_s_own_numbers_agree_with_the_paper_except_the_straight_early_curves():
    verdicts = {key: claim.verdict for key, claim in by_key(*as_published()).items()}
    # These made-up curves are straight, so that B-EI can't be ahead early and behind at the end.
    assert verdicts.pop("early_lead") == "not reproduced"
    trained = ("accuracy", "halving", "latency_linear")
    assert verdicts == {key: "reproduced" if key.startswith(trained) else "fitted" for key in verdicts}


@pytest.mark.parametrize("point", END_POINTS, ids=lambda point: point.key)
def test_an_end_point_agrees_up_to_its_tolerance_and_not_beyond(point: EndPoint):
    tolerance = {
        "accuracy": ACCURACY_TOLERANCE,
        "latency_s": LATENCY_TOLERANCE * point.published,
        "energy_j": ENERGY_TOLERANCE * point.published,
    }[point.quantity]
    agreed = "reproduced" if point.quantity == "accuracy" else "fitted"
    for sign in (-1, 1):
        for share, verdict in ((0.99, agreed), (1.01, "not reproduced")):
            value = point.published + sign * share * tolerance
            claim = by_key(curve(point.scheme, point.devices, **cast("Any", {point.quantity: value})))[point.key]
            assert claim.verdict == verdict
            assert claim.measured == pytest.approx(value)
            assert claim.difference == pytest.approx(value - point.published)
            if verdict == "not reproduced":
                assert ("above" if sign > 0 else "below") in claim.reason


def test_early_lead_counts_the_blocks_before_the_tenth_and_measures_the_lead():
    lead = np.array([3, 2, 1, 1, -1, 1, 1, -2, 3])
    bees = np.full(BLOCKS, 0.5)
    bei = bees.copy()
    bei[:9] += lead / 100
    bei[9:] -= 0.3
    base = curve("BEES", 100)
    pair = [
        msgspec.structs.replace(base, scheme=scheme, accuracy=(tuple(row),))
        for scheme, row in (("BEES", bees), ("B-EI", bei))
    ]
    claim = by_key(*pair)["early_lead"]
    assert (claim.verdict, claim.unit, claim.published) == ("reproduced", "points", None)
    assert claim.measured == pytest.approx(lead.mean())
    assert "ahead at 7 of the first 9 blocks: +1.0 points on average, +3.0" in claim.reason


@pytest.mark.parametrize(("few", "verdict"), [(0.88, "reproduced"), (0.90, "reproduced"), (0.86, "not reproduced")])
def test_halving_the_devices_may_cost_two_points(few: float, verdict: str):
    claim = by_key(curve("BEES", 100, accuracy=0.89), curve("BEES", 50, accuracy=few))["halving_loss"]
    assert claim.verdict == verdict
    assert claim.measured == pytest.approx(100 * (0.89 - few))
    assert claim.published == HALVING_LOSS_POINTS


def test_an_order_that_fails_for_one_seed_is_not_reproduced():
    bees = curve("BEES", 100, seeds=(0, 1))
    cheaper = tuple(0.9 * joule for joule in bees.energy_j[0])
    dearer = tuple(1.2 * joule for joule in bees.energy_j[0])
    bei = msgspec.structs.replace(bees, scheme="B-EI", energy_j=(cheaper, dearer))
    claim = by_key(bees, bei)["energy_order_100"]
    assert claim.measured > 0
    assert claim.verdict == "not reproduced"


def test_gaps_are_taken_between_runs_of_the_same_seed():
    bees = msgspec.structs.replace(
        curve("BEES", 100, seeds=(0, 1)), latency_s=(tuple(range(1, 51)), tuple(range(101, 151)))
    )
    bei = msgspec.structs.replace(curve("B-EI", 100, seeds=(1,)), latency_s=(tuple(range(102, 202, 2)),))
    claim = by_key(bees, bei)["latency_order"]
    assert claim.measured == 50
    assert claim.spread is None


def test_a_gap_that_shrinks_is_not_called_growing():
    bees = curve("BEES", 100, latency_s=5.0)
    parallel = tuple(second + 1.0 for second in bees.latency_s[0])
    closing = tuple(second + 1.0 - 0.01 * t for t, second in enumerate(bees.latency_s[0]))
    for row in (parallel, closing):
        claims = by_key(bees, msgspec.structs.replace(bees, scheme="B-EI", latency_s=(row,)))
        assert claims["latency_order"].verdict == "fitted"
    assert claims["latency_gap_grows"].verdict == "not reproduced"
    assert claims["latency_gap_grows"].measured == 0


def test_spread_is_the_standard_deviation_over_seeds():
    bees = msgspec.structs.replace(
        curve("BEES", 100, seeds=(0, 1, 2)), accuracy=tuple((v,) * BLOCKS for v in (0.88, 0.89, 0.90))
    )
    claim = by_key(bees)["accuracy_bees"]
    assert claim.measured == pytest.approx(0.89)
    assert claim.spread == pytest.approx(0.01)
    assert measured_text(claim) == "89.0% ± 1.0"


def test_curves_that_were_not_run_give_fewer_claims_and_no_error():
    assert by_key() == {}
    short = curve("BEES", 100, blocks=5), curve("B-EI", 100, blocks=5, latency_s=6.0, energy_j=9000.0)
    assert set(by_key(*short)) == {"latency_linear", "latency_order", "latency_gap_grows", "energy_order_100"}
    one = curve("BEES", 100, blocks=1), curve("B-EI", 100, blocks=1)
    assert set(by_key(*one)) == {"latency_order", "energy_order_100"}


def test_what_an_experiment_found_replaces_the_computed_reason():
    found = {"accuracy_bei": "The best of 100 UEs holds all ten digits."}
    claim = by_key(curve("B-EI", 100, accuracy=0.87), reasons=found)["accuracy_bei"]
    assert claim.verdict == "not reproduced"
    assert claim.reason == found["accuracy_bei"]


def test_a_setting_that_was_searched_for_is_fitted_at_best():
    agreed = by_key(curve("BEES", 100, accuracy=0.89), fitted={"accuracy_bees"})["accuracy_bees"]
    assert agreed.verdict == "fitted"
    missed = by_key(curve("BEES", 100, accuracy=0.5), fitted={"accuracy_bees"})["accuracy_bees"]
    assert missed.verdict == "not reproduced"


def test_summary_is_plain_json_with_the_promised_keys():
    found = summary(reproduction(*as_published(seeds=(3, 1))))
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert {"version", "blocks", "seeds", "claims", "seconds"} <= set(found)
    assert found["seeds"] == [1, 3]
    promised = {"claim", "published", "measured", "unit", "difference", "verdict", "reason", "spread"}
    assert all(promised <= set(claim) for claim in found["claims"])
    assert sum(found["verdicts"].values()) == len(found["claims"])


def test_tables_show_every_claim_once():
    claims = claims_of(reproduction(*as_published()))
    lines = claims_table_markdown(claims).splitlines()
    assert len(lines) == 2 + len(claims)
    assert all(line.count("|") == 6 for line in lines)
    assert claims_table(claims).row_count == len(claims)


def test_texts_write_numbers_in_their_units():
    claims = by_key(curve("BEES", 100, accuracy=0.894, latency_s=5.75, energy_j=6300), curve("B-EI", 100))
    texts = {key: (published_text(c), measured_text(c), difference_text(c)) for key, c in claims.items()}
    assert texts["accuracy_bees"] == ("89%", "89.4%", "+0.4 points")
    assert texts["latency"] == ("5.71 s", "5.75 s", "+0.04 s (+0.7%)")
    assert texts["energy_100"] == ("6,294 J", "6,300 J", "+6 J (+0.1%)")
    assert texts["latency_linear"] == ("“increases linearly”", "R² = 1.0000", "–")
    below = by_key(curve("BEES", 100, accuracy=0.8899, energy_j=6194))
    assert difference_text(below["accuracy_bees"]) == "0.0 points"
    assert difference_text(below["energy_100"]) == "−100 J (−1.6%)"


def test_verdict_counts_name_all_three():
    assert verdict_counts(()) == {"reproduced": 0, "fitted": 0, "not reproduced": 0}


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(-1000, 1000), min_size=3, max_size=40))
def test_r_squared_is_that_of_the_least_squares_fit(values: list[int]):
    row = np.array(values, dtype=np.float64)
    blocks = np.arange(1, len(row) + 1)
    if row.std() == 0:
        assert r_squared(row) == 1.0
        return
    line = np.polyval(np.polyfit(blocks, row, 1), blocks)
    expected = 1 - ((row - line) ** 2).sum() / ((row - row.mean()) ** 2).sum()
    assert r_squared(row) == pytest.approx(expected, abs=1e-6)
