"""The blob plane: what servers ask of one another, each request signed by a registered server."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import TYPE_CHECKING

from aiohttp import web

from bees.core.canonical import decode, encode
from bees.core.errors import CodecError
from bees.ledger.state import Phase
from bees.node.certificates import HeaderSignature
from bees.node.sending import send
from bees.node.signed_requests import check_request
from bees.transport.bodies import read_commitment
from bees.transport.refusals import MalformedRequestError, TooManyRequestsError, TooSlowError, UnknownBlobError

if TYPE_CHECKING:
    from bees.node.blob_store import DiskBlobStore
    from bees.node.guarded_server import Handler
    from bees.node.metrics import Metrics
    from bees.node.ports import Ledger

_BINARY = "application/octet-stream"
_DIGITS = 18
_SIGNATURE_BYTES = 1024
_SIGNATURE_S = 5.0
_BLOBS_AT_ONCE = 16
"""To one server: each stands in memory while it is sent."""


class PeerApi:
    """What other servers may ask of a node.

    Args:
        ledger: the node's.
        store: updates at hand.
        metrics: of the node.
    """

    def __init__(self, ledger: Ledger, store: DiskBlobStore, metrics: Metrics) -> None:
        self._ledger = ledger
        self._store = store
        self._metrics = metrics
        self._serving: Counter[int] = Counter()

    @property
    def routes(self) -> list[tuple[str, str, Handler]]:
        """Method, path and handler."""
        return [
            ("GET", "/v1/blobs/{commitment}", self._blob),
            ("POST", "/v1/signatures", self._take_signature),
            ("GET", "/v1/signatures", self._signatures),
        ]

    async def _blob(self, request: web.Request) -> web.StreamResponse:
        sender = self._check(request)
        commitment = read_commitment(request.match_info["commitment"])
        if self._serving[sender] >= _BLOBS_AT_ONCE:
            raise TooManyRequestsError(f"{_BLOBS_AT_ONCE} updates are on their way to server {sender} already")
        self._serving[sender] += 1
        try:
            # Whether it is secret is asked first: while it is read, COLLECT may only close.
            read = self._ledger.read_blob
            data = None if self._is_secret(commitment) else await asyncio.to_thread(read, commitment)
            if data is None:
                raise UnknownBlobError(f"update {commitment.hex()[:16]} is not here, or still secret")
            response = await send(request, data)
            self._metrics.peer_bytes.labels("update", "sent").inc(len(data))
            return response
        finally:
            self._serving[sender] -= 1

    async def _take_signature(self, request: web.Request) -> web.Response:
        if request.content_length is None or request.content_length > _SIGNATURE_BYTES:
            raise MalformedRequestError(f"a signature is announced by a Content-Length, of {_SIGNATURE_BYTES} at most")
        try:
            async with asyncio.timeout(_SIGNATURE_S):
                body = await request.read()
        except TimeoutError:
            raise TooSlowError(f"the signature did not come within {_SIGNATURE_S:g} s") from None
        self._check(request, body)
        self._metrics.peer_bytes.labels("signature", "received").inc(len(body))
        try:
            signature = decode(body, HeaderSignature)
        except CodecError as error:
            raise MalformedRequestError(str(error)) from error
        return web.json_response({"useful": self._ledger.take_signature(signature)})

    async def _signatures(self, request: web.Request) -> web.Response:
        self._check(request)
        first, last = _number(request, "first"), _number(request, "last")
        body = encode(tuple(self._ledger.signatures(first, last)))
        self._metrics.peer_bytes.labels("signature", "sent").inc(len(body))
        return web.Response(body=body, content_type=_BINARY)

    def _check(self, request: web.Request, body: bytes = b"") -> int:
        now_ms = time.time_ns() // 10**6
        ledger = self._ledger
        chain_id, committee = ledger.state.genesis.chain_id, ledger.state.members.committee
        said = request.method, request.path_qs, request.headers, body
        return check_request(chain_id, committee, ledger.server, *said, now_ms)

    def _is_secret(self, commitment: bytes) -> bool:
        """Whether somebody could still commit to the same words, which a device has entrusted to this server."""
        state = self._ledger.state
        return state.phase is Phase.COLLECT and self._store.round_of(commitment) == state.round


def _number(request: web.Request, name: str) -> int:
    text = request.query.get(name, "")
    if not (text.isascii() and text.isdecimal() and len(text) <= _DIGITS):
        raise MalformedRequestError(f"{name} must be a whole number")
    return int(text)
