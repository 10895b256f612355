from __future__ import annotations

import random
from itertools import combinations
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from records import values_of
from world import DEVICE_KEYS, DEVICES, SERVER_KEYS, SERVERS, World

from bees.core.errors import LedgerError
from bees.core.keys import is_signed_by
from bees.ledger.block import vote_bytes
from bees.ledger.genesis import _signing_bytes as genesis_bytes
from bees.ledger.refusals import UnknownParticipantError
from bees.ledger.transactions import (
    Delegate,
    Deploy,
    Publish,
    Transaction,
    approval_bytes,
    author_key,
    canonical_order,
    sign,
    signing_bytes,
)

WORLD = World()
BODIES: dict[str, Transaction] = {
    "delegate": WORLD.delegate(3, 1).body,
    "update": WORLD.update(3).body,
    "delegated update": WORLD.update(3, server=1).body,
    "attest": WORLD.attest(2, {}).body,
    "publish": Publish(WORLD.genesis.chain_id, 1, bytes(32), 2, (1,), bytes(32)),
    "deploy": WORLD.deploy(b"product").body,
}
AUTHORS = {
    "delegate": DEVICE_KEYS[3],
    "update": DEVICE_KEYS[3],
    "delegated update": SERVER_KEYS[1],
    "attest": SERVER_KEYS[2],
    "publish": SERVER_KEYS[2],
    "deploy": SERVER_KEYS[0],
}


@pytest.mark.parametrize("name", BODIES)
def test_a_transaction_is_signed_by_whom_it_binds(name: str):
    body = BODIES[name]
    assert author_key(WORLD.state.members, body) == AUTHORS[name].public_key
    signed = sign(body, AUTHORS[name])
    assert is_signed_by(AUTHORS[name].public_key, signing_bytes(body), signed.signature)


@pytest.mark.parametrize("name", BODIES)
def test_every_field_is_signed(name: str):
    body = BODIES[name]
    others = {
        signing_bytes(msgspec.structs.replace(body, **{f.name: _other(getattr(body, f.name))}))
        for f in msgspec.structs.fields(body)
    }
    assert len(others) == len(msgspec.structs.fields(body))
    assert signing_bytes(body) not in others


def _other(value: Any) -> object:
    if isinstance(value, bytes):
        return bytes(len(value) - 1) + b"\xfe"
    if isinstance(value, tuple):
        return (*value, 1)
    return 77 if value is None else value + 1


def test_what_is_signed_for_one_purpose_is_never_a_message_of_another():
    chain, name = WORLD.genesis.chain_id, bytes(32)
    messages = [signing_bytes(body) for body in BODIES.values()]
    messages += [approval_bytes(chain, 0, name), genesis_bytes(WORLD.genesis)]
    messages += [vote_bytes(chain, 1, 0, kind, block) for kind in ("prevote", "precommit") for block in (name, None)]
    assert len(set(messages)) == len(messages)
    purposes = [m.split(b"\0")[0] for m in messages]
    assert len(set(purposes)) == 4
    assert not any(a.startswith(b) or b.startswith(a) for a, b in combinations(messages, 2))


@settings(deadline=None, max_examples=100)
@given(values_of(Transaction))
def test_the_author_of_any_transaction_is_known_or_the_transaction_refused(body: Transaction):
    named = [(getattr(body, kind, None), total) for kind, total in (("server", SERVERS), ("device", DEVICES))]
    # A Delegate's server is no author: the transition looks it up.
    named = named[1:] if isinstance(body, Delegate) else named
    if all(index is None or index < total for index, total in named):
        assert author_key(WORLD.state.members, body) in {k.public_key for k in (*SERVER_KEYS, *DEVICE_KEYS)}
    else:
        with pytest.raises(UnknownParticipantError):
            author_key(WORLD.state.members, body)


def test_a_hash_names_transaction_and_signature():
    signed = WORLD.update(3)
    hashes = [signed.hash, WORLD.update(4).hash, WORLD.update(3, samples=1).hash]
    hashes.append(msgspec.structs.replace(signed, signature=bytes(64)).hash)
    assert len(set(hashes)) == 4


def test_rights_go_before_duties_and_then_authors_ascend():
    world = World()
    world.to_attest()
    ordered = [world.deploy(b"product"), world.delegate(0, 3), world.delegate(5, 0)]
    ordered += [world.update(1), world.update(2, server=0), world.attest(0), world.attest(3)]
    shuffled = ordered[:]
    random.Random(3).shuffle(shuffled)
    assert sorted(shuffled, key=canonical_order) == ordered
    assert canonical_order(ordered[0])[0] < canonical_order(ordered[1])[0]
    assert isinstance(ordered[0].body, Deploy)


def test_refusals_are_errors_of_the_ledger():
    with pytest.raises(LedgerError):
        author_key(WORLD.state.members, WORLD.attest(0, {}, server=99).body)
