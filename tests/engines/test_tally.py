"""Votes are counted once, checked no sooner than a count depends on them, and never believed unchecked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bees.engines.messages import Vote
from bees.engines.tally import Tally, has_bit, to_bits
from bees.ledger.block import vote_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bees.engines.tally import SignatureCheck

CHAIN = b"chain".ljust(32, b"\0")
PUBLIC_KEYS = tuple(b"key %d" % k for k in range(7))
A, B, C, D = (bytes([letter]) * 32 for letter in b"ABCD")


def signature(server: int, block: bytes | None) -> bytes:
    """What ``Checker`` takes for a signature: key and message side by side."""
    return b"key %d signs " % server + vote_bytes(CHAIN, 4, 2, "prevote", block)


def vote(server: int, block: bytes | None, forged: bytes | None = None) -> Vote:
    return Vote(4, 2, "prevote", block, server, signature(server, block) if forged is None else forged)


class Checker:
    """Checks signatures, and remembers whose it was asked to check."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def __call__(self, checks: Sequence[SignatureCheck]) -> list[bool]:
        self.asked += [PUBLIC_KEYS.index(key) for key, _, _ in checks]
        return [given_ == key + b" signs " + message for key, message, given_ in checks]


def tally_of(quorum: int = 5, servers: int = 7) -> tuple[Tally, Checker]:
    checker = Checker()
    return Tally(CHAIN, 4, 2, "prevote", dict(enumerate(PUBLIC_KEYS[:servers])), quorum, checker), checker


def add(tally: Tally, *votes: Vote) -> None:
    for one in votes:
        tally.add(one)


@pytest.mark.parametrize("block", [A, None])
def test_a_quorum_is_that_many_valid_votes_for_one_block_and_no_fewer(block: bytes | None) -> None:
    for quorum in range(1, 8):
        tally, _ = tally_of(quorum)
        for server in range(quorum - 1):
            tally.add(vote(server, block))
            assert not tally.has_quorum(block)
        tally.add(vote(6, block))
        assert tally.has_quorum(block)
        assert not tally.has_quorum(B)
        assert [v.server for v in tally.quorum_votes(block)] == [*range(quorum - 1), 6]


def test_a_server_counts_once_however_often_it_votes() -> None:
    tally, _ = tally_of(3)
    add(tally, *[vote(0, A)] * 5, vote(1, A))
    assert not tally.has_quorum(A)
    assert not tally.has_any_quorum()
    tally.add(vote(1, B))
    assert not tally.has_any_quorum(), "two servers are no three, for however many blocks they vote"
    tally.add(vote(2, None))
    assert tally.has_any_quorum()


def test_own_votes_count_without_a_check() -> None:
    tally, checker = tally_of(2)
    tally.add_own(vote(0, A, forged=b"whatever"))
    assert tally.voters(1) == {0}
    assert [v.server for v in tally.quorum_votes(A)] == [0]
    assert checker.asked == []
    tally.add(vote(0, A, forged=b"another"))
    assert not tally.has_quorum(A)
    assert checker.asked == [], "a server whose vote counts is not heard again"


def test_nothing_is_checked_before_it_could_make_a_quorum_nor_past_it() -> None:
    tally, checker = tally_of(5)
    add(tally, *(vote(k, A) for k in range(4)))
    assert not tally.has_quorum(A)
    assert not tally.has_any_quorum()
    assert checker.asked == []
    add(tally, vote(4, A), vote(5, A), vote(6, A))
    assert tally.has_quorum(A)
    assert checker.asked == [0, 1, 2, 3, 4]
    assert tally.has_quorum(A)
    assert tally.has_any_quorum()
    assert len(checker.asked) == 5


def test_no_more_are_checked_than_are_lacking_beside_those_that_count_already() -> None:
    tally, checker = tally_of(5)
    tally.add_own(vote(6, A))
    add(tally, *(vote(k, A) for k in range(6)))
    assert tally.has_quorum(A)
    assert checker.asked == [0, 1, 2, 3]


def test_forged_votes_are_found_out_and_make_no_quorum() -> None:
    tally, checker = tally_of(3)
    add(tally, vote(0, A), vote(1, A, b"forged"), vote(2, A, b"forged"))
    assert not tally.has_quorum(A)
    assert sorted(checker.asked) == [0, 1, 2]
    assert not tally.may_matter(A), "who was found out claims nothing any more"
    add(tally, vote(3, A))
    assert not tally.has_quorum(A)
    assert sorted(checker.asked) == [0, 1, 2], "one more cannot make a quorum, so it waits"
    add(tally, vote(1, A))
    assert tally.has_quorum(A)
    assert [v.server for v in tally.quorum_votes(A)] == [0, 1, 3]


@pytest.mark.parametrize("first_is_forged", [True, False])
def test_a_forgery_in_a_servers_name_does_not_crowd_out_its_vote(first_is_forged: bool) -> None:
    tally, checker = tally_of(2)
    real, forged = vote(0, A), vote(0, A, b"forged")
    add(tally, *((forged, real) if first_is_forged else (real, forged)))
    assert checker.asked == [0], "the first is checked when a rival comes"
    add(tally, vote(1, A))
    assert tally.has_quorum(A)
    assert tally.quorum_votes(A)[0] == real


def test_the_same_vote_twice_needs_no_check() -> None:
    tally, checker = tally_of(3)
    add(tally, vote(0, A), vote(0, A))
    assert checker.asked == []


def test_a_vote_may_matter_when_it_may_have_made_a_quorum_for_its_block_or_in_all() -> None:
    tally, _ = tally_of(3)
    add(tally, vote(0, A), vote(1, A))
    assert not tally.may_matter(A)
    tally.add(vote(2, B))
    assert tally.may_matter(A)
    assert tally.may_matter(B), "three servers have voted in all"
    one_block, _ = tally_of(3)
    add(one_block, vote(0, A), vote(1, A), vote(2, A))
    assert one_block.may_matter(A)
    assert one_block.has_quorum(A)
    assert not one_block.may_matter(A), "past its quorum no vote for it can matter"
    assert one_block.may_matter(B), "but one for another block may"


def test_a_server_that_votes_for_two_blocks_claims_no_second_place_in_the_quorum_of_all() -> None:
    tally, checker = tally_of(3)
    tally.add_own(vote(0, A))
    add(tally, vote(0, B), vote(1, A))
    assert not tally.may_matter(A)
    assert not tally.has_any_quorum()
    assert checker.asked == []


def test_voters_are_looked_for_only_until_there_are_enough() -> None:
    tally, checker = tally_of(5)
    add(tally, vote(0, A), vote(1, B), vote(2, C))
    assert tally.voters(0) == set()
    assert checker.asked == []
    assert tally.voters(1) == {0}
    assert checker.asked == [0]
    assert tally.voters(2) == {0, 1}
    assert tally.voters(9) == {0, 1, 2}
    assert checker.asked == [0, 1, 2]


def test_a_quorum_for_whatever_needs_votes_that_are_valid() -> None:
    tally, _ = tally_of(3)
    add(tally, vote(0, A), vote(1, B, b"forged"), vote(2, None))
    assert not tally.has_any_quorum()
    tally.add(vote(3, B))
    assert tally.has_any_quorum()
    assert tally.voters(3) == {0, 2, 3}


def test_of_a_server_three_votes_are_kept_and_no_forgery_takes_their_place() -> None:
    tally, _ = tally_of(7)
    add(tally, vote(0, A, b"forged"), vote(0, B), vote(0, C), vote(0, D), vote(0, None), vote(1, A))
    assert {v.block for v in tally.lacking({})} == {A, B, C, D}
    assert [v.block for v in tally.votes_of(0)] == [B, C, D]
    assert [v.block for v in tally.votes_of(1)] == [A]
    assert list(tally.votes_of(5)) == []


def test_what_is_held_is_told_checked_or_not_and_only_what_is_lacking_is_given() -> None:
    tally, checker = tally_of(7)
    tally.add_own(vote(6, A))
    add(tally, vote(0, A), vote(1, A), vote(2, A, b"forged"), vote(3, None))
    assert dict(tally.held()) == {A: {0, 1, 2, 6}, None: {3}}
    assert checker.asked == []
    lacking = list(tally.lacking({A: to_bits({1, 6})}))
    assert {(v.server, v.block) for v in lacking} == {(0, A), (3, None)}
    assert sorted(checker.asked) == [0, 2, 3], "what the other holds is not checked for it"
    assert dict(tally.held()) == {A: {0, 1, 6}, None: {3}}
    assert {v.server for v in tally.lacking({})} == {0, 1, 3, 6}


@settings(deadline=None, max_examples=100)
@given(st.sets(st.integers(0, 40)))
def test_bits_hold_the_set_and_nothing_else(servers: set[int]) -> None:
    bits = to_bits(servers)
    assert {server for server in range(400) if has_bit(bits, server)} == servers
    assert len(bits) == (max(servers) // 8 + 1 if servers else 0)


@settings(deadline=None, max_examples=100)
@given(st.lists(st.tuples(st.integers(0, 6), st.sampled_from([A, B, None]), st.booleans()), max_size=25))
def test_any_sequence_of_votes_is_counted_as_by_hand(sequence: list[tuple[int, bytes | None, bool]]) -> None:
    tally, _ = tally_of(4)
    by_hand: dict[bytes | None, set[int]] = {A: set(), B: set(), None: set()}
    for server, block, is_valid in sequence:
        tally.add(vote(server, block, None if is_valid else b"forged"))
        if is_valid:
            by_hand[block].add(server)
        for name, voters in by_hand.items():
            assert tally.has_quorum(name) == (len(voters) >= 4)
        assert tally.has_any_quorum() == (len(set[int]().union(*by_hand.values())) >= 4)
