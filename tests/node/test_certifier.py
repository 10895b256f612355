"""Waiting for certificates ends when the node stops."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from abci_rig import make_node

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("ticks", range(5))
def test_news_that_come_together_with_a_cancellation_do_not_swallow_it(tmp_path: Path, ticks: int):
    certifier = make_node(tmp_path)._certifier

    async def main() -> None:
        waiting = asyncio.create_task(certifier.wait_for_more(0))
        await asyncio.sleep(0.01)
        certifier._news.set()
        for _ in range(ticks):
            await asyncio.sleep(0)
        # Either it has ended before, or it is cancelled.
        assert waiting.cancel() == (await asyncio.gather(waiting, return_exceptions=True) != [None])

    asyncio.run(main())
    certifier.close()
