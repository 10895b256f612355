"""Signatures under headers reach whoever can be reached, while another server takes connections and says nothing."""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from aiohttp import web

from bees.core.canonical import decode, encode
from bees.faults.world import shared_world
from bees.node.blob_store import DiskBlobStore
from bees.node.certificates import HeaderSignature
from bees.node.config import PeersSection
from bees.node.http_peers import HttpPeers
from bees.node.metrics import Metrics

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

HEIGHTS = 30


def signature(height: int) -> HeaderSignature:
    return HeaderSignature(height, bytes(32), 0, bytes(64))


@asynccontextmanager
async def peers(folder: Path, told: asyncio.Queue[HeaderSignature]) -> AsyncGenerator[HttpPeers]:
    """Peers of server 0: server 1 answers, server 2 is cut off, server 3 has no URL."""

    async def take(request: web.Request) -> web.Response:
        told.put_nowait(decode(await request.read(), HeaderSignature))
        return web.json_response({"useful": True})

    async def give(_: web.Request) -> web.Response:
        return web.Response(body=encode((signature(7),)))

    app = web.Application()
    app.add_routes([web.post("/v1/signatures", take), web.get("/v1/signatures", give)])
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        urls = ["", f"http://127.0.0.1:{runner.addresses[0][1]}", f"http://127.0.0.1:{silent.getsockname()[1]}", ""]
        world = shared_world(4, 4)
        store = DiskBlobStore(folder / "updates", 10**6)
        section = PeersSection("127.0.0.1:1", urls=tuple(urls))
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
