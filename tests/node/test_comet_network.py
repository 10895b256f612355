"""Real CometBFTs, each with a ledger of the tiny world: same blocks, same app hashes, whatever is killed."""

from __future__ import annotations

import json
from contextlib import closing
from typing import TYPE_CHECKING
from urllib.request import urlopen

from bees.core.canonical import decode
from bees.engines.audit import iter_chain, verify_chain
from bees.engines.blobs import MemoryBlobStore
from bees.engines.chain_file import ChainReader
from bees.engines.embedded import EmbeddedEngine
from bees.engines.prove import prove_from_file
from bees.engines.restore import restore
from bees.ledger.aggregation import ContractExecutor
from bees.ledger.block import Block

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tiny_net import TinyNet

    from bees.faults.world import FaultWorld


def app_hashes(path: Path) -> list[bytes]:
    with ChainReader(path) as reader:
        return [decode(row.block, Block).header.app_hash for row in reader.blocks()]


def comets_app_hash(port: int, height: int) -> str:
    """Of the state after a block, which stands in the next one's header."""
    with urlopen(f"http://127.0.0.1:{port}/block?height={height + 1}", timeout=5) as answer:
        return json.load(answer)["result"]["block"]["header"]["app_hash"].lower()


def replayed_on_the_embedded_engine(world: FaultWorld, path: Path) -> list[bytes]:
    blobs = MemoryBlobStore()

    def runner():
        return ContractExecutor(world.machine, blobs.get, world.initial_model)

    with closing(EmbeddedEngine(world.signed, world.server_keys, runner, share_checks=False)) as engine:
        hashes: list[bytes] = []
        for committed in restore(path, engine, blobs):
            assert len({replica.application.app_hash for replica in engine.replicas}) == 1
            assert engine.replicas[0].application.app_hash == committed.block.header.app_hash
            hashes.append(engine.replicas[0].application.app_hash)
        return hashes


def test_one_server_makes_blocks_and_replays_them_when_its_chain_file_is_lost(make_net: Callable[..., TinyNet]):
    net = make_net(1)
    net.start_all()
    net.wait_height(8, 0)
    told = [comets_app_hash(net.rpc[0], height) for height in range(1, 7)]
    net.kill(0)
    before = app_hashes(net.home(0) / "chain.db")
    assert [h.hex() for h in before[:6]] == told
    for name in ("chain.db", "chain.db-wal", "chain.db-shm", "certificates.db"):
        (net.home(0) / name).unlink(missing_ok=True)
    net.start(0)
    net.wait_height(len(before) + 3, 0)
    net.close()
    assert app_hashes(net.home(0) / "chain.db")[: len(before)] == before
    verdict = verify_chain(net.home(0) / "chain.db")
    assert verdict.valid, verdict.reason
    assert verdict.round >= 1


def test_four_servers_go_on_when_one_is_killed_and_the_embedded_engine_finds_the_same(make_net: Callable[..., TinyNet]):
    net = make_net(4)
    net.start_all()
    net.wait_height(8)

    net.kill(3)
    net.wait_height(net.height(0) + 5, 0, 1, 2)
    net.start(3)
    height = net.height(0)
    net.wait_height(height + 3)
    told = comets_app_hash(net.rpc[2], height + 1)
    net.close()

    chains = [app_hashes(net.home(k) / "chain.db") for k in range(4)]
    shortest = min(map(len, chains))
    assert all(chain[:shortest] == chains[0][:shortest] for chain in chains)
    assert chains[0][height].hex() == told
    for k in range(4):
        verdict = verify_chain(net.home(k) / "chain.db")
        assert verdict.valid, verdict.reason
        assert verdict.round >= 3
    longest = net.home(max(range(4), key=lambda k: len(chains[k]))) / "chain.db"
    assert replayed_on_the_embedded_engine(net.world, longest) == max(chains, key=len)
    assert prove_from_file(longest).proof.outcome.round == verify_chain(longest).round
    assert sum(len(entry.block.batch.transactions) for entry in iter_chain(longest)) > 0
