"""A device's part in a round, over HTTP: it believes its genesis only, and asks another node when one fails."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Self

import numpy as np
import structlog

from bees.core.canonical import decode
from bees.core.errors import CodecError, DoubleSignError, InputError, ModelShapeError, NetworkError, ProofError
from bees.core.fixed_point import bytes_to_words, dequantise, quantise
from bees.core.keys import is_signed_by
from bees.device.committees import KnownCommittees
from bees.device.delivery import Delivery
from bees.device.nodes import Nodes
from bees.device.offloading import RemoteTraining
from bees.device.results import Delegated, DeviceRound, Receipt
from bees.ledger.genesis import check_genesis
from bees.protocol.device import OpenRound, check_global_model, commit_update, delegate_round
from bees.protocol.signer import Signer
from bees.protocol.update_speller import UpdateSpeller
from bees.transport.bodies import ModelAnswer
from bees.transport.journal import DiskJournal

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from types import TracebackType

    from numpy.typing import ArrayLike, NDArray

    from bees.core.fixed_point import Words
    from bees.core.keys import SigningKey
    from bees.device.nodes import Answer
    from bees.device.offloading import Terms
    from bees.ledger.genesis import Genesis, SignedGenesis
    from bees.ledger.transactions import Signed

_WAIT_S = 20
_PAUSE_S = 1.0
_PROOF_BYTES = 1 << 20
"""More than the proof of any model: a signature of each of thousands of servers."""
_NOT_YET = 404

_log = structlog.get_logger("bees.device")


class AsyncDevice:
    """One device. Use it as an asynchronous context manager.

    Args:
        node_urls: of the nodes' device APIs, the nearest first.
        key: the device's.
        genesis: the device's own copy: all that it believes.
        journal: file that remembers what was signed, so that a restart never signs twice.
        authority: PEM file of the authority that has signed the nodes' certificates.
        timeout_s: until a node must have answered.
        index: u_k, which must be given where the servers have replaced the key that the genesis names.

    Raises:
        GenesisError: the genesis contradicts itself, or not every server has signed it.
        InputError: the key is no device's of this genesis, and no index was given.
    """

    def __init__(
        self,
        node_urls: Sequence[str],
        key: SigningKey,
        genesis: SignedGenesis,
        journal: Path,
        *,
        authority: str | None = None,
        timeout_s: float = 60.0,
        index: int | None = None,
    ) -> None:
        check_genesis(genesis)
        self.genesis = genesis.genesis
        self.index = _index_of(self.genesis, key, index)
        self._nodes = Nodes(node_urls, timeout_s=timeout_s, authority=authority)
        self._committees = KnownCommittees(self.genesis, journal.with_name(f"{journal.name}.committees"))
        self._asked_all = False
        self._journal = DiskJournal(journal)
        self._key = key
        self._remote: RemoteTraining | None = None
        self._signer = Signer(key, self._journal)
        self._speller = UpdateSpeller(self.genesis.model, feeds_back=True)
        self._last_round = 0

    def prefer(self, url: str) -> None:
        """Ask this node first, until it fails."""
        self._nodes.prefer(url)

    async def next_round(self) -> DeviceRound:
        """Wait for a round that this device has not handed in yet, and check its w_g(t-1).

        It waits for as long as it takes, also while no node answers. What it has signed before a restart counts as
        handed in.
        """
        if not self._asked_all:
            await self._committees.follow_all(self._nodes)
            self._asked_all = True
        while True:
            try:
                answer: DeviceRound | None = await self._nodes.first(self._ask_round, "the open round")
                answer = answer or await self._ask_others()
            except NetworkError as error:
                _log.warning("no node answers; trying again", reason=str(error))
                answer = None
            if answer is not None:
                return answer
            await asyncio.sleep(_PAUSE_S)

    async def submit(
        self, round_: DeviceRound, arrays: Sequence[ArrayLike], samples: int, *, confirm: bool = True
    ) -> Receipt:
        """Quantise, commit, sign and hand in the trained arrays.

        Args:
            round_: for which they were trained.
            arrays: of w_k(t), in the order and shapes of the genesis' model; float32 or float64.
            samples: n_k, on how many samples it was trained.
            confirm: stay until a block has the update and enough nodes hold its bytes, or the round is over. Without
                it the update depends on the one node that took it.

        Raises:
            ModelShapeError: the arrays are not those of the model.
            WeightRangeError: a weight is NaN, infinite or out of the codec's range.
            InputError: more samples than the genesis grants this device.
            DoubleSignError: another update was signed for this round, or the round was delegated.
            NetworkError: no node takes it, although the round is open.
            NotAMemberError: the servers have removed this device, or replaced its key.
        """
        if self._journal.signed_for(("Delegate", round_.round)) is not None:
            raise DoubleSignError("Delegate", round_.round)
        cap = self.genesis.devices[self.index].sample_cap
        if not 1 <= samples <= cap:
            raise InputError("samples", f"{samples} are claimed; the genesis grants this device 1 to {cap}")
        words = self._flatten(arrays)
        update = self._speller.spell(self.index, words, round_.words)
        open_round = OpenRound(self.genesis.chain_id, round_.round, round_.model)
        signed = commit_update(self._signer, open_round, self.index, samples, update)
        self._last_round = round_.round
        delivery = self._delivery(signed, round_.round, update)
        try:
            taken = (await delivery.entrust()).url
        except NetworkError:
            delivery.check_membership()
            # To miss a round is nothing unusual, and no reason to end a loop over rounds.
            if not await delivery.is_late():
                raise
            taken = ""
        accepted = await delivery.see_through() if confirm or not taken else None
        return Receipt(round_.round, delivery.commitment, taken, accepted)

    @property
    def offloads_until(self) -> int | None:
        """The last round for which the server holds this device's data; None where it holds none."""
        return None if self._remote is None else self._remote.last_round

    async def offload(self, round_: DeviceRound, x: ArrayLike, y: ArrayLike, terms: Terms) -> None:
        """Hand the raw data to a server, once, so that it can train from this round on.

        They are sealed to the server's key and leave for it alone; it sees every sample. If it holds them already they
        are not sent again.

        Args:
            round_: the first round.
            x: samples as the model takes them, shape (n, ...), floats.
            y: class of each, shape (n,).
            terms: which server, for how long, and how it trains.

        Raises:
            InputError: the samples are none, or would travel in plain to another host.
            NetworkError: the server cannot be reached, or refuses them.
        """
        committee = self._committees.proved.newest
        remote = RemoteTraining(self._nodes, self.genesis, self._key, self.index, terms, x, y, committee)
        await remote.hand_over(round_.round)
        self._remote = remote

    async def delegate(self, round_: DeviceRound, *, confirm: bool = True) -> Delegated:
        """Have the server train for the round and, when it has, sign the Delegate under which it signs the update.

        Whatever is raised but DoubleSignError, nothing was signed: the device may train itself, and ``submit``.

        Args:
            round_: to delegate.
            confirm: stay until a block has the update, or the round is over.

        Raises:
            InputError: nothing was offloaded.
            NetworkError: the server has no data for this round, refuses, fails or takes too long.
            DoubleSignError: an update was signed for this round, or it was delegated to another server.
            NotAMemberError: the servers have removed this device, or replaced its key.
        """
        remote = self._remote
        if remote is None:
            raise InputError("delegate", "no data are at a server; offload them first")
        if round_.round > remote.last_round:
            raise NetworkError(remote.url, f"the data were for rounds up to {remote.last_round}")
        trained = await remote.train(round_.round)
        if self._has_trained(round_.round):
            raise DoubleSignError("Update", round_.round)
        opened = OpenRound(self.genesis.chain_id, round_.round, round_.model)
        signed = delegate_round(self._signer, opened, self.index, remote.server)
        self._last_round = round_.round
        delivery = self._delivery(signed, round_.round, None)
        accepted = None
        if not await delivery.carry(remote.url):
            delivery.check_membership()
            _log.warning("no node takes the Delegate; the round is lost", round=round_.round)
            accepted = False
        elif confirm:
            accepted = await delivery.see_through()
        return Delegated(round_.round, remote.server, remote.url, trained.samples, trained.seconds, accepted)

    async def stop_offloading(self) -> None:
        """Have the server delete the data, and train no more.

        Raises:
            NetworkError: it does not answer; ask again, or wait for the last round.
        """
        if self._remote is not None:
            await self._remote.withdraw()
            self._remote = None

    async def close(self) -> None:
        """Close connections and journal."""
        await self._nodes.close()
        self._journal.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def _ask_others(self) -> DeviceRound | None:
        """The next round by another node: the first may lie, or stand still, when it tells of none."""
        for url in self._nodes.urls[1:]:
            try:
                answer = await self._ask_round(url, wait_s=0)
            except (NetworkError, ProofError, CodecError) as error:
                _log.info("node is of no help", node=url, reason=str(error))
                continue
            if answer is not None:
                return answer
        return None

    async def _ask_round(self, url: str, wait_s: int = _WAIT_S) -> DeviceRound | None:
        """The next round by one node; None where there is none yet."""
        told = (await self._useful(url, f"/v1/round?after={self._last_round}&wait={wait_s}")).json()
        if not told.get("open") or not isinstance(told.get("round"), int) or told["round"] <= self._last_round:
            return None
        committee_height = told.get("committee_height")
        if isinstance(committee_height, int) and committee_height > self._committees.proved.height:
            await self._committees.follow(self._nodes, url)
        limit = self.genesis.model.model_bytes + _PROOF_BYTES
        answer = await self._nodes.ask(url, "/v1/model", limit_bytes=limit)
        if answer.status == _NOT_YET:
            return None
        if answer.is_refused:
            raise NetworkError(url, answer.refusal)
        given = decode(answer.body, ModelAnswer)
        words = bytes_to_words(given.words)
        open_round = OpenRound(given.chain_id, given.round, given.previous_model)
        check_global_model(self.genesis, open_round, words, given.proof, is_signed_by, self._committees.proved)
        if given.round <= self._last_round or self._has_signed(given.round):
            self._last_round = max(self._last_round, given.round)
            return None
        return DeviceRound(given.round, given.previous_model, self._unflatten(words), words)

    def _delivery(self, signed: Signed, round_: int, update: bytes | None) -> Delivery:
        committee = self._committees.proved.newest
        return Delivery(self._nodes, self.genesis, committee, signed, self.index, round_, update)

    def _has_signed(self, round_: int) -> bool:
        return self._has_trained(round_) or self._journal.signed_for(("Delegate", round_)) is not None

    def _has_trained(self, round_: int) -> bool:
        return self._journal.signed_for((f"Update of {self.index}", round_)) is not None

    async def _useful(self, url: str, path: str) -> Answer:
        answer = await self._nodes.ask(url, path, limit_bytes=_PROOF_BYTES)
        if answer.is_refused:
            raise NetworkError(url, answer.refusal)
        return answer

    def _flatten(self, arrays: Sequence[ArrayLike]) -> Words:
        description = self.genesis.model
        given = [np.asarray(array) for array in arrays]
        shapes = [array.shape for array in given]
        wanted = [array.shape for array in description.arrays]
        if shapes != wanted:
            raise ModelShapeError(f"{description.name} with arrays {wanted}", str(shapes))
        return np.concatenate([quantise(array, description.exponent).reshape(-1) for array in given])

    def _unflatten(self, words: Words) -> tuple[NDArray[np.float32], ...]:
        weights = dequantise(words, self.genesis.model.exponent)
        arrays: list[NDArray[np.float32]] = []
        start = 0
        for array in self.genesis.model.arrays:
            arrays.append(weights[start : start + array.size].reshape(array.shape))
            start += array.size
        return tuple(arrays)


def _index_of(genesis: Genesis, key: SigningKey, index: int | None) -> int:
    keys = [record.public_key for record in genesis.devices]
    named = keys.index(key.public_key) if key.public_key in keys else None
    if index is None:
        if named is None:
            told = f"{key.public_key.hex()} is no device of chain {genesis.chain_id.hex()}"
            raise InputError("key", f"{told}; if it replaces the key of device K, say so: index=K (--index K)")
        return named
    if not 0 <= index < len(keys):
        raise InputError("index", f"{index} is none of the {len(keys)} devices of the genesis, from 0")
    if named not in (None, index):
        raise InputError("index", f"{index} is given, but the key is that of device {named}")
    return index
