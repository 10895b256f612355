"""The nodes that a device knows: asked one after the other, until one gives a useful answer."""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import aiohttp
import msgspec
import structlog

from bees.core.errors import CodecError, InputError, NetworkError, NodeRefusesError, ProofError
from bees.transport.trust import trust

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

T = TypeVar("T")

_CHUNK_BYTES = 64 * 1024
_REFUSAL_BYTES = 64 * 1024
_CONNECT_S = 5.0
_FIRST_REFUSAL = 400
_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 8.0

_log = structlog.get_logger("bees.device")


class Answer(NamedTuple):
    """What a node has answered.

    Attributes:
        url: of the node.
        status: of HTTP.
        body: as it came.
    """

    url: str
    status: int
    body: bytes

    def json(self) -> dict[str, Any]:
        """The body as a JSON object.

        Raises:
            NetworkError: it is none.
        """
        try:
            return msgspec.json.decode(self.body, type=dict[str, Any])
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
            raise NetworkError(self.url, f"answers no JSON: {error}") from error

    @property
    def refusal(self) -> str:
        """Why the node refuses, in a line."""
        try:
            told = self.json()
        except NetworkError:
            return f"status {self.status}"
        return f"{told.get('error', 'Error')}: {str(told.get('message', ''))[:300]}"

    @property
    def is_refused(self) -> bool:
        """Whether it is a refusal."""
        return self.status >= _FIRST_REFUSAL

    @property
    def refused_transaction(self) -> str:
        """Name of the ledger's error for which the node refuses a transaction; empty for another refusal."""
        try:
            return str(self.json().get("refusal", ""))
        except NetworkError:
            return ""

    def check(self) -> None:
        """Have a refusal raised.

        Raises:
            NodeRefusesError: it is one.
        """
        if self.is_refused:
            raise NodeRefusesError(self.url, self.refusal, self.status)


class Nodes:
    """Several nodes of one network.

    Args:
        urls: of their device APIs, the nearest first.
        timeout_s: until a node must have answered.
        authority: PEM file of the authority that has signed the nodes' certificates, or None for the system's.

    Raises:
        InputError: no URL, or the authority cannot be read.
    """

    def __init__(self, urls: Sequence[str], *, timeout_s: float = 60.0, authority: str | None = None) -> None:
        if not urls:
            raise InputError("node_urls", "needs at least one node, such as http://127.0.0.1:7600")
        for url in urls:
            if not url.startswith(("http://", "https://")):
                raise InputError("node_urls", f"{url!r} is no URL, such as http://127.0.0.1:7600")
        self._urls = [url.rstrip("/") for url in urls]
        self._timeout = aiohttp.ClientTimeout(total=timeout_s, sock_connect=_CONNECT_S)
        self._ssl = trust(authority)
        self._http: aiohttp.ClientSession | None = None

    @property
    def urls(self) -> tuple[str, ...]:
        """The nodes, the one that is asked first first."""
        return tuple(self._urls)

    def prefer(self, url: str) -> None:
        """Ask this one first from now on."""
        url = url.rstrip("/")
        if url in self._urls:
            self._urls.remove(url)
        self._urls.insert(0, url)

    async def close(self) -> None:
        """Close the connections."""
        if self._http is not None:
            await self._http.close()

    async def first(self, ask: Callable[[str], Any], what: str, patience_s: float = 0.0, enough: int = 1) -> Any:  # noqa: ANN401  # whatever ``ask`` gives
        """What ``ask`` gives for the first node for which it does not fail; that node is asked first from then on.

        Args:
            ask: a coroutine function of a node's URL.
            what: is asked, for messages.
            patience_s: how long all are asked again while one is busy or cannot be reached; none by default.
            enough: so many that refuse for good are believed at once.

        Raises:
            NetworkError: it fails for all nodes; the last reason is told.
        """
        loop = asyncio.get_running_loop()
        until, pause_s = loop.time() + patience_s, _PAUSE_S
        while True:
            failures: list[Exception] = []
            for url in tuple(self._urls):
                try:
                    answer = await ask(url)
                except (NetworkError, ProofError, CodecError) as error:
                    _log.warning("node is of no help", node=url, what=what, reason=str(error))
                    failures.append(error)
                    continue
                self.prefer(url)
                return answer
            may_pass = sum(map(_may_pass, failures))
            if loop.time() + pause_s > until or may_pass == 0 or len(failures) - may_pass >= enough:
                raise NetworkError(what, f"none of {len(self._urls)} nodes helps; the last: {failures[-1]}")
            # Devices that are turned away together should not come back together.
            await asyncio.sleep(pause_s * (0.5 + secrets.randbelow(1000) / 1000))
            pause_s = min(1.5 * pause_s, _LONGEST_PAUSE_S)

    async def ask(
        self,
        url: str,
        path: str,
        *,
        limit_bytes: int = _REFUSAL_BYTES,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """One request to one node: a POST where there is a body, else a GET. It may reach the node twice.

        Raises:
            NetworkError: no answer, or one that is longer than the limit.
        """
        try:
            try:
                return await self._ask(url, path, limit_bytes, body, headers)
            except aiohttp.ClientConnectorError:
                raise
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
                # A node closes what has been idle for some seconds, just when it may be used again.
                return await self._ask(url, path, limit_bytes, body, headers)
        except (aiohttp.ClientError, TimeoutError, asyncio.IncompleteReadError, OSError) as error:
            raise NetworkError(url, str(error) or type(error).__name__) from error

    async def _ask(
        self, url: str, path: str, limit_bytes: int, body: bytes | None, headers: dict[str, str] | None
    ) -> Answer:
        if self._http is None:
            self._http = aiohttp.ClientSession(timeout=self._timeout, auto_decompress=False)
        method = "GET" if body is None else "POST"
        async with self._http.request(
            method, url + path, data=body, headers=headers, ssl=self._ssl, allow_redirects=False
        ) as answer:
            data = bytearray()
            async for chunk in answer.content.iter_chunked(_CHUNK_BYTES):
                data += chunk
                if len(data) > limit_bytes:
                    raise NetworkError(url, f"answers more than {limit_bytes} bytes to {path}")
            return Answer(url, answer.status, bytes(data))


def _may_pass(failure: Exception) -> bool:
    """Whether the same request may be of use later: the node was busy, or could not be reached."""
    return failure.is_busy if isinstance(failure, NodeRefusesError) else isinstance(failure, NetworkError)
