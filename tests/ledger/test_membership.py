"""Servers replace keys and remove participants, and nobody else does (``bees.ledger.membership``)."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest
from msgspec.structs import replace
from world import DEVICE_KEYS, DEVICES, NEXT_KEYS, SERVER_KEYS, SERVERS, World

from bees.core.canonical import encode
from bees.core.errors import TransactionError
from bees.ledger.block import CommitSignature, check_commit, vote_bytes
from bees.ledger.commitments import hash_contract
from bees.ledger.committee import Committee
from bees.ledger.membership import Change, Members, ValidatorChange, amendment_bytes, consent_bytes
from bees.ledger.refusals import (
    AmendError,
    BadSignatureError,
    BlockError,
    CommitError,
    DelegationError,
    DeployError,
    EvidenceError,
    RemovedError,
    WrongChainError,
)
from bees.ledger.replay import replay
from bees.ledger.state import Phase, state_tree
from bees.ledger.transactions import Amend, Approval, Evidence, Signed, Statement, approval_bytes, sign

S3, S3_LATER = NEXT_KEYS["server", 3, 0], NEXT_KEYS["server", 3, 1]
D5 = NEXT_KEYS["device", 5, 0]


def refusal(world: World, signed: Signed, kind: type[TransactionError]) -> str:
    """Why a transaction is refused; it leaves no trace."""
    before = world.state, world.application.app_hash
    with pytest.raises(kind) as caught:
        world.application.check_tx(signed)
    assert (world.state, world.application.app_hash) == before
    return str(caught.value)


def skip_round(world: World) -> None:
    """Close the open round without a result."""
    now = world.state.round
    while world.state.round == now:
        world.block()


def replayed(world: World) -> World:
    """The world, after an auditor has come to the same state from its bytes."""
    *_, last = replay(world.signed, world.stored, world.runner)
    assert last.state == world.state
    assert state_tree(last.state).root == world.application.app_hash
    return world


def amended(*amendments: tuple[Any, ...], rounds: int = 0) -> World:
    """A world after rounds, and after one in which the members were amended."""
    world = World()
    for _ in range(rounds):
        world.whole_round()
    for arguments in amendments:
        world.block(world.amend(*arguments))
    skip_round(world)
    return world


# When it takes effect


def test_a_key_is_replaced_from_the_next_round_on_and_not_before():
    world = World()
    world.block(world.amend("server", 3, S3), *(world.update(k) for k in range(DEVICES)))
    assert world.state.members == Members.of(world.genesis)
    old = world.attest(3)
    refusal(world, sign(old.body, S3), BadSignatureError)
    world.block(old, *(world.attest(k) for k in range(3)))
    world.block(world.publish())
    assert world.state.members.committee.keys == (*world.genesis.committee.keys[:3], S3.public_key)
    assert (world.state.next_members, world.state.amendments) == (None, 1)
    world.to_attest()
    attest = world.attest(3)
    refusal(world, sign(attest.body, SERVER_KEYS[3]), BadSignatureError)
    world.block(attest)
    assert 3 in world.state.attestations
    replayed(world)


def test_the_block_that_closes_the_round_is_committed_by_the_old_committee_and_the_next_one_by_the_new():
    world = World()
    world.block(world.amend("server", 3, S3), *(world.update(k) for k in range(DEVICES)))
    world.block(*(world.attest(k) for k in range(SERVERS)))
    before = world.state.members.committee
    closing = world.propose(world.publish())
    by_old = world.commit_of(closing, (1, 2, 3))
    world.block(*closing.batch.transactions)
    by_new = world.commit_of(closing, (1, 2, 3))
    after = world.state.members.committee
    assert before != after
    check_commit(before, closing.header, by_old, world.application.memo.verify)
    for committee, commit in ((before, by_new), (after, by_old)):
        with pytest.raises(CommitError, match="signature of server 3"):
            check_commit(committee, closing.header, commit, world.application.memo.verify)


def test_an_auditor_refuses_a_block_that_a_former_committee_has_committed():
    world = amended(("server", 3, S3))
    world.block()
    header, height = world.blocks[-1].header, len(world.blocks)
    name = world.commits[-1].block_id
    message = vote_bytes(header.chain_id, height, 0, "precommit", name)
    old = tuple(CommitSignature(k, SERVER_KEYS[k].sign(message)) for k in (1, 2, 3))
    world.commits[-1] = replace(world.commits[-1], signatures=old)
    audited = replay(world.signed, world.stored, world.runner)
    for _ in range(height - 1):
        next(audited)
    with pytest.raises(BlockError, match="signature of server 3 is not valid"):
        next(audited)


def test_a_chain_that_never_amended_has_the_hashes_that_it_had_before_there_were_amendments():
    world = World()
    tree = state_tree(world.state)
    assert {"amendments", "committee", "devices", "validators"}.isdisjoint(tree.keys)
    world.block(world.amend("device", 5, None))
    assert {"amendments", "committee", "devices", "validators"} <= set(state_tree(world.state).keys)


def test_several_changes_of_a_round_take_effect_together_and_in_order():
    world = World()
    world.block(world.amend("server", 3, S3))
    world.block(world.amend("device", 5, None))
    # Also twice the same participant: the second one replaces the key that was to come.
    world.block(world.amend("server", 3, S3_LATER))
    assert world.state.amendments == 3
    skip_round(world)
    assert world.state.members.committee.keys[3] == S3_LATER.public_key
    assert world.state.members.devices[5] is None
    assert world.state.members.devices[:5] == tuple(key.public_key for key in DEVICE_KEYS[:5])
    replayed(world)


def test_only_one_amendment_with_a_nonce_can_be_in_a_block():
    world = World()
    one, other = world.amend("server", 3, S3), world.amend("device", 5, None)
    batch = world.application.prepare_proposal([one, other])
    assert len(batch.transactions) == 1
    with pytest.raises(BlockError, match="nonce 0, but 1 amendments came before"):
        world.block(one, other)


def test_an_amendment_comes_before_a_deploy_and_both_are_approved_by_who_is_in_force():
    world = World()
    world.block(world.amend("server", 3, S3), world.deploy(b"product", (1, 2, 3)))
    assert world.state.next_contract == b"product"
    skip_round(world)
    message = approval_bytes(world.genesis.chain_id, 1, hash_contract(b"sum"))
    old = tuple(Approval(k, SERVER_KEYS[k].sign(message)) for k in (1, 2, 3))
    assert "server 3 has not approved it" in refusal(world, world.deploy(b"sum", (), approvals=old), DeployError)
    world.block(world.deploy(b"sum", (1, 2, 3)))
    assert (world.state.next_contract, world.state.deploys) == (b"sum", 2)
    replayed(world)


# What is refused


def test_a_replay_is_refused_and_so_is_another_nonce():
    world = World()
    signed = world.amend("device", 5, D5)
    world.block(signed)
    assert "nonce 0, but 1 amendments came before" in refusal(world, signed, AmendError)
    for nonce in (0, 2, 2**63 - 1):
        assert "nonce" in refusal(world, world.amend("device", 6, None, nonce=nonce), AmendError)


def test_what_was_signed_for_another_chain_is_refused():
    world, other = World(), World.of(name="other")
    refusal(world, other.amend("device", 5, None), WrongChainError)
    body: Any = other.amend("device", 5, None).body
    moved = sign(replace(body, chain_id=world.genesis.chain_id), SERVER_KEYS[0])
    assert "server 0 has not approved it" in refusal(world, moved, AmendError)


@pytest.mark.parametrize("approvers", [(), (0,), (0, 1), (0, 0, 1), (1, 0, 2), (0, 1, 1), (2, 1, 0)])
def test_too_few_approvals_are_refused_and_so_are_those_that_do_not_ascend(approvers: tuple[int, ...]):
    world = World()
    refusal(world, world.amend("device", 5, None, approvers=approvers), AmendError)
    world.block(world.amend("device", 5, None, approvers=(0, 1, 3)))


def test_approvals_of_something_else_are_refused():
    world = World()
    body: Any = world.amend("server", 3, S3).body
    asked = (world.genesis.chain_id, 0, body.change)
    wrong = {
        "the consent": consent_bytes(*asked),
        "another change": amendment_bytes(*asked[:2], replace(body.change, index=2)),
        "another nonce": amendment_bytes(asked[0], 1, body.change),
        "another chain": amendment_bytes(bytes(32), *asked[1:]),
    }
    for message in wrong.values():
        forged = (*body.approvals[:2], Approval(2, SERVER_KEYS[2].sign(message)))
        assert "server 2 has not approved it" in refusal(
            world, sign(replace(body, approvals=forged), SERVER_KEYS[0]), AmendError
        )
    stranger = (*body.approvals, Approval(SERVERS, SERVER_KEYS[3].sign(amendment_bytes(*asked))))
    refusal(world, sign(replace(body, approvals=stranger), SERVER_KEYS[0]), AmendError)


def test_a_replaced_key_and_a_removed_server_approve_nothing():
    world = amended(("server", 3, S3))
    right: Any = world.amend("server", 2, None, approvers=(0, 1, 3)).body
    message = amendment_bytes(world.genesis.chain_id, 1, right.change)
    by_old_key = (*right.approvals[:2], Approval(3, SERVER_KEYS[3].sign(message)))
    refusal(world, sign(replace(right, approvals=by_old_key), SERVER_KEYS[0]), AmendError)
    world.block(sign(right, SERVER_KEYS[0]))
    skip_round(world)
    # Three are left, and more than 2N/3 of three are all.
    assert world.state.members.committee.quorum == 3
    for approvers in ((0, 1, 2), (0, 1), (0, 1, 2, 3)):
        refusal(world, world.amend("device", 5, None, approvers=approvers), AmendError)
    world.block(world.amend("device", 5, None, approvers=(0, 1, 3)))
    replayed(world)


def test_only_a_server_in_force_carries_it():
    world = amended(("server", 3, None))
    refusal(world, world.amend("device", 5, None, server=3), RemovedError)
    body = world.amend("device", 5, None).body
    for key in (SERVER_KEYS[3], DEVICE_KEYS[0], S3):
        refusal(world, sign(body, key), BadSignatureError)


def test_the_new_key_must_consent_to_this_very_change():
    world = World()
    body: Any = world.amend("server", 3, S3).body
    asked = (world.genesis.chain_id, 0, body.change)
    wrong = (
        None,
        bytes(64),
        SERVER_KEYS[3].sign(consent_bytes(*asked)),
        S3.sign(amendment_bytes(*asked)),
        S3.sign(consent_bytes(asked[0], 1, body.change)),
        S3.sign(consent_bytes(bytes(32), *asked[1:])),
        S3.sign(consent_bytes(*asked[:2], replace(body.change, index=2))),
    )
    for consent in wrong:
        told = refusal(world, world.amend("server", 3, S3, consent=consent), AmendError)
        assert "has not signed its consent" in told
    told = refusal(world, world.amend("server", 3, None, consent=S3.sign(b"I go")), AmendError)
    assert "needs no consent" in told


@pytest.mark.parametrize("key", [*SERVER_KEYS[:2], SERVER_KEYS[3], DEVICE_KEYS[0]])
def test_a_key_that_is_in_use_is_refused(key: Any):
    assert "in use" in refusal(World(), World().amend("server", 3, key), AmendError)


def test_a_key_that_is_about_to_be_in_use_is_refused():
    world = World()
    world.block(world.amend("server", 3, S3))
    assert "in use" in refusal(world, world.amend("device", 5, S3), AmendError)


def test_there_must_be_such_a_participant():
    world = amended(("server", 3, None), ("device", 5, None))
    for kind, index, told in (
        ("server", 3, "removed already"),
        ("device", 5, "removed already"),
        ("server", SERVERS, "no server 4"),
        ("device", DEVICES, "no device 8"),
        ("device", 2**63 - 1, "no device"),
    ):
        assert told in refusal(world, world.amend(kind, index, None), AmendError)
        assert told in refusal(world, world.amend(kind, index, NEXT_KEYS["server", 0, 0]), AmendError)


def test_the_last_server_and_the_last_device_stay():
    world = World()
    for index in range(SERVERS - 1, 0, -1):
        left = world.state.members.committee
        world.block(world.amend("server", index, None, approvers=left.members[: left.quorum]))
        skip_round(world)
    assert world.state.members.committee.members == (0,)
    assert "last one" in refusal(world, world.amend("server", 0, None, approvers=(0,)), AmendError)
    for index in range(1, DEVICES):
        world.block(world.amend("device", index, None, approvers=(0,)))
    assert "last one" in refusal(world, world.amend("device", 0, None, approvers=(0,)), AmendError)
    world.block(world.amend("server", 0, S3, approvers=(0,)), world.update(0))
    replayed(world)


V = tuple(bytes([k]) * 32 for k in range(8))


@pytest.mark.parametrize(
    ("kind", "key", "validator"),
    [
        ("device", D5, ValidatorChange(V[3], V[4])),
        ("device", None, ValidatorChange(V[3], None)),
        ("server", S3, ValidatorChange(V[3], None)),
        ("server", None, ValidatorChange(V[3], V[4])),
        ("server", S3, ValidatorChange(V[3], V[3])),
    ],
)
def test_a_validator_is_changed_with_its_server_only(kind: str, key: Any, validator: ValidatorChange):
    refusal(World(), World().amend(kind, 3, key, validator=validator), AmendError)


def test_changes_of_validators_do_not_contradict_one_another():
    world = World()
    world.block(world.amend("server", 3, S3, validator=ValidatorChange(V[3], V[4])))
    contradicting = [(V[3], V[5]), (V[5], V[4]), (V[5], V[3]), (V[4], V[4])]
    for old, new in contradicting:
        told = refusal(world, world.amend("server", 2, S3_LATER, validator=ValidatorChange(old, new)), AmendError)
        assert "contradict" in told
    refusal(world, world.amend("server", 2, None, validator=ValidatorChange(V[3], None)), AmendError)
    world.block(world.amend("server", 3, S3_LATER, validator=ValidatorChange(V[4], V[5])))
    skip_round(world)
    world.block(world.amend("server", 3, None, validator=ValidatorChange(V[5], None)))
    skip_round(world)
    assert world.state.members.validator_changes == (
        ValidatorChange(V[3], V[4]),
        ValidatorChange(V[4], V[5]),
        ValidatorChange(V[5], None),
    )
    replayed(world)


@pytest.mark.parametrize("change", [("server", 3, S3), ("server", 3, None), ("device", 5, D5), ("device", 5, None)])
def test_whatever_is_changed_in_an_amendment_it_is_refused(change: Any):
    world = World()
    body: Any = world.amend(*change, validator=None).body
    other_change = [
        replace(body.change, kind="device" if body.change.kind == "server" else "server"),
        replace(body.change, index=body.change.index + 1),
        replace(body.change, index=0),
        replace(body.change, public_key=NEXT_KEYS["device", 0, 2].public_key),
        replace(body.change, public_key=None if body.change.public_key else S3.public_key),
    ]
    for forged in other_change:
        refusal(world, sign(replace(body, change=forged), SERVER_KEYS[0]), AmendError)
    # Whoever carries it is free to: its own signature binds the rest.
    refusal(world, Signed(replace(body, server=1), world.amend(*change).signature), BadSignatureError)
    world.application.check_tx(sign(replace(body, server=1), SERVER_KEYS[1]))


# What follows for a server


def test_a_removed_server_has_no_duties_no_say_and_no_battery_for_ever():
    world = amended(("server", 1, None), rounds=1)
    assert world.state.members.committee.members == (0, 2, 3)
    for _ in range(3):
        assert world.state.servers[1].battery_mj == 0
        world.block(*(world.update(k) for k in range(DEVICES)))
        refusal(world, world.attest(1), RemovedError)
        assert world.state.phase is Phase.ATTEST
        # Nobody waits for it.
        world.block(*(world.attest(k) for k in (0, 2, 3)))
        assert world.state.ballot is not None
        assert sorted(world.state.ballot.ranking) == [0, 2, 3]
        refusal(world, world.publish(1), RemovedError)
        world.block(world.publish())
        assert world.state.outcome is not None
        assert not world.state.outcome.is_skipped
    for signed in (world.deploy(b"product", (0, 2, 3), server=1), world.update(0, server=1)):
        refusal(world, sign(signed.body, SERVER_KEYS[1]), RemovedError)
    replayed(world)


@pytest.mark.parametrize("pol", ["capacity_over_battery", "capacity_times_battery", "loss_reduction", "round_robin"])
@pytest.mark.parametrize("verification", ["all_servers", "main_node"])
def test_rounds_go_on_in_every_reading_when_servers_are_removed(pol: str, verification: str):
    world = World.of(pol=pol, verification=verification)
    for index in (0, 2):
        left = world.state.members.committee
        carrier = left.members[1]
        world.block(world.amend("server", index, None, approvers=left.members[-left.quorum :], server=carrier))
        skip_round(world)
    for _ in range(3):
        world.block(*(world.update(k) for k in range(DEVICES)))
        assert set(world.state.attesters) <= {1, 3}
        world.block(*(world.attest(k) for k in world.state.attesters))
        assert world.state.ballot is not None
        assert set(world.state.ballot.ranking) <= {1, 3}
        world.block(world.publish())
        assert world.state.outcome is not None
        assert world.state.outcome.main_node in (1, 3)
    replayed(world)


def test_a_delegation_to_a_removed_server_stands_but_nobody_can_use_it():
    world = World()
    world.block(world.delegate(3, 1, rounds=5), world.amend("server", 1, None))
    skip_round(world)
    refusal(world, world.update(3, server=1), RemovedError)
    world.block(world.delegate(3, 2), world.update(3, server=2))
    assert world.state.updates[3].server == 2
    replayed(world)


# What follows for a device


def test_collect_closes_without_a_removed_device_and_its_delegation_is_gone():
    world = World()
    world.block(world.delegate(5, 1, rounds=9), world.amend("device", 5, None))
    # It was there when the round began, so this round still waits for it.
    world.block(*(world.update(k) for k in range(DEVICES) if k != 5))
    assert world.state.phase is Phase.COLLECT
    skip_round(world)
    assert world.state.delegations == {}
    refusal(world, world.update(5), RemovedError)
    refusal(world, world.delegate(5, 1), RemovedError)
    refusal(world, world.update(5, server=1), RemovedError)
    world.block(*(world.update(k) for k in range(DEVICES) if k != 5))
    assert world.state.phase is Phase.ATTEST
    replayed(world)


def test_a_replaced_device_key_takes_its_delegation_along():
    world = World()
    world.block(world.delegate(5, 1, rounds=9), world.delegate(6, 1, rounds=9), world.amend("device", 5, D5))
    skip_round(world)
    assert set(world.state.delegations) == {6}
    refusal(world, world.update(5, server=1), DelegationError)
    update = world.update(5)
    refusal(world, sign(update.body, DEVICE_KEYS[5]), BadSignatureError)
    world.block(update, world.update(6, server=1))
    assert set(world.state.updates) == {5, 6}
    replayed(world)


# Evidence


def accusation(world: World, *signed: Signed) -> Signed:
    answers: list[Any] = sorted(signed, key=lambda one: encode(one.body))
    shown = [Statement(one.body, one.signature) for one in answers]
    return sign(Evidence(world.genesis.chain_id, 0, shown[0], shown[1]), SERVER_KEYS[0])


def test_what_a_replaced_key_has_signed_convicts_nobody():
    world = World()
    lies = world.update(5), world.update(5, samples=1)
    world.application.check_tx(accusation(world, *lies))
    world.block(world.amend("device", 5, D5))
    # Until the round is over, it is the key in force.
    world.application.check_tx(accusation(world, *lies))
    skip_round(world)
    assert "not signed by its author" in refusal(world, accusation(world, *lies), EvidenceError)
    under_new_key = world.update(5), world.update(5, samples=1)
    world.block(accusation(world, *under_new_key))
    assert world.state.is_convicted(("device", 5))
    replayed(world)


def test_nobody_can_be_convicted_who_was_removed():
    world = World()
    lies = world.attest(1, {}), world.attest(1, {0: 1})
    world.block(world.amend("server", 1, None))
    skip_round(world)
    refusal(world, accusation(world, *lies), RemovedError)


def test_a_new_key_does_not_lift_a_conviction():
    world = World()
    world.block(accusation(world, world.update(5), world.update(5, samples=1)), world.amend("device", 5, D5))
    skip_round(world)
    assert world.state.is_convicted(("device", 5))
    with pytest.raises(TransactionError, match="convicted"):
        world.application.check_tx(world.update(5))


# Any change


def test_every_change_of_the_members_is_another_leaf():
    world, roots = World(), set[bytes]()
    for kind, index, key in (("server", 3, S3), ("device", 5, D5), ("server", 2, None), ("device", 4, None)):
        for step in count():
            world.block(
                *([] if step else [world.amend(kind, index, key, approvers=world.state.members.committee.members)])
            )
            if world.state.next_members is None:
                break
        tree = state_tree(world.state)
        roots.add(tree.values[tree.keys.index("committee")] + tree.values[tree.keys.index("devices")])
    assert len(roots) == 4
    assert world.state.members == Members(
        Committee((*(key.public_key for key in SERVER_KEYS[:2]), None, S3.public_key)),
        tuple({4: None, 5: D5.public_key}.get(k, key.public_key) for k, key in enumerate(DEVICE_KEYS)),
        (),
    )
    replayed(world)


def test_an_amend_says_what_it_changes():
    body = World().amend("server", 3, None).body
    assert isinstance(body, Amend)
    assert body.change == Change("server", 3, None, None)
