"""A mempool holds what honest authors can need, and no flood of valid transactions more than that."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace
from small_world import World

from bees.core.hashes import digest
from bees.engines.mempool import ANSWERS_KEPT, BYTES_OF_A_KIND, Mempool, MempoolFullError
from bees.ledger.transactions import Attest, Evidence, Statement, Update, sign

if TYPE_CHECKING:
    from bees.ledger.transactions import Signed


def an_update(world: World, device: int, variant: int, round_: int = 1) -> Signed:
    genesis = world.genesis
    commitment = digest("variant", bytes([variant]))
    body = Update(genesis.chain_id, round_, genesis.initial_model, device, None, commitment, 1)
    return sign(body, world.device_keys[device])


def an_attest(world: World, server: int, variant: int, devices: int = 0) -> Signed:
    named = tuple(range(devices))
    body = Attest(world.genesis.chain_id, 1, digest("model", bytes([variant])), server, named, named)
    return sign(body, world.server_keys[server])


def put(mempool: Mempool, signed: Signed) -> None:
    mempool.check_room(signed)
    mempool[signed.signature] = signed


def fill(mempool: Mempool, flood: list[Signed]) -> int:
    refused = 0
    for signed in flood:
        try:
            put(mempool, signed)
        except MempoolFullError:
            refused += 1
    return refused


def test_a_device_that_signs_without_end_fills_only_its_own_room() -> None:
    world = World()
    (replica, *_) = world.engine().replicas
    for variant in range(50):
        if variant < ANSWERS_KEPT:
            replica.submit(an_update(world, 0, variant))
        else:
            with pytest.raises(MempoolFullError, match="2 for one duty of Update"):
                replica.submit(an_update(world, 0, variant))
    replica.submit(an_update(world, 1, 0))
    assert len(replica.mempool) == ANSWERS_KEPT + 1


def test_reports_have_room_for_every_accused_and_no_more() -> None:
    world = World()
    mempool = Mempool(0)

    def report(accused: int, variant: int) -> Signed:
        told = [an_update(world, accused, v) for v in (variant, variant + 1)]
        first, second = (Statement(s.body, s.signature) for s in told if isinstance(s.body, Update))
        return sign(Evidence(world.genesis.chain_id, 1, first, second), world.server_keys[1])

    refused = fill(mempool, [report(accused, variant) for variant in range(10) for accused in range(world.devices)])
    assert len(mempool) == ANSWERS_KEPT * world.devices
    assert refused == (10 - ANSWERS_KEPT) * world.devices


def test_bytes_are_bounded_too() -> None:
    mempool = Mempool(0)
    world = World()
    huge = an_attest(world, 1, 0, BYTES_OF_A_KIND // 2)
    with pytest.raises(MempoolFullError, match="bytes of Attest"):
        put(mempool, huge)
    put(mempool, an_attest(world, 1, 0))


def test_own_transactions_are_always_kept() -> None:
    world = World()
    mempool = Mempool(2)
    own = [an_attest(world, 2, variant) for variant in range(20)]
    assert fill(mempool, own) == 0
    assert fill(mempool, [an_attest(world, 3, variant) for variant in range(20)]) == 20 - ANSWERS_KEPT
    assert all(mempool.holds(signed) for signed in own)


def test_what_leaves_makes_room_again() -> None:
    world = World()
    mempool = Mempool(0)
    first, second, third = (an_update(world, 0, variant) for variant in range(3))
    put(mempool, first)
    put(mempool, second)
    del mempool[first.signature]
    put(mempool, third)
    mempool.keep(lambda signed: signed == third)
    assert list(mempool.values()) == [third]
    put(mempool, second)
    assert fill(mempool, [first]) == 1


def test_a_copied_signature_is_not_what_waits_under_it() -> None:
    world = World()
    mempool = Mempool(0)
    true = an_update(world, 0, 0)
    put(mempool, true)
    forged = replace(true, body=an_update(world, 0, 1).body)
    assert not mempool.holds(forged)
    assert mempool.holds(true)


def test_what_is_of_another_round_is_dropped_with_the_next_block() -> None:
    world = World()
    engine = world.engine()
    (replica, *_) = engine.replicas
    stale = an_update(world, 0, 0, round_=2)
    replica.mempool[stale.signature] = stale
    engine.submit(an_update(world, 1, 0))
    engine.next_block()
    assert not replica.mempool.holds(stale)
