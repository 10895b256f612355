"""What the service half of a node needs of its ledger, and what the ledger needs of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from bees.core.fixed_point import Words
    from bees.core.keys import SigningKey
    from bees.ledger.execution import ContractRunner
    from bees.ledger.genesis import SignedGenesis
    from bees.ledger.proofs import ModelProof
    from bees.ledger.state import State
    from bees.ledger.transactions import Signed

FetchBlob = Callable[[bytes, Sequence[int]], Awaitable[bytes | None]]
"""Pulls a committed update from servers, those named first; None where nobody gives it."""


class UpdateStore(Protocol):
    """Bytes of updates by commitment."""

    def get(self, commitment: bytes) -> bytes | None:
        """The bytes, or None."""
        ...

    def put(self, commitment: bytes, round_: int, data: bytes) -> None:
        """Keep the bytes, whose commitment the caller has checked."""
        ...

    def __contains__(self, commitment: bytes) -> bool:
        """Whether the bytes are here."""
        ...


class Ledger(Protocol):
    """A replica of the chain, as ``bees.node.ledger_node.LedgerNode`` is one. All on one asyncio loop."""

    @property
    def genesis(self) -> SignedGenesis:
        """What the chain starts from."""
        ...

    @property
    def server(self) -> int:
        """Whose replica it is."""
        ...

    @property
    def key(self) -> SigningKey:
        """Of that server."""
        ...

    @property
    def state(self) -> State:
        """After the last decided block."""
        ...

    @property
    def app_hash(self) -> bytes:
        """Of that state."""
        ...

    @property
    def global_model(self) -> Words:
        """Words of w_g that the state names."""
        ...

    @property
    def executor(self) -> ContractRunner:
        """Runs contracts on the bytes at hand."""
        ...

    @property
    def blobs(self) -> UpdateStore:
        """Bytes of updates at hand."""
        ...

    async def submit(self, signed: Signed) -> None:
        """Hand a transaction to whoever proposes the next blocks.

        Raises:
            TransactionError: the ledger refuses it.
            MissingBlobError: an update that the contract must read is not at hand.
            NetworkError: the engine does not take it now.
        """
        ...

    def on_block(self, callback: Callable[[State, Sequence[Signed]], None]) -> None:
        """Have the state after each block told, and the block's transactions."""
        ...

    def proof(self) -> ModelProof | None:
        """Of how the last closed round ended, from the newest certified block that shows it."""
        ...

    def take_signature(self, height: int, server: int, signature: bytes) -> None:
        """Take another server's signature under a decided header."""
        ...

    def signatures(self, height: int) -> dict[int, bytes]:
        """By server, what is known under the header of a height."""
        ...
