"""ABCI's requests, translated for the ledger, and its answers translated back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from bees.core.canonical import encode
from bees.core.errors import AbciError, CodecError, EngineError, ProofError, TransactionError
from bees.node.abci.pb.keys_pb2 import PublicKey
from bees.node.abci.pb.messages_pb2 import (
    ExecTxResult,
    Request,
    RequestFinalizeBlock,
    RequestInitChain,
    RequestPrepareProposal,
    RequestProcessProposal,
    Response,
    ResponseApplySnapshotChunk,
    ResponseOfferSnapshot,
    ResponseProcessProposal,
    ResponseVerifyVoteExtension,
    ValidatorUpdate,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bees.ledger.genesis import Genesis
    from bees.ledger.merkle import MerklePath

REFUSED, MALFORMED = 1, 2
"""Codes of CheckTx: a transaction that could not be in the next block, and bytes that are no transaction."""
NO_SUCH_LEAF = 1
"""Code of Query."""
COMET_CHAIN_ID_DIGITS = 40
"""CometBFT allows 50 characters for a chain id."""


def comet_chain_id(genesis: Genesis) -> str:
    """The name of a chain among CometBFT's: ``bees-`` and the first 40 hexadecimal digits of the chain id."""
    return f"bees-{genesis.chain_id.hex()[:COMET_CHAIN_ID_DIGITS]}"


class Ledger(Protocol):
    """What the adapter asks of the node."""

    @property
    def genesis(self) -> Genesis:
        """The agreement."""
        ...

    @property
    def height(self) -> int:
        """Of the last decided block."""
        ...

    @property
    def app_hash(self) -> bytes:
        """After it."""
        ...

    async def check(self, transaction: bytes) -> None:
        """Refuse a transaction with a CodecError or a TransactionError."""
        ...

    async def prepare(self, candidates: Sequence[bytes], limit_bytes: int) -> list[bytes]:
        """The candidates that can be in the next block together, in order, of so many bytes at most."""
        ...

    async def refusal(self, transactions: Sequence[bytes]) -> str | None:
        """Why a proposed block must not be decided, or None."""
        ...

    async def execute(self, transactions: Sequence[bytes], height: int) -> bytes:
        """The app hash after a decided block."""
        ...

    async def commit(self) -> None:
        """Make the state after the last executed block the state."""
        ...

    def found(self, validators: Sequence[bytes]) -> None:
        """Take note of the validators of CometBFT's genesis."""
        ...

    def validator_updates(self) -> list[tuple[bytes, int]]:
        """Public keys of validators, and the power that each has after the last executed block."""
        ...

    def query(self, leaf: str) -> tuple[bytes, MerklePath]:
        """A leaf of the state with the path that proves it; a ProofError when there is none."""
        ...


class Adapter:
    """Answers CometBFT's requests for a ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def answer(self, request: Request) -> Response:
        """The response to a request other than echo and flush.

        Raises:
            AbciError: the request is none that an application answers.
            EngineError: CometBFT runs another chain.
            BeesError: the ledger cannot go on.
        """
        response = Response()
        match request.WhichOneof("value"):
            case "info":
                self._info(response)
            case "init_chain":
                self._init_chain(request.init_chain, response)
            case "check_tx":
                await self._check_tx(request.check_tx.tx, response)
            case "prepare_proposal":
                await self._prepare(request.prepare_proposal, response)
            case "process_proposal":
                await self._process(request.process_proposal, response)
            case "finalize_block":
                await self._finalize(request.finalize_block, response)
            case "commit":
                await self._ledger.commit()
                response.commit.retain_height = 0  # a new server replays the chain from its first block
            case "query":
                self._query(request.query.path, request.query.data, response)
            case other:
                _decline(other, request, response)
        return response

    def _info(self, response: Response) -> None:
        response.info.data = "bees"
        response.info.app_version = 1
        response.info.last_block_height = self._ledger.height
        # Before the first block CometBFT expects none, and asks InitChain for it.
        response.info.last_block_app_hash = self._ledger.app_hash if self._ledger.height else b""

    def _init_chain(self, request: RequestInitChain, response: Response) -> None:
        genesis = self._ledger.genesis
        expected = comet_chain_id(genesis)
        if request.chain_id != expected:
            raise EngineError(f"CometBFT's genesis.json is of chain {request.chain_id}, not of {expected}")
        if request.initial_height not in {0, 1}:
            raise EngineError(f"CometBFT's genesis.json starts at height {request.initial_height}; it must be 1")
        powers = [validator.power for validator in request.validators]
        if powers != [1] * len(genesis.servers):
            wanted = f"one validator of power 1 for each of {len(genesis.servers)} servers"
            raise EngineError(f"CometBFT's genesis.json needs {wanted}; it has powers {powers}")
        self._ledger.found([validator.pub_key.ed25519 for validator in request.validators])
        response.init_chain.app_hash = self._ledger.app_hash

    async def _check_tx(self, transaction: bytes, response: Response) -> None:
        response.check_tx.SetInParent()
        try:
            await self._ledger.check(transaction)
        except CodecError as error:
            response.check_tx.code, response.check_tx.log = MALFORMED, str(error)
        except TransactionError as error:
            response.check_tx.code, response.check_tx.log = REFUSED, str(error)

    async def _prepare(self, request: RequestPrepareProposal, response: Response) -> None:
        response.prepare_proposal.txs.extend(await self._ledger.prepare(request.txs, request.max_tx_bytes))
        response.prepare_proposal.SetInParent()

    async def _process(self, request: RequestProcessProposal, response: Response) -> None:
        is_refused = await self._ledger.refusal(request.txs) is not None
        status = ResponseProcessProposal.REJECT if is_refused else ResponseProcessProposal.ACCEPT
        response.process_proposal.status = status

    async def _finalize(self, request: RequestFinalizeBlock, response: Response) -> None:
        response.finalize_block.app_hash = await self._ledger.execute(request.txs, request.height)
        response.finalize_block.tx_results.extend(ExecTxResult() for _ in request.txs)
        response.finalize_block.validator_updates.extend(
            ValidatorUpdate(pub_key=PublicKey(ed25519=key), power=power)
            for key, power in self._ledger.validator_updates()
        )

    def _query(self, path: str, data: bytes, response: Response) -> None:
        """``path`` is ``leaf``, ``data`` its name; the answer is the encoded leaf and its Merkle path."""
        query, name = response.query, data.decode(errors="replace")
        query.height, query.key = self._ledger.height, data
        if path != "leaf":
            query.code, query.log = NO_SUCH_LEAF, "ask path 'leaf' with the name of a leaf, such as 'round'"
            return
        try:
            query.value = encode(self._ledger.query(name))
        except ProofError as error:
            query.code, query.log = NO_SUCH_LEAF, str(error)


def _decline(kind: str | None, request: Request, response: Response) -> None:
    """There are no snapshots and no vote extensions: who is behind replays the blocks."""
    match kind:
        case "list_snapshots":
            response.list_snapshots.SetInParent()
        case "offer_snapshot":
            response.offer_snapshot.result = ResponseOfferSnapshot.REJECT
        case "load_snapshot_chunk":
            response.load_snapshot_chunk.SetInParent()
        case "apply_snapshot_chunk":
            response.apply_snapshot_chunk.result = ResponseApplySnapshotChunk.ABORT
        case "extend_vote":
            response.extend_vote.SetInParent()
        case "verify_vote_extension":
            is_empty = not request.verify_vote_extension.vote_extension
            status = ResponseVerifyVoteExtension.ACCEPT if is_empty else ResponseVerifyVoteExtension.REJECT
            response.verify_vote_extension.status = status
        case _:
            raise AbciError(f"request {kind!r} is none that an application answers")
