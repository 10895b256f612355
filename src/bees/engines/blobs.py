"""Where the bytes of updates are: the chain names them by commitment, and a blob store holds them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from bees.ledger.commitments import commit_to_update
from bees.ledger.transactions import Publish, Update

if TYPE_CHECKING:
    from collections.abc import Collection

    from bees.ledger.block import Batch


class BlobStore(Protocol):
    """Bytes of updates by commitment."""

    def put(self, device: int, round_: int, data: bytes) -> bytes:
        """Keep an update, and return its commitment."""
        ...

    def get(self, commitment: bytes) -> bytes | None:
        """The update that was committed to, or None."""
        ...

    def prune(self, last_round: int, keep: Collection[bytes] = ()) -> int:
        """Forget the updates of rounds up to ``last_round`` but for ``keep``; returns how many."""
        ...


class MemoryBlobStore:
    """A blob store in memory."""

    def __init__(self) -> None:
        self._blobs: dict[bytes, tuple[int, bytes]] = {}

    def __len__(self) -> int:
        return len(self._blobs)

    def put(self, device: int, round_: int, data: bytes) -> bytes:
        """Keep an update, and return its commitment."""
        commitment = commit_to_update(device, round_, data)
        self.keep(commitment, round_, data)
        return commitment

    def keep(self, commitment: bytes, round_: int, data: bytes) -> None:
        """Keep an update whose commitment the caller has computed; whoever reads it checks it again."""
        self._blobs[commitment] = (round_, data)

    def get(self, commitment: bytes) -> bytes | None:
        """The update that was committed to, or None."""
        found = self._blobs.get(commitment)
        return found[1] if found else None

    def prune(self, last_round: int, keep: Collection[bytes] = ()) -> int:
        """Forget the updates of rounds up to ``last_round`` but for ``keep``; returns how many.

        Call it with what contracts read as ``keep``: all else is not needed to replay the chain.
        """
        doomed = [name for name, (round_, _) in self._blobs.items() if round_ <= last_round and name not in keep]
        for name in doomed:
            del self._blobs[name]
        return len(doomed)


class ReadUpdates:
    """Follows the blocks of a chain, and tells which updates the contract read in each.

    A Publish names the devices that the contract selected, and the contract reads exactly their updates.
    """

    def __init__(self) -> None:
        self._committed: dict[tuple[int, int], bytes] = {}

    def follow(self, batch: Batch) -> tuple[bytes, ...]:
        """Commitments of the updates that the contract read in this block, in the order of their devices."""
        read: list[bytes] = []
        for signed in batch.transactions:
            match signed.body:
                case Update(round=round_, device=device, commitment=commitment):
                    self._committed[round_, device] = commitment
                case Publish(round=round_, selected=selected):
                    read += [self._committed[round_, d] for d in selected if (round_, d) in self._committed]
                    self._committed = {key: c for key, c in self._committed.items() if key[0] > round_}
                case _:
                    pass
        return tuple(read)
