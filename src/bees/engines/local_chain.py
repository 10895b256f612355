"""A chain in one process: the embedded engine, the bytes of updates, and the chain file if there is one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from bees.core.errors import MissingBlobError
from bees.core.fixed_point import words_to_bytes
from bees.core.stopwatch import untimed
from bees.engines.blobs import MemoryBlobStore
from bees.engines.chain_file import ChainWriter
from bees.engines.embedded import EmbeddedEngine
from bees.engines.restore import restore
from bees.ledger.aggregation import ContractExecutor
from bees.ledger.proofs import prove_model

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path
    from types import TracebackType

    from bees.contract.vm import VirtualMachine
    from bees.core.fixed_point import Words
    from bees.core.keys import SigningKey
    from bees.core.stopwatch import PhaseTimer
    from bees.engines.embedded import CommittedBlock
    from bees.ledger.block import Commit, Header, Verifier
    from bees.ledger.genesis import SignedGenesis
    from bees.ledger.proofs import ModelProof
    from bees.ledger.state import Ballot, State
    from bees.ledger.transactions import Signed


class LocalChain:
    """What a simulation talks to. Use it as a context manager: leaving it closes the chain file.

    Attributes:
        blobs: revealed updates.
        executor: runs the contract for whoever publishes, and holds the words of w_g.
        ballot: the last one that was frozen, and its round.
        closing_contract: code of the contract that was in force when the last round closed.
        closing_state: before the block that closed the last round, with all that the round had; None before the first.
    """

    def __init__(
        self,
        signed: SignedGenesis,
        server_keys: Sequence[SigningKey],
        machine: VirtualMachine,
        initial_model: Words,
        *,
        path: Path | None = None,
        resumes: bool = False,
        share_checks: bool = True,
        timer: PhaseTimer = untimed,
    ) -> None:
        """Start all replicas from genesis.

        Args:
            signed: the genesis, signed by all servers.
            server_keys: of the servers, in their order.
            machine: executes contracts.
            initial_model: words of w_g(0).
            path: where to write the chain file, or None to keep the chain in memory only.
            resumes: whether the file is there already, and its blocks are to be taken in by ``catch_up``.
            share_checks: whether replicas share what they have checked.
            timer: takes the time by phase.

        Raises:
            ChainFileError: the file cannot be written.
        """
        self.blobs = MemoryBlobStore()
        self._executors: list[ContractExecutor] = []
        self._machine, self._initial_model, self._timer = machine, initial_model, timer
        self._engine = EmbeddedEngine(signed, server_keys, self._make_executor, share_checks=share_checks, timer=timer)
        self.executor = self._executors[0]
        self.ballot: tuple[int, Ballot] | None = None
        self.closing_contract = signed.genesis.contract
        self.closing_state: State | None = None
        self._newest: State | None = None
        self._closing: tuple[State, Header, Commit] | None = None
        self._path = path
        self._stored: Iterator[CommittedBlock] | None = None
        self._writer: ChainWriter | None = None
        if path is not None and resumes:
            self._stored = restore(path, self._engine, self.blobs)
        elif path is not None:
            self._writer = ChainWriter.create(path, signed, words_to_bytes(initial_model))

    @property
    def state(self) -> State:
        """After the last block."""
        return self._engine.state

    @property
    def global_model(self) -> Words:
        """Words of the last w_g, shape (P,)."""
        return self.executor.models[self.state.model]

    @property
    def verify(self) -> Verifier:
        """How devices check signatures: with what the replicas share, or all by themselves."""
        return self._engine.verify

    def model_proof(self) -> ModelProof | None:
        """The proof of ``global_model`` for devices; None in round 1, where the genesis names w_g(0)."""
        return None if self._closing is None else prove_model(*self._closing)

    def catch_up(self, round_: int) -> None:
        """Take in stored blocks until ``round_`` is closed, or there are no more; then go on writing.

        Raises:
            ChainFileError: the file cannot be read, is of another genesis, or cannot be written.
            BlockError: a block in it is not right.
        """
        while self._stored is not None and self.state.round <= round_:
            committed = next(self._stored, None)
            if committed is not None:
                self._note(committed)
            elif self._path is not None:
                self._stored, self._writer = None, ChainWriter.resume(self._path)

    def submit(self, transactions: Sequence[Signed]) -> None:
        """Hand in transactions of honest participants.

        Raises:
            TransactionError: one was refused, which an honest one never is.
        """
        for refusal in self._engine.submit_all(transactions):
            if refusal is not None:
                raise refusal

    def offer(self, transactions: Sequence[Signed]) -> None:
        """Hand in transactions of participants that may be lying: whatever is refused, is not in the next block."""
        self._engine.submit_all(transactions)

    def next_block(self) -> State:
        """Have the replicas commit the next block, and keep it; returns the state after it.

        Raises:
            EngineError: they cannot agree.
            ChainFileError: the block cannot be written.
        """
        closing = self.state.round
        committed = self._engine.next_block()
        if self._writer is not None:
            read = {name: self._blob(name) for name in committed.read}
            with self._timer("write"):
                self._writer.append(committed.block, committed.commit, read)
        if committed.state.round > closing:
            self.blobs.prune(closing)
        self._note(committed)
        return committed.state

    def close(self) -> None:
        """Close the chain file and end the threads."""
        self._engine.close()
        if self._writer is not None:
            self._writer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _note(self, committed: CommittedBlock) -> None:
        before, self._newest, state = self._newest, committed.state, committed.state
        if before is not None and state.round > before.round and state.model not in self.executor.models:
            # Where the main node verifies alone, no replica has executed the contract; whoever goes on needs the words.
            self.executor.run(before)
        if before is not None and state.round > before.round:
            self.closing_contract = before.contract
            self.closing_state = before
        if state.ballot is not None:
            self.ballot = state.round, state.ballot
        if state.outcome is not None and (self._closing is None or self._closing[0].outcome != state.outcome):
            self._closing = state, committed.block.header, committed.commit

    def _make_executor(self) -> ContractExecutor:
        self._executors.append(ContractExecutor(self._machine, self.blobs.get, self._initial_model))
        return self._executors[-1]

    def _blob(self, name: bytes) -> bytes:
        data = self.blobs.get(name)
        if data is None:
            raise MissingBlobError(name)
        return data
