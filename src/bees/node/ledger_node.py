"""An edge server's ledger on CometBFT: judges and executes blocks, certifies them, and keeps the chain file.

CometBFT talks to it over ABCI (``bees.node.abci``); the service half (devices, blobs, duties) talks to it through
``LedgerNode``, and hands in ``Peers``, the way to the other servers.

Everything that changes lives on one asyncio loop, so that nothing of it needs a lock. What would hold the loop up is
done by threads, which are given what does not change, and whose results the loop takes in:

* contracts run in ``ContractThread``, on frozen states and bytes that are named by their hash;
* blocks are written to the chain file in ``ChainKeeper``'s thread, one at a time and all or nothing;
* headers are written down by ``Certifier.sign_loop``, one after the other, before their signatures leave;
* bytes of updates are read, hashed and written by any thread: ``read_blob``, ``DiskBlobStore`` and ``ChainKeeper.blob``
  are safe to call from each.

A request that waits for one of these gives way in the middle, and goes on with the state as it then is. ``stop`` waits
for what a thread has begun.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog

from bees.core.errors import ContractError, EngineError, GenesisError, MissingBlobError, NoKeyError
from bees.core.fixed_point import words_to_bytes
from bees.ledger.aggregation import ContractExecutor
from bees.ledger.application import Application
from bees.ledger.block import block_id
from bees.ledger.proofs import prove_committee
from bees.node.abci.adapter import Adapter
from bees.node.abci.server import AbciServer
from bees.node.certificates import SignedHeaders
from bees.node.certified_chain import CertifiedBlock, CertifiedChain
from bees.node.certifier import Certifier
from bees.node.chain_keeper import ChainKeeper
from bees.node.comet_client import CometClient
from bees.node.contract_thread import ContractThread
from bees.node.judge import Judge
from bees.node.peers import Blobs, Peers, WantedBlob
from bees.node.validators import Validators
from bees.protocol.key_ring import KeyRing

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence
    from pathlib import Path

    from bees.contract.vm import VirtualMachine
    from bees.core.fixed_point import Words
    from bees.core.keys import SigningKey
    from bees.ledger.block import Block
    from bees.ledger.committee import Committee
    from bees.ledger.genesis import Genesis, SignedGenesis
    from bees.ledger.merkle import MerklePath
    from bees.ledger.proofs import CommitteeProof, ModelProof
    from bees.ledger.state import State
    from bees.ledger.transactions import Signed
    from bees.node.certificates import HeaderSignature
    from bees.node.judge import Counts

__all__ = ["Blobs", "CertifiedBlock", "LedgerNode", "LedgerSettings", "Peers", "WantedBlob"]

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class LedgerSettings:
    """How one edge server's ledger runs on its machine.

    Attributes:
        folder: holds ``chain.db`` and ``certificates.db``; must exist.
        abci_address: where CometBFT finds it: ``unix:///path/abci.sock``, or ``tcp://127.0.0.1:26658``.
        comet_rpc: CometBFT's RPC, such as ``http://127.0.0.1:26657``.
        proposal_patience_s: how long a proposed block may wait for missing bytes before it is rejected.
        fetch_pause_s: between two tries to get missing bytes.
        pull_after_s: how long a decided block may lack its certificate before signatures are pulled from peers.
        message_limit_bytes: the largest ABCI message that is read.
    """

    folder: Path
    abci_address: str
    comet_rpc: str
    proposal_patience_s: float = 5.0
    fetch_pause_s: float = 0.25
    pull_after_s: float = 1.0
    message_limit_bytes: int = 64 << 20


class LedgerNode:
    """One per process; every method but ``read_blob`` runs on the asyncio loop on which ``start`` was called.

    Attributes:
        signed_genesis: what the chain starts from.
        server: index of this server.
        key: its BEES keys, which sign with the one that the chain names.
        executor: runs contracts, and holds the words of w_g by hash; what asks it is called by its ``settle``.
        blobs: as handed in. Of rounds before ``certified.state.round - 1`` they may be pruned: what contracts read
            is in the chain file then.
        comet: the RPC of CometBFT.
        last_block: the newest decided block (it may not be certified yet), or None before the first.
    """

    def __init__(
        self,
        settings: LedgerSettings,
        signed: SignedGenesis,
        server: int,
        keys: KeyRing | SigningKey,
        machine: VirtualMachine,
        initial_model: Words,
        blobs: Blobs,
        peers: Peers,
    ) -> None:
        """Open or make the chain file and replay it; nothing listens yet.

        Raises:
            GenesisError: the genesis cannot be started from, or the key is not the server's.
            NoKeyError: the chain names another key for the server, or it was removed.
            ChainFileError: the chain file is damaged, or of another genesis.
            BlockError: a block in it is not right.
        """
        self.key = keys if isinstance(keys, KeyRing) else KeyRing(server, [keys])
        _check_server(signed.genesis, server)
        self.signed_genesis, self.server, self.blobs = signed, server, blobs
        self.executor = ContractThread(ContractExecutor(machine, self.read_blob, initial_model))
        self._application = Application(signed, self.executor)
        self._keeper = ChainKeeper(settings.folder / "chain.db", signed, words_to_bytes(initial_model))
        self._judge = Judge(
            server,
            self._application,
            self.executor,
            blobs,
            peers,
            patience_s=settings.proposal_patience_s,
            pause_s=settings.fetch_pause_s,
        )
        self.last_block: Block | None = None
        newest, proofs = self._replay()
        self._validators = Validators(settings.folder)
        self._certifier = Certifier(
            chain_id=signed.genesis.chain_id,
            committee=self.state.members.committee,
            server=server,
            keys=self.key,
            verify=self._application.memo.verify,
            signed_headers=SignedHeaders(settings.folder / "certificates.db"),
            peers=peers,
            pull_after_s=settings.pull_after_s,
            certified=self._keeper.height,
        )
        self._chain = CertifiedChain(self._keeper, self._certifier, self._judge, self.read_blob, newest, proofs)
        self._chain.on_certified(lambda block: self._check_place(block.state.members.committee))
        self.comet = CometClient(settings.comet_rpc)
        self._server = AbciServer(settings.abci_address, Adapter(self), self.fail, settings.message_limit_bytes)
        self._executed: Block | None = None
        self._block_callbacks: list[Callable[[State], None]] = []
        self._transaction_callbacks: list[Callable[[Signed], None]] = []
        self._failure: BaseException | None = None
        self._failed = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    # What the process asks.

    async def start(self) -> None:
        """Listen for CometBFT, and begin to exchange signatures.

        Raises:
            EngineError: the ABCI address cannot be listened on.
        """
        self.executor.start()
        await self._server.start()
        for loop in (self._certifier.sign_loop(), self._chain.run(lambda: self.height)):
            self._tasks.append(asyncio.create_task(self._guard(loop)))
        _log.info("ledger started", height=self.height, app_hash=self.app_hash.hex()[:16], abci=self.abci_address)

    async def stop(self) -> None:
        """Stop listening, close the files. Nothing that was certified or signed is lost."""
        await self._server.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.executor.stop()
        await self.comet.close()
        self._certifier.close()
        await asyncio.to_thread(self._keeper.close)

    async def wait(self) -> None:
        """Until the node must stop.

        Raises:
            BeesError: why: the state differs from the chain's (exit code 1), or the disk is full (2).
        """
        await self._failed.wait()
        if self._failure is not None:
            raise self._failure

    def fail(self, failure: BaseException) -> None:
        """Have ``wait`` raise this, and answer CometBFT no more."""
        if self._failure is None:
            self._failure = failure
            self._failed.set()
            self._tasks.append(asyncio.create_task(self._server.stop()))

    @property
    def abci_address(self) -> str:
        """Where it listens, as CometBFT's ``proxy_app`` names it."""
        return self._server.address

    @property
    def counts(self) -> Counts:
        """What happened since the start, for metrics."""
        return self._judge.counts

    @property
    def certified(self) -> CertifiedBlock | None:
        """The newest certified block, or None before the first."""
        return self._chain.newest

    @property
    def certified_height(self) -> int:
        """Of the newest certified block."""
        return self._keeper.height

    # What the service half asks.

    @property
    def genesis(self) -> Genesis:
        """The agreement."""
        return self.signed_genesis.genesis

    @property
    def state(self) -> State:
        """After the last decided block."""
        return self._application.state

    @property
    def height(self) -> int:
        """Of the last decided block."""
        return self._application.state.height

    @property
    def app_hash(self) -> bytes:
        """After the last decided block."""
        return self._application.app_hash

    @property
    def global_model(self) -> Words:
        """Words of ``state.model``, shape (P,).

        Raises:
            MissingBlobError: this server does not hold them.
        """
        words = self.executor.models.get(self.state.model)
        if words is None:
            raise MissingBlobError(self.state.model)
        return words

    def read_blob(self, commitment: bytes) -> bytes | None:
        """An update from the blobs or, of older rounds, from the chain file; to be served to peers as well.

        It waits for the disk: call it in a thread, and in any.
        """
        data = self.blobs.get(commitment)
        return self._keeper.blob(commitment) if data is None else data

    async def submit(self, signed: Signed) -> None:
        """Check a transaction, and hand it to CometBFT's mempool. The same one may be handed in again.

        Raises:
            TransactionError: it could not be in the next block.
            CometError: CometBFT cannot be reached, or its mempool is full.
        """
        await self._judge.admit(signed)
        refusal = await self.comet.submit(signed.encoding)
        if refusal is not None:
            await self._judge.admit(signed)  # a block may have come between, and then says why
            raise EngineError(f"CometBFT's mempool has not taken the transaction: {refusal}")

    def on_block(self, callback: Callable[[State], None]) -> None:
        """Call back after every decided block; ``last_block`` then holds its transactions."""
        self._block_callbacks.append(callback)

    def on_certified(self, callback: Callable[[CertifiedBlock], None]) -> None:
        """Call back after every certified block."""
        self._chain.on_certified(callback)

    def on_transaction(self, callback: Callable[[Signed], None]) -> None:
        """Call back for every authentic transaction that reaches the mempool, also one that is refused."""
        self._transaction_callbacks.append(callback)

    def proof(self) -> ModelProof | None:
        """The proof of the last round that is closed at the newest *certified* block; None before the first.

        ``certified.state`` may be a block behind ``state``: serve devices from it.
        """
        return self._chain.proof()

    @property
    def committee_proofs(self) -> Sequence[CommitteeProof]:
        """One proof for each certified change of the committee, in order."""
        return self._chain.committee_proofs

    def take_signature(self, signature: HeaderSignature) -> bool:
        """Take in another server's signature; returns whether it was of use. One that is forged changes nothing."""
        is_of_use = self._certifier.take(signature, self.height)
        if not is_of_use:
            self.counts.signatures_refused += 1
        return is_of_use

    def signatures(self, first_height: int, last_height: int) -> list[HeaderSignature]:
        """The signatures that this server holds for some heights (at most 100), for a peer that lacks them."""
        return self._certifier.signatures(first_height, last_height, self._keeper.commit)

    # What CometBFT asks, through the adapter.

    async def check(self, transaction: bytes) -> None:
        """Refuse a transaction of the mempool with a CodecError or a TransactionError."""
        await self._judge.check(transaction, self._hear)

    async def prepare(self, candidates: Sequence[bytes], limit_bytes: int) -> list[bytes]:
        """The candidates that can be in the next block together, in order, of so many bytes at most."""
        return await self._judge.prepare(candidates, limit_bytes)

    async def refusal(self, transactions: Sequence[bytes]) -> str | None:
        """Why a proposed block must not be decided, or None."""
        reason = await self._judge.refusal(transactions)
        if reason is not None:
            _log.warning("proposal rejected", height=self.height + 1, reason=reason)
        return reason

    async def execute(self, transactions: Sequence[bytes], height: int) -> bytes:
        """Execute a decided block; the app hash after it."""
        await self._certifier.room()
        self._executed = await self._judge.execute(transactions, height)
        return self._executed.header.app_hash

    async def commit(self) -> None:
        """Make the state after the last executed block the state, sign its header, tell whoever follows."""
        block, before = self._executed, self.state
        if block is None:
            return
        self._executed = None
        self._application.commit()
        self._judge.follow(block_id(block.header))
        if self.state.round > before.round and self.state.model not in self.executor.models:
            await self._judge.learn_model(before)
        self.last_block = block
        self._chain.decide(block, self.state, before.members.committee)
        if self.state.members.committee != before.members.committee:
            self._follow_committee(self.state.members.committee)
        for callback in self._block_callbacks:
            callback(self.state)

    def found(self, validators: Sequence[bytes]) -> None:
        """Take note of the validators of CometBFT's genesis, before the first block."""
        self._validators.found(validators)

    def validator_updates(self) -> list[tuple[bytes, int]]:
        """What the last executed block changes for CometBFT: public keys of validators, and their power from now on."""
        return self._validators.updates(self.state.members, self._application.pending.members)

    def query(self, leaf: str) -> tuple[bytes, MerklePath]:
        """A leaf of the state with the path that proves it."""
        return self._application.query(leaf)

    def _hear(self, signed: Signed) -> None:
        for callback in self._transaction_callbacks:
            callback(signed)

    def _replay(self) -> tuple[CertifiedBlock | None, list[CommitteeProof]]:
        """Take in the chain file, and the words of each w_g as it goes; its last block, and proofs of its committees.

        Raises:
            NoKeyError: the chain names another key for this server, or it was removed.
        """
        before, newest = self.state, None
        proofs: list[CommitteeProof] = []
        for audited in self._keeper.replay(self._application):
            if audited.state.round > before.round and audited.state.model not in self.executor.models:
                with suppress(MissingBlobError, ContractError):
                    self.executor.run(before)
            if audited.state.members.committee != before.members.committee:
                proofs.append(prove_committee(audited.state, audited.block.header, audited.commit))
            before = audited.state
            newest, self.last_block = CertifiedBlock(audited.block, audited.commit, audited.state), audited.block
            self._judge.follow(audited.commit.block_id)
        if self.height:
            self.key.follow(before.members.committee)
        elif self.key.named_in(before.members.committee) is None and not self.key.waits:
            raise GenesisError("servers", f"the key at hand is not the one of server {self.server}")
        return newest, proofs

    def _follow_committee(self, committee: Committee) -> None:
        """A server that takes no part any more goes on until the block that says so is certified."""
        try:
            self.key.follow(committee)
        except NoKeyError as error:
            _log.warning("this server does not sign any more", reason=str(error))

    def _check_place(self, committee: Committee) -> None:
        try:
            self.key.follow(committee)
        except NoKeyError as error:
            self.fail(error)

    async def _guard(self, loop: Coroutine[Any, Any, None]) -> None:
        try:
            await loop
        except Exception as error:  # noqa: BLE001  # the process must hear of it, whatever it is
            self.fail(error)


def _check_server(genesis: Genesis, server: int) -> None:
    if not 0 <= server < len(genesis.servers):
        raise GenesisError("servers", f"there is no server {server}; it names {len(genesis.servers)}")
