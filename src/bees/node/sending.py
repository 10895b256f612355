"""Large answers, sent bit by bit: whoever reads slowly holds little of a node's memory, and not for long."""

from __future__ import annotations

import asyncio

from aiohttp import web

_CHUNK_BYTES = 64 * 1024
CHUNK_PATIENCE_S = 10.0
"""Until so many bytes must have been taken: slower than 6 kB a second is no reader."""


async def send(request: web.Request, body: bytes) -> web.StreamResponse:
    """Answer with bytes. At most a few chunks of them wait in the connection's buffer at a time.

    Args:
        request: to answer.
        body: shared by all who ask for it; nothing of it is copied.
    """
    response = web.StreamResponse()
    response.content_type, response.content_length = "application/octet-stream", len(body)
    await response.prepare(request)
    whole = memoryview(body)
    try:
        for start in range(0, len(whole), _CHUNK_BYTES):
            async with asyncio.timeout(CHUNK_PATIENCE_S):
                await response.write(whole[start : start + _CHUNK_BYTES])
        await response.write_eof()
    except TimeoutError:
        # The head is out, so no refusal can be told any more.
        if request.transport is not None:
            request.transport.abort()
    return response
