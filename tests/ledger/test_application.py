from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from world import DEVICES, SERVERS, PythonContract, World, eventful_chain, genesis

import bees.ledger.application
from bees.core.errors import ContractLoadError, MissingBlobError, ProofError
from bees.core.keys import is_signed_by
from bees.ledger.application import Memo
from bees.ledger.block import Batch
from bees.ledger.merkle import check_path
from bees.ledger.refusals import (
    AppHashError,
    DuplicateError,
    InvalidTransactionError,
    NotElectedError,
    WrongPhaseError,
)
from bees.ledger.state import Phase, initial_state, state_tree

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

    from bees.ledger.transactions import Signed


def forged(signed: Signed) -> Signed:
    return msgspec.structs.replace(signed, signature=bytes(64))


def replica_of(world: World, memo: Memo | None = None) -> World:
    """Another replica, with its own runner over the same bytes."""
    runner = PythonContract(world.runner.blobs)
    return World(world.signed, runner, memo)


def follow(replica: World, blocks: Sequence[Sequence[Signed]]) -> list[bytes]:
    """App hashes after each of the blocks."""
    hashes: list[bytes] = []
    for transactions in blocks:
        replica.block(*transactions)
        hashes.append(replica.application.app_hash)
    return hashes


def recorded() -> tuple[World, list[tuple[Signed, ...]], list[bytes]]:
    """An eventful chain, its transactions by block, and its app hashes."""
    world = eventful_chain()
    return world, [block.batch.transactions for block in world.blocks], [b.header.app_hash for b in world.blocks]


def test_it_starts_at_height_0_with_the_root_of_the_initial_state():
    world = World()
    assert world.state == initial_state(genesis())
    assert world.application.app_hash == state_tree(world.state).root


def test_check_tx_judges_by_the_next_block_and_changes_nothing():
    world = World()
    before = world.state
    world.application.check_tx(world.update(0))
    with pytest.raises(WrongPhaseError):
        world.application.check_tx(world.attest(0, {}))
    assert world.state is before


def test_a_proposal_holds_what_can_go_together_in_canonical_order():
    world = World()
    right = [
        world.deploy(b"product"),
        world.delegate(5, 0),
        world.update(1),
        world.update(2),
        world.update(5, server=0),
    ]
    wrong = [
        forged(world.update(0)),
        world.update(1, samples=7),
        world.update(3, round=2),
        world.update(4, chain_id=bytes(32)),
        world.update(0, device=99),
        world.attest(0, {}),
        world.deploy(b"product"),
        world.deploy(b"junk"),
        world.delegate(5, 1),
    ]
    # Of two that exclude one another the one that came first is taken.
    candidates = [*right, *wrong]
    batch = world.application.prepare_proposal(candidates)
    assert list(batch.transactions) == right
    world.application.process_proposal(batch, world.application.execute(batch).app_hash)
    assert len(world.block(*batch.transactions).batch.transactions) == len(right)
    assert world.application.prepare_proposal(candidates).transactions == ()
    assert world.application.prepare_proposal([]).transactions == ()


def test_a_proposal_is_in_canonical_order_whatever_order_its_candidates_came_in():
    world = World()
    candidates = [world.update(5, server=0), world.update(2), world.update(1), world.delegate(5, 0)]
    chosen = world.application.prepare_proposal(candidates).transactions
    assert chosen == (candidates[3], candidates[2], candidates[1], candidates[0])


def test_a_proposal_leaves_out_what_needs_bytes_that_are_not_at_hand():
    world = World()
    world.to_publish()
    publish, delegate = world.publish(), world.delegate(5, 0)
    world.runner.blobs.pop(world.state.updates[7].commitment)
    assert world.application.prepare_proposal([publish, delegate]).transactions == (delegate,)


def test_what_is_proposed_and_passed_on_is_judged_at_the_height_of_the_next_block():
    world = World()
    world.to_publish()
    publish = {server: world.publish(server) for server in range(SERVERS)}
    assert world.state.ballot is not None
    first, second, *_ = world.state.ballot.ranking
    for blocks, (now, later) in enumerate([(first, second), (first, second), (second, first)]):
        assert world.state.height == world.state.phase_opened + blocks
        assert world.application.prepare_proposal([publish[now], publish[later]]).transactions == (publish[now],)
        world.application.check_tx(publish[now])
        with pytest.raises(NotElectedError):
            world.application.check_tx(publish[later])
        world.block()


def test_a_genesis_whose_contract_is_none_starts_no_chain():
    with pytest.raises(ContractLoadError):
        _ = World.of(contract=b"junk").application


def test_a_commit_without_a_finalized_block_changes_nothing():
    world = World()
    before = world.state
    world.application.commit()
    assert world.state is before


def test_a_memo_forgets_before_it_fills_the_memory(monkeypatch: pytest.MonkeyPatch):
    for is_valid in (True, False):
        memo = Memo()
        monkeypatch.setattr(bees.ledger.application, "is_signed_by", lambda *_, said=is_valid: said)
        sizes: list[int] = []
        for k in range(2**14 + 1):
            assert memo.verify(b"key", k.to_bytes(4, "little"), b"signature") == is_valid
            sizes.append(len(memo.signatures) + len(memo.forgeries))
        assert max(sizes) == 2**14
        assert sizes[-1] == 1


def test_a_memo_keeps_the_last_sixteen_executions_and_those_apart_that_need_the_bytes_of_updates():
    world = World()
    world.to_publish()
    memo = world.application.memo
    memo.byteless_executions.clear()
    publishing = Batch((world.publish(),))
    batches = [Batch((world.delegate(device, server),)) for device in range(DEVICES) for server in range(SERVERS)]
    for batch in (publishing, *batches[:20]):
        world.application.execute(batch)
    assert [root for _, root in memo.executions] == [publishing.root]
    assert [root for _, root in memo.byteless_executions] == [batch.root for batch in batches[4:20]]


@settings(deadline=None, max_examples=15)
@given(st.randoms(use_true_random=False))
def test_a_proposal_is_always_a_block_that_is_taken(chance: random.Random):
    world = World()
    for _ in range(4 + 3 + 2 * 3):
        candidates = [world.update(d, **chance.choice([{}, {"samples": 0}])) for d in range(DEVICES)]
        candidates += [world.attest(k) for k in range(SERVERS)] + [world.delegate(1, 2), world.deploy(b"product")]
        if world.state.main_node is not None:
            candidates.append(world.publish())
        chance.shuffle(candidates)
        batch = world.application.prepare_proposal(candidates[: chance.randrange(len(candidates))])
        world.block(*batch.transactions)
    assert world.state.round > 1


def test_a_proposal_with_another_app_hash_is_refused():
    world = World()
    batch = Batch((world.update(0),))
    right = world.application.execute(batch).app_hash
    for wrong in (world.application.app_hash, bytes(32), bytes([right[0] ^ 1]) + right[1:], b""):
        with pytest.raises(AppHashError) as error:
            world.application.process_proposal(batch, wrong)
        assert error.value.height == 1


@pytest.mark.parametrize("position", [0, 1, 2])
def test_a_proposal_with_one_bad_transaction_is_refused_and_names_it(position: int):
    world = World()
    for bad, why in (
        (forged(world.update(7)), "not signed by its author"),
        (world.attest(0, {}), "not taken in phase collect"),
        (world.update(7, device=99), "no device 99"),
        (world.update(7, samples=0), "claims 0 samples"),
    ):
        transactions = [world.update(0), world.update(1)]
        transactions.insert(position, bad)
        with pytest.raises(InvalidTransactionError, match=why) as error:
            world.application.process_proposal(Batch(tuple(transactions)), bytes(32))
        assert (error.value.height, error.value.index) == (1, position)
        assert error.value.__cause__ is not None
        with pytest.raises(InvalidTransactionError):
            world.application.finalize_block(Batch(tuple(transactions)))
    assert world.state.height == 0


def test_a_transaction_twice_in_a_block_is_refused():
    world = World()
    signed = world.update(0)
    with pytest.raises(InvalidTransactionError) as error:
        world.application.execute(Batch((signed, signed)))
    assert isinstance(error.value.__cause__, DuplicateError)


def test_finalize_changes_nothing_before_commit_and_commit_happens_once():
    world = World()
    application, before = world.application, world.application.app_hash
    after = application.finalize_block(Batch((world.update(0),)))
    assert (application.state.height, application.app_hash) == (0, before)
    application.commit()
    assert (application.state.height, application.app_hash) == (1, after)
    application.commit()
    assert (application.state.height, application.app_hash) == (1, after)


def test_every_leaf_of_the_state_is_proved_under_the_app_hash():
    world = World()
    world.to_publish()
    for leaf in state_tree(world.state).keys:
        value, path = world.application.query(leaf)
        check_path(world.application.app_hash, leaf, value, path)
    with pytest.raises(ProofError):
        world.application.query("nobody")


def test_replicas_agree_on_every_app_hash_with_and_without_shared_checks():
    world, blocks, hashes = recorded()
    assert world.state.round == 5
    assert hashes[-1] == world.application.app_hash
    assert len(set(hashes)) == len(hashes)
    shared = Memo()
    for replica in (replica_of(world), replica_of(world, shared), replica_of(world, shared)):
        assert follow(replica, blocks) == hashes
        assert replica.state == world.state
    together = [replica_of(world, shared) for _ in range(3)]
    for transactions, expected in zip(blocks, hashes, strict=True):
        assert {follow(replica, [transactions])[0] for replica in together} == {expected}


def test_shared_checks_execute_a_block_and_verify_a_signature_once(monkeypatch: pytest.MonkeyPatch):
    world, blocks, _ = recorded()
    verified: list[tuple[bytes, bytes]] = []
    executed: list[int] = []

    def count(public_key: bytes, message: bytes, signature: bytes) -> bool:
        verified.append((public_key, message))
        return is_signed_by(public_key, message, signature)

    close = bees.ledger.application.close_phases
    monkeypatch.setattr(bees.ledger.application, "is_signed_by", count)
    monkeypatch.setattr(bees.ledger.application, "close_phases", lambda s: executed.append(s.height) or close(s))
    shared = Memo()
    replicas = [replica_of(world, shared) for _ in range(3)]
    for transactions in blocks:
        for replica in replicas:
            follow(replica, [transactions])
    assert len(executed) == len(blocks)
    assert len(verified) == len(set(verified)) == len(world.state.servers) + sum(map(len, blocks))


def test_a_memo_never_takes_a_bad_signature_for_a_good_one():
    world = World(memo=Memo())
    signed = world.update(0)
    world.application.check_tx(signed)
    for _ in range(2):
        with pytest.raises(InvalidTransactionError, match="not signed"):
            world.application.execute(Batch((forged(signed),)))
    memo = Memo()
    assert memo.verify(b"\0" * 32, b"", bytes(64)) is False
    assert not memo.signatures


def test_two_chains_that_share_a_memo_do_not_mix():
    memo = Memo()
    one, other = World(memo=memo), World(World.of(name="other").signed, memo=memo)
    one.block()
    other.block()
    assert one.state.genesis.name == "tiny"
    assert other.state.genesis.name == "other"
    assert one.application.app_hash != other.application.app_hash


def test_a_memo_forgets(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(bees.ledger.application, "_MEMO_LIMIT", 3)
    world = World(memo=Memo())
    assert world.memo is not None
    for device in range(8):
        world.application.check_tx(world.update(device))
        assert 1 <= len(world.memo.signatures) <= 3
    for _ in range(20):
        world.block()
    assert len(world.memo.byteless_executions) == 16


def test_a_decided_block_waits_for_bytes_and_is_then_executed():
    world, blocks, hashes = recorded()
    replica = World(
        world.signed, PythonContract({genesis().initial_model: world.runner.blobs[genesis().initial_model]})
    )
    follow(replica, blocks[:4])
    with pytest.raises(MissingBlobError):
        replica.application.finalize_block(Batch(blocks[4]))
    replica.runner.blobs.update(world.runner.blobs)
    assert replica.application.finalize_block(Batch(blocks[4])) == hashes[4]


class TestOrder:
    """The order of Updates is the proposer's whim, so nothing may hang on it."""

    @settings(deadline=None, max_examples=20)
    @given(st.permutations(range(DEVICES)), st.lists(st.integers(0, 2), min_size=DEVICES, max_size=DEVICES), st.data())
    def test_within_and_across_blocks_it_changes_neither_the_model_nor_the_app_hash(
        self, order: list[int], at_block: list[int], data: st.DataObject
    ):
        missing = data.draw(st.sets(st.integers(0, DEVICES - 1), min_size=1, max_size=4))
        outcomes: list[Any] = []
        for devices, blocks in ((list(range(DEVICES)), [0] * DEVICES), (order, at_block)):
            world = World()
            for block in range(3):
                sent = [d for d in devices if blocks[d] == block and d not in missing]
                world.block(*(world.update(d) for d in sent))
            world.block()
            assert world.state.phase is Phase.ATTEST
            closed = world.application.app_hash
            world.block(*(world.attest(k) for k in range(SERVERS)))
            world.block(world.publish())
            outcomes.append((closed, world.application.app_hash, world.state.model, world.state.outcome))
        assert outcomes[0] == outcomes[1]

    @settings(deadline=None, max_examples=10)
    @given(st.permutations(range(SERVERS)), st.permutations(range(DEVICES)))
    def test_of_everything_in_a_round_of_full_blocks(self, servers: list[int], devices: list[int]):
        hashes: set[bytes] = set()
        for who, whose in ((range(SERVERS), range(DEVICES)), (servers, devices)):
            world = World()
            world.block(*(world.update(d) for d in whose))
            world.block(*(world.attest(k) for k in who))
            world.block(world.publish())
            hashes.add(world.application.app_hash)
        assert len(hashes) == 1
