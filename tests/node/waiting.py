"""Waiting for what another task or thread does."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

PATIENCE_S = 10.0


async def until(is_so: Callable[[], bool]) -> None:
    """Until something holds, which nothing tells of."""
    async with asyncio.timeout(PATIENCE_S):
        while not is_so():  # noqa: ASYNC110  # it is asked of a node that was not made to tell
            await asyncio.sleep(0.01)
