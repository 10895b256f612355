"""What a node's ledger asks of the rest of the node: the bytes of updates, and the way to the other servers."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bees.node.certificates import HeaderSignature


class WantedBlob(NamedTuple):
    """Bytes of an update that a block needs.

    Attributes:
        commitment: ``commit_to_update(device, round, bytes)``.
        device: whose update it is.
        round: t.
        sources: servers that attest to hold it, without this one; ask them first.
        for_block: whether a block waits for it. Then it is kept beyond the limit of the store: it cannot be done
            without, and no more of them come than the contract selects.
    """

    commitment: bytes
    device: int
    round: int
    sources: tuple[int, ...]
    for_block: bool = False


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
