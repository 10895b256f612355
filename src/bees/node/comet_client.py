"""CometBFT's RPC, as far as a node uses it: hand in a transaction, ask how far it is."""

from __future__ import annotations

import asyncio
from base64 import b64decode, b64encode
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import aiohttp

from bees.core.errors import CometError

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

_IN_CACHE = "already exists in cache"
_TIMEOUT = aiohttp.ClientTimeout(total=10)


@dataclass(frozen=True)
class CometStatus:
    """How far CometBFT is.

    Attributes:
        node_id: its name among peers.
        height: of its last block.
        app_hash: in the last block's header, in lower-case hex: of the state *before* that block.
        catches_up: whether it still fetches old blocks.
        peers: how many it is connected to.
    """

    node_id: str
    height: int
    app_hash: str
    catches_up: bool
    peers: int


class CometClient:
    """Talks to one CometBFT. Use it as an asynchronous context manager, or ``close`` it.

    Attributes:
        url: such as ``http://127.0.0.1:26657``.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._session: aiohttp.ClientSession | None = None

    async def submit(self, transaction: bytes) -> str | None:
        """Hand in a transaction; it may be there already.

        Returns:
            None when the mempool holds it, or why the application has refused it.

        Raises:
            CometError: CometBFT cannot be reached, or its mempool is full.
        """
        try:
            result = await self._call("broadcast_tx_sync", {"tx": b64encode(transaction).decode()})
        except CometError as error:
            if _IN_CACHE in error.problem:
                return None
            raise
        return str(result.get("log") or "refused") if result.get("code") else None

    async def status(self) -> CometStatus:
        """How far it is.

        Raises:
            CometError: it cannot be reached.
        """
        result, net = await asyncio.gather(self._call("status", {}), self._call("net_info", {}))
        try:
            sync, node = result["sync_info"], result["node_info"]
            return CometStatus(
                node_id=str(node["id"]),
                height=int(sync["latest_block_height"]),
                app_hash=str(sync["latest_app_hash"]).lower(),
                catches_up=bool(sync["catching_up"]),
                peers=int(net["n_peers"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise CometError(f"{self.url} does not answer as CometBFT v0.38 does") from error

    async def transactions(self, height: int) -> list[bytes]:
        """The transactions of a block.

        Raises:
            CometError: CometBFT cannot be reached, or does not have the block.
        """
        result = await self._call("block", {"height": str(height)})
        try:
            return [b64decode(data) for data in result["block"]["data"]["txs"] or ()]
        except (KeyError, TypeError, ValueError) as error:
            raise CometError(f"{self.url} does not answer as CometBFT v0.38 does") from error

    async def validators(self) -> list[bytes]:
        """Public keys of those who vote on the block that is decided next.

        Raises:
            CometError: CometBFT cannot be reached.
        """
        found: list[bytes] = []
        page, total = 1, 1
        while len(found) < total:
            result = await self._call("validators", {"page": str(page), "per_page": "100"})
            try:
                total = int(result["total"])
                found += [b64decode(validator["pub_key"]["value"]) for validator in result["validators"]]
            except (KeyError, TypeError, ValueError) as error:
                raise CometError(f"{self.url} does not answer as CometBFT v0.38 does") from error
            page += 1
        return found

    async def query(self, leaf: str) -> bytes:
        """The encoded leaf of the state with its Merkle path, as the application answers it.

        Raises:
            CometError: CometBFT cannot be reached, or there is no such leaf.
        """
        result = await self._call("abci_query", {"path": "leaf", "data": leaf.encode().hex()})
        response = result.get("response", {})
        if response.get("code"):
            raise CometError(f"{self.url}: {response.get('log')}")
        return b64decode(response["value"])

    async def close(self) -> None:
        """End its connections."""
        if self._session is not None:
            await self._session.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def _call(self, method: str, parameters: dict[str, str]) -> dict[str, Any]:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=_TIMEOUT)
        request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters}
        try:
            async with self._session.post(self.url, json=request) as answer:
                body: Any = await answer.json(content_type=None)
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise CometError(f"CometBFT at {self.url} cannot be reached: {error or type(error).__name__}") from error
        if not isinstance(body, dict):
            raise CometError(f"{self.url} does not answer as CometBFT v0.38 does")
        known = cast("dict[str, Any]", body)
        problem, result = known.get("error"), known.get("result")
        if problem is not None or not isinstance(result, dict):
            raise CometError(f"CometBFT refuses {method}: {_complaint(problem)}")
        return cast("dict[str, Any]", result)


def _complaint(problem: object) -> str:
    if not isinstance(problem, dict):
        return str(problem)
    told = cast("dict[str, object]", problem)
    return str(told.get("data") or told.get("message"))
