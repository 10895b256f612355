from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from small_world import World

from bees.core.canonical import encode
from bees.core.update_codec import UPDATE_ENCODINGS
from bees.edge.backhaul import agree
from bees.engines.audit import iter_chain
from bees.engines.network_usage import SPREADS, RoundTraffic, count_usage, measure_traffic
from bees.engines.prove import prove_from_file
from bees.ledger.transactions import Update
from bees.scenario import Backhaul

if TYPE_CHECKING:
    from pathlib import Path

TRAFFIC = RoundTraffic(
    servers=4,
    devices=10,
    parameters=1000,
    rounds=1,
    heights=3.0,
    updates=10.0,
    device_updates=8.0,
    device_transactions_bytes=1800.0,
    server_transactions_bytes=900.0,
    proposals_bytes=3000.0,
    votes_bytes=1200.0,
    proof_bytes=500,
)


def test_what_the_ledger_sends_is_what_stands_in_its_chain(tmp_path: Path):
    world = World(devices=5)
    chain = world.write_chain(tmp_path / "chain.db", rounds=2).path
    traffic, entries = measure_traffic(chain, world.machine), list(iter_chain(chain))
    transactions = [signed for entry in entries for signed in entry.block.batch.transactions]
    of_devices = [signed for signed in transactions if isinstance(signed.body, Update)]
    assert (traffic.servers, traffic.devices, traffic.rounds) == (4, 5, 2)
    assert traffic.heights == len(entries) / 2
    assert traffic.updates == traffic.device_updates == len(of_devices) / 2
    assert traffic.device_transactions_bytes == sum(len(encode(signed)) for signed in of_devices) / 2
    both = traffic.device_transactions_bytes + traffic.server_transactions_bytes
    assert both == sum(len(encode(signed)) for signed in transactions) / 2
    assert traffic.proof_bytes == len(encode(prove_from_file(chain, machine=world.machine).proof))
    # A proposal is its block, a signature of 64 bytes, and some numbers.
    blocks = sum(len(encode(entry.block)) for entry in entries) / 2
    assert 64 < (traffic.proposals_bytes - blocks) / traffic.heights < 100
    # A vote is a signature, the hash of a block, and some numbers and words.
    assert 64 + 32 < traffic.votes_bytes / traffic.heights / (2 * 4) < 150


@pytest.mark.parametrize(("encoding", "size"), [("words", 4000), ("delta16", 2001), ("delta8", 1001)])
def test_pulled_updates_go_up_once_and_to_each_other_server_once(encoding: str, size: int):
    usage = count_usage(TRAFFIC, encoding, "pull")  # pyright: ignore[reportArgumentType]  # a parameter is text
    assert usage.device_to_server == 1800 + 8 * size
    assert usage.server_to_device == 10 * (4000 + 500)
    assert usage.updates == 10 * 3 * (size + 34)
    assert (usage.transactions, usage.proposals, usage.votes) == (3 * 2700, 3 * 3000, 3 * 1200)
    assert usage.total == usage.device_to_server + usage.server_to_device + usage.between_servers


def test_inline_updates_stand_in_the_transaction_and_in_the_proposal():
    usage = count_usage(TRAFFIC, "words", "inline")
    more = 4000 + 3 - 34  # MessagePack writes the length of long bytes in three bytes; no commitment is needed
    assert usage.updates == 0
    assert usage.device_to_server == 1800 + 8 * more
    assert usage.transactions == 3 * (2700 + 10 * more)
    assert usage.proposals == 3 * (3000 + 10 * more)


@pytest.mark.parametrize("encoding", UPDATE_ENCODINGS)
def test_to_pull_is_always_less_than_to_put_the_bytes_inside(encoding: str):
    pull, inline = (count_usage(TRAFFIC, encoding, spread) for spread in SPREADS)  # pyright: ignore[reportArgumentType]
    assert pull.total < inline.total
    assert pull.votes == inline.votes


def test_physics_counts_the_same_bytes_between_servers_if_it_is_told_the_same_sizes():
    usage = count_usage(TRAFFIC, "words", "pull")
    link = Backhaul(model="full_mesh", heights=3, transaction_bytes=3000 / 25, vote_bytes=1200 / (2 * 4 * 3))
    agreed = agree(link, servers=4, transactions=25, update_bytes=10 * 4000, most_update_bytes=4000)
    # Physics knows neither requests for bytes nor transactions before they are proposed.
    assert agreed.sent_bytes == pytest.approx(usage.between_servers - usage.transactions - 10 * 3 * 34)
