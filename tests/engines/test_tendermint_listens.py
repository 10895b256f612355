"""To which messages a replica listens, what it keeps of them, and that the others cost it nothing."""

from __future__ import annotations

import msgspec
import pytest
from one_machine import KEYS, A, B, FakeHost, feed, machine, proposal, timeout, vote

from bees.engines.messages import Proposal, Status, Vote
from bees.engines.tendermint import NO_ACTIONS, Consensus, Step

NOTHING_HELD = Status(1, 6)


def started(host: FakeHost | None = None) -> Consensus:
    consensus = machine(me=3, host=host)
    consensus.start()
    return consensus


def kept_votes(consensus: Consensus, server: int) -> set[tuple[int, str]]:
    return {
        (m.consensus_round, m.kind) for m in consensus.log(NOTHING_HELD) if isinstance(m, Vote) and m.server == server
    }


def kept_proposals(consensus: Consensus) -> list[int]:
    return [m.consensus_round for m in consensus.log(NOTHING_HELD) if isinstance(m, Proposal)]


# Rounds that are far ahead


def test_a_proposer_that_names_ever_later_rounds_is_listened_to_in_two_of_them() -> None:
    consensus = started()
    feed(consensus, *(proposal(A, far) for far in (4, 8, 12, 16)))
    assert kept_proposals(consensus) == [4, 8]


def test_in_a_far_round_that_it_has_named_a_server_may_say_more() -> None:
    consensus = started()
    feed(consensus, *(vote(0, "prevote", A, far) for far in (2, 3)), vote(0, "precommit", A, 2))
    assert kept_votes(consensus, 0) == {(2, "prevote"), (3, "prevote"), (2, "precommit")}


def test_to_the_next_round_a_replica_always_listens() -> None:
    consensus = started()
    feed(consensus, *(vote(1, "prevote", A, far) for far in (2, 3)), proposal(A, 1))
    assert kept_proposals(consensus) == [1]


def test_a_round_that_is_no_longer_far_makes_room_for_another() -> None:
    consensus = started()
    feed(consensus, *(vote(0, "prevote", A, far) for far in (2, 3)))
    feed(consensus, *(vote(k, "precommit", None) for k in range(3)))
    consensus.expire(timeout(Step.PRECOMMIT))
    assert consensus.round == 1, "now 2 is the next round, and only 3 is far"
    feed(consensus, *(vote(0, "prevote", A, far) for far in (4, 5)))
    assert kept_votes(consensus, 0) >= {(2, "prevote"), (3, "prevote"), (4, "prevote")}
    assert (5, "prevote") not in kept_votes(consensus, 0)


def test_forged_votes_take_nobodys_room_in_far_rounds() -> None:
    consensus = started()
    feed(consensus, *(vote(0, "prevote", A, far, key=KEYS[6]) for far in (2, 3)), vote(0, "prevote", A, 5))
    assert kept_votes(consensus, 0) == {(5, "prevote")}


def test_a_vote_of_the_next_round_is_checked_once() -> None:
    host = FakeHost(3)
    started(host).receive(vote(0, "prevote", A, 1))
    assert len(host.checked) == 1


# What is not taken in


def test_the_server_after_the_last_is_a_stranger() -> None:
    consensus = started()
    feed(consensus, proposal(A), vote(4, "prevote", A), vote(0, "prevote", A))
    assert consensus.locked_block is None
    assert kept_votes(consensus, 4) == set()


def test_votes_of_another_height_are_not_held() -> None:
    consensus = started()
    before = consensus.status()
    consensus.receive(vote(0, "prevote", A, height=2))
    assert consensus.status() == before


def test_a_proposal_that_comes_again_is_kept_once() -> None:
    consensus = started()
    feed(consensus, proposal(A), proposal(A))
    assert kept_proposals(consensus) == [0]


def test_a_decided_height_takes_nothing_in() -> None:
    host = FakeHost(3)
    consensus = started(host)
    feed(consensus, proposal(A), *(vote(k, "precommit", A) for k in range(3)))
    assert consensus.decided is not None
    held, checked = consensus.status(), len(host.checked)
    assert feed(consensus, proposal(B), proposal(B, 1), vote(2, "prevote", A), vote(2, "precommit", B, 1)) is NO_ACTIONS
    assert consensus.status() == held
    assert len(host.checked) == checked


@pytest.mark.parametrize(
    "message",
    [
        proposal(A),
        proposal(B, key=KEYS[2]),
        proposal(B, 12),
        msgspec.structs.replace(proposal(B), height=2),
        vote(2, "prevote", A, height=2),
        vote(4, "prevote", A),
        vote(0, "prevote", A, 12),
        vote(1, "prevote", A, 12, key=KEYS[6]),
        vote(2, "precommit", None),
    ],
    ids=[
        "a known proposal",
        "a forged proposal",
        "a proposal of a round too far",
        "a proposal of another height",
        "a vote of another height",
        "a stranger's vote",
        "a vote of a round too far",
        "a forged vote of a far round",
        "a vote that completes no count",
    ],
)
def test_what_is_no_news_has_no_block_judged(message: Proposal | Vote) -> None:
    """Else a flood of such messages would have a contract run for each."""
    host = FakeHost(3, refused={A})
    consensus = started(host)
    feed(consensus, proposal(A), *(vote(k, "prevote", A) for k in range(3)), proposal(B, 4), proposal(B, 8))
    host.judged.clear()
    assert consensus.receive(message) is NO_ACTIONS
    assert host.judged == []
    consensus.receive(vote(0, "prevote", None, 1))
    assert host.judged == [A], "news has A judged again, since it has a quorum and may be valid by now"
