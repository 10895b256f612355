"""Hands a transaction to a CometBFT from outside of a node, and looks for it in the blocks that come."""

from __future__ import annotations

import asyncio

from bees.core.errors import CometError
from bees.node.comet_client import CometClient

_PAUSE_S = 0.3
_LOOKED_BACK = 50
"""Blocks in which it may already be, because it was handed in before: CometBFT takes it for known then."""


async def hand_in(url: str, transaction: bytes, wait_s: float | None) -> int | None:
    """Hand in a transaction.

    Args:
        url: of CometBFT's RPC.
        transaction: canonical bytes.
        wait_s: how long to wait for the block that holds it, or None not to wait.

    Returns:
        Height of that block, or None where it was not waited for.

    Raises:
        CometError: CometBFT cannot be reached, the ledger refuses the transaction, or no block came that holds it.
    """
    async with CometClient(url) as comet:
        before = (await comet.status()).height
        refusal = await comet.submit(transaction)
        if refusal is not None:
            raise CometError(f"the server at {url} refuses the transaction: {refusal}")
        if wait_s is None:
            return None
        try:
            async with asyncio.timeout(wait_s):
                return await _height_of(comet, transaction, max(1, before - _LOOKED_BACK))
        except TimeoutError:
            problem = f"the transaction was taken, but is in no block after {wait_s:g} s"
            raise CometError(f"{problem}; it may still come, or have become invalid: look at the chain") from None


async def _height_of(comet: CometClient, transaction: bytes, first_height: int) -> int:
    height = first_height
    while True:
        while height <= (await comet.status()).height:
            if transaction in await comet.transactions(height):
                return height
            height += 1
        await asyncio.sleep(_PAUSE_S)
