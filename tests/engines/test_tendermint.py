"""The rules of Algorithm 1 one by one, and agreement and progress on networks that lose and reorder."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from one_machine import KEYS, A, B, FakeHost, feed, locked_on_a, machine, name_of, proposal, timeout, vote, votes

from bees.core.canonical import decode, encode
from bees.engines.messages import ConsensusRecord, Proposal, Status, Vote
from bees.engines.network import Network, Unreliable, instantaneous, silence
from bees.engines.tendermint import NO_ACTIONS, Actions, Decided, Step, Timeout, TimeoutLengths
from bees.ledger.block import Commit

if TYPE_CHECKING:
    from bees.engines.network import Link


# Lines 1 to 9


def test_before_the_start_nothing_is_said_locked_or_decided() -> None:
    consensus = machine()
    assert (consensus.round, consensus.step) == (-1, Step.PROPOSE)
    assert (consensus.locked_block, consensus.locked_round) == (None, -1)
    assert (consensus.valid_block, consensus.valid_round) == (None, -1)
    assert consensus.decided is None
    assert consensus.record() == ConsensusRecord(1, -1, Step.PROPOSE, None, -1, None, -1, ())


# Lines 11 to 21


def test_the_proposer_of_the_round_proposes_and_prevotes() -> None:
    actions = machine(me=0).start()
    proposed, prevote = actions.broadcast
    assert isinstance(proposed, Proposal)
    assert (proposed.consensus_round, proposed.valid_round) == (0, -1)
    assert votes(actions) == [("prevote", 0, name_of(proposed.block))]
    assert isinstance(prevote, Vote)
    assert prevote.server == 0


def test_the_others_wait_for_the_proposal() -> None:
    actions = machine(me=1).start()
    assert actions.broadcast == ()
    assert actions.timeouts == (timeout(Step.PROPOSE),)


# Lines 22 to 27


def test_a_valid_fresh_proposal_gets_a_prevote() -> None:
    consensus = machine(me=1)
    consensus.start()
    assert votes(consensus.receive(proposal(A))) == [("prevote", 0, name_of(A))]
    assert votes(consensus.receive(proposal(A))) == []


@pytest.mark.parametrize("block", [A, b"garbage"])
def test_a_proposal_that_is_not_valid_gets_a_prevote_for_nil(block: Any) -> None:
    consensus = machine(me=1, host=FakeHost(1, refused={A, b"garbage"}))
    consensus.start()
    assert votes(consensus.receive(proposal(block))) == [("prevote", 0, None)]


@pytest.mark.parametrize(
    "forged",
    [
        proposal(A, key=KEYS[2]),
        proposal(A, proposer=2),
        proposal(A, valid_round=0),
        Proposal(2, 0, -1, A, 0, proposal(A).signature),
    ],
)
def test_a_forged_or_misplaced_proposal_changes_nothing(forged: Proposal) -> None:
    consensus = machine(me=1)
    consensus.start()
    assert votes(consensus.receive(forged)) == []
    assert consensus.step is Step.PROPOSE


def test_a_locked_replica_prevotes_nil_for_another_fresh_block() -> None:
    assert votes(locked_on_a().receive(proposal(B, 1))) == [("prevote", 1, None)]


def test_a_locked_replica_prevotes_its_own_block_again() -> None:
    assert votes(locked_on_a().receive(proposal(A, 1))) == [("prevote", 1, name_of(A))]


# Lines 28 to 33


def test_a_reproposal_waits_for_the_quorum_of_the_round_it_names() -> None:
    consensus = machine(me=3)
    consensus.start()
    consensus.expire(timeout(Step.PROPOSE))
    feed(consensus, vote(0, "precommit", None), vote(1, "precommit", None), vote(2, "precommit", None))
    consensus.expire(timeout(Step.PRECOMMIT))
    assert votes(consensus.receive(proposal(B, 1, valid_round=0))) == []
    feed(consensus, vote(0, "prevote", B), vote(1, "prevote", B))
    assert votes(consensus.receive(vote(2, "prevote", B))) == [("prevote", 1, name_of(B))]


def test_a_later_quorum_frees_a_locked_replica() -> None:
    consensus = locked_on_a()
    feed(consensus, vote(0, "prevote", B, 1), vote(1, "prevote", B, 1), vote(2, "prevote", B, 1))
    consensus.expire(timeout(Step.PROPOSE, 1))
    feed(consensus, vote(0, "precommit", None, 1), vote(1, "precommit", None, 1), vote(2, "precommit", None, 1))
    consensus.expire(timeout(Step.PRECOMMIT, 1))
    assert consensus.round == 2
    assert votes(consensus.receive(proposal(B, 2, valid_round=1))) == [("prevote", 2, name_of(B))]


def test_a_quorum_older_than_the_lock_does_not_free_it() -> None:
    consensus = machine(me=3)
    consensus.start()
    consensus.expire(timeout(Step.PROPOSE))
    feed(consensus, *(vote(k, "precommit", None) for k in range(3)))
    consensus.expire(timeout(Step.PRECOMMIT))
    feed(consensus, proposal(A, 1), vote(0, "prevote", A, 1), vote(1, "prevote", A, 1))
    assert consensus.locked_round == 1
    feed(consensus, *(vote(k, "precommit", None, 1) for k in range(3)), *(vote(k, "prevote", B) for k in range(3)))
    consensus.expire(timeout(Step.PRECOMMIT, 1))
    assert votes(consensus.receive(proposal(B, 2, valid_round=0))) == [("prevote", 2, None)]


def test_its_own_block_gets_its_prevote_even_from_a_quorum_older_than_the_lock() -> None:
    consensus = machine(me=3)
    consensus.start()
    consensus.expire(timeout(Step.PROPOSE))
    feed(consensus, *(vote(k, "precommit", None) for k in range(3)))
    consensus.expire(timeout(Step.PRECOMMIT))
    feed(consensus, proposal(A, 1), vote(0, "prevote", A, 1), vote(1, "prevote", A, 1))
    assert consensus.locked_round == 1
    feed(consensus, *(vote(k, "precommit", None, 1) for k in range(3)), *(vote(k, "prevote", A) for k in range(3)))
    consensus.expire(timeout(Step.PRECOMMIT, 1))
    assert votes(consensus.receive(proposal(A, 2, valid_round=0))) == [("prevote", 2, name_of(A))]


# Lines 34 and 35, 61 to 64


def test_mixed_prevotes_set_a_timeout_once_and_its_end_precommits_nil() -> None:
    consensus = machine(me=3)
    consensus.start()
    feed(consensus, proposal(A), vote(0, "prevote", A))
    assert consensus.receive(vote(1, "prevote", None)).timeouts == (timeout(Step.PREVOTE),)
    assert consensus.receive(vote(2, "prevote", B)).timeouts == ()
    assert votes(consensus.expire(timeout(Step.PREVOTE))) == [("precommit", 0, None)]


def test_who_has_not_prevoted_waits_for_the_proposal_and_not_for_prevotes() -> None:
    consensus = machine(me=3)
    consensus.start()
    feed(consensus, vote(0, "prevote", A), vote(1, "prevote", B))
    assert consensus.receive(vote(2, "prevote", None)).timeouts == ()
    assert consensus.expire(timeout(Step.PROPOSE)).timeouts == (timeout(Step.PREVOTE),)


# Lines 36 to 43


def test_a_quorum_of_prevotes_locks_and_precommits() -> None:
    consensus = machine(me=3)
    consensus.start()
    feed(consensus, proposal(A), vote(0, "prevote", A))
    assert votes(consensus.receive(vote(1, "prevote", A))) == [("precommit", 0, name_of(A))]
    assert (consensus.locked_block, consensus.locked_round) == (A, 0)
    assert (consensus.valid_block, consensus.valid_round) == (A, 0)


def test_a_quorum_that_comes_after_the_precommit_makes_valid_but_does_not_lock() -> None:
    consensus = machine(me=3)
    consensus.start()
    feed(consensus, proposal(A), vote(0, "prevote", None), vote(1, "prevote", A))
    consensus.expire(timeout(Step.PREVOTE))
    consensus.receive(vote(2, "prevote", A))
    assert (consensus.locked_block, consensus.locked_round) == (None, -1)
    assert (consensus.valid_block, consensus.valid_round) == (A, 0)


def test_the_valid_block_is_proposed_again() -> None:
    consensus = machine(me=1)
    consensus.start()
    feed(consensus, proposal(A), vote(0, "prevote", A), vote(2, "prevote", A))
    feed(consensus, vote(0, "precommit", None), vote(2, "precommit", None))
    proposed = consensus.expire(timeout(Step.PRECOMMIT)).broadcast[0]
    assert isinstance(proposed, Proposal)
    assert (proposed.block, proposed.consensus_round, proposed.valid_round) == (A, 1, 0)


def test_a_reproposal_that_must_wait_is_not_valid_before_the_prevote_and_locks_after_it() -> None:
    consensus = machine(me=3)
    consensus.start()
    consensus.expire(timeout(Step.PROPOSE))
    feed(consensus, *(vote(k, "precommit", None) for k in range(3)))
    consensus.expire(timeout(Step.PRECOMMIT))
    feed(consensus, proposal(B, 1, valid_round=0), *(vote(k, "prevote", B, 1) for k in range(3)))
    assert (consensus.step, consensus.valid_block) == (Step.PROPOSE, None)
    assert votes(consensus.expire(timeout(Step.PROPOSE, 1))) == [("prevote", 1, None), ("precommit", 1, name_of(B))]
    assert (consensus.locked_block, consensus.valid_block) == (B, B)


# Lines 44 to 46


def test_a_quorum_for_nil_precommits_nil_without_waiting() -> None:
    consensus = machine(me=3)
    consensus.start()
    consensus.expire(timeout(Step.PROPOSE))
    feed(consensus, vote(0, "prevote", None))
    assert votes(consensus.receive(vote(1, "prevote", None))) == [("precommit", 0, None)]


def test_a_quorum_for_nil_is_none_for_a_proposal_that_is_no_block() -> None:
    consensus = machine(me=3)
    consensus.start()
    feed(consensus, proposal(b"garbage"), vote(0, "prevote", None))
    assert votes(consensus.receive(vote(1, "prevote", None))) == [("precommit", 0, None)]
    assert (consensus.locked_block, consensus.valid_block) == (None, None)
    feed(consensus, vote(0, "precommit", None), vote(1, "precommit", None))
    assert consensus.decided is None


# Lines 47 and 48, 65 to 67


def test_any_quorum_of_precommits_sets_a_timeout_and_its_end_starts_the_next_round() -> None:
    consensus = machine(me=3)
    consensus.start()
    feed(consensus, vote(0, "precommit", None), vote(1, "precommit", A))
    assert consensus.receive(vote(2, "precommit", None)).timeouts == (timeout(Step.PRECOMMIT),)
    actions = consensus.expire(timeout(Step.PRECOMMIT))
    assert consensus.round == 1
    assert actions.timeouts == (timeout(Step.PROPOSE, 1),)


# Lines 49 to 54


def test_a_quorum_of_precommits_and_the_proposal_decide_in_any_order() -> None:
    messages = [proposal(A), *(vote(k, "precommit", A) for k in range(3))]
    for start in range(4):
        consensus = machine(me=3)
        consensus.start()
        decided = feed(consensus, *messages[start:], *messages[:start]).decided
        assert decided is not None
        assert decided.block == A
        assert [s.server for s in decided.commit.signatures] == [0, 1, 2]


def test_a_decision_may_come_from_an_earlier_round() -> None:
    consensus = locked_on_a()
    assert feed(consensus, proposal(B, 1), vote(1, "precommit", A)).decided is None
    decided = consensus.receive(vote(2, "precommit", A)).decided
    assert decided is not None
    assert decided.commit.consensus_round == 0


def test_what_is_not_valid_is_not_decided_until_it_is_found_valid() -> None:
    host = FakeHost(3, refused={A})
    consensus = machine(me=3, host=host)
    consensus.start()
    assert feed(consensus, proposal(A), *(vote(k, "precommit", A) for k in range(3))).decided is None
    host.refused.clear()
    decided = consensus.reconsider().decided
    assert decided is not None
    assert decided.block == A


def test_the_own_precommit_may_be_the_one_that_decides() -> None:
    consensus = machine(me=3)
    consensus.start()
    feed(consensus, proposal(A), vote(0, "prevote", A))
    waiting = feed(consensus, vote(0, "precommit", A), vote(1, "precommit", A), vote(2, "precommit", None))
    assert waiting.timeouts == (timeout(Step.PRECOMMIT),)
    assert consensus.receive(vote(1, "prevote", A)).decided == consensus.decided
    assert consensus.decided is not None


def test_a_replica_alone_decides_when_it_starts() -> None:
    consensus = machine(me=0, n=1)
    assert consensus.start().decided == consensus.decided
    assert consensus.decided is not None


def test_who_decides_says_no_more_and_starts_no_round() -> None:
    consensus = machine(me=3)
    consensus.start()
    actions = feed(consensus, *(vote(k, "precommit", A) for k in range(3)), proposal(A))
    assert actions.decided is not None
    assert (actions.broadcast, actions.timeouts) == ((), ())
    assert consensus.expire(timeout(Step.PROPOSE)) is NO_ACTIONS
    assert consensus.expire(timeout(Step.PRECOMMIT)) is NO_ACTIONS
    assert (consensus.round, consensus.step) == (0, Step.PROPOSE)


def test_a_block_that_was_found_valid_is_not_judged_again() -> None:
    host = FakeHost(3)
    consensus = machine(me=3, host=host)
    consensus.start()
    feed(consensus, proposal(A), *(vote(k, kind, A) for kind in ("prevote", "precommit") for k in range(3)))
    assert consensus.decided is not None
    assert host.judged == [A]


# Lines 55 and 56


def test_f_plus_1_messages_of_a_later_round_pull_a_replica_forward() -> None:
    consensus = machine(me=3)
    consensus.start()
    assert consensus.receive(vote(0, "prevote", None, 5)).timeouts == ()
    assert consensus.receive(vote(0, "precommit", None, 5)).timeouts == ()
    assert consensus.receive(vote(1, "precommit", None, 5)).timeouts == (timeout(Step.PROPOSE, 5),)
    assert consensus.round == 5


def test_a_proposal_of_a_later_round_counts_as_its_proposers_message() -> None:
    consensus = machine(me=3)
    consensus.start()
    consensus.receive(proposal(A, 5))
    assert consensus.round == 0
    consensus.receive(vote(1, "prevote", None, 5))
    assert consensus.round == 0, "the proposer's own vote adds no second server"
    assert votes(consensus.receive(vote(0, "prevote", None, 5))) == [("prevote", 5, name_of(A))]
    assert consensus.round == 5


def test_of_seven_three_pull_a_replica_forward_and_two_do_not() -> None:
    consensus = machine(me=6, n=7)
    consensus.start()
    feed(consensus, vote(0, "prevote", None, 2), vote(1, "precommit", A, 2), vote(2, "prevote", None, 2, key=KEYS[5]))
    assert consensus.round == 0
    consensus.receive(vote(3, "prevote", B, 2))
    assert consensus.round == 2


def test_nobody_is_pulled_back() -> None:
    consensus = locked_on_a()
    feed(consensus, *(vote(k, "prevote", None, 0) for k in (0, 1, 2)), *(vote(k, "precommit", B, 0) for k in (0, 1)))
    assert consensus.round == 1


# Lines 57 to 60


def test_a_silent_proposer_gets_prevotes_for_nil() -> None:
    consensus = machine(me=3)
    consensus.start()
    assert votes(consensus.expire(timeout(Step.PROPOSE))) == [("prevote", 0, None)]


@pytest.mark.parametrize("late", [timeout(Step.PROPOSE, 1), timeout(Step.PROPOSE, height=2), timeout(Step.PREVOTE)])
def test_timeouts_of_another_height_round_or_step_do_nothing(late: Timeout) -> None:
    consensus = machine(me=3)
    consensus.start()
    actions = consensus.expire(late)
    assert (actions.broadcast, actions.timeouts, actions.decided) == ((), (), None)


def test_who_has_prevoted_no_longer_waits_for_the_proposal() -> None:
    consensus = machine(me=3)
    consensus.start()
    consensus.receive(proposal(A))
    assert consensus.expire(timeout(Step.PROPOSE)) is NO_ACTIONS
    assert consensus.step is Step.PREVOTE


def test_timeouts_grow_with_the_round() -> None:
    assert [TimeoutLengths().of(timeout(Step.PREVOTE, r)) for r in (0, 1, 4)] == [1_000_000, 1_500_000, 3_000_000]
    assert TimeoutLengths(7, 3).of(timeout(Step.PROPOSE, 2)) == 13


@pytest.mark.parametrize("n", [1, 2, 3, 4, 6, 7])
def test_one_vote_below_the_quorum_neither_locks_nor_decides_and_a_quorum_does(n: int) -> None:
    quorum = 2 * n // 3 + 1
    consensus = machine(me=n - 1, n=n)
    consensus.start()
    heard = proposal(A, n=n)
    for kind in ("prevote", "precommit"):
        before = feed(consensus, heard, *(vote(k, kind, A) for k in range(quorum - 2)))
        if quorum > 1:
            assert consensus.locked_block is (None if kind == "prevote" else A)
            assert before.decided is None
            consensus.receive(vote(quorum - 2, kind, A))
    if n > 1:
        assert consensus.locked_block == A
        assert consensus.decided is not None
        assert len(consensus.decided.commit.signatures) == quorum


def test_a_quorum_of_prevotes_does_not_lock_who_has_not_prevoted() -> None:
    consensus = machine(me=3, host=FakeHost(3))
    consensus.start()
    feed(consensus, *(vote(k, "prevote", A) for k in range(3)))
    assert (consensus.step, consensus.locked_block) == (Step.PROPOSE, None)
    assert votes(consensus.receive(proposal(A))) == [("prevote", 0, name_of(A)), ("precommit", 0, name_of(A))]
    assert consensus.locked_block == A


def test_a_replica_locks_only_on_what_is_valid() -> None:
    consensus = machine(me=3, host=FakeHost(3, refused={A}))
    consensus.start()
    feed(consensus, proposal(A), *(vote(k, "prevote", A) for k in range(3)))
    assert (consensus.locked_block, consensus.valid_block) == (None, None)


@pytest.mark.parametrize("valid_round", [1, 2])
def test_a_proposal_cannot_name_its_own_round_or_a_later_one_as_valid(valid_round: int) -> None:
    consensus = locked_on_a()
    feed(consensus, *(vote(k, "prevote", B, 1) for k in range(3)))
    assert votes(consensus.receive(proposal(B, 1, valid_round=valid_round))) == []
    assert consensus.step is Step.PROPOSE
    assert 1 not in consensus.status().proposals, "it is not kept, and so not passed on"


def test_a_reproposal_from_the_round_of_the_lock_or_of_the_locked_block_gets_its_prevote() -> None:
    consensus = locked_on_a()
    assert votes(consensus.receive(proposal(A, 1, valid_round=0))) == [("prevote", 1, name_of(A))]
    both = locked_on_a()  # a quorum for another block in the round of the lock takes a faulty third, yet frees
    feed(both, *(vote(k, "prevote", B) for k in range(3)))
    assert votes(both.receive(proposal(B, 1, valid_round=0))) == [("prevote", 1, name_of(B))]


# What is kept, told and restored


def test_of_a_proposer_that_equivocates_four_proposals_are_kept() -> None:
    consensus = machine(me=3)
    consensus.start()
    for k in range(9):
        consensus.receive(proposal(b"block %d" % k))
    assert sum(isinstance(m, Proposal) for m in consensus.log(Status(1, 6))) == 4


def test_the_status_tells_what_is_held_and_the_log_sends_an_equivocators_proposals_again() -> None:
    consensus = machine(me=3)
    consensus.start()
    feed(consensus, proposal(A), vote(0, "prevote", A), vote(2, "precommit", None))
    status = consensus.status()
    assert (status.height, status.server, status.proposals) == (1, 3, (0,))
    held = {(v.consensus_round, v.kind, v.block): v.servers for v in status.votes}
    assert held == {(0, "prevote", name_of(A)): b"\x09", (0, "precommit", None): b"\x04"}
    consensus.receive(proposal(B))
    assert [m for m in consensus.log(consensus.status()) if isinstance(m, Proposal)] == [proposal(A), proposal(B)]


def test_a_status_tells_of_so_many_kinds_of_votes_and_no_more() -> None:
    consensus = machine(me=6, n=7)
    consensus.start()
    for consensus_round in range(2):
        for server in range(6):
            for kind in ("prevote", "precommit"):
                for k in range(8):
                    consensus.receive(vote(server, kind, b"%d %d" % (server, k), consensus_round))
    assert len(consensus.status().votes) == 128


def test_the_record_is_what_a_restart_needs() -> None:
    consensus = machine(me=3)
    consensus.start()
    said = feed(consensus, proposal(A), vote(0, "prevote", A), vote(1, "prevote", A))
    record = consensus.record()
    assert (record.height, record.consensus_round, record.step) == (1, 0, Step.PRECOMMIT)
    assert (record.locked_block, record.locked_round, record.valid_block, record.valid_round) == (A, 0, A, 0)
    assert {(m.kind, m.server) for m in record.sent if isinstance(m, Vote)} == {("prevote", 3), ("precommit", 3)}
    assert said.broadcast[-1] in record.sent


def test_a_restart_while_waiting_for_the_proposal_waits_again() -> None:
    consensus = machine(me=3)
    consensus.start()
    again = machine(me=3).start(consensus.record())
    assert (again.broadcast, again.timeouts) == ((), (timeout(Step.PROPOSE),))
    proposer = machine(me=0)
    said = proposer.start().broadcast
    restarted = machine(me=0)
    assert restarted.start(proposer.record()).broadcast == said
    assert restarted.step is Step.PREVOTE


@pytest.mark.parametrize(("number", "name"), [(0, "PROPOSE"), (1, "PREVOTE"), (2, "PRECOMMIT")])
def test_a_record_from_the_disk_restores_the_step(number: int, name: str) -> None:
    on_disk = encode(ConsensusRecord(1, 0, number, None, -1, None, -1, ()))
    consensus = machine(me=3)
    consensus.start(decode(on_disk, ConsensusRecord))
    assert consensus.step is Step[name]
    assert encode(consensus.record()) == on_disk


def test_what_was_said_before_a_restart_counts_after_it() -> None:
    consensus = machine(me=3)
    consensus.start()
    consensus.receive(proposal(A))
    again = machine(me=3)
    again.start(consensus.record())
    assert again.record() == consensus.record()
    feed(again, proposal(A), vote(0, "prevote", A))
    assert votes(again.receive(vote(1, "prevote", A))) == [("precommit", 0, name_of(A))]


def test_the_valid_block_is_proposed_again_even_after_a_restart() -> None:
    consensus = machine(me=1)
    consensus.start()
    feed(consensus, proposal(A), vote(0, "prevote", A), vote(2, "prevote", A))
    again = machine(me=1)
    again.start(consensus.record())
    feed(again, vote(0, "precommit", None), vote(2, "precommit", None))
    proposed = again.expire(timeout(Step.PRECOMMIT)).broadcast[0]
    assert isinstance(proposed, Proposal)
    assert (proposed.block, proposed.consensus_round, proposed.valid_round) == (A, 1, 0)


# Signatures


def test_votes_are_checked_only_when_they_could_make_a_quorum_and_never_past_it() -> None:
    host = FakeHost(6)
    consensus = machine(me=6, n=7, host=host)
    consensus.start()
    feed(consensus, proposal(A, n=7), *(vote(k, "prevote", A) for k in range(3)))
    assert len(host.checked) == 1
    consensus.receive(vote(3, "prevote", A))
    assert len(host.checked) == 1 + 4
    feed(consensus, vote(4, "prevote", A), vote(5, "prevote", A))
    assert len(host.checked) == 1 + 4


def test_forged_votes_never_count_and_do_not_crowd_out_the_real_ones() -> None:
    consensus = machine(me=3)
    consensus.start()
    consensus.receive(proposal(A))
    forged = [vote(k, "prevote", A, key=KEYS[6]) for k in range(3)]
    assert votes(feed(consensus, *forged)) == []
    assert consensus.locked_block is None
    assert votes(feed(consensus, vote(0, "prevote", A), vote(1, "prevote", A))) == [("precommit", 0, name_of(A))]


def test_votes_of_unknown_servers_and_other_heights_are_ignored() -> None:
    consensus = machine(me=3)
    consensus.start()
    consensus.receive(proposal(A))
    strangers = [vote(5, "prevote", A), vote(6, "prevote", A), vote(0, "prevote", A, height=2)]
    feed(consensus, *strangers, vote(0, "prevote", A))
    assert consensus.locked_block is None


def test_a_server_that_votes_twice_counts_once_for_each_block() -> None:
    consensus = machine(me=3)
    consensus.start()
    feed(consensus, proposal(A), vote(0, "prevote", B), vote(0, "prevote", A), vote(0, "prevote", None))
    assert consensus.locked_block is None
    assert consensus.receive(vote(1, "prevote", A)).broadcast[0].block == name_of(A)


def test_the_log_holds_every_valid_message_once() -> None:
    consensus = machine(me=3)
    consensus.start()
    heard = [proposal(A), vote(0, "prevote", A), vote(1, "prevote", None)]
    feed(consensus, *heard, vote(2, "prevote", A, key=KEYS[6]))
    nothing_held = Status(1, 6)
    assert set(heard) <= set(consensus.log(nothing_held))
    assert consensus.log(consensus.status()) == []
    assert {m.server for m in consensus.log(nothing_held) if isinstance(m, Vote)} == {0, 1, 3}


def test_the_log_leaves_out_what_the_other_has_told_that_it_holds() -> None:
    consensus, other = machine(me=3), machine(me=2)
    consensus.start()
    other.start()
    feed(consensus, proposal(A), vote(0, "prevote", A), vote(1, "prevote", None), vote(0, "prevote", B))
    feed(other, vote(0, "prevote", A), vote(1, "prevote", None))
    lacking = consensus.log(other.status())
    assert {(m.server, m.block) for m in lacking if isinstance(m, Vote)} == {(3, name_of(A)), (0, name_of(B))}
    assert [m for m in lacking if not isinstance(m, Vote)] == [proposal(A)]


def test_a_restart_from_its_record_says_the_same_again_and_nothing_else() -> None:
    consensus = machine(me=3)
    consensus.start()
    heard = (proposal(A), vote(0, "prevote", A), vote(1, "prevote", A))
    said = [message for one in heard for message in consensus.receive(one).broadcast]
    record = decode(encode(consensus.record()), ConsensusRecord)
    again = machine(me=3)
    assert set(again.start(record).broadcast) == set(said)
    assert (again.round, again.step, again.locked_block) == (0, Step.PRECOMMIT, A)
    assert again.receive(proposal(B)).broadcast == ()
    feed(again, *(vote(k, "precommit", None) for k in (0, 1, 2)))
    assert again.expire(Timeout(1, 0, Step.PRECOMMIT)).broadcast == ()
    assert again.receive(proposal(B, 1)).broadcast[0].block is None, "it is still locked on A"


def test_who_names_ever_later_rounds_is_listened_to_in_two_of_them() -> None:
    consensus = machine(me=3)
    consensus.start()
    for far in range(2, 50):
        consensus.receive(vote(0, "prevote", A, far))
        consensus.receive(vote(1, "precommit", A, far, key=KEYS[6]))
    assert {m.consensus_round for m in consensus.log(Status(1, 6)) if isinstance(m, Vote) and m.server == 0} == {2, 3}


def test_who_votes_for_ever_other_blocks_is_kept_three_times() -> None:
    consensus = machine(me=3)
    consensus.start()
    for k in range(50):
        consensus.receive(vote(0, "prevote", bytes([k])))
    assert sum(isinstance(m, Vote) and m.server == 0 for m in consensus.log(Status(1, 6))) == 3


@pytest.mark.parametrize("restarts", [False, True])
def test_votes_for_nothing_do_not_crowd_out_a_vote_for_the_own_proposal(restarts: bool) -> None:
    consensus = machine(me=0)
    proposed = consensus.start().broadcast[0]
    assert isinstance(proposed, Proposal)
    if restarts:
        record, consensus = consensus.record(), machine(me=0)
        consensus.start(record)
    feed(consensus, *(vote(1, "prevote", bytes([k])) for k in range(5)), vote(1, "prevote", proposed.block))
    kept = [m for m in consensus.log(Status(1, 3)) if isinstance(m, Vote) and m.server == 1]
    assert name_of(proposed.block) in [m.block for m in kept]
    assert len(kept) == 4


def test_votes_for_nothing_do_not_crowd_out_the_vote_that_others_have_locked_on() -> None:
    """Server 0 shows P and its vote for P to servers 1 and 2, who lock it; to server 3 it shows Q and empty votes."""
    machines = {k: machine(me=k) for k in (1, 2, 3)}
    timeouts: list[tuple[int, Timeout]] = []

    def settle(pending: list[tuple[int, Any]]) -> None:
        while pending:
            node, message = pending.pop(0)
            pending += spread(node, machines[node].receive(message))

    def spread(node: int, actions: Actions) -> list[tuple[int, Any]]:
        timeouts.extend((node, due) for due in actions.timeouts)
        return [(other, message) for message in actions.broadcast for other in machines if other != node]

    for node, consensus in machines.items():
        settle(spread(node, consensus.start()))
    lies = [(3, vote(0, "prevote", bytes([k]))) for k in range(3)] + [(3, proposal(b"Q"))]
    settle(lies + [(node, message) for node in (1, 2) for message in (proposal(b"P"), vote(0, "prevote", b"P"))])
    for _ in range(20):
        for node, consensus in machines.items():
            for other in machines.values():
                settle([(node, message) for message in other.log(consensus.status())])
        expired, timeouts = timeouts, []
        for node, due in expired:
            settle(spread(node, machines[node].expire(due)))
    assert {consensus.decided.block for consensus in machines.values() if consensus.decided} == {b"P"}
    assert all(consensus.decided for consensus in machines.values())


# Whole networks of machines


class Cluster:
    """Machines on a network; whoever is undecided is sent the others' logs now and then."""

    def __init__(self, n: int, link: Link):
        self.network = Network(n, link)
        self.hosts = [FakeHost(k) for k in range(n)]
        self.machines = [machine(k, n, self.hosts[k]) for k in range(n)]
        self.lengths = TimeoutLengths(1000, 500)

    def run(self, deadline_us: int = 10**7):
        for node, consensus in enumerate(self.machines):
            self.act(node, consensus.start())
            self.network.set_timer(node, 2000, "gossip")
        return self.network.run(self.deliver, lambda: all(m.decided for m in self.machines), deadline_us)

    def deliver(self, node: int, payload: Any):
        consensus = self.machines[node]
        if payload == "gossip":
            for message in consensus.log(Status(1, node)):
                self.network.broadcast(node, message)
            self.network.set_timer(node, 2000, "gossip")
        elif isinstance(payload, Timeout):
            self.act(node, consensus.expire(payload))
        else:
            self.act(node, consensus.receive(payload))

    def act(self, node: int, actions: Actions):
        for message in actions.broadcast:
            self.network.broadcast(node, message)
        for due in actions.timeouts:
            self.network.set_timer(node, self.lengths.of(due), due)

    def deciding_rounds(self):
        return {m.decided.commit.consensus_round for m in self.machines if m.decided}

    def agree(self):
        return len({m.decided.block for m in self.machines if m.decided}) <= 1


def test_without_faults_all_decide_in_round_0_without_time_passing() -> None:
    for n in (1, 2, 3, 4, 7):
        cluster = Cluster(n, instantaneous)
        assert cluster.run()
        assert cluster.agree()
        assert cluster.deciding_rounds() == {0}
        assert cluster.network.now_us == 0


def test_a_silent_proposer_costs_a_round() -> None:
    cluster = Cluster(4, silence(frozenset({0}), until_us=5000))
    assert cluster.run()
    assert cluster.agree()
    assert cluster.deciding_rounds() == {1}


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([4, 7]), st.floats(0, 0.9), st.integers(0, 3000))
def test_lost_and_reordered_messages_never_break_agreement_and_a_healed_network_decides(
    seed: int, n: int, loss: float, longest_us: int
) -> None:
    cluster = Cluster(n, Unreliable(seed, longest_us, loss, heals_at_us=20_000))
    assert cluster.run()
    assert cluster.agree()


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32))
def test_a_minority_partition_decides_nothing_until_it_heals(seed: int) -> None:
    def link(sender: int, receiver: int, now_us: int):
        is_split = now_us < 30_000 and (sender < 2) != (receiver < 2)
        return None if is_split else (seed * 7919 + sender * 31 + receiver * 17 + now_us) % 700

    cluster = Cluster(4, link)
    cluster.run(deadline_us=29_000)
    assert not any(m.decided for m in cluster.machines)
    assert cluster.network.run(cluster.deliver, lambda: all(m.decided for m in cluster.machines), 10**7)
    assert cluster.agree()


def test_what_most_messages_lead_to_is_shared_and_cannot_be_changed() -> None:
    nothing = machine(me=1).expire(timeout(Step.PREVOTE))
    assert nothing is NO_ACTIONS
    assert (nothing.broadcast, nothing.timeouts, nothing.decided) == ((), (), None)
    with pytest.raises(dataclasses.FrozenInstanceError):
        nothing.decided = Decided(A, Commit(1, 0, name_of(A), ()))  # pyright: ignore[reportAttributeAccessIssue]  # that is the test


def test_a_decision_is_told_once() -> None:
    consensus = machine(me=1)
    told = [
        consensus.receive(message).decided
        for message in (
            proposal(A),
            *(vote(k, "prevote", A) for k in (0, 2)),
            *(vote(k, "precommit", A) for k in (0, 2)),
        )
    ]
    assert [decided is not None for decided in told] == [False, False, False, False, True]
    assert consensus.decided is told[-1]
    assert consensus.reconsider() is NO_ACTIONS
    assert consensus.receive(vote(3, "precommit", A)) is NO_ACTIONS
