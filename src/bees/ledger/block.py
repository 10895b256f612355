"""Blocks of the ledger, and the quorum of signatures that commits one.

The header names the state *after* its block, so one committed header proves a fact about the newest state.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Literal

from bees.core.canonical import Record, encode
from bees.core.hashes import digest
from bees.ledger.genesis import Hash, Natural, Positive, Signature
from bees.ledger.merkle import merkle_root
from bees.ledger.refusals import CommitError
from bees.ledger.transactions import Signed

if TYPE_CHECKING:
    from collections.abc import Callable

    from bees.ledger.committee import Committee

    Verifier = Callable[[bytes, bytes, bytes], bool]

VoteKind = Literal["prevote", "precommit"]


class Header(Record, frozen=True):
    """What the servers sign when they commit a block.

    Attributes:
        chain_id: of the genesis.
        height: from 1.
        previous_block: id of the block before; the chain id for the first.
        transactions: Merkle root of the block's transactions.
        app_hash: Merkle root of the state after the block.
    """

    chain_id: Hash
    height: Positive
    previous_block: Hash
    transactions: Hash
    app_hash: Hash


class Batch(Record, frozen=True, dict=True):
    """The transactions of a block, in order."""

    transactions: tuple[Signed, ...]

    @cached_property
    def root(self) -> bytes:
        """Merkle root over the transactions' canonical bytes."""
        return merkle_root(tuple(signed.encoding for signed in self.transactions))


class Block(Record, frozen=True):
    """A header and the transactions that it names."""

    header: Header
    batch: Batch


class CommitSignature(Record, frozen=True):
    """The precommit of one server."""

    server: Natural
    signature: Signature


class Commit(Record, frozen=True):
    """Precommits of more than 2N/3 servers for one block in one round of consensus.

    Attributes:
        height: of the block.
        consensus_round: round of consensus, from 0 (not the communication round).
        block_id: of the block.
        signatures: ascending by server.
    """

    height: Positive
    consensus_round: Natural
    block_id: Hash
    signatures: tuple[CommitSignature, ...]


def block_id(header: Header) -> bytes:
    """The hash that names a block."""
    return digest("header", encode(header))


def vote_bytes(chain_id: bytes, height: int, consensus_round: int, kind: VoteKind, block: bytes | None) -> bytes:
    """What a server signs to prevote or precommit ``block``, or nothing (None)."""
    return b"bees vote\0" + encode((chain_id, height, consensus_round, kind, block))


def check_commit(committee: Committee, header: Header, commit: Commit, verify: Verifier) -> None:
    """Check that more than 2N/3 servers have committed the block.

    Args:
        committee: the servers that count in the state before the block.
        header: of the block, on the right chain.
        commit: its signatures.
        verify: tells whether a (public key, message, signature) is valid.

    Raises:
        CommitError: too few signatures, or one that is not valid, not in order or for something else.
    """
    height = header.height
    if commit.height != height or commit.block_id != block_id(header):
        raise CommitError(height, "it commits another block")
    servers = [signature.server for signature in commit.signatures]
    if servers != sorted(set(servers)) or any(committee.key(server) is None for server in servers):
        raise CommitError(height, "its servers do not ascend, or are unknown")
    if len(servers) < committee.quorum:
        raise CommitError(height, f"{len(servers)} signatures, {committee.quorum} are needed")
    message = vote_bytes(header.chain_id, height, commit.consensus_round, "precommit", commit.block_id)
    for vote in commit.signatures:
        key = committee.key(vote.server)
        if key is None or not verify(key, message, vote.signature):
            raise CommitError(height, f"the signature of server {vote.server} is not valid")
