"""``bees submit`` against a CometBFT that answers as the real one does."""

from __future__ import annotations

import asyncio
import json
from base64 import b64decode, b64encode
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from bees.core.errors import CometError
from bees.node.comet_client import CometClient
from bees.node.submitting import hand_in

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

TRANSACTION = b"a transaction"


class Rpc:
    """A CometBFT at height 60, which has a transaction in the block after the next one, if at all."""

    def __init__(self, log: str = "", taken_at: int | None = 62) -> None:
        self.log, self.taken_at = log, taken_at
        self.height = 60
        self.handed_in: list[bytes] = []

    async def answer(self, request: web.Request) -> web.Response:
        asked = json.loads(await request.text())
        return web.json_response({"jsonrpc": "2.0", "id": 1, "result": self._result(asked["method"], asked["params"])})

    def _result(self, method: str, parameters: dict[str, str]) -> Any:
        match method:
            case "broadcast_tx_sync":
                self.handed_in.append(b64decode(parameters["tx"]))
                return {"code": 1 if self.log else 0, "log": self.log}
            case "status":
                self.height += bool(self.handed_in)
                sync = {"latest_block_height": str(self.height), "latest_app_hash": "", "catching_up": False}
                return {"sync_info": sync, "node_info": {"id": "node"}}
            case "block":
                here = int(parameters["height"]) == self.taken_at
                return {"block": {"data": {"txs": [b64encode(TRANSACTION).decode()] if here else None}}}
            case "validators":
                page = [[1, 2], [3]][int(parameters["page"]) - 1]
                keys = [{"pub_key": {"value": b64encode(bytes([k]) * 32).decode()}} for k in page]
                return {"total": "3", "validators": keys}
            case _:
                return {"n_peers": "3"}


@asynccontextmanager
async def served(rpc: Rpc) -> AsyncGenerator[str]:
    app = web.Application()
    app.add_routes([web.post("/", rpc.answer)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def submitted(rpc: Rpc, wait_s: float | None) -> int | None:
    async def play() -> int | None:
        async with served(rpc) as url:
            return await hand_in(url, TRANSACTION, wait_s)

    return asyncio.run(play())


def test_it_is_handed_in_and_waited_for():
    rpc = Rpc()
    assert submitted(rpc, 20) == 62
    assert rpc.handed_in == [TRANSACTION]
    assert submitted(Rpc(), None) is None
    # It was handed in before: CometBFT knows it, and it is in a block already.
    assert submitted(Rpc(taken_at=55), 20) == 55


def test_a_refusal_says_what_the_ledger_says():
    with pytest.raises(CometError, match="refuses the transaction: amendment: nonce 1, but 0 amendments came before"):
        submitted(Rpc("amendment: nonce 1, but 0 amendments came before"), 20)


def test_nobody_waits_for_ever():
    with pytest.raises(CometError, match=r"is in no block after 0\.2 s; it may still come"):
        submitted(Rpc(taken_at=None), 0.2)
    with pytest.raises(CometError, match="cannot be reached"):
        asyncio.run(hand_in("http://127.0.0.1:1", TRANSACTION, None))


def test_voters_come_in_pages():
    async def play() -> list[bytes]:
        async with served(Rpc()) as url, CometClient(url) as comet:
            return await comet.validators()

    assert asyncio.run(play()) == [bytes([k]) * 32 for k in (1, 2, 3)]
