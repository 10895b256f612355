"""What takes long is done beside the loop: others are answered meanwhile, failures are heard, and stopping waits."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from abci_rig import AbciClient, RigPeers, make_node, running, simulate, transactions_of, world_of
from service_rig import DEVICES, network
from waiting import until

from bees.core.errors import StorageError
from bees.engines.audit import verify_chain
from bees.engines.blobs import MemoryBlobStore
from bees.faults.world import samples_of, train
from bees.ledger.state import Phase
from bees.ledger.transactions import Publish
from bees.protocol.device import OpenRound, commit_update
from bees.protocol.signer import MemoryJournal, Signer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bees.ledger.block import Block
    from bees.node.ledger_node import LedgerNode


@dataclass
class Gate:
    """Holds up whoever comes, in a thread, until a test opens it."""

    opened: threading.Event = field(default_factory=threading.Event)
    reached: threading.Event = field(default_factory=threading.Event)

    def pass_through(self) -> None:
        assert threading.current_thread() is not threading.main_thread()
        self.reached.set()
        assert self.opened.wait(10)


@pytest.fixture
def gate() -> Iterator[Gate]:
    made = Gate()
    yield made
    made.opened.set()


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> list[Block]:
    """The blocks of two rounds with one server, whose signature is a certificate."""
    return simulate(world_of(1), tmp_path_factory.mktemp("alone") / "chain.db", 2)


def closing(blocks: list[Block]) -> int:
    """Index of the first block with a Publish."""
    return next(k for k, b in enumerate(blocks) if any(isinstance(s.body, Publish) for s in b.batch.transactions))


def slow_contract(node: Any, gate: Gate) -> None:
    """Have the contract of a node or a rig's ledger wait for the gate."""
    executor, run = node.executor._executor, node.executor._executor.run

    def wait_and_run(state: Any) -> Any:
        gate.pass_through()
        return run(state)

    executor.run = wait_and_run


def test_comet_is_answered_while_the_contract_runs(tmp_path: Path, alone: list[Block], gate: Gate):
    node, last = make_node(tmp_path, servers=1), closing(alone)
    slow_contract(node, gate)

    async def main() -> None:
        async with running(node) as consensus:
            for block in alone[:last]:
                await consensus.block(block.header.height, transactions_of(block))
            transactions = transactions_of(alone[last])
            decided = asyncio.create_task(consensus.block(last + 1, transactions))
            await until(gate.reached.is_set)
            mempool, query = [await AbciClient.connect(node.abci_address) for _ in range(2)]
            checked = asyncio.create_task(mempool.ask(check_tx={"tx": transactions[0]}))
            info = await query.ask(info={})
            assert info.last_block_height == last
            assert not decided.done()
            assert not checked.done()  # it is not let in unchecked
            gate.opened.set()
            assert await decided == alone[last].header.app_hash
            assert (await checked).code in {0, 1}  # before the block it was right, after it it is late

    asyncio.run(main())


def test_devices_are_answered_while_the_contract_runs(tmp_path: Path, gate: Gate):
    async def play() -> None:
        async with network(tmp_path) as net, aiohttp.ClientSession() as session:
            for node in net.nodes:
                node.ledger.executor.start()
            slow_contract(net.nodes[0].ledger, gate)
            for device in range(DEVICES):
                data = train(device, 1)
                signer = Signer(net.world.device_keys[device], MemoryJournal())
                signed = commit_update(signer, OpenRound.of(net.state), device, samples_of(device), data)
                for node in net.nodes:
                    node.store.put(device, 1, data)
                await net.nodes[0].ledger.submit(signed)
            await net.until(lambda state: state.phase is Phase.PUBLISH)
            await until(gate.reached.is_set)
            for path in ("/healthz", "/v1/round", "/metrics"):
                async with asyncio.timeout(2), session.get(net.urls[0] + path) as answer:
                    assert answer.status == 200
            gate.opened.set()
            await net.until(lambda state: state.round == 2)
            for node in net.nodes:
                await node.ledger.executor.stop()

    asyncio.run(play())


def test_a_chain_file_that_cannot_be_written_stops_the_node(tmp_path: Path, alone: list[Block]):
    node = make_node(tmp_path, servers=1)

    async def main() -> None:
        async with running(node) as client:
            await client.block(1, transactions_of(alone[0]))
            await until(lambda: node.certified_height == 1)
            node._keeper._writer._connection.execute("PRAGMA query_only = ON")
            await client.block(2, transactions_of(alone[1]))
            await asyncio.wait_for(node.wait(), 5)

    with pytest.raises(StorageError, match="readonly database; choose a place that can be written"):
        asyncio.run(main())
    verdict = verify_chain(tmp_path / "chain.db")
    assert (verdict.valid, verdict.blocks) == (True, 1)


class Waiting(MemoryBlobStore):
    """Blobs whose reading waits for a gate."""

    def __init__(self, gate: Gate) -> None:
        super().__init__()
        self.gate, self.is_slow = gate, False

    def get(self, commitment: bytes) -> bytes | None:
        if self.is_slow:
            self.gate.pass_through()
        return super().get(commitment)


def test_a_block_that_is_being_appended_when_the_node_stops_is_whole(tmp_path: Path, alone: list[Block], gate: Gate):
    node, last, blobs = make_node(tmp_path, servers=1), closing(alone), Waiting(gate)
    node.blobs = node._judge._blobs = blobs

    async def feed(client: AbciClient, blocks: list[Block]) -> None:
        for block in blocks:
            await client.block(block.header.height, transactions_of(block))

    async def first_life() -> None:
        async with running(node) as client:
            await feed(client, alone[:last])
            await until(lambda: node.certified_height == last)
            slow_from_now_on(node, blobs)
            await feed(client, alone[last : last + 1])
            await until(gate.reached.is_set)
            assert node.certified_height == last
            assert (await client.ask(info={})).last_block_height == last + 1
            asyncio.get_running_loop().call_later(0.05, gate.opened.set)

    asyncio.run(first_life())
    verdict = verify_chain(tmp_path / "chain.db")
    assert (verdict.valid, verdict.blocks) == (True, last + 1)
    again = make_node(tmp_path, servers=1)

    async def second_life() -> None:
        async with running(again) as client:
            assert again.app_hash == alone[last].header.app_hash
            await feed(client, alone[last + 1 :])
            await until(lambda: again.certified_height == len(alone))

    asyncio.run(second_life())


def slow_from_now_on(node: LedgerNode, blobs: Waiting) -> None:
    """Reads wait as soon as the next block is decided, and its contract has run."""

    def turn_slow(_: object) -> None:
        blobs.is_slow = True

    node.on_block(turn_slow)


def test_a_block_waits_for_an_update_that_is_missing_when_it_is_appended(tmp_path: Path, alone: list[Block]):
    peers = RigPeers()
    node, last = make_node(tmp_path, servers=1, peers=peers), closing(alone)

    def lose(_: object) -> None:
        if node.height == last + 1:
            peers.withheld = True
            node.blobs._blobs.clear()

    async def main() -> None:
        async with running(node) as client:
            node.on_block(lose)
            for block in alone[: last + 1]:
                await client.block(block.header.height, transactions_of(block))
            asked = len(peers.asked)
            await until(lambda: len(peers.asked) > asked)
            assert node.certified_height == last
            peers.withheld = False
            await until(lambda: node.certified_height == last + 1)

    asyncio.run(main())
    assert verify_chain(tmp_path / "chain.db").blocks == last + 1
