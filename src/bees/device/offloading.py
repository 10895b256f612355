"""A device's data at its server: handed over once, trained on in each round that the device delegates, taken back.

The data go to one registered server only, sealed to the key that the genesis names. What the server says of a training
is believed as far as the next step: the device delegates, and then follows the chain.
"""

from __future__ import annotations

import asyncio
import ipaddress
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np
import structlog

from bees.core.errors import InputError, NetworkError
from bees.core.keys import seal
from bees.transport.offloading import (
    OFFLOAD_HEADER,
    ROUNDS_LIMIT,
    Offer,
    TrainingSettings,
    Withdrawal,
    data_digest,
    encode_data,
    sign_word,
    write_word,
)

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from bees.core.keys import SigningKey
    from bees.device.nodes import Answer, Nodes
    from bees.ledger.committee import Committee
    from bees.ledger.genesis import Genesis
    from bees.transport.offloading import SignedWord

_WAIT_S = 20
_PAUSE_S = 0.5

_log = structlog.get_logger("bees.device")


@dataclass(frozen=True)
class Terms:
    """On which a device offloads.

    Attributes:
        settings: of the training, as the device itself would train.
        rounds: after so many the server deletes the data; None: when the device says stop.
        server: who trains; None: the device's nearest, as the genesis says.
        insecure: whether data may travel by plain http to another host.
        patience_s: that a round's training may take before the device trains itself.
    """

    settings: TrainingSettings = field(default_factory=TrainingSettings)
    rounds: int | None = None
    server: int | None = None
    insecure: bool = False
    patience_s: float = 30.0


@dataclass(frozen=True)
class Trained:
    """What a server says of a training.

    Attributes:
        samples: on how many.
        seconds: how long it took.
    """

    samples: int
    seconds: float


class RemoteTraining:
    """One device's data at one server.

    Args:
        nodes: that the device knows; one of them must be the server.
        genesis: the device's own.
        key: of the device.
        index: u_k.
        terms: see ``Terms``.
        x: samples, shape (n, inputs) or (n, ...), any floats.
        y: class of each, shape (n,).
        committee: the servers that count now, as far as is known.

    Raises:
        InputError: no samples, more than the genesis grants, NaN among them, or no such server.
    """

    def __init__(
        self,
        nodes: Nodes,
        genesis: Genesis,
        key: SigningKey,
        index: int,
        terms: Terms,
        x: ArrayLike,
        y: ArrayLike,
        committee: Committee,
    ) -> None:
        self.server = genesis.devices[index].server if terms.server is None else terms.server
        if not 0 <= self.server < len(genesis.servers):
            raise InputError("server", f"{self.server} is none of the {len(genesis.servers)} servers of the genesis")
        server_key = committee.key(self.server)
        if server_key is None:
            raise InputError("server", f"{self.server} was removed from the chain; offload to another one")
        self._server_key = server_key
        self.url, self.last_round = "", 0
        self._nodes, self._genesis, self._key, self._index, self._terms = nodes, genesis, key, index, terms
        samples, labels = _checked(x, y, genesis.devices[index].sample_cap)
        self.samples = len(labels)
        self._data = encode_data(samples, labels)
        self._digest = data_digest(genesis.chain_id, self.server, index, self._data)

    async def hand_over(self, first_round: int) -> None:
        """Have the server hold the data from this round on; they are sent only if it does not hold them already.

        Raises:
            InputError: they would travel in plain to another host.
            NetworkError: no node is the server, it takes no data, or refuses these.
        """
        self.url = await self._find_server()
        _check_link(self.url, insecure=self._terms.insecure)
        told = await self._json(self.url, f"/v1/offload/{self._index}")
        if self._is_held(told, first_round):
            self.last_round = int(told["last_round"])
            _log.info("the server holds the data already", server=self.server, last_round=self.last_round)
            return
        self.last_round = first_round + (self._terms.rounds or ROUNDS_LIMIT) - 1
        offer = Offer(
            chain_id=self._genesis.chain_id,
            device=self._index,
            server=self.server,
            serial=_next_serial(told),
            first_round=first_round,
            last_round=self.last_round,
            data=self._digest,
            data_bytes=len(self._data),
            samples=self.samples,
            settings=self._terms.settings,
        )
        sealed = await asyncio.to_thread(seal, self._server_key, self._data)
        await self._post("/v1/offload", sealed, sign_word(offer, self._key))
        fields = {"server": self.server, "samples": self.samples, "sealed_bytes": len(sealed)}
        _log.info("raw data are at the server", **fields, last_round=self.last_round)

    async def train(self, round_: int) -> Trained:
        """Have the server train for a round, and wait for it; then the round can be delegated.

        Raises:
            NetworkError: it refuses, fails, or is not done in time; nothing was signed for the round.
        """
        try:
            async with asyncio.timeout(self._terms.patience_s):
                await self._ask(round_)
                told = await self._settled(round_)
        except TimeoutError:
            problem = f"has not trained for round {round_} within {self._terms.patience_s:g} s"
            raise NetworkError(self.url, problem) from None
        if told.get("state") not in {"trained", "signed"}:
            raise NetworkError(self.url, f"has not trained: {str(told.get('problem', ''))[:300]}")
        return Trained(_natural(told, "samples"), float(told.get("seconds") or 0))

    async def withdraw(self) -> None:
        """Have the server delete the data.

        Raises:
            NetworkError: it does not answer, or refuses.
        """
        told = await self._json(self.url, f"/v1/offload/{self._index}")
        word = Withdrawal(self._genesis.chain_id, self._index, self.server, _next_serial(told))
        await self._post("/v1/offload/stop", b"", sign_word(word, self._key))
        _log.info("the server has deleted the raw data, it says", server=self.server)

    async def _find_server(self) -> str:
        """URL of the node that says it is the server. It need not be believed: nobody else can open the data."""
        reasons: list[str] = []
        for url in self._nodes.urls:
            try:
                told = await self._json(url, "/v1/offload")
            except NetworkError as error:
                reasons.append(str(error))
                continue
            if told.get("accepts") is not True:
                reasons.append(f"{url}: trains for nobody")
            elif told.get("server") == self.server:
                return url
        raise NetworkError(f"server {self.server}", f"no known node trains in its name ({'; '.join(reasons)[:400]})")

    async def _ask(self, round_: int) -> None:
        path, has_sent_again = f"/v1/offload/{self._index}/rounds/{round_}", False
        while True:
            answer = await self._nodes.ask(self.url, path, body=b"")
            if not answer.is_refused:
                return
            error = answer.json().get("error")
            if error == "NoOfferError" and not has_sent_again:
                _log.warning("the server has lost the data; they are sent again", server=self.server)
                await self.hand_over(round_)
                has_sent_again = True
            elif error in {"NotYetError", "TooManyRequestsError"}:
                await asyncio.sleep(_PAUSE_S)
            else:
                raise NetworkError(self.url, answer.refusal)

    async def _settled(self, round_: int) -> dict[str, Any]:
        while True:
            told = await self._json(self.url, f"/v1/offload/{self._index}/rounds/{round_}?wait={_WAIT_S}")
            if told.get("state") not in {"waits", "trains"}:
                return told
            await asyncio.sleep(_PAUSE_S)

    def _is_held(self, told: dict[str, Any], round_: int) -> bool:
        settings = self._terms.settings
        wanted = {name: getattr(settings, name) for name in settings.__struct_fields__}
        is_same = told.get("data") == self._digest.hex() and told.get("settings") == wanted
        left, rounds = _natural(told, "last_round") - round_ + 1, self._terms.rounds
        # Neither longer than the device wants, nor, where it says when to stop, for a few rounds only.
        return is_same and (left > ROUNDS_LIMIT // 2 if rounds is None else 1 <= left <= rounds)

    async def _json(self, url: str, path: str) -> dict[str, Any]:
        answer = await self._nodes.ask(url, path)
        if answer.is_refused:
            raise NetworkError(url, answer.refusal)
        return answer.json()

    async def _post(self, path: str, body: bytes, word: SignedWord) -> Answer:
        headers = {OFFLOAD_HEADER: write_word(word), "Content-Type": "application/octet-stream"}
        answer = await self._nodes.ask(self.url, path, body=body, headers=headers)
        if answer.is_refused:
            raise NetworkError(self.url, answer.refusal)
        return answer


def _next_serial(told: dict[str, Any]) -> int:
    """Above all words before, by this device's clock or, should that have gone back, by what the server remembers."""
    return max(time.time_ns() // 10**6, _natural(told, "serial") + 1)


def _natural(told: dict[str, Any], name: str) -> int:
    value = told.get(name)
    return value if isinstance(value, int) and 0 <= value < 2**62 else 0


def _check_link(url: str, *, insecure: bool) -> None:
    parts = urlsplit(url)
    if parts.scheme == "https" or insecure or _is_loopback(parts.hostname or ""):
        return
    problem = f"raw data would go by plain http to {parts.hostname}; let the node speak TLS (https://)"
    raise InputError(url, f"{problem}, or allow it with --insecure-offload (insecure=True)")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _checked(x: ArrayLike, y: ArrayLike, cap: int) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    samples, labels = np.asarray(x, dtype=np.float32), np.asarray(y)
    if samples.ndim < 2 or len(samples) == 0 or labels.shape != samples.shape[:1]:  # noqa: PLR2004  # samples by numbers
        raise InputError("x", f"has samples of shape {samples.shape} and labels of shape {labels.shape}")
    if labels.dtype.kind not in "ui" or int(labels.min()) < 0 or not np.isfinite(samples).all():
        raise InputError("x", "samples must be finite numbers, and labels whole ones from 0 on")
    if len(labels) > cap:
        raise InputError("samples", f"{len(labels)} are offered; the genesis grants this device 1 to {cap}")
    return samples.reshape(len(samples), -1), labels.astype(np.int32)
