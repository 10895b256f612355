"""Whoever reads slowly holds little of a node's memory, and not for long."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
from typing import TYPE_CHECKING

import aiohttp

from bees.node.config import HttpSection
from bees.node.guarded_server import GuardedServer
from bees.node.metrics import Metrics
from bees.node.sending import send

if TYPE_CHECKING:
    import pytest
    from aiohttp import web

BODY = bytes(range(256)) * (64 << 10)
READERS = 20


def serve() -> GuardedServer:
    async def answer(request: web.Request) -> web.StreamResponse:
        return await send(request, BODY)

    return GuardedServer([("GET", "/", answer)], HttpSection("127.0.0.1:0"), Metrics())


def test_all_bytes_arrive():
    async def play() -> None:
        server = serve()
        port = await server.start()
        async with aiohttp.ClientSession() as session:
            for _ in range(2):  # the connection stays open
                async with session.get(f"http://127.0.0.1:{port}/") as answer:
                    assert answer.content_length == len(BODY)
                    assert await answer.read() == BODY
        await server.stop()

    asyncio.run(play())


def test_slow_readers_are_cut_off_and_cost_little_until_then(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("bees.node.sending.CHUNK_PATIENCE_S", 1.0)

    async def play() -> None:
        server = serve()
        port = await server.start()
        gc.collect()
        tracemalloc.start()
        slow = [await asyncio.open_connection("127.0.0.1", port, limit=1024) for _ in range(READERS)]
        for _, writer in slow:
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await asyncio.sleep(0.7)
        assert tracemalloc.get_traced_memory()[0] < READERS * len(BODY) / 10
        tracemalloc.stop()
        await asyncio.sleep(1.0)
        for reader, writer in slow:
            try:
                received = await asyncio.wait_for(reader.read(-1), 5)
            except ConnectionError:
                received = b""
            assert len(received) < len(BODY)
            writer.close()
        await server.stop()

    asyncio.run(play())
