from __future__ import annotations

from dataclasses import replace
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bees.adversary.learning.collusion import mimic, sybils
from bees.adversary.learning.free_riders import noisy_free_rider, zero
from bees.adversary.learning.optimised import min_max, min_sum
from bees.adversary.learning.registry import ATTACKS
from bees.adversary.learning.replacement import model_replacement
from bees.adversary.learning.simple import gaussian, scaling, sign_flip
from bees.adversary.learning.statistical import alie, ipm, largest_unseen_z
from bees.adversary.learning.view import View, view_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from bees.adversary.learning.view import Vectors

CRAFTS = {name: attack.craft for name, attack in ATTACKS.items() if attack.craft is not None}


def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def small(strength: float = 1.0, *, knows: bool = True) -> View:
    """w_g = (1, 1), attackers at (2, 1) and (1, 3), honest at (3, 1), (1, 5) and (5, 3)."""
    return View(
        global_model=np.array([1.0, 1.0]),
        own=np.array([[2.0, 1.0], [1.0, 3.0]]),
        benign=np.array([[3.0, 1.0], [1.0, 5.0], [5.0, 3.0]]) if knows else None,
        participants=5,
        averaged=5,
        block=1,
        strength=strength,
    )


def drawn(seed: int, honest: int, attackers: int, size: int = 30) -> View:
    draw = np.random.default_rng(seed)
    mean = draw.standard_normal(size)
    return View(
        global_model=np.zeros(size),
        own=mean + draw.standard_normal((attackers, size)),
        benign=mean + draw.standard_normal((honest, size)) * draw.uniform(0.1, 3.0, (honest, 1)),
        participants=honest + attackers,
        averaged=10,
        block=3,
        strength=1.0,
    )


def test_a_flipped_step_leads_the_other_way():
    assert np.array_equal(sign_flip(small(2.0), rng()), [[-1.0, 1.0], [1.0, -3.0]])


def test_a_scaled_step_leads_too_far():
    assert np.array_equal(scaling(small(10.0), rng()), [[11.0, 1.0], [1.0, 21.0]])


def test_free_riders_send_the_model_back():
    assert np.array_equal(zero(small(), rng()), [[1.0, 1.0], [1.0, 1.0]])


@pytest.mark.parametrize("block", [1, 4])
def test_disguise_shrinks_with_the_blocks(block: int):
    own = np.zeros((20, 5000))
    view = View(np.full(5000, 0.5), own, None, 20, 10, block, 0.01)
    sent = noisy_free_rider(view, rng()) - 0.5
    assert sent.std() == pytest.approx(0.01 / block, rel=0.02)
    assert len(np.unique(sent[:, 0])) == 20


def test_noise_lies_about_the_model_with_its_deviation():
    sent = gaussian(View(np.full(5000, 0.5), np.zeros((20, 5000)), None, 20, 10, 1, 3.0), rng())
    assert sent.mean() == pytest.approx(0.5, abs=0.05)
    assert sent.std() == pytest.approx(3.0, rel=0.02)


def test_mimic_copies_the_honest_update_that_differs_most():
    honest = np.array([[0.0, 1.0], [0.0, -1.0], [7.0, 0.0]])
    view = View(np.zeros(2), np.ones((2, 2)), honest, 5, 5, 1, 0.0)
    assert np.array_equal(mimic(view, rng()), [[7.0, 0.0], [7.0, 0.0]])


@given(st.integers(0, 2**32), st.integers(1, 12), st.integers(1, 5))
@settings(deadline=None, max_examples=30)
def test_mimic_sends_a_row_that_somebody_has_sent(seed: int, honest: int, attackers: int):
    view = drawn(seed, honest, attackers)
    assert view.benign is not None
    sent = mimic(view, rng())
    assert any(np.array_equal(sent[0], row) for row in view.benign)
    assert (sent == sent[0]).all()


def test_sybils_send_clones_of_their_mean():
    assert np.array_equal(sybils(small(), rng()), [[1.5, 2.0], [1.5, 2.0]])
    assert np.array_equal(sybils(small(3.0), rng()), [[2.5, 4.0], [2.5, 4.0]])


def test_a_little_is_z_deviations_below_the_mean():
    assert alie(small(0.5), rng())[0] == pytest.approx([3.0 - 0.5 * np.sqrt(8 / 3), 3.0 - 0.5 * np.sqrt(8 / 3)])
    assert alie(small(0.5, knows=False), rng())[0] == pytest.approx([1.5 - 0.25, 2.0 - 0.5])


def test_z_is_that_of_the_paper():
    """The paper's n = 50 with 24% of attackers: s = 26 - 12 = 14, and Phi(z) = (38 - 14) / 38."""
    assert largest_unseen_z(50, 12) == pytest.approx(NormalDist().inv_cdf(24 / 38))
    assert largest_unseen_z(100, 20) == pytest.approx(NormalDist().inv_cdf(49 / 80))
    assert largest_unseen_z(5, 4) == largest_unseen_z(5, 5) == pytest.approx(NormalDist().inv_cdf(5 / 6))
    assert largest_unseen_z(1, 1) >= 0.0


def test_without_a_strength_z_follows_from_who_takes_part():
    assert np.array_equal(alie(small(0.0), rng()), alie(small(largest_unseen_z(5, 2)), rng()))


@given(st.integers(0, 2**32), st.integers(1, 12), st.integers(1, 5))
@settings(deadline=None, max_examples=30)
def test_the_inner_product_with_the_honest_mean_is_negative(seed: int, honest: int, attackers: int):
    view = drawn(seed, honest, attackers)
    sent = ipm(view, rng())
    assert (sent @ view.known.mean(axis=0) < 0).all()
    assert np.allclose(sent, -view.known.mean(axis=0))


def test_replacement_makes_the_average_the_backdoored_model():
    view = View(np.array([1.0, 1.0]), np.array([[2.0, 3.0]]), None, 10, 5, 1, 0.0)
    sent = model_replacement(view, rng())
    average = (sent[0] + 4 * view.global_model) / 5
    assert average == pytest.approx([2.0, 3.0])
    assert np.array_equal(model_replacement(small(4.0), rng()), [[5.0, 1.0], [1.0, 9.0]])


def test_who_are_more_than_are_averaged_boost_nothing():
    crowd = replace(small(0.0), averaged=1)
    assert np.array_equal(model_replacement(crowd, rng()), crowd.own)


def test_a_single_attacker_sees_no_deviation_and_sends_its_own():
    alone = replace(small(1.5, knows=False), own=np.array([[2.0, 1.0]]))
    assert np.array_equal(alie(alone, rng()), alone.own)


def searched_gamma(direction: Vectors, mean: Vectors, is_within: Callable[[Vectors], bool]) -> float:
    """Algorithm 1 of the paper, from gamma = 10 in halving steps; doubled first where 10 is too small a start."""
    start = 10.0
    while is_within(mean + start * direction):
        start *= 2
    gamma, step, found = start, start / 2, 0.0
    while step > 1e-9 * start:
        if is_within(mean + gamma * direction):
            found, gamma = gamma, gamma + step
        else:
            gamma -= step
        step /= 2
    return found


@given(st.integers(0, 2**32), st.integers(2, 12))
@settings(deadline=None, max_examples=30)
def test_min_max_finds_what_the_papers_search_finds(seed: int, honest: int):
    view = drawn(seed, honest, 2)
    known = view.known
    largest = max(float(np.linalg.norm(a - b)) for a in known for b in known)

    def farthest(update: Vectors) -> float:
        return max(float(np.linalg.norm(update - row)) for row in known)

    sent = min_max(view, rng())[0]
    assert 0.999 * largest < farthest(sent) <= largest * (1 + 1e-9)
    gamma = searched_gamma(-known.std(axis=0), known.mean(axis=0), lambda update: farthest(update) <= largest)
    assert sent == pytest.approx(known.mean(axis=0) - gamma * known.std(axis=0), abs=1e-6)


@given(st.integers(0, 2**32), st.integers(2, 12))
@settings(deadline=None, max_examples=30)
def test_min_sum_finds_what_the_papers_search_finds(seed: int, honest: int):
    view = drawn(seed, honest, 2)
    known = view.known

    def spread(update: Vectors) -> float:
        return float(((update - known) ** 2).sum())

    largest = max(spread(row) for row in known)
    sent = min_sum(view, rng())[0]
    assert 0.999 * largest < spread(sent) <= largest * (1 + 1e-9)
    gamma = searched_gamma(-known.std(axis=0), known.mean(axis=0), lambda update: spread(update) <= largest)
    assert sent == pytest.approx(known.mean(axis=0) - gamma * known.std(axis=0), abs=1e-6)


@pytest.mark.parametrize("craft", [min_max, min_sum])
def test_among_equals_there_is_no_room_but_the_mean(craft: Callable[[View, np.random.Generator], Vectors]):
    view = View(np.zeros(3), np.ones((2, 3)), np.full((4, 3), 2.0), 6, 6, 1, 1.0)
    assert np.array_equal(craft(view, rng()), np.full((2, 3), 2.0))


@pytest.mark.parametrize("name", CRAFTS)
@pytest.mark.parametrize(("honest", "attackers"), [(0, 1), (1, 1), (5, 3)])
def test_every_attack_is_pure(name: str, honest: int, attackers: int):
    craft = CRAFTS[name]
    view = drawn(3, honest, attackers)
    before = [array.copy() for array in (view.global_model, view.own, view.known)]
    first, second = craft(view, rng()), craft(view, rng())
    assert first.tobytes() == second.tobytes()
    assert first.shape == view.own.shape
    assert np.isfinite(first).all()
    first += 1.0
    assert all(np.array_equal(a, b) for a, b in zip(before, (view.global_model, view.own, view.known), strict=True))


@pytest.mark.parametrize("name", CRAFTS)
def test_who_knows_only_its_own_depends_on_nobody_else(name: str):
    draw = np.random.default_rng(1)
    updates = draw.standard_normal((6, 20)).astype(np.float32)
    attacks = np.array([True, False, True, False, False, False])
    others = updates.copy()
    others[~attacks] += 1.0
    sent = [
        CRAFTS[name](
            view_of(np.zeros(20), rows, attacks, top_m=3, block=1, strength=1.0, knowledge="own"),
            rng(),
        )
        for rows in (updates, others)
    ]
    assert np.array_equal(sent[0], sent[1])


def test_every_attack_says_whose_it_is():
    for name, attack in ATTACKS.items():
        assert attack.name == name
        assert attack.citation
        assert attack.craft is not None or attack.poison is not None
    assert {name for name, attack in ATTACKS.items() if attack.has_backdoor} == {
        "backdoor", "model_replacement", "overfit_selection"
    }  # fmt: skip
