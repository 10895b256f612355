"""What the service half of a node needs of its ledger: the part of ``LedgerNode`` that duties and HTTP use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bees.core.fixed_point import Words
    from bees.core.keys import Signs
    from bees.ledger.block import Block
    from bees.ledger.genesis import SignedGenesis
    from bees.ledger.proofs import CommitteeProof, ModelProof
    from bees.ledger.state import State
    from bees.ledger.transactions import Signed
    from bees.node.certificates import HeaderSignature
    from bees.node.contract_thread import ContractThread
    from bees.node.ledger_node import CertifiedBlock
    from bees.node.peers import WantedBlob


class UpdateStore(Protocol):
    """Bytes of updates by commitment, such as a ``DiskBlobStore``."""

    def get(self, commitment: bytes) -> bytes | None:
        """The bytes, or None."""
        ...

    def __contains__(self, commitment: bytes) -> bool:
        """Whether the bytes are here."""
        ...


class BlobPuller(Protocol):
    """The way to the updates of other servers, such as ``HttpPeers``."""

    async def pull_blob(self, wanted: WantedBlob) -> bool:
        """Whether the bytes of an update are in the store now."""
        ...


class Ledger(Protocol):
    """A replica of the chain on one asyncio loop, as ``bees.node.ledger_node.LedgerNode`` documents it."""

    signed_genesis: SignedGenesis
    server: int

    @property
    def key(self) -> Signs: ...  # noqa: D102
    @property
    def state(self) -> State: ...  # noqa: D102
    @property
    def height(self) -> int: ...  # noqa: D102
    @property
    def app_hash(self) -> bytes: ...  # noqa: D102
    @property
    def global_model(self) -> Words: ...  # noqa: D102
    @property
    def executor(self) -> ContractThread: ...  # noqa: D102
    @property
    def last_block(self) -> Block | None: ...  # noqa: D102
    @property
    def certified(self) -> CertifiedBlock | None: ...  # noqa: D102
    async def submit(self, signed: Signed) -> None: ...  # noqa: D102
    def on_block(self, callback: Callable[[State], None]) -> None: ...  # noqa: D102
    def on_certified(self, callback: Callable[[CertifiedBlock], None]) -> None: ...  # noqa: D102
    def on_transaction(self, callback: Callable[[Signed], None]) -> None: ...  # noqa: D102
    def read_blob(self, commitment: bytes) -> bytes | None: ...  # noqa: D102
    def proof(self) -> ModelProof | None: ...  # noqa: D102
    @property
    def committee_proofs(self) -> Sequence[CommitteeProof]: ...  # noqa: D102
    def take_signature(self, signature: HeaderSignature) -> bool: ...  # noqa: D102
    def signatures(self, first_height: int, last_height: int) -> Sequence[HeaderSignature]: ...  # noqa: D102
