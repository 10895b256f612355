from __future__ import annotations

from typing import TYPE_CHECKING

from bees.engines.blobs import MemoryBlobStore, ReadUpdates
from bees.ledger.commitments import commit_to_update
from bees.ledger.transactions import Update

if TYPE_CHECKING:
    from small_world import World


def test_a_blob_is_found_by_its_commitment_alone() -> None:
    store = MemoryBlobStore()
    commitment = store.put(3, 1, b"words")
    assert commitment == commit_to_update(3, 1, b"words")
    assert store.get(commitment) == b"words"
    assert store.get(bytes(32)) is None


def test_pruning_keeps_what_contracts_read_and_what_is_still_to_come() -> None:
    store = MemoryBlobStore()
    read, unread, later = store.put(0, 1, b"a"), store.put(1, 1, b"b"), store.put(0, 2, b"c")
    assert store.prune(last_round=1, keep={read}) == 1
    assert (store.get(read), store.get(unread), store.get(later)) == (b"a", None, b"c")
    assert len(store) == 2


def test_what_a_contract_read_is_what_publish_selects(world: World) -> None:
    engine = world.engine()
    blocks = world.play_round(engine)
    assert [len(made.read) for made in blocks] == [0, 0, world.top_m]
    outcome = blocks[-1].state.outcome
    assert outcome is not None
    bodies = [signed.body for signed in blocks[0].block.batch.transactions]
    updates = {body.device: body.commitment for body in bodies if isinstance(body, Update)}
    assert blocks[-1].read == tuple(updates[device] for device in outcome.selected)


def test_a_publish_without_updates_reads_nothing(world: World) -> None:
    engine = world.engine()
    blocks = world.play_round(engine)
    assert ReadUpdates().follow(blocks[-1].block.batch) == ()
