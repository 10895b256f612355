"""A change of the members, from the first approval to the transaction that the chain takes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bees.ledger.committee import Committee
from bees.ledger.membership import Change, ValidatorChange
from bees.ledger.refusals import AmendError
from bees.ledger.transactions import Amend, Approval
from bees.protocol.amendment import approve, assemble, consent, is_consent, valid_approvals
from ledger.world import DEVICE_KEYS, NEXT_KEYS, SERVER_KEYS, World

NEXT = NEXT_KEYS["server", 3, 0]
REPLACE = Change("server", 3, NEXT.public_key, ValidatorChange(bytes(32), bytes(31) + b"\1"))
REMOVE = Change("device", 5, None, None)
CHANGES = st.sampled_from([REPLACE, REMOVE])


@settings(deadline=None, max_examples=40)
@given(CHANGES, st.sets(st.integers(0, 3)), st.integers(0, 3))
def test_the_chain_takes_an_amend_when_more_than_two_thirds_approve(change: Change, approvers: set[int], carrier: int):
    world = World()
    chain_id, committee = world.genesis.chain_id, world.genesis.committee
    approvals = [approve(chain_id, committee, 0, change, SERVER_KEYS[k]) for k in sorted(approvers, reverse=True)]
    signature = consent(chain_id, 0, change, NEXT) if change is REPLACE else None
    asked = (chain_id, committee, 0, change, signature, approvals)
    if len(approvers) < 3:
        with pytest.raises(AmendError, match="missing: servers") as refusal:
            assemble(*asked, SERVER_KEYS[carrier])
        missing = str(refusal.value).rpartition("servers ")[2].split(", ")
        assert {int(server) for server in missing} == set(range(4)) - approvers
        return
    world.block(assemble(*asked, SERVER_KEYS[carrier]))
    members = world.state.next_members
    assert members is not None
    assert members.keys_of(change.kind)[change.index] == change.public_key
    assert world.state.amendments == 1


def test_the_servers_in_force_approve_and_not_those_of_the_genesis():
    world = World()
    world.block(world.amend("server", 0, None), world.amend("server", 3, NEXT, nonce=1))
    while world.state.round == 1:
        world.block()
    chain_id, committee = world.genesis.chain_id, world.state.members.committee
    for gone in (SERVER_KEYS[0], SERVER_KEYS[3], DEVICE_KEYS[0]):
        with pytest.raises(AmendError, match="no server's, or not any more"):
            approve(chain_id, committee, 2, REMOVE, gone)
    signers = (SERVER_KEYS[1], SERVER_KEYS[2], NEXT)
    approvals = [approve(chain_id, committee, 2, REMOVE, key) for key in signers]
    with pytest.raises(AmendError, match="no server's, or not any more"):
        assemble(chain_id, committee, 2, REMOVE, None, approvals, SERVER_KEYS[0])
    with pytest.raises(AmendError, match="2 valid approvals, 3 are needed; missing: servers 1"):
        assemble(chain_id, committee, 2, REMOVE, None, approvals[1:], NEXT)
    world.block(assemble(chain_id, committee, 2, REMOVE, None, approvals, NEXT))
    assert world.state.amendments == 3


def test_an_approval_of_something_else_counts_for_nothing():
    committee = Committee(tuple(key.public_key for key in SERVER_KEYS))
    chain = bytes(32)
    right = approve(chain, committee, 0, REPLACE, SERVER_KEYS[1])
    others = [
        approve(chain, committee, 1, REPLACE, SERVER_KEYS[2]),
        approve(chain, committee, 0, REMOVE, SERVER_KEYS[2]),
        approve(bytes(31) + b"\1", committee, 0, REPLACE, SERVER_KEYS[2]),
        approve(chain, committee, 0, Change("server", 3, NEXT.public_key, None), SERVER_KEYS[2]),
        Approval(2, right.signature),
        Approval(4, right.signature),
        Approval(2, b""),
    ]
    assert valid_approvals(chain, committee, 0, REPLACE, [*others, right, *others, right]) == (right,)


def test_the_new_key_consents_and_nobody_for_it():
    committee = Committee(tuple(key.public_key for key in SERVER_KEYS))
    chain = bytes(32)
    approvals = [approve(chain, committee, 0, REPLACE, key) for key in SERVER_KEYS]
    given_ = consent(chain, 0, REPLACE, NEXT)
    assert is_consent(chain, 0, REPLACE, given_)
    for wrong in (None, b"", SERVER_KEYS[3].sign(b""), consent(chain, 1, REPLACE, NEXT)):
        with pytest.raises(AmendError, match="has not consented: bees amend consent"):
            assemble(chain, committee, 0, REPLACE, wrong, approvals, SERVER_KEYS[0])
    with pytest.raises(AmendError, match="its new key is"):
        consent(chain, 0, REPLACE, SERVER_KEYS[3])
    with pytest.raises(AmendError, match="a removal needs no consent"):
        consent(chain, 0, REMOVE, NEXT)
    assert not is_consent(chain, 0, REMOVE, given_)


def test_a_removal_goes_without_a_consent_that_stands_beside_it():
    committee = Committee(tuple(key.public_key for key in SERVER_KEYS))
    approvals = [approve(bytes(32), committee, 0, REMOVE, key) for key in SERVER_KEYS]
    body = assemble(bytes(32), committee, 0, REMOVE, bytes(64), approvals, SERVER_KEYS[0]).body
    assert isinstance(body, Amend)
    assert body.consent is None
