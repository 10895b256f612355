from __future__ import annotations

import pytest

from bees.core.seeds import generator, stream_key


def test_the_same_name_gives_the_same_numbers_whatever_ran_before():
    first = generator(5, "channel", 3).random(100)
    generator(5, "topology").random(1000)
    assert (generator(5, "channel", 3).random(100) == first).all()


def test_every_seed_and_name_has_its_own_stream():
    names = [(0, "a"), (1, "a"), (0, "b"), (0, "a", 0), (0, "a", 1), (0, "a", 10), (0, "a", 1, 0), (0,), (10, "a")]
    assert len({stream_key(seed, *name) for seed, *name in names}) == len(names)
    assert len({generator(seed, *name).integers(2**63) for seed, *name in names}) == len(names)


def test_streams_are_not_shifted_copies_of_each_other():
    near, next_ = generator(0, "channel", 1).random(2000), generator(0, "channel", 2).random(2000)
    assert not set(near.tolist()) & set(next_.tolist())


def test_a_stream_is_the_same_for_ever():
    # The published figures hang on these streams: a change of this value changes every result.
    assert stream_key(0, "topology").hex() == STREAM_KEY
    assert generator(0, "topology").integers(10**9, size=3).tolist() == FIRST_INTEGERS


@pytest.mark.parametrize("seed", [0, 2**63, 2**200])
def test_large_seeds_are_taken(seed: int):
    assert 0 <= generator(seed, "x").random() < 1


STREAM_KEY = "0be6c49c8eb6e8c6f2b3e79d34258eed8a541dd718ed7dbd5b4eeafb9451d81b"
FIRST_INTEGERS = [445376599, 816935592, 749816269]
