"""Gives this server's signatures to the others, each at its own pace: one that is cut off holds up nobody else."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

_WAITING_AT_MOST = 8
"""Signatures that wait for a slow server; it pulls those that give way to newer ones."""


class SignaturePushes:
    """For each other server a queue of what is to be given to it, and a task that does.

    Args:
        servers: the others.
        give: gives a signature, as encoded, to a server; raises nothing, and ends in time.
    """

    def __init__(self, servers: Iterable[int], give: Callable[[int, bytes], Awaitable[None]]) -> None:
        self._give = give
        self._waiting = {server: deque[bytes](maxlen=_WAITING_AT_MOST) for server in servers}
        self._pushing: dict[int, asyncio.Task[None]] = {}

    def push(self, signature: bytes) -> None:
        """Have a signature given to every other server."""
        for server, waiting in self._waiting.items():
            waiting.append(signature)
            task = self._pushing.get(server)
            if task is None or task.done():
                self._pushing[server] = asyncio.create_task(self._push_all(server))

    async def stop(self) -> None:
        """Give no more."""
        for task in self._pushing.values():
            task.cancel()
        await asyncio.gather(*self._pushing.values(), return_exceptions=True)

    async def _push_all(self, server: int) -> None:
        waiting = self._waiting[server]
        while waiting:
            await self._give(server, waiting.popleft())
