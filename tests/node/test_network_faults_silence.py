"""Servers get what they ask for from whoever can be reached, while others are down or silent."""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from bees.core.canonical import decode, encode
from bees.faults.world import shared_world, train
from bees.ledger.commitments import commit_to_update
from bees.node.blob_store import DiskBlobStore
from bees.node.certificates import HeaderSignature
from bees.node.config import PeersSection
from bees.node.http_peers import HttpPeers
from bees.node.metrics import Metrics
from bees.node.peers import WantedBlob
from campaigns.random_network import free_ports

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

HEIGHTS = 30
UPDATE = train(0, 1)


def signature(height: int) -> HeaderSignature:
    return HeaderSignature(height, bytes(32), 0, bytes(64))


@asynccontextmanager
async def peers(folder: Path, told: asyncio.Queue[HeaderSignature]) -> AsyncGenerator[HttpPeers]:
    """Peers of server 0: server 1 answers, server 2 is cut off, and server 3 is down."""

    async def take(request: web.Request) -> web.Response:
        told.put_nowait(decode(await request.read(), HeaderSignature))
        return web.json_response({"useful": True})

    async def give(_: web.Request) -> web.Response:
        return web.Response(body=encode((signature(7),)))

    async def give_update(_: web.Request) -> web.Response:
        return web.Response(body=UPDATE)

    app = web.Application()
    app.add_routes(
        [
            web.post("/v1/signatures", take),
            web.get("/v1/signatures", give),
            web.get("/v1/blobs/{commitment}", give_update),
        ]
    )
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        ports = runner.addresses[0][1], silent.getsockname()[1], *free_ports(1)
        world = shared_world(4, 4)
        store = DiskBlobStore(folder / "updates", 10**6)
        section = PeersSection("127.0.0.1:1", urls=("", *(f"http://127.0.0.1:{port}" for port in ports)), timeout_s=1)
        own = HttpPeers(world.genesis, 0, world.server_keys[0], section, store, Metrics())
        await own.start()
        try:
            yield own
        finally:
            await own.stop()
            await runner.cleanup()


def test_pushes_do_not_wait_for_a_server_that_is_cut_off(tmp_path: Path):
    async def push_all() -> None:
        told: asyncio.Queue[HeaderSignature] = asyncio.Queue()
        async with peers(tmp_path, told) as own, asyncio.timeout(4):
            for height in range(1, HEIGHTS + 1):
                await own.push_signature(signature(height))
                assert await told.get() == signature(height)

    asyncio.run(push_all())


def test_pulls_do_not_wait_for_a_server_that_is_cut_off(tmp_path: Path):
    async def pull() -> None:
        async with peers(tmp_path, asyncio.Queue()) as own, asyncio.timeout(4):
            assert list(await own.pull_signatures(1, 9)) == [signature(7)]

    asyncio.run(pull())


@pytest.mark.parametrize("first", [2, 3])
def test_an_update_is_pulled_elsewhere_when_a_server_is_cut_off_or_down(tmp_path: Path, first: int):
    async def fetch() -> bytes | None:
        async with peers(tmp_path, asyncio.Queue()) as own, asyncio.timeout(10):
            return await own.fetch_blob(WantedBlob(commit_to_update(0, 1, UPDATE), 0, 1, (first, 1)))

    assert asyncio.run(fetch()) == UPDATE
