from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bees.core.model import describe
from bees.protocol.update_speller import UpdateSpeller

P = 5
ROUNDS = st.lists(st.lists(st.integers(-(2**24), 2**24), min_size=P, max_size=P), min_size=1, max_size=6)


def speller(encoding: str, *, feeds_back: bool = True) -> UpdateSpeller:
    return UpdateSpeller(describe("tiny", [("w", (P,))], 24, encoding), feeds_back=feeds_back)  # pyright: ignore[reportArgumentType]  # hypothesis draws text


def words(values: list[int]) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
    return np.array(values, np.int32)


@settings(deadline=None, max_examples=60)
@given(ROUNDS, st.sampled_from(["words", "delta16", "delta8"]))
def test_all_that_is_left_unsaid_is_said_in_the_end(rounds: list[list[int]], encoding: str):
    """What was read of all rounds together is what was trained, but for what the last round left unsaid."""
    spell, zero = speller(encoding), words([0] * P)
    read, meant, step = np.zeros(P, np.int64), np.zeros(P, np.int64), 0
    for trained in rounds:
        data = spell.spell(3, words(trained), zero)
        read += spell.model.read_update(data, zero)
        meant += trained
        step = 0 if encoding == "words" else 2 ** data[0]
    assert int(np.abs(2 * (meant - read)).max()) <= step


def test_without_feedback_each_round_is_spelled_as_if_it_were_the_first():
    drops, zero = speller("delta8", feeds_back=False), words([0] * P)
    first = drops.spell(0, words([1000, 3, 3, 3, 3]), zero)
    assert drops.spell(0, words([1000, 3, 3, 3, 3]), zero) == first
    feeds = speller("delta8")
    assert feeds.spell(0, words([1000, 3, 3, 3, 3]), zero) == first
    assert feeds.spell(0, words([1000, 3, 3, 3, 3]), zero) != first


def test_devices_and_their_servers_remember_apart():
    feeds, zero, trained = speller("delta8"), words([0] * P), words([1000, 3, 3, 3, 3])
    first = [feeds.spell(device, trained, zero, offloads=at) for device in (0, 1) for at in (False, True)]
    assert len(set(first)) == 1


@pytest.mark.parametrize(
    ("encoding", "feeds_back", "remembers"),
    [("words", True, False), ("delta16", True, True), ("delta8", True, True), ("delta8", False, False)],
)
def test_only_who_feeds_back_a_difference_remembers(encoding: str, feeds_back: bool, remembers: bool):
    assert speller(encoding, feeds_back=feeds_back).remembers is remembers
