"""The auditor: replays a chain from its genesis, and believes nothing that it has not computed itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bees.core.canonical import decode
from bees.ledger.application import Application
from bees.ledger.block import Block, Commit, block_id, check_commit
from bees.ledger.refusals import BrokenLinkError, TransactionRootError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from bees.ledger.execution import ContractRunner
    from bees.ledger.genesis import SignedGenesis
    from bees.ledger.state import State


@dataclass(frozen=True)
class AuditedBlock:
    """A block that has been found right.

    Attributes:
        block: header and transactions.
        commit: the quorum that committed it.
        state: after it.
    """

    block: Block
    commit: Commit
    state: State


def replay(
    signed: SignedGenesis, stored: Iterable[tuple[bytes, bytes]], runner: ContractRunner
) -> Iterator[AuditedBlock]:
    """Replay stored (block, commit) bytes from height 1, and yield each block that is right.

    Checked are encoding, links, transactions, signatures, the state transition with its Proof of Learning, the
    contract's result, the app hash and the commit quorum.

    Raises:
        BeesError: the first thing that is wrong; the block at fault is the one after the last yielded.
    """
    application = Application(signed, runner)
    previous = signed.genesis.chain_id
    for block_bytes, commit_bytes in stored:
        block, commit = decode(block_bytes, Block), decode(commit_bytes, Commit)
        check_block(application, previous, block)
        check_commit(application.state.members.committee, block.header, commit, application.memo.verify)
        application.finalize_block(block.batch)
        application.commit()
        previous = block_id(block.header)
        yield AuditedBlock(block, commit, application.state)


def check_block(application: Application, previous_block: bytes, block: Block) -> None:
    """Check that a block may follow the application's state.

    Args:
        application: at the height before.
        previous_block: id of the last block, or the chain id before the first.
        block: the candidate.

    Raises:
        BrokenLinkError: another chain, height or predecessor.
        TransactionRootError: the header names other transactions.
        InvalidTransactionError: one of its transactions is refused.
        AppHashError: executing it gives another state.
        MissingBlobError: an update that the contract must read is not at hand, or is not what was committed.
    """
    header, height = block.header, application.state.height + 1
    if header.chain_id != application.state.genesis.chain_id:
        raise BrokenLinkError(height, "it belongs to another chain")
    if header.height != height:
        raise BrokenLinkError(height, f"it says that it is block {header.height}")
    if header.previous_block != previous_block:
        raise BrokenLinkError(height, "it does not follow the block before")
    if header.transactions != block.batch.root:
        raise TransactionRootError(height)
    application.process_proposal(block.batch, header.app_hash)
