"""What devices read of a node: the open round, w_g(t-1) with its proof, the committee, and the contract in force."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

from aiohttp import web

from bees.core.canonical import encode
from bees.core.errors import MissingBlobError
from bees.core.fixed_point import words_to_bytes
from bees.ledger.commitments import hash_contract
from bees.ledger.state import Phase
from bees.node.sending import send
from bees.transport.bodies import ModelAnswer, describe_round
from bees.transport.refusals import MalformedRequestError, NotYetError

if TYPE_CHECKING:
    import msgspec

    from bees.core.fixed_point import Words
    from bees.ledger.proofs import ModelProof
    from bees.ledger.state import State
    from bees.node.guarded_server import Handler
    from bees.node.ports import Ledger

LONGEST_WAIT_S = 30.0
COMMITTEES_PER_ANSWER = 64

_BINARY = "application/octet-stream"


class RoundApi:
    """Answers what anybody may ask about the chain.

    Args:
        ledger: the node's.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._taken: dict[int, list[int]] = {}
        self._answer: tuple[int, bytes] | None = None
        self._answering = asyncio.Lock()
        self._told: tuple[tuple[int, bool, int], bytes] | None = None
        self._moved = asyncio.Event()
        ledger.on_block(self._follow)
        ledger.on_certified(lambda _: self._wake())

    @property
    def routes(self) -> list[tuple[str, str, Handler]]:
        """Method, path and handler."""
        return [
            ("GET", "/v1/genesis", self._genesis),
            ("GET", "/v1/round", self._round),
            ("GET", "/v1/model", self._model),
            ("GET", "/v1/committee", self._committee),
            ("GET", "/v1/contract", self._contract),
            ("GET", "/v1/description", self._description),
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
        after, wait_s = natural(request, "after", -1), natural(request, "wait", 0)
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
        async with self._answering:  # all devices ask at once, and one answer is for all of them
            state = self._ledger.state
            if self._answer is None or self._answer[0] != state.round:
                proof = self._proved(state)
                try:
                    words = self._ledger.global_model
                except MissingBlobError:
                    raise NotYetError(f"this node does not hold w_g({state.round - 1}) yet; ask another one") from None
                self._answer = state.round, await asyncio.to_thread(_model_answer, state, proof, words)
            answer = self._answer[1]
        return await send(request, answer)

    async def _committee(self, request: web.Request) -> web.Response:
        """Proofs of the changes of the committee after a height, the first of them."""
        after = natural(request, "after", 0)
        proofs = [proof for proof in self._ledger.committee_proofs if proof.header.height > after]
        return web.Response(body=encode(tuple(proofs[:COMMITTEES_PER_ANSWER])), content_type=_BINARY)

    @property
    def _committee_height(self) -> int:
        """Of the block that has brought the newest committee which can be proved; 0 where that is the genesis'."""
        proofs = self._ledger.committee_proofs
        return proofs[-1].header.height if proofs else 0

    def _described(self) -> bytes:
        """The open round in JSON, written once for each block: devices ask for it all the time."""
        state = self._ledger.state
        version = state.height, self._is_open, self._committee_height
        if self._told is None or self._told[0] != version:
            more = {
                "app_hash": self._ledger.app_hash.hex(),
                "open": self._is_open,
                "committee_height": self._committee_height,
            }
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

    def _follow(self, state: State) -> None:
        self._taken[state.round] = sorted(state.updates)
        self._taken.pop(state.round - 2, None)
        self._wake()

    def _wake(self) -> None:
        self._moved.set()
        self._moved = asyncio.Event()


def natural(request: web.Request, name: str, default: int) -> int:
    """A whole number of the query.

    Raises:
        MalformedRequestError: it is none.
    """
    text = request.query.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdecimal() and len(text) <= 18):  # noqa: PLR2004  # digits of an int64
        raise MalformedRequestError(f"{name} must be a whole number")
    return int(text)


def _model_answer(state: State, proof: ModelProof | None, words: Words) -> bytes:
    answer = ModelAnswer(state.genesis.chain_id, state.round, state.model, proof, words_to_bytes(words))
    return encode(answer)


def _named(record: msgspec.Struct) -> dict[str, object]:
    """The fields of a record by name: canonical records are arrays, and people read names."""
    return {name: getattr(record, name) for name in record.__struct_fields__}
