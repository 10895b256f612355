"""The ledger as an application, shaped like ABCI 2.0: an engine orders blocks, this judges and executes them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from msgspec.structs import replace

from bees.core.errors import MissingBlobError, TransactionError
from bees.core.keys import is_signed_by
from bees.ledger.block import Batch
from bees.ledger.genesis import check_genesis
from bees.ledger.refusals import AppHashError, BadSignatureError, InvalidTransactionError
from bees.ledger.rounds import close_phases
from bees.ledger.state import State, initial_state, state_tree
from bees.ledger.transactions import Evidence, Publish, author_key, canonical_order
from bees.ledger.transition import apply_transaction

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bees.ledger.execution import ContractRunner
    from bees.ledger.genesis import SignedGenesis
    from bees.ledger.merkle import MerklePath
    from bees.ledger.transactions import Signed, Transaction

_MEMO_LIMIT = 1 << 14
_EXECUTIONS_KEPT = 16
"""Proposals of the heights at which replicas that share a memo are; older ones never come again."""


@dataclass
class Memo:
    """What has been checked already. Each entry is the result of a pure function, so replicas may share one.

    Attributes:
        signatures: (public key, message, signature) of every signature that was found valid.
        forgeries: of every one that was found not to be.
        executions: the state that a list of transactions leads to, by (app hash before, transactions root), where
            that needs the bytes of updates: only replicas that read from the same store may share it.
        byteless_executions: likewise, where it needs none.
    """

    signatures: set[tuple[bytes, bytes, bytes]] = field(default_factory=set[tuple[bytes, bytes, bytes]])
    forgeries: set[tuple[bytes, bytes, bytes]] = field(default_factory=set[tuple[bytes, bytes, bytes]])
    executions: dict[tuple[bytes, bytes], Execution] = field(default_factory=dict[tuple[bytes, bytes], "Execution"])
    byteless_executions: dict[tuple[bytes, bytes], Execution] = field(
        default_factory=dict[tuple[bytes, bytes], "Execution"]
    )

    def verify(self, public_key: bytes, message: bytes, signature: bytes) -> bool:
        """Whether the signature is valid, looked up or checked."""
        key = (public_key, message, signature)
        if key in self.signatures:
            return True
        if key in self.forgeries:
            return False
        is_valid = is_signed_by(public_key, message, signature)
        found = self.signatures if is_valid else self.forgeries
        if len(found) >= _MEMO_LIMIT:
            found.clear()
        found.add(key)
        return is_valid

    def executions_like(self, batch: Batch) -> dict[tuple[bytes, bytes], Execution]:
        """Where the execution of a batch is kept."""
        return self.executions if any(needs_bytes(s.body) for s in batch.transactions) else self.byteless_executions


def needs_bytes(body: Transaction) -> bool:
    """Whether judging a transaction may need the bytes of updates, and not only the state."""
    return isinstance(body, Publish | Evidence)


@dataclass(frozen=True)
class Execution:
    """A state and its app hash."""

    state: State
    app_hash: bytes


class Application:
    """One replica's view of the chain.

    Attributes:
        state: after the last committed block.
        app_hash: Merkle root of that state.
        runner: executes contracts.
        memo: checks done already.
    """

    def __init__(self, signed: SignedGenesis, runner: ContractRunner, memo: Memo | None = None) -> None:
        """Start at height 0.

        Raises:
            GenesisError: the genesis is not signed by all, or contradicts itself.
            ContractError: the genesis' contract is none.
        """
        self.memo = memo or Memo()
        check_genesis(signed, self.memo.verify)
        runner.check(signed.genesis.contract)
        self.runner = runner
        self.state = initial_state(signed.genesis)
        self.app_hash = state_tree(self.state).root
        self._pending: Execution | None = None

    def check_tx(self, signed: Signed) -> None:
        """Refuse a transaction that could not be in the next block, before it is passed on.

        Raises:
            TransactionError: why.
            MissingBlobError: an update that the contract must read is not at hand.
        """
        self.check_signature(signed)
        apply_transaction(replace(self.state, height=self.state.height + 1), signed.body, self.runner)

    def check_signature(self, signed: Signed) -> None:
        """Refuse a transaction that its author has not signed, whether or not it is right now.

        Raises:
            UnknownParticipantError: the genesis knows no such author.
            RemovedError: the author takes no part any more.
            BadSignatureError: it is not signed by its author.
        """
        key = author_key(self.state.members, signed.body)
        if not self.memo.verify(key, signed.message, signed.signature):
            raise BadSignatureError(type(signed.body).__name__, canonical_order(signed)[1])

    def prepare_proposal(self, candidates: Iterable[Signed]) -> Batch:
        """The candidates that can be in the next block together, in canonical order."""
        state = replace(self.state, height=self.state.height + 1)
        chosen: list[Signed] = []
        for signed in sorted(candidates, key=canonical_order):
            try:
                self.check_signature(signed)
                state = apply_transaction(state, signed.body, self.runner)
            except (TransactionError, MissingBlobError):
                continue
            chosen.append(signed)
        return Batch(tuple(chosen))

    def process_proposal(self, batch: Batch, app_hash: bytes) -> None:
        """Check a proposed block.

        Raises:
            InvalidTransactionError: one of its transactions is refused.
            AppHashError: executing it gives another state.
            MissingBlobError: an update that the contract must read is not at hand, which says nothing of the block.
        """
        if self.execute(batch).app_hash != app_hash:
            raise AppHashError(self.state.height + 1)

    def finalize_block(self, batch: Batch) -> bytes:
        """Execute a decided block, and return the app hash after it; ``commit`` makes it the state.

        Raises:
            InvalidTransactionError: one of its transactions is refused.
            MissingBlobError: fetch the update, which more than f servers attest to hold, and ask again.
        """
        self._pending = self.execute(batch)
        return self._pending.app_hash

    def commit(self) -> None:
        """Make the state of the last finalized block the state."""
        if self._pending is not None:
            self.state, self.app_hash, self._pending = self._pending.state, self._pending.app_hash, None

    @property
    def pending(self) -> State:
        """The state after the last finalized block, committed or not."""
        return self.state if self._pending is None else self._pending.state

    def query(self, leaf: str) -> tuple[bytes, MerklePath]:
        """A leaf of the state and the path that proves it under the app hash.

        Raises:
            ProofError: there is no such leaf.
        """
        tree = state_tree(self.state)
        path = tree.prove(leaf)
        return tree.values[path.index], path

    def execute(self, batch: Batch) -> Execution:
        """The state after a block of this batch, without keeping it.

        Raises:
            InvalidTransactionError: one of them is refused.
            MissingBlobError: an update that the contract must read is not at hand.
        """
        key = (self.app_hash, batch.root)
        executions = self.memo.executions_like(batch)
        known = executions.get(key)
        if known is not None:
            return known
        state = replace(self.state, height=self.state.height + 1)
        for index, signed in enumerate(batch.transactions):
            try:
                self.check_signature(signed)
                state = apply_transaction(state, signed.body, self.runner)
            except TransactionError as error:
                raise InvalidTransactionError(state.height, index, str(error)) from error
        state = close_phases(state)
        execution = Execution(state, state_tree(state).root)
        executions[key] = execution
        while len(executions) > _EXECUTIONS_KEPT:
            del executions[next(iter(executions))]
        return execution
