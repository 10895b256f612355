"""A ledger node of the tiny world with a test in CometBFT's place, and a simulated run to hold it against."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, ClassVar

from bees.core.canonical import decode
from bees.engines.blobs import MemoryBlobStore
from bees.engines.chain_file import ChainReader
from bees.engines.local_chain import LocalChain
from bees.faults.world import evaluate, samples_of, shared_world, train
from bees.ledger.block import Block
from bees.ledger.state import Phase
from bees.node.abci.framing import FrameSplitter, frame
from bees.node.abci.pb.messages_pb2 import Request, Response
from bees.node.ledger_node import LedgerNode, LedgerSettings
from bees.protocol.device import OpenRound, commit_update
from bees.protocol.server import attest, held_updates, publish
from bees.protocol.signer import MemoryJournal, Signer

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from bees.faults.world import FaultWorld
    from bees.node.certificates import HeaderSignature
    from bees.node.peers import WantedBlob


def world_of(servers: int = 4) -> FaultWorld:
    return shared_world(servers, 4)


def simulate(world: FaultWorld, path: Path, rounds: int) -> list[Block]:
    """The blocks of a run on the embedded engine, in which every participant does its duty."""
    with LocalChain(world.signed, world.server_keys, world.machine, world.initial_model, path=path) as chain:
        signers = [Signer(key, MemoryJournal()) for key in world.server_keys]
        while chain.state.round <= rounds:
            state = chain.state
            match state.phase:
                case Phase.COLLECT:
                    for device, key in enumerate(world.device_keys):
                        data = train(device, state.round)
                        chain.blobs.put(device, state.round, data)
                        signer = Signer(key, MemoryJournal())
                        chain.submit([commit_update(signer, OpenRound.of(state), device, samples_of(device), data)])
                case Phase.ATTEST:
                    held = held_updates(state, chain.blobs.get)
                    said = [attest(signers[k], k, state, held, evaluate) for k in range(len(signers))]
                    chain.submit([signed for signed in said if signed is not None])
                case Phase.PUBLISH:
                    said = [publish(signers[k], k, state, chain.executor) for k in range(len(signers))]
                    chain.submit([signed for signed in said if signed is not None])
            chain.next_block()
    with ChainReader(path) as reader:
        return [decode(row.block, Block) for row in reader.blocks()]


class RigPeers:
    """Others that hold every update, unless a test withholds them, and that sign what ``others`` make them sign."""

    def __init__(self) -> None:
        self.withheld = False
        self.lies = False
        self.asked: list[WantedBlob] = []
        self.pushed: list[HeaderSignature] = []
        self.others: list[LedgerNode] = []

    async def fetch_blob(self, wanted: WantedBlob) -> bytes | None:
        self.asked.append(wanted)
        await asyncio.sleep(0)
        if self.lies:
            return b"other bytes"
        return None if self.withheld else train(wanted.device, wanted.round)

    async def push_signature(self, signature: HeaderSignature) -> None:
        self.pushed.append(signature)
        for node in self.others:
            node.take_signature(signature)

    async def pull_signatures(self, first_height: int, last_height: int) -> list[HeaderSignature]:
        return [s for node in self.others for s in node.signatures(first_height, last_height)]


class AbciClient:
    """CometBFT's side of one connection."""

    opened: ClassVar[list[AbciClient]] = []

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.splitter = FrameSplitter(1 << 24)
        self.waiting: list[Response] = []

    @classmethod
    async def connect(cls, address: str) -> AbciClient:
        cls.opened.append(cls(*await asyncio.open_unix_connection(address.removeprefix("unix://"))))
        return cls.opened[-1]

    @classmethod
    async def close_all(cls) -> None:
        for client in cls.opened:
            client.writer.close()
            with suppress(ConnectionError):
                await client.writer.wait_closed()
        cls.opened.clear()

    def send(self, *requests: Request) -> None:
        for request in requests:
            self.writer.write(frame(request.SerializeToString()))

    async def receive(self) -> Response:
        while not self.waiting:
            data = await asyncio.wait_for(self.reader.read(1 << 16), 10)
            assert data, "the connection was closed"
            self.waiting += [Response.FromString(m) for m in self.splitter.feed(data)]
        return self.waiting.pop(0)

    async def ask(self, **value: Any) -> Any:
        self.send(Request(**value))
        response = await self.receive()
        assert response.WhichOneof("value") == next(iter(value))
        return getattr(response, next(iter(value)))

    async def is_closed(self) -> bool:
        return await asyncio.wait_for(self.reader.read(), 10) == b""

    async def block(self, height: int, transactions: list[bytes]) -> bytes:
        decided = await self.ask(finalize_block={"height": height, "txs": transactions})
        await self.ask(commit={})
        return decided.app_hash


def make_node(folder: Path, server: int = 0, peers: RigPeers | None = None, servers: int = 4, **options: Any) -> Any:
    world = world_of(servers)
    folder.mkdir(exist_ok=True, parents=True)
    rest: dict[str, Any] = {"proposal_patience_s": 0.3, "fetch_pause_s": 0.02, "pull_after_s": 0.05, **options}
    settings = LedgerSettings(folder, f"unix://{folder}/s{server}.sock", "http://127.0.0.1:9", **rest)
    args = (world.machine, world.initial_model, MemoryBlobStore(), peers or RigPeers())
    return LedgerNode(settings, world.signed, server, world.server_keys[server], *args)


@asynccontextmanager
async def running(node: LedgerNode) -> AsyncGenerator[AbciClient]:
    await node.start()
    client = await AbciClient.connect(node.abci_address)
    try:
        yield client
    finally:
        await AbciClient.close_all()
        await node.stop()


def transactions_of(block: Block) -> list[bytes]:
    return [signed.encoding for signed in block.batch.transactions]
