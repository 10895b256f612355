from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from msgspec.structs import replace

from bees.core.canonical import decode, encode
from bees.core.errors import EngineError
from bees.core.keys import SigningKey
from bees.core.stopwatch import Stopwatch
from bees.engines.embedded import EmbeddedEngine
from bees.engines.messages import Decision, Proposal, Vote
from bees.engines.network import Unreliable, silence
from bees.ledger.block import Block, block_id, check_commit
from bees.ledger.refusals import BadSignatureError, BrokenLinkError, CommitError, DuplicateError, WrongPhaseError
from bees.ledger.state import Phase
from bees.ledger.transactions import Signed, sign

if TYPE_CHECKING:
    from small_world import World

    from bees.engines.embedded import CommittedBlock


def ids(committed: list[CommittedBlock]):
    return [block_id(made.block.header) for made in committed]


def test_a_round_takes_three_heights_and_changes_the_model(world: World) -> None:
    engine = world.engine()
    committed = world.play_round(engine)
    assert [made.block.header.height for made in committed] == [1, 2, 3]
    assert [made.state.phase for made in committed] == [Phase.ATTEST, Phase.PUBLISH, Phase.COLLECT]
    outcome = committed[-1].state.outcome
    assert outcome is not None
    assert not outcome.is_skipped
    assert committed[-1].state.model != world.genesis.initial_model


def test_every_replica_commits_the_same_and_a_quorum_signs_it(world: World) -> None:
    engine = world.engine()
    for made in (*world.play_round(engine), *world.play_round(engine)):
        verify = engine.replicas[0].application.memo.verify
        check_commit(world.genesis.committee, made.block.header, made.commit, verify)
        assert len(made.commit.signatures) >= world.genesis.committee.quorum
        assert made.commit.consensus_round == 0
    assert len({(r.height, r.last_block, r.application.app_hash) for r in engine.replicas}) == 1


def test_shared_and_separate_checks_make_the_same_chain(make_world: type[World]) -> None:
    chains = []
    for share in (True, False):
        world = make_world()
        engine = world.engine(share_checks=share)
        chains.append(ids(world.play_round(engine) + world.play_round(engine)))
    assert chains[0] == chains[1]


@pytest.mark.parametrize("share", [True, False])
def test_threads_change_nothing(make_world: type[World], share: bool) -> None:
    chains = []
    for threads in (1, 3):
        world = make_world(devices=8)
        engine = world.engine(share_checks=share, threads=threads)
        chains.append([made.commit for made in world.play_round(engine)])
        engine.close()
    assert chains[0] == chains[1]


def test_without_sharing_each_replica_executes_the_contract(make_world: type[World]) -> None:
    shared, separate = make_world(), make_world()
    shared.play_round(shared.engine(share_checks=True))
    separate.play_round(separate.engine(share_checks=False))
    assert [machine.runs for machine in shared.machines] == [1]
    assert [machine.runs for machine in separate.machines] == [1] * separate.servers


def test_each_block_has_another_proposer(world: World) -> None:
    engine = world.engine()
    proposers = []
    broadcast = engine.network.broadcast

    def listen(sender: int, payload: Any):
        if isinstance(payload, Proposal):
            proposers.append(payload.proposer)
        broadcast(sender, payload)

    engine.network.broadcast = listen
    for _ in range(5):
        engine.next_block()
    assert proposers == [0, 1, 2, 3, 0]


def test_empty_blocks_are_made(world: World) -> None:
    made = world.engine().next_block()
    assert made.block.batch.transactions == ()
    assert made.read == ()


def test_a_refused_transaction_reaches_no_mempool(world: World) -> None:
    engine = world.engine()
    good = world.updates(engine.state)[0]
    with pytest.raises(BadSignatureError):
        engine.submit(Signed(good.body, bytes(64)))
    with pytest.raises(WrongPhaseError):
        engine.submit(world.attests(engine.state)[0])
    assert not any(replica.mempool for replica in engine.replicas)
    engine.submit(good)
    assert all(list(replica.mempool.values()) == [good] for replica in engine.replicas)


def test_submitting_many_tells_for_each_why_it_was_refused(world: World) -> None:
    engine = world.engine(share_checks=False)
    good = world.updates(engine.state)
    refusals = engine.submit_all([good[0], Signed(good[1].body, good[0].signature), good[2]])
    assert [type(refusal) for refusal in refusals] == [type(None), BadSignatureError, type(None)]
    assert len(engine.next_block().block.batch.transactions) == 2


def test_a_transaction_sent_twice_is_taken_once(world: World) -> None:
    engine = world.engine()
    update = world.updates(engine.state)[0]
    engine.submit(update)
    engine.submit(update)
    assert len(engine.next_block().block.batch.transactions) == 1
    with pytest.raises(DuplicateError):
        engine.submit(update)


def test_of_two_conflicting_transactions_one_is_taken_and_the_other_forgotten(world: World) -> None:
    engine = world.engine()
    first = world.updates(engine.state)[0]
    second = world.device_keys[0]
    rival = sign(msgspec.structs.replace(first.body, samples=1), second)
    engine.submit(first)
    engine.submit(rival)
    assert len(engine.next_block().block.batch.transactions) == 1
    assert not any(replica.mempool for replica in engine.replicas)


def test_a_wrong_key_is_refused_at_the_start(world: World) -> None:
    keys = (SigningKey.simulated(9, "stranger"), *world.server_keys[1:])
    with pytest.raises(EngineError, match="signing keys"):
        EmbeddedEngine(world.signed, keys, world.runner)


def test_one_server_alone_makes_a_chain(make_world: type[World]) -> None:
    world = make_world(servers=1)
    assert len(world.play_round(world.engine())) == 3


@pytest.mark.parametrize("seed", range(4))
def test_lost_and_reordered_messages_delay_but_the_chain_stays_one(make_world: type[World], seed: int) -> None:
    world = make_world()
    calm = ids(world.play_round(world.engine()))
    link = Unreliable(seed, longest_us=400_000, loss=0.4, heals_at_us=60_000_000)
    engine = world.engine(link=link)
    committed = world.play_round(engine)
    assert ids(committed) == calm
    assert engine.network.now_us > 0


def test_a_silent_proposer_costs_a_round_of_consensus(world: World) -> None:
    engine = world.engine(link=silence(frozenset({0}), until_us=10_000_000))
    assert engine.next_block().commit.consensus_round == 1
    decision = engine.replicas[1].last_decision
    assert decision is not None
    commit = decision[1]
    assert [signature.server for signature in commit.signatures] == [1, 2, 3]


def test_a_replica_that_heard_nothing_is_told_the_decision(world: World) -> None:
    deaf_until_us = 20_000_000

    def link(sender: int, receiver: int, now_us: int):
        return None if receiver == 3 and now_us < deaf_until_us else 0

    engine = world.engine(link=link)
    told: list[object] = []
    deliver = engine.replicas[3].deliver

    def listen(payload: Any) -> None:
        told.append(payload)
        deliver(payload)

    engine.replicas[3].deliver = listen
    made = engine.next_block()
    assert any(isinstance(payload, Decision) for payload in told)
    assert engine.replicas[3].last_block == block_id(made.block.header)


def test_no_quorum_no_block(world: World) -> None:
    engine = world.engine(link=silence(frozenset({0, 1}), until_us=10**15))
    with pytest.raises(EngineError, match="no block 1: 4 of 4 servers are undecided"):
        engine.next_block()


def test_a_replica_refuses_a_decision_without_quorum(world: World) -> None:
    donor = world.engine()
    made = donor.next_block()
    engine = world.engine()
    replica = engine.replicas[1]
    replica.start_height()
    poor = msgspec.structs.replace(made.commit, signatures=made.commit.signatures[:1])
    replica.deliver(Decision(1, encode(made.block), poor))
    assert replica.height == 0
    replica.deliver(Decision(1, encode(made.block), made.commit))
    assert replica.height == 1


def test_a_bad_block_gets_no_votes_from_honest_replicas(world: World) -> None:
    """A proposer that lies about the app hash: everybody else votes nil, and the next proposer's block is taken."""
    engine = world.engine()
    liar = engine.replicas[0]
    honest_propose = liar.propose

    def lie():
        block = decode(honest_propose(), Block)
        return encode(Block(msgspec.structs.replace(block.header, app_hash=bytes(32)), block.batch))

    liar.propose = lie
    cast = []
    broadcast = engine.network.broadcast

    def listen(sender: int, payload: Any):
        if isinstance(payload, Vote) and payload.consensus_round == 0:
            cast.append(payload.block)
        broadcast(sender, payload)

    engine.network.broadcast = listen
    made = engine.next_block()
    assert set(cast) == {None}
    assert made.commit.consensus_round == 1


def test_a_chain_can_be_caught_up_with_and_gone_on_with(world: World) -> None:
    donor = world.engine()
    committed = world.play_round(donor)
    engine = world.engine()
    for made in committed:
        again = engine.catch_up(made.block, made.commit)
        assert (again.state, again.read) == (made.state, made.read)
    assert ids(world.play_round(engine)) == ids(world.play_round(donor))


def test_catching_up_refuses_what_does_not_follow_or_is_not_committed(world: World) -> None:
    made = world.play_round(world.engine())
    with pytest.raises(BrokenLinkError):
        world.engine().catch_up(made[1].block, made[1].commit)
    with pytest.raises(CommitError):
        world.engine().catch_up(made[0].block, made[1].commit)


def test_time_is_told_by_phase(world: World) -> None:
    watch = Stopwatch()
    world.play_round(world.engine(timer=watch, share_checks=False))
    assert set(watch.seconds) == {"sign", "verify", "contract", "commit", "consensus"}
    assert all(seconds > 0 for seconds in watch.seconds.values())


def test_a_missing_update_is_never_taken_for_a_wrong_result(world: World) -> None:
    """A replica that lacks bytes cannot judge a Publish: it waits for them, and the round goes on."""
    engine = world.engine(share_checks=False)
    for make in (world.updates, world.attests):
        assert not any(engine.submit_all(make(engine.state)))
        engine.next_block()
    publish = world.publish(engine)
    hidden = world.blobs._blobs
    runners = [replica.application.runner for replica in engine.replicas]
    assert len(set(map(id, runners))) == 4
    world.blobs._blobs = {}
    (refusal,) = engine.submit_all([publish])
    assert "missing" in str(refusal)
    world.blobs._blobs = hidden
    engine.submit(publish)
    assert engine.next_block().state.round == 2


def test_state_is_frozen_between_blocks(world: World) -> None:
    engine = world.engine()
    before = engine.state
    world.play_round(engine)
    assert replace(before) == before
    assert before.height == 0
