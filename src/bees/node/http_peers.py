"""The way to the other servers: pulls updates by hash, gives and pulls signatures under headers."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

import aiohttp
import structlog

from bees.core.canonical import decode, encode
from bees.core.errors import CodecError, InputError, StorageError
from bees.node.certificates import HeaderSignature
from bees.node.receiving import receive_bytes
from bees.node.signature_pushes import SignaturePushes
from bees.node.signed_requests import Request, sign_request
from bees.protocol.key_ring import KeyRing
from bees.transport.trust import trust
from bees.transport.update_hasher import UpdateHasher

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from bees.core.keys import Signs
    from bees.ledger.genesis import Genesis
    from bees.node.blob_store import DiskBlobStore
    from bees.node.config import PeersSection
    from bees.node.metrics import Metrics
    from bees.node.peers import WantedBlob

_OK, _UNAUTHORISED = 200, 401
_CHUNK_BYTES = 64 * 1024
_ANSWER_BYTES = 1 << 20
"""Of signatures: a hundred heights of a hundred servers."""
_SIGNATURE_PATIENCE_S = 5.0
_SIGNATURE_GRACE_S = 0.5
"""For the other servers to answer, when one has given signatures."""
_FULL_PAUSE_S = 30.0

_log = structlog.get_logger("bees.node.peers")


class _UnhelpfulError(Exception):
    """A server has not given what it was asked for."""


def _too_long() -> _UnhelpfulError:
    return _UnhelpfulError("more bytes than an update has")


class HttpPeers:
    """The other servers, by their URLs. ``bees.node.ledger_node.Peers`` says what each method owes.

    Args:
        genesis: knows the servers.
        server: index of this one.
        key: of this one, with which requests are signed, or all that it holds.
        section: URLs, in the order of the servers, and limits.
        store: where pulled updates go.
        metrics: of the node.
    """

    def __init__(
        self,
        genesis: Genesis,
        server: int,
        key: Signs | KeyRing,
        section: PeersSection,
        store: DiskBlobStore,
        metrics: Metrics,
    ) -> None:
        if len(section.urls) != len(genesis.servers):
            problem = f"{len(section.urls)} URLs for {len(genesis.servers)} servers of the genesis"
            raise InputError("peers.urls", problem)
        self._genesis = genesis
        self._server = server
        self._key = key
        self._section = section
        self._store = store
        self._metrics = metrics
        self._ssl = trust(section.authority)
        self._places = asyncio.Semaphore(section.pulls_at_once)
        self._pulling: dict[bytes, asyncio.Task[bool]] = {}
        self._http: aiohttp.ClientSession | None = None
        self._full_again_s = 0.0
        self._pushes = SignaturePushes(self.others, self._give_signature)

    @property
    def others(self) -> tuple[int, ...]:
        """The other servers that have a URL."""
        return tuple(k for k, url in enumerate(self._section.urls) if url and k != self._server)

    async def start(self) -> None:
        """Open the session."""
        timeout = aiohttp.ClientTimeout(total=self._section.timeout_s, sock_connect=2)
        self._http = aiohttp.ClientSession(timeout=timeout, auto_decompress=False)

    async def stop(self) -> None:
        """Close the session."""
        for task in self._pulling.values():
            task.cancel()
        await self._pushes.stop()
        if self._http is not None:
            await self._http.close()

    async def fetch_blob(self, wanted: WantedBlob) -> bytes | None:
        """The bytes of an update, now also in the store; None where nobody gives them."""
        known = await asyncio.to_thread(self._store.get, wanted.commitment)
        if known is None and await self.pull_blob(wanted):
            return await asyncio.to_thread(self._store.get, wanted.commitment)
        return known

    async def pull_blob(self, wanted: WantedBlob) -> bool:
        """Whether the bytes of an update are in the store now. Asked twice, it pulls once."""
        if wanted.commitment in self._store:
            return True
        task = self._pulling.get(wanted.commitment)
        if task is None:
            task = asyncio.create_task(self._fetch(wanted))
            self._pulling[wanted.commitment] = task
            task.add_done_callback(lambda _: self._pulling.pop(wanted.commitment, None))
        return await asyncio.shield(task)

    async def push_signature(self, signature: HeaderSignature) -> None:
        """Have a signature given to every other server; whoever misses it pulls it later. It waits for none of them."""
        self._pushes.push(encode(signature))

    async def pull_signatures(self, first_height: int, last_height: int) -> Sequence[HeaderSignature]:
        """What the other servers hold for some heights."""
        path = f"/v1/signatures?first={first_height}&last={last_height}"

        async def take(server: int) -> tuple[HeaderSignature, ...]:
            try:
                async with asyncio.timeout(_SIGNATURE_PATIENCE_S):
                    body = await self._ask(server, "GET", path)
                self._metrics.peer_bytes.labels("signature", "received").inc(len(body))
                return decode(body, tuple[HeaderSignature, ...])
            except (TimeoutError, aiohttp.ClientError, CodecError, _UnhelpfulError) as error:
                _log.debug("no signatures", server=server, reason=str(error))
                return ()

        asked = [asyncio.create_task(take(server)) for server in self.others]
        try:
            for answer in asyncio.as_completed(asked):
                if await answer:
                    # Whoever is cut off would have the others' signatures wait for as long as patience lasts.
                    await asyncio.wait(asked, timeout=_SIGNATURE_GRACE_S)
                    break
        finally:
            for task in asked:
                task.cancel()
        answers = await asyncio.gather(*asked, return_exceptions=True)
        return [signature for answer in answers if not isinstance(answer, BaseException) for signature in answer]

    async def _give_signature(self, server: int, body: bytes) -> None:
        try:
            async with asyncio.timeout(_SIGNATURE_PATIENCE_S):
                await self._ask(server, "POST", "/v1/signatures", body)
            self._metrics.peer_bytes.labels("signature", "sent").inc(len(body))
        except (TimeoutError, aiohttp.ClientError, _UnhelpfulError) as error:
            _log.debug("signature not given", server=server, reason=str(error))

    async def _fetch(self, wanted: WantedBlob) -> bool:
        for server in wanted.sources:
            if server not in self.others:
                continue
            try:
                async with self._places:
                    await self._pull(server, wanted)
            except (TimeoutError, aiohttp.ClientError, _UnhelpfulError) as error:
                self._metrics.pulls.labels(str(server), "failed").inc()
                _log.debug("update not given", server=server, device=wanted.device, reason=str(error))
                continue
            except StorageError as error:
                self._say_full(wanted, error)
                return False
            self._metrics.pulls.labels(str(server), "given").inc()
            return True
        return False

    def _say_full(self, wanted: WantedBlob, error: StorageError) -> None:
        """Once in a while: a block that waits for bytes asks several times a second."""
        now_s = asyncio.get_running_loop().time()
        if now_s >= self._full_again_s:
            self._full_again_s = now_s + _FULL_PAUSE_S
            _log.error("an update cannot be kept", device=wanted.device, round=wanted.round, reason=str(error))

    async def _pull(self, server: int, wanted: WantedBlob) -> None:
        """Stream an update into the store, hashed on its way; whatever is longer or else is dropped."""
        size = self._genesis.model.update_bytes
        hasher = UpdateHasher(wanted.device, wanted.round)
        path = f"/v1/blobs/{wanted.commitment.hex()}"
        async with self._request(server, "GET", path) as answer:
            if answer.status != _OK or answer.content_length not in {None, size}:
                raise _UnhelpfulError(f"status {answer.status}, {answer.content_length} bytes")
            with self._store.receive() as incoming:
                await receive_bytes(answer.content, incoming, hasher, size, _too_long)
                self._metrics.peer_bytes.labels("update", "received").inc(incoming.size)
                if hasher.commitment != wanted.commitment:
                    raise _UnhelpfulError("other bytes than were committed")
                keep = partial(self._store.keep, beyond_limit=wanted.for_block)
                await asyncio.to_thread(keep, incoming, wanted.commitment, wanted.round)

    async def _ask(self, server: int, method: str, path: str, body: bytes = b"") -> bytes:
        async with self._request(server, method, path, body) as answer:
            if answer.status != _OK:
                raise _UnhelpfulError(f"status {answer.status}")
            data = bytearray()
            async for chunk in answer.content.iter_chunked(_CHUNK_BYTES):
                data += chunk
                if len(data) > _ANSWER_BYTES:
                    raise _UnhelpfulError("a longer answer than is allowed")
            return bytes(data)

    @asynccontextmanager
    async def _request(
        self, server: int, method: str, path: str, body: bytes = b""
    ) -> AsyncGenerator[aiohttp.ClientResponse]:
        """The answer to a request. A server that is ahead or behind knows another key of this one than is in force."""
        keys = self._key.by_chance if isinstance(self._key, KeyRing) else (self._key,)
        for key in keys:
            async with self._request_as(key, server, method, path, body) as answer:
                if answer.status != _UNAUTHORISED or key is keys[-1]:
                    yield answer
                    return

    def _request_as(self, key: Signs, server: int, method: str, path: str, body: bytes):  # noqa: ANN202
        if self._http is None:
            raise _UnhelpfulError("this node is stopping")
        said = Request(self._server, server, method, path, time.time_ns() // 10**6, body)
        headers = sign_request(self._genesis.chain_id, key, said)
        url = self._section.urls[server] + path
        return self._http.request(method, url, data=body or None, headers=headers, ssl=self._ssl, allow_redirects=False)
