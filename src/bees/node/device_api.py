"""The device API: the open round, w_g(t-1) with its proof, the contract; and updates, checked before they are kept."""

from __future__ import annotations

import asyncio
import json
from contextlib import contextmanager
from typing import TYPE_CHECKING

import structlog
from aiohttp import web
from msgspec.structs import replace

from bees.core.canonical import encode
from bees.core.errors import MissingBlobError
from bees.core.fixed_point import words_to_bytes
from bees.core.keys import is_signed_by
from bees.ledger.commitments import hash_contract
from bees.ledger.refusals import BadSignatureError, DuplicateError
from bees.ledger.state import Phase
from bees.ledger.transactions import Update, author_key
from bees.ledger.transition import apply_transaction
from bees.node.limits import Queue
from bees.node.sending import send
from bees.transport.bodies import TRANSACTION_HEADER, ModelAnswer, describe_round, read_commitment, read_header
from bees.transport.refusals import (
    MalformedRequestError,
    NoLengthError,
    NotYetError,
    TooManyRequestsError,
    TooSlowError,
    WrongBytesError,
    WrongLengthError,
)
from bees.transport.update_hasher import UpdateHasher

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    import msgspec

    from bees.ledger.proofs import ModelProof
    from bees.ledger.state import State
    from bees.ledger.transactions import Signed
    from bees.node.blob_store import DiskBlobStore, IncomingBlob
    from bees.node.config import DevicesSection
    from bees.node.guarded_server import Handler
    from bees.node.metrics import Metrics
    from bees.node.ports import Ledger

LONGEST_WAIT_S = 30.0
STALLED_AFTER_S = 60.0
"""A node whose chain has not moved for so long is not ready for devices."""

_CHUNK_BYTES = 64 * 1024
_BINARY = "application/octet-stream"

_log = structlog.get_logger("bees.node.devices")


class DeviceApi:
    """What devices may ask of a node.

    Args:
        ledger: the node's.
        store: where updates go.
        section: limits.
        metrics: of the node.

    Attributes:
        hear: is told of authentic transactions, which may contradict others.
        have_bytes: is told when bytes of an update on the chain have come.
    """

    def __init__(self, ledger: Ledger, store: DiskBlobStore, section: DevicesSection, metrics: Metrics) -> None:
        self.hear: Callable[[Signed], object] = lambda _: None
        self.have_bytes: Callable[[], object] = lambda: None
        self._ledger = ledger
        self._store = store
        self._section = section
        self._metrics = metrics
        self._uploads = Queue(section.uploads_at_once, section.uploads_waiting)
        self._entrusted: dict[tuple[int, int], Signed] = {}
        self._uploading: set[int] = set()
        self._taken: dict[int, list[int]] = {}
        self._answer: tuple[int, bytes] | None = None
        self._told: tuple[tuple[int, bool], bytes] | None = None
        self._moved = asyncio.Event()
        self._last_block_s = asyncio.get_running_loop().time()
        ledger.on_block(lambda _: self._follow())
        ledger.on_certified(lambda _: self._wake())

    @property
    def routes(self) -> list[tuple[str, str, Handler]]:
        """Method, path and handler."""
        return [
            ("GET", "/v1/genesis", self._genesis),
            ("GET", "/v1/round", self._round),
            ("GET", "/v1/model", self._model),
            ("GET", "/v1/contract", self._contract),
            ("GET", "/v1/description", self._description),
            ("POST", "/v1/update", self._update),
            ("POST", "/v1/transaction", self._transaction),
            ("GET", "/v1/held/{commitment}", self._held),
            ("GET", "/healthz", self._health),
            ("GET", "/readyz", self._ready),
            ("GET", "/metrics", self._show_metrics),
        ]

    def entrusted(self, state: State) -> list[Signed]:
        """Updates of the open round that came here and are not on the chain yet: to be sent again."""
        return [
            signed
            for (device, round_), signed in self._entrusted.items()
            if round_ == state.round and device not in state.updates
        ]

    async def _genesis(self, _: web.Request) -> web.Response:
        return web.Response(body=encode(self._ledger.signed_genesis), content_type=_BINARY)

    async def _contract(self, _: web.Request) -> web.Response:
        code = self._ledger.state.contract
        headers = {"Bees-Contract": hash_contract(code).hex()}
        return web.Response(body=code, content_type="application/wasm", headers=headers)

    async def _description(self, _: web.Request) -> web.Response:
        genesis = self._ledger.state.genesis
        return web.json_response(
            {
                "chain_id": genesis.chain_id.hex(),
                "name": genesis.name,
                "servers": len(genesis.servers),
                "devices": len(genesis.devices),
                "model": {**_named(genesis.model), "arrays": [_named(array) for array in genesis.model.arrays]},
                "model_bytes": genesis.model.model_bytes,
                "update_bytes": genesis.model.update_bytes,
                "evaluation_samples": genesis.evaluation_samples,
                "contract": hash_contract(self._ledger.state.contract).hex(),
                "top_m": genesis.top_m,
                "phases": _named(genesis.phases),
            }
        )

    async def _round(self, request: web.Request) -> web.Response:
        """The open round; with ``after`` and ``wait``, as soon as a later one can be trained for."""
        after, wait_s = _natural(request, "after", -1), _natural(request, "wait", 0)
        loop = asyncio.get_running_loop()
        until = loop.time() + min(wait_s, LONGEST_WAIT_S)
        while not (self._is_open and self._ledger.state.round > after) and loop.time() < until:
            try:
                async with asyncio.timeout_at(until):
                    await self._moved.wait()
            except TimeoutError:
                break
        return web.Response(body=self._described(), content_type="application/json")

    async def _model(self, request: web.Request) -> web.StreamResponse:
        state = self._ledger.state
        if self._answer is None or self._answer[0] != state.round:
            proof = self._proved(state)
            try:
                words = words_to_bytes(self._ledger.global_model)
            except MissingBlobError:
                raise NotYetError(f"this node does not hold w_g({state.round - 1}) yet; ask another one") from None
            answer = ModelAnswer(state.genesis.chain_id, state.round, state.model, proof, words)
            self._answer = state.round, encode(answer)
        return await send(request, self._answer[1])

    async def _update(self, request: web.Request) -> web.Response:
        """Take an update: who, when and how long are checked before a byte of it is read, and the hash while it is."""
        signed, body = _read_update(request)
        if self._is_known(signed, body) and body.commitment in self._store:
            return web.json_response({"status": "known"})
        is_on_chain = self._is_on_chain(body)
        self._check(signed, body, is_on_chain)
        size = self._ledger.state.genesis.model.update_bytes
        if request.content_length is None:
            raise NoLengthError("an update needs a Content-Length")
        if request.content_length != size:
            raise WrongLengthError(f"an update of this model has {size} bytes, not {request.content_length}")
        with self._one_at_a_time(body):
            async with self._uploads.place():
                if body.commitment not in self._store:
                    await self._receive(request, body, size)
        self._metrics.uploads.inc()
        self._metrics.uploaded_bytes.inc(size)
        if is_on_chain:
            self.have_bytes()
        else:
            await self._carry(signed, body)
        return web.json_response({"status": "kept" if is_on_chain else "accepted", "round": body.round}, status=202)

    async def _transaction(self, request: web.Request) -> web.Response:
        """Carry an update's transaction to the chain; its bytes are with another node, or come when COLLECT is over."""
        signed, body = _read_update(request)
        if self._is_known(signed, body) or self._is_on_chain(body):
            return web.json_response({"status": "known"})
        self._check(signed, body, is_on_chain=False)
        await self._carry(signed, body)
        return web.json_response({"status": "accepted", "round": body.round}, status=202)

    async def _held(self, request: web.Request) -> web.Response:
        """Whether the bytes of an update are here, so that nobody sends them in vain."""
        return web.json_response({"held": read_commitment(request.match_info["commitment"]) in self._store})

    async def _carry(self, signed: Signed, body: Update) -> None:
        self._entrusted[body.device, body.round] = signed
        await self._ledger.submit(signed)
        _log.debug("update", device=body.device, round=body.round)

    def _is_known(self, signed: Signed, body: Update) -> bool:
        """Whether the very same has come before, or is on the chain, so that a device may ask again without harm."""
        return self._entrusted.get((body.device, body.round)) == signed or self._is_on_chain(body)

    def _is_on_chain(self, body: Update) -> bool:
        state = self._ledger.state
        known = state.updates.get(body.device)
        return body.round == state.round and known is not None and known.commitment == body.commitment

    def _check(self, signed: Signed, body: Update, is_on_chain: bool) -> None:
        state = self._ledger.state
        key = author_key(state.genesis, body)
        if not is_signed_by(key, signed.message, signed.signature):
            raise BadSignatureError("Update", body.device)
        self.hear(signed)
        if is_on_chain:
            return
        apply_transaction(replace(state, height=state.height + 1), body, self._ledger.executor)
        if self._entrusted.get((body.device, body.round), signed) != signed:
            raise DuplicateError("Update", body.device)

    @contextmanager
    def _one_at_a_time(self, body: Update) -> Generator[None]:
        """One upload of each device: else a slow one could take all places."""
        if body.device in self._uploading:
            raise TooManyRequestsError(f"an update of device {body.device} is on its way already")
        self._uploading.add(body.device)
        try:
            yield
        finally:
            self._uploading.discard(body.device)

    async def _receive(self, request: web.Request, body: Update, size: int) -> None:
        hasher = UpdateHasher(body.device, body.round)
        with self._store.receive() as incoming:
            try:
                async with asyncio.timeout(self._section.body_timeout_s):
                    await _stream(request, incoming, hasher, size)
            except TimeoutError:
                problem = f"the update did not come within {self._section.body_timeout_s:g} s"
                raise TooSlowError(problem) from None
            if hasher.commitment != body.commitment:
                raise WrongBytesError("these bytes are not what the transaction commits to")
            await asyncio.to_thread(incoming.sync)
            self._store.keep(incoming, body.commitment, body.round)

    async def _health(self, _: web.Request) -> web.Response:
        return web.json_response({"status": "alive"})

    async def _ready(self, _: web.Request) -> web.Response:
        idle_s = asyncio.get_running_loop().time() - self._last_block_s
        if self._ledger.height == 0 or idle_s > STALLED_AFTER_S:
            raise NotYetError(f"the chain stands at height {self._ledger.height} for {idle_s:.0f} s")
        return web.json_response({"status": "ready", "height": self._ledger.height})

    async def _show_metrics(self, _: web.Request) -> web.Response:
        self._metrics.blobs.set(self._store.size_bytes)
        return web.Response(body=self._metrics.render(), headers={"Content-Type": "text/plain; version=0.0.4"})

    def _described(self) -> bytes:
        """The open round in JSON, written once for each block: devices ask for it all the time."""
        state = self._ledger.state
        version = state.height, self._is_open
        if self._told is None or self._told[0] != version:
            more = {"app_hash": self._ledger.app_hash.hex(), "open": self._is_open}
            told = {**describe_round(state), **more, "previous_updates": self._taken.get(state.round - 1)}
            self._told = version, json.dumps(told).encode()
        return self._told[1]

    @property
    def _is_open(self) -> bool:
        """Whether a device can train for the open round: it collects, and w_g(t-1) can be proved."""
        state = self._ledger.state
        if state.phase is not Phase.COLLECT:
            return False
        proof = self._ledger.proof()
        return state.round == 1 or (proof is not None and proof.outcome.round == state.round - 1)

    def _proved(self, state: State) -> ModelProof | None:
        proof = self._ledger.proof()
        if state.round > 1 and (proof is None or proof.outcome.round != state.round - 1):
            raise NotYetError(f"w_g({state.round - 1}) is not certified yet; ask again in a second")
        return proof if state.round > 1 else None

    def _follow(self) -> None:
        self._last_block_s = asyncio.get_running_loop().time()
        state = self._ledger.state
        oldest = state.round
        self._taken[state.round] = sorted(state.updates)
        self._taken.pop(state.round - 2, None)
        self._entrusted = {key: signed for key, signed in self._entrusted.items() if key[1] >= oldest}
        self._wake()

    def _wake(self) -> None:
        self._moved.set()
        self._moved = asyncio.Event()


def _read_update(request: web.Request) -> tuple[Signed, Update]:
    signed = read_header(request.headers.get(TRANSACTION_HEADER))
    if not isinstance(signed.body, Update) or signed.body.server is not None:
        raise MalformedRequestError(f"{TRANSACTION_HEADER} must hold a device's own Update")
    return signed, signed.body


async def _stream(request: web.Request, incoming: IncomingBlob, hasher: UpdateHasher, size: int) -> None:
    async for chunk in request.content.iter_chunked(_CHUNK_BYTES):
        if incoming.size + len(chunk) > size:
            raise WrongLengthError(f"an update of this model has {size} bytes; more came")
        incoming.write(chunk)
        hasher.add(chunk)


def _natural(request: web.Request, name: str, default: int) -> int:
    text = request.query.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdecimal() and len(text) <= 18):  # noqa: PLR2004  # digits of an int64
        raise MalformedRequestError(f"{name} must be a whole number")
    return int(text)


def _named(record: msgspec.Struct) -> dict[str, object]:
    """The fields of a record by name: canonical records are arrays, and people read names."""
    return {name: getattr(record, name) for name in record.__struct_fields__}
