"""An edge server's ledger on CometBFT: judges and executes blocks, certifies them, and keeps the chain file.

CometBFT talks to it over ABCI (``bees.node.abci``); the service half (devices, blobs, duties) talks to it through
``LedgerNode``, and hands in ``Peers``, the way to the other servers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from bees.contract.vm import VirtualMachine
    from bees.core.fixed_point import Words
    from bees.core.keys import SigningKey
    from bees.ledger.aggregation import ContractExecutor
    from bees.ledger.block import Block, Commit, Header
    from bees.ledger.genesis import Genesis, SignedGenesis
    from bees.ledger.proofs import ModelProof
    from bees.ledger.state import State
    from bees.ledger.transactions import Signed
    from bees.node.certificates import HeaderSignature


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


class WantedBlob(NamedTuple):
    """Bytes of an update that a block needs.

    Attributes:
        commitment: ``commit_to_update(device, round, bytes)``.
        device: whose update it is.
        round: t.
        sources: servers that attest to hold it, without this one; ask them first.
    """

    commitment: bytes
    device: int
    round: int
    sources: tuple[int, ...]


class Blobs(Protocol):
    """The revealed updates of this server (``bees.engines.blobs.MemoryBlobStore`` is one)."""

    def put(self, device: int, round_: int, data: bytes) -> bytes:
        """Keep an update, and return its commitment."""
        ...

    def get(self, commitment: bytes) -> bytes | None:
        """The update that was committed to, or None."""
        ...


class Peers(Protocol):
    """The way to the other servers, which the service half hands in. None of its methods raises; all end in time."""

    async def fetch_blob(self, wanted: WantedBlob) -> bytes | None:
        """The bytes of an update from another server, or None. The ledger checks them against the commitment."""
        ...

    async def push_signature(self, signature: HeaderSignature) -> None:
        """Give this server's signature to every other server, whose ``LedgerNode.take_signature`` takes it."""
        ...

    async def pull_signatures(self, first_height: int, last_height: int) -> Sequence[HeaderSignature]:
        """What ``LedgerNode.signatures`` of the other servers answers for these heights, ends included."""
        ...


@dataclass(frozen=True)
class CertifiedBlock:
    """The newest block with a certificate.

    Attributes:
        block: header and transactions.
        commit: signatures of more than 2N/3 servers.
        state: after it.
    """

    block: Block
    commit: Commit
    state: State


class LedgerNode:
    """One per process; every method runs on the asyncio loop on which ``start`` was called.

    Attributes:
        signed_genesis: what the chain starts from.
        server: index of this server.
        key: its BEES key.
        executor: runs contracts, and holds the words of w_g by hash.
        blobs: as handed in.
        certified: the newest certified block, or None before the first.
        last_block: the newest decided block (it may not be certified yet), or None before the first.
    """

    signed_genesis: SignedGenesis
    server: int
    key: SigningKey
    executor: ContractExecutor
    blobs: Blobs
    certified: CertifiedBlock | None
    last_block: Block | None

    def __init__(
        self,
        settings: LedgerSettings,
        signed: SignedGenesis,
        server: int,
        key: SigningKey,
        machine: VirtualMachine,
        initial_model: Words,
        blobs: Blobs,
        peers: Peers,
    ) -> None:
        """Open or make the chain file and replay it; nothing listens yet.

        Raises:
            GenesisError: the genesis cannot be started from, or the key is not the server's.
            ChainFileError: the chain file is damaged, or of another genesis.
            BlockError: a block in it is not right.
        """
        raise NotImplementedError

    async def start(self) -> None:
        """Listen for CometBFT, and begin to exchange signatures.

        Raises:
            EngineError: the ABCI address cannot be listened on.
        """
        raise NotImplementedError

    async def stop(self) -> None:
        """Stop listening, close the files. Nothing that was certified or signed is lost."""
        raise NotImplementedError

    async def wait(self) -> None:
        """Until the node must stop.

        Raises:
            BeesError: why: the state differs from the chain's (exit code 1), or the disk is full (2).
        """
        raise NotImplementedError

    @property
    def genesis(self) -> Genesis:
        """The agreement."""
        raise NotImplementedError

    @property
    def state(self) -> State:
        """After the last decided block."""
        raise NotImplementedError

    @property
    def height(self) -> int:
        """Of the last decided block."""
        raise NotImplementedError

    @property
    def app_hash(self) -> bytes:
        """After the last decided block."""
        raise NotImplementedError

    @property
    def global_model(self) -> Words:
        """Words of ``state.model``, shape (P,).

        Raises:
            MissingBlobError: this server does not hold them.
        """
        raise NotImplementedError

    def read_blob(self, commitment: bytes) -> bytes | None:
        """An update from the blobs or, of older rounds, from the chain file; to be served to peers as well."""
        raise NotImplementedError

    async def submit(self, signed: Signed) -> None:
        """Check a transaction, and hand it to CometBFT's mempool. The same one may be handed in again.

        Raises:
            TransactionError: it could not be in the next block.
            CometError: CometBFT cannot be reached, or its mempool is full.
        """
        raise NotImplementedError

    def on_block(self, callback: Callable[[State], None]) -> None:
        """Call back after every decided block; ``last_block`` then holds its transactions."""
        raise NotImplementedError

    def on_certified(self, callback: Callable[[CertifiedBlock], None]) -> None:
        """Call back after every certified block."""
        raise NotImplementedError

    def on_transaction(self, callback: Callable[[Signed], None]) -> None:
        """Call back for every authentic transaction that reaches the mempool, also one that is refused."""
        raise NotImplementedError

    def header(self, height: int) -> Header | None:
        """The header of a decided height, or None."""
        raise NotImplementedError

    def proof(self) -> ModelProof | None:
        """The proof of the last round that is closed at the newest *certified* block; None before the first.

        ``certified.state`` may be a block behind ``state``: serve devices from it.
        """
        raise NotImplementedError

    def take_signature(self, signature: HeaderSignature) -> bool:
        """Take in another server's signature; returns whether it was of use. One that is forged changes nothing."""
        raise NotImplementedError

    def signatures(self, first_height: int, last_height: int) -> list[HeaderSignature]:
        """The signatures that this server holds for some heights (at most 100), for a peer that lacks them."""
        raise NotImplementedError
