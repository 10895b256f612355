"""Where devices offload: they hand in their raw data once, and ask for a training in each round.

Who, how much and under which limits is checked before a byte of the data is read. They come sealed to this server's
key, are held in memory only while they are received, and then stand in private files of ``OffloadStore``.
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

import structlog
from aiohttp import web

from bees.core.errors import DatasetError, InputError, ModelShapeError
from bees.core.keys import SEAL_BYTES
from bees.ledger.refusals import BadSignatureError
from bees.ledger.transactions import Delegate, author_key
from bees.node.limits import Queue
from bees.node.round_api import LONGEST_WAIT_S, natural
from bees.transport.offloading import (
    OFFLOAD_HEADER,
    ROUNDS_LIMIT,
    Offer,
    Withdrawal,
    data_digest,
    decode_data,
    is_word_of,
    read_word,
)
from bees.transport.refusals import (
    MalformedRequestError,
    NoLengthError,
    NoOfferError,
    NoOffloadingError,
    OfferRefusedError,
    TooManyRequestsError,
    TooSlowError,
    WrongBytesError,
    WrongLengthError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from bees.learning.models import Model
    from bees.ledger.state import State
    from bees.ledger.transactions import Signed
    from bees.node.guarded_server import Handler
    from bees.node.metrics import Metrics
    from bees.node.offloading import Offloading, Training
    from bees.node.ports import Ledger

Word = TypeVar("Word", Offer, Withdrawal)

_CHUNK_BYTES = 64 * 1024
_UPLOADS_WAITING = 100

_log = structlog.get_logger("bees.node.offloading")


class OffloadApi:
    """What devices that offload may ask of a node.

    Args:
        ledger: the node's.
        offloading: what it does for them.
        open_sealed: gives what was sealed to this server's key, or None.
        model: that the data must fit.
        metrics: of the node.
    """

    def __init__(
        self,
        ledger: Ledger,
        offloading: Offloading,
        open_sealed: Callable[[bytes], bytes | None],
        model: Model,
        metrics: Metrics,
    ) -> None:
        self._ledger, self._offloading, self._metrics = ledger, offloading, metrics
        self._offers, self._section = offloading.offers, offloading.section
        self._open_sealed, self._model = open_sealed, model
        # A place is kept until the data are on disk: what is received stands in memory.
        self._uploads = Queue(self._section.uploads_at_once, _UPLOADS_WAITING, 2 * self._section.upload_timeout_s)
        self._uploading: set[int] = set()
        metrics.raw_data.set(self._offers.size_bytes)
        ledger.on_block(lambda _: metrics.raw_data.set(self._offers.size_bytes))

    @property
    def routes(self) -> list[tuple[str, str, Handler]]:
        """Method, path and handler."""
        return [
            ("GET", "/v1/offload", self._terms),
            ("POST", "/v1/offload", self._take_offer),
            ("POST", "/v1/offload/stop", self._stop),
            ("GET", "/v1/offload/{device}", self._offer),
            ("POST", "/v1/offload/{device}/rounds/{round}", self._ask),
            ("GET", "/v1/offload/{device}/rounds/{round}", self._training),
        ]

    def updates(self, state: State) -> list[Signed]:
        """What was signed for devices and is not on the chain yet: to be sent again."""
        return self._offloading.updates(state)

    async def _terms(self, _: web.Request) -> web.Response:
        return web.json_response(
            {
                "accepts": True,
                "server": self._ledger.server,
                "data_limit_bytes": self._section.data_limit_bytes,
                "epochs_limit": self._section.epochs_limit,
            }
        )

    async def _take_offer(self, request: web.Request) -> web.Response:
        offer, key = self._word(request, Offer)
        self._check(offer)
        size = offer.data_bytes + SEAL_BYTES
        if request.content_length is None:
            raise NoLengthError("the data need a Content-Length")
        if request.content_length != size:
            raise WrongLengthError(f"the sealed data of this offer have {size} bytes, not {request.content_length}")
        with self._one_at_a_time(offer.device):
            async with self._uploads.place():
                sealed = await self._receive(request, size)
                await asyncio.to_thread(self._keep, offer, sealed, key)
        self._offloading.forget(offer.device)
        self._metrics.raw_data.set(self._offers.size_bytes)
        _log.info("a device offloads", device=offer.device, samples=offer.samples, data_bytes=offer.data_bytes)
        return web.json_response({"status": "held", "last_round": offer.last_round}, status=202)

    async def _stop(self, request: web.Request) -> web.Response:
        withdrawal, key = self._word(request, Withdrawal)
        stood = await asyncio.to_thread(self._offers.withdraw, withdrawal.device, withdrawal.serial, key)
        self._offloading.forget(withdrawal.device)
        self._metrics.raw_data.set(self._offers.size_bytes)
        _log.info("a device offloads no more; its data are deleted", device=withdrawal.device)
        return web.json_response({"status": "deleted" if stood else "none"})

    async def _offer(self, request: web.Request) -> web.Response:
        """Whether data of a device are here, for which rounds, and which serial its next word must exceed."""
        device = _number(request, "device")
        offer = self._offers.offers.get(device)
        told: dict[str, object] = {"held": offer is not None, "serial": self._offers.last_serial(device)}
        if offer is not None:
            how = {name: getattr(offer.settings, name) for name in offer.settings.__struct_fields__}
            told |= {"data": offer.data.hex(), "first_round": offer.first_round, "last_round": offer.last_round}
            told |= {"samples": offer.samples, "settings": how}
        return web.json_response(told)

    async def _ask(self, request: web.Request) -> web.Response:
        """Have a training done, which the device's own offer allows; whoever asks."""
        training = self._offloading.ask(_number(request, "device"), _number(request, "round"))
        return web.json_response(_described(training), status=202)

    async def _training(self, request: web.Request) -> web.Response:
        """How far a training is; with ``wait``, as soon as it is trained or has failed."""
        device, round_ = _number(request, "device"), _number(request, "round")
        training = self._offloading.training(device, round_)
        if training is None:
            raise NoOfferError(f"no training of device {device} for round {round_} was asked for")
        wait_s = min(natural(request, "wait", 0), LONGEST_WAIT_S)
        try:
            async with asyncio.timeout(wait_s):
                await training.settled.wait()
        except TimeoutError:
            pass
        return web.json_response(_described(training))

    def _word(self, request: web.Request, kind: type[Word]) -> tuple[Word, bytes]:
        """What the header says, and the key of the device that has signed it.

        Raises:
            MalformedRequestError: it says nothing of that kind.
            BadSignatureError: the device has not signed it.
            OfferRefusedError, TransactionError: see ``_author_key``.
        """
        word = read_word(request.headers.get(OFFLOAD_HEADER))
        if not isinstance(word.body, kind):
            raise MalformedRequestError(f"the header {OFFLOAD_HEADER} holds no {kind.__name__}")
        key = self._author_key(word.body)
        if not is_word_of(word, key):
            raise BadSignatureError(kind.__name__, word.body.device)
        return word.body, key

    def _author_key(self, word: Offer | Withdrawal) -> bytes:
        """The key of the device that speaks.

        Raises:
            OfferRefusedError: it speaks on another chain, or to another server.
            TransactionError: there is no such device, or not any more.
        """
        state, server = self._ledger.state, self._ledger.server
        if word.chain_id != state.genesis.chain_id:
            raise OfferRefusedError(f"it is for chain {word.chain_id.hex()[:16]}, not for this one")
        if word.server != server:
            raise OfferRefusedError(f"it is for server {word.server}; this is server {server}")
        return author_key(state.members, Delegate(word.chain_id, word.device, server, 0, 0))

    def _check(self, offer: Offer) -> None:
        state, section = self._ledger.state, self._section
        cap = state.genesis.devices[offer.device].sample_cap
        if offer.samples > cap:
            raise OfferRefusedError(f"{offer.samples} samples; the genesis grants device {offer.device} {cap}")
        if offer.data_bytes > section.data_limit_bytes:
            raise WrongLengthError(f"{offer.data_bytes} bytes of data; this node takes {section.data_limit_bytes}")
        if offer.settings.epochs > section.epochs_limit:
            raise OfferRefusedError(f"{offer.settings.epochs} epochs; this node trains {section.epochs_limit}")
        if not offer.first_round <= offer.last_round < offer.first_round + ROUNDS_LIMIT:
            raise OfferRefusedError(f"its rounds must be 1 to {ROUNDS_LIMIT} in number")
        if offer.last_round < state.round:
            raise OfferRefusedError(f"it is over: round {state.round} is open")
        self._offers.check(offer)

    @contextmanager
    def _one_at_a_time(self, device: int) -> Generator[None]:
        if device in self._uploading:
            raise TooManyRequestsError(f"data of device {device} are on their way already")
        self._uploading.add(device)
        try:
            yield
        finally:
            self._uploading.discard(device)

    async def _receive(self, request: web.Request, size: int) -> bytes:
        sealed = bytearray()
        try:
            async with asyncio.timeout(self._section.upload_timeout_s):
                async for chunk in request.content.iter_chunked(_CHUNK_BYTES):
                    sealed += chunk
                    if len(sealed) > size:
                        raise WrongLengthError(f"the sealed data of this offer have {size} bytes; more came")
        except TimeoutError:
            raise TooSlowError(f"the data did not come within {self._section.upload_timeout_s:g} s") from None
        return bytes(sealed)

    def _keep(self, offer: Offer, sealed: bytes, key: bytes) -> None:
        """Open, check and keep what has come; called in a thread."""
        data = self._open_sealed(sealed)
        if data is None:
            raise WrongBytesError("the data are not sealed to this server's key, or were altered")
        if data_digest(offer.chain_id, offer.server, offer.device, data) != offer.data:
            raise WrongBytesError("these are not the data that the device has signed")
        try:
            check_fit(data, offer.samples, self._model)
        except (DatasetError, InputError, ModelShapeError) as error:
            raise OfferRefusedError(str(error)) from error
        self._offers.keep(offer, data, key)


def check_fit(data: bytes, samples: int, model: Model) -> None:
    """Refuse data that a model cannot be trained on.

    Raises:
        DatasetError: they are no samples, or not so many, or do not fit the model.
        ModelShapeError: likewise, for a user's own model.
    """
    from bees.learning.models import check_model  # noqa: PLC0415  # JAX, which only a node that trains needs here
    from bees.learning.samples import check_samples, sizes_of  # noqa: PLC0415  # likewise

    x, y = decode_data(data)
    if len(y) != samples:
        raise DatasetError("offloaded data", f"has {len(y)} samples; {samples} are offered")
    check_samples("offloaded data", x, y, *sizes_of(model))
    check_model(model, x.shape[1], int(y.max()) + 1)


class NoOffloadApi:
    """In the place of ``OffloadApi`` at a node that trains for nobody: says so."""

    @property
    def routes(self) -> list[tuple[str, str, Handler]]:
        """Method, path and handler."""
        return [("GET", "/v1/offload", self._terms), ("POST", "/v1/offload{rest:.*}", self._refuse)]

    def updates(self, _: State) -> list[Signed]:
        """Nothing."""
        return []

    async def _terms(self, _: web.Request) -> web.Response:
        return web.json_response({"accepts": False})

    async def _refuse(self, _: web.Request) -> web.Response:
        raise NoOffloadingError("this node trains for nobody: offloading.accept in its node.toml is false")


def _described(training: Training) -> dict[str, object]:
    told: dict[str, object] = {"round": training.opened.round, "state": training.state, "problem": training.problem}
    told |= {"samples": training.offer.samples, "seconds": round(training.seconds, 3)}
    if training.signed is not None and training.commitment is not None:
        told["commitment"] = training.commitment.hex()
    return told


def _number(request: web.Request, name: str) -> int:
    text = request.match_info[name]
    if not (text.isascii() and text.isdecimal() and len(text) <= 18):  # noqa: PLR2004  # digits of an int64
        raise MalformedRequestError(f"{name} must be a whole number")
    return int(text)
