"""Takes updates of devices, checked before they are kept, and carries what devices sign to the chain."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING

import structlog
from aiohttp import web
from msgspec.structs import replace

from bees.core.errors import EngineError
from bees.core.keys import is_signed_by
from bees.ledger.refusals import BadSignatureError, DuplicateError
from bees.ledger.state import Delegation
from bees.ledger.transactions import Delegate, Update, author_key
from bees.ledger.transition import apply_transaction
from bees.node.limits import Queue
from bees.node.receiving import receive_bytes
from bees.transport.bodies import TRANSACTION_HEADER, read_commitment, read_header
from bees.transport.refusals import (
    MalformedRequestError,
    NoLengthError,
    TooManyRequestsError,
    TooSlowError,
    WrongBytesError,
    WrongLengthError,
)
from bees.transport.update_hasher import UpdateHasher

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from bees.ledger.state import State
    from bees.ledger.transactions import Signed
    from bees.node.blob_store import DiskBlobStore
    from bees.node.config import DevicesSection
    from bees.node.guarded_server import Handler
    from bees.node.metrics import Metrics
    from bees.node.ports import Ledger

_log = structlog.get_logger("bees.node.devices")


class UpdateApi:
    """Takes updates and transactions.

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
        self._entrusted: dict[tuple[str, int, int], Signed] = {}
        self._uploading: set[int] = set()
        ledger.on_block(self._follow)

    @property
    def routes(self) -> list[tuple[str, str, Handler]]:
        """Method, path and handler."""
        return [
            ("POST", "/v1/update", self._update),
            ("POST", "/v1/transaction", self._transaction),
            ("GET", "/v1/held/{commitment}", self._held),
        ]

    def entrusted(self, state: State) -> list[Signed]:
        """What devices have handed in here for the open round and is not on the chain yet: to be sent again."""
        return [signed for signed in self._entrusted.values() if self._is_due(state, signed)]

    def _is_due(self, state: State, signed: Signed) -> bool:
        body = signed.body
        if isinstance(body, Delegate):
            return body.first_round == state.round and not self._is_on_chain(body)
        return isinstance(body, Update) and body.round == state.round and body.device not in state.updates

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
        """Carry a device's Update or Delegate to the chain.

        The bytes of an update are with another node, or come when COLLECT is over.
        """
        signed, body = _read_duty(request)
        if self._is_known(signed, body) or self._is_on_chain(body):
            return web.json_response({"status": "known"})
        self._check(signed, body, is_on_chain=False)
        await self._carry(signed, body)
        return web.json_response({"status": "accepted", "round": _round_of(body)}, status=202)

    async def _held(self, request: web.Request) -> web.Response:
        """Whether the bytes of an update are here, so that nobody sends them in vain."""
        return web.json_response({"held": read_commitment(request.match_info["commitment"]) in self._store})

    async def _carry(self, signed: Signed, body: Update | Delegate) -> None:
        self._entrusted[_question(body)] = signed
        try:
            await self._ledger.submit(signed)
        except EngineError as error:
            # The duties send it again until a block has it; so the device need not.
            _log.info("not carried yet", kind=type(body).__name__, device=body.device, reason=str(error))
            return
        _log.debug("carried", kind=type(body).__name__, device=body.device, round=_round_of(body))

    def _is_known(self, signed: Signed, body: Update | Delegate) -> bool:
        """Whether the very same has come before, or is on the chain, so that a device may ask again without harm."""
        return self._entrusted.get(_question(body)) == signed or self._is_on_chain(body)

    def _is_on_chain(self, body: Update | Delegate) -> bool:
        state = self._ledger.state
        if isinstance(body, Delegate):
            leave = Delegation(body.server, body.first_round, body.last_round)
            return state.delegations.get(body.device) == leave
        known = state.updates.get(body.device)
        return body.round == state.round and known is not None and known.commitment == body.commitment

    def _check(self, signed: Signed, body: Update | Delegate, is_on_chain: bool) -> None:
        state, kind = self._ledger.state, type(body).__name__
        key = author_key(state.members, body)
        if not is_signed_by(key, signed.message, signed.signature):
            raise BadSignatureError(kind, body.device)
        self.hear(signed)
        if is_on_chain:
            return
        apply_transaction(replace(state, height=state.height + 1), body, self._ledger.executor)
        if self._entrusted.get(_question(body), signed) != signed:
            raise DuplicateError(kind, body.device)

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
                    await receive_bytes(request.content, incoming, hasher, size, lambda: _too_long(size))
            except TimeoutError:
                problem = f"the update did not come within {self._section.body_timeout_s:g} s"
                raise TooSlowError(problem) from None
            if hasher.commitment != body.commitment:
                raise WrongBytesError("these bytes are not what the transaction commits to")
            await asyncio.to_thread(self._store.keep, incoming, body.commitment, body.round)

    def _follow(self, state: State) -> None:
        self._entrusted = {key: signed for key, signed in self._entrusted.items() if key[2] >= state.round}


def _read_update(request: web.Request) -> tuple[Signed, Update]:
    signed = read_header(request.headers.get(TRANSACTION_HEADER))
    if not isinstance(signed.body, Update) or signed.body.server is not None:
        raise MalformedRequestError(f"{TRANSACTION_HEADER} must hold a device's own Update")
    return signed, signed.body


def _read_duty(request: web.Request) -> tuple[Signed, Update | Delegate]:
    signed = read_header(request.headers.get(TRANSACTION_HEADER))
    return (signed, signed.body) if isinstance(signed.body, Delegate) else _read_update(request)


def _round_of(body: Update | Delegate) -> int:
    return body.first_round if isinstance(body, Delegate) else body.round


def _question(body: Update | Delegate) -> tuple[str, int, int]:
    """What a device answers once: a kind of transaction, of itself, in a round."""
    return type(body).__name__, body.device, _round_of(body)


def _too_long(size: int) -> WrongLengthError:
    return WrongLengthError(f"an update of this model has {size} bytes; more came")
