"""Servers with all of the service half, on real HTTP; a test orders their blocks in CometBFT's place."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace
from offloaded_model import TINY

from bees.core.errors import MissingBlobError
from bees.faults.world import evaluate, shared_world
from bees.ledger.aggregation import ContractExecutor
from bees.ledger.application import Application
from bees.ledger.block import Block, Commit, CommitSignature, Header, block_id, vote_bytes
from bees.ledger.proofs import CommitteeProof, prove_model
from bees.node.blob_store import DiskBlobStore
from bees.node.config import DevicesSection, OffloadingSection, PeersSection
from bees.node.contract_thread import ContractThread
from bees.node.device_api import DeviceApi
from bees.node.duties import Duties, sources_of
from bees.node.duty_loop import DutyLoop
from bees.node.guarded_server import GuardedServer
from bees.node.http_peers import HttpPeers
from bees.node.metrics import Metrics
from bees.node.offload_api import OffloadApi
from bees.node.offload_store import OffloadStore
from bees.node.offloading import Offloading
from bees.node.peer_api import PeerApi
from bees.node.peers import WantedBlob
from bees.transport.journal import DiskJournal
from campaigns.random_network import free_ports

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from pathlib import Path

    from bees.ledger.state import State
    from bees.ledger.transactions import Signed
    from bees.node.certificates import HeaderSignature

SERVERS, DEVICES = 4, 4


class OrderedLedger:
    """The embedded application in the shape of a ``LedgerNode``."""

    def __init__(self, server: int, store: DiskBlobStore) -> None:
        self.world = shared_world(SERVERS, DEVICES)
        self.signed_genesis, self.server, self.key = self.world.signed, server, self.world.server_keys[server]
        self.blobs = store
        executor = ContractExecutor(self.world.machine, store.get, self.world.initial_model)
        self.executor = ContractThread(executor)  # not started, it computes at once
        self.application = Application(self.world.signed, self.executor)
        self.last_block: Block | None = None
        self.certified: Any = None
        self.certifies = True
        self.pool: list[Signed] = []
        self.heard: list[HeaderSignature] = []
        self._closing: Any = None
        self._callbacks: dict[str, list[Callable[[Any], None]]] = {"block": [], "certified": [], "transaction": []}

    @property
    def state(self) -> State:
        return self.application.state

    @property
    def height(self) -> int:
        return self.state.height

    @property
    def app_hash(self) -> bytes:
        return self.application.app_hash

    @property
    def global_model(self):
        return self.executor.models[self.state.model]

    def read_blob(self, commitment: bytes) -> bytes | None:
        return self.blobs.get(commitment)

    async def submit(self, signed: Signed) -> None:
        self.application.check_tx(signed)
        if signed not in self.pool:
            self.pool.append(signed)
        for callback in self._callbacks["transaction"]:
            callback(signed)

    def on_block(self, callback: Callable[[State], None]) -> None:
        self._callbacks["block"].append(callback)

    def on_certified(self, callback: Callable[[Any], None]) -> None:
        self._callbacks["certified"].append(callback)

    def on_transaction(self, callback: Callable[[Signed], None]) -> None:
        self._callbacks["transaction"].append(callback)

    def proof(self):
        return prove_model(*self._closing) if self._closing else None

    @property
    def committee_proofs(self) -> list[CommitteeProof]:
        return []

    def take_signature(self, signature: HeaderSignature) -> bool:
        self.heard.append(signature)
        return True

    def signatures(self, first_height: int, last_height: int) -> list[HeaderSignature]:
        return [s for s in self.heard if first_height <= s.height <= last_height]

    def commit(self, block: Block) -> None:
        before = self.state.round
        self.application.finalize_block(block.batch)
        self.application.commit()
        assert self.app_hash == block.header.app_hash
        self.last_block = block
        self.pool = [signed for signed in self.pool if signed not in block.batch.transactions]
        if self.state.round > before:
            name = block_id(block.header)
            message = vote_bytes(block.header.chain_id, block.header.height, 0, "precommit", name)
            votes = tuple(CommitSignature(k, key.sign(message)) for k, key in enumerate(self.world.server_keys))
            self._closing = self.state, block.header, Commit(block.header.height, 0, name, votes)
        if self.certifies:
            self.certified = SimpleNamespace(block=block, state=self.state)
        for callback in (*self._callbacks["block"], *self._callbacks["certified"]):
            callback(self.state)


class Net:
    """The servers, and who orders their blocks."""

    def __init__(self, nodes: list[Any]) -> None:
        self.nodes = nodes
        self.world = nodes[0].ledger.world
        self.urls = [node.url for node in nodes]
        self._previous = self.world.genesis.chain_id
        self.blocks: list[Block] = []

    @property
    def state(self) -> State:
        return self.nodes[0].ledger.state

    async def block(self) -> State:
        """The next block, at every server, of what they all have in their pools."""
        first = self.nodes[0].ledger
        pool = {signed.hash: signed for node in self.nodes for signed in node.ledger.pool}
        batch = first.application.prepare_proposal(pool.values())
        execution = first.application.execute(batch)
        height = first.height + 1
        header = Header(self.world.genesis.chain_id, height, self._previous, batch.root, execution.app_hash)
        block = Block(header, batch)
        for node in self.nodes:
            await self._commit(node, block)
        self._previous = block_id(header)
        self.blocks.append(block)
        return self.state

    async def until(self, wanted: Callable[[State], bool], blocks: int = 60, pause_s: float = 0.05) -> State:
        for _ in range(blocks):
            if wanted(self.state):
                return self.state
            await asyncio.sleep(pause_s)
            await self.block()
        raise AssertionError(f"not after {blocks} blocks: {self.state.round} {self.state.phase}")

    async def _commit(self, node: Any, block: Block) -> None:
        for _ in range(50):
            try:
                node.ledger.commit(block)
            except MissingBlobError as error:
                state = node.ledger.state
                device = next(d for d, u in state.updates.items() if u.commitment == error.commitment)
                sources = sources_of(state, device, node.ledger.server)
                await node.peers.fetch_blob(WantedBlob(error.commitment, device, state.round, sources))
            else:
                return
        raise AssertionError("the bytes of an update cannot be had")


@asynccontextmanager
async def network(folder: Path, trainer: Any = None, **limits: Any) -> AsyncGenerator[Net]:
    """All servers, listening; the duty loops run. With a trainer, devices may offload to them."""
    ports = free_ports(2 * SERVERS)
    urls = tuple(f"http://127.0.0.1:{port}" for port in ports[SERVERS:])
    nodes = [
        await _node(folder / f"node{k}", k, ports[k], ports[SERVERS + k], urls, limits, trainer) for k in range(SERVERS)
    ]
    try:
        yield Net(nodes)
    finally:
        for node in nodes:
            for task in node.tasks:
                task.cancel()
            await asyncio.gather(*node.tasks, return_exceptions=True)
            await node.loop.stop()
            await node.device_server.stop()
            await node.peer_server.stop()
            await node.peers.stop()
            node.journal.close()


async def _node(
    folder: Path, server: int, port: int, peer_port: int, urls: tuple[str, ...], limits: Any, trainer: Any
) -> Any:
    store = DiskBlobStore(folder / "updates", 10**7)
    metrics = Metrics()
    ledger = OrderedLedger(server, store)
    section = replace(DevicesSection(f"127.0.0.1:{port}", burst=10**5, requests_per_second=10**5), **limits)
    peer_section = PeersSection(f"127.0.0.1:{peer_port}", urls=urls, timeout_s=2)
    peers = HttpPeers(ledger.world.genesis, server, ledger.key, peer_section, store, metrics)
    journal = DiskJournal(folder / "journal.db")
    duties = Duties(server, ledger.key, journal, store, ledger.executor)
    offloading, offload = None, None
    if trainer is not None:
        terms = OffloadingSection(accept=True, data_limit_mb=1, epochs_limit=3, trainings_waiting=2)
        offers = OffloadStore(folder / "offloaded", terms.total_limit_bytes)
        own = "offloaded_model:TINY"
        offloading = Offloading(ledger, store, offers, journal, [trainer()], terms, own, metrics)
        offload = OffloadApi(ledger, offloading, ledger.key.open_sealed, TINY, metrics)
    api = DeviceApi(ledger, store, section, metrics, offload)
    loop = DutyLoop(ledger, duties, _score, peers, store, metrics, api.entrusted, 3)
    api.tell(loop.hear, loop.wake)
    device_server = GuardedServer(api.routes, section, metrics, frozenset({"/healthz", "/readyz", "/metrics"}))
    peer_api = PeerApi(ledger, store, metrics)
    peer_server = GuardedServer(peer_api.routes, peer_section, metrics)
    await peers.start()
    await device_server.start()
    await peer_server.start()
    return SimpleNamespace(
        ledger=ledger,
        store=store,
        metrics=metrics,
        peers=peers,
        journal=journal,
        api=api,
        peer_api=peer_api,
        loop=loop,
        device_server=device_server,
        peer_server=peer_server,
        port=port,
        url=f"http://127.0.0.1:{port}",
        peer_url=urls[server],
        offloading=offloading,
        task=(task := asyncio.create_task(loop.run())),
        tasks=[task, *([asyncio.create_task(offloading.run())] if offloading else [])],
    )


def _score(updates: Any, _global_model: Any) -> list[int]:
    return list(evaluate(updates))


__all__ = ["DEVICES", "SERVERS", "Net", "network"]
