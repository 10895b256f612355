"""What a replica has checked already, and how it checks signatures.

Every entry is the result of a pure function of bytes. So honest replicas in one process may share one
``Checks`` and find the same as each would alone; or each has its own, and does all the work itself.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from copy import copy
from typing import TYPE_CHECKING, TypeVar

from bees.core.canonical import decode
from bees.core.errors import CodecError, TransactionError
from bees.core.stopwatch import untimed
from bees.ledger.application import Memo, needs_bytes
from bees.ledger.block import Block, block_id
from bees.ledger.refusals import RemovedError, UnknownParticipantError
from bees.ledger.transactions import author_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from bees.core.stopwatch import PhaseTimer
    from bees.engines.tally import SignatureCheck
    from bees.ledger.execution import ContractResult, ContractRunner
    from bees.ledger.membership import Members
    from bees.ledger.state import State
    from bees.ledger.transactions import Signed

Key = TypeVar("Key")
Value = TypeVar("Value")

_REMEMBERED = 512
_WORTH_SPLITTING = 4


class SignatureChecker(Memo):
    """The ledger's memo, timed, which can also check many signatures with several threads at once.

    libsodium works without the interpreter's lock, so threads help where there are cores for them.
    """

    def __init__(self, timer: PhaseTimer = untimed, threads: int = 1) -> None:
        super().__init__()
        self._timer = timer
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads - 1, "verify") if threads > 1 else None

    def verify(self, public_key: bytes, message: bytes, signature: bytes) -> bool:
        """Whether the signature is valid, looked up or checked."""
        if (public_key, message, signature) in self.signatures:
            return True
        if (public_key, message, signature) in self.forgeries:
            return False
        with self._timer("verify"):
            return super().verify(public_key, message, signature)

    def verify_all(self, checks: Sequence[SignatureCheck]) -> list[bool]:
        """Which of the (public key, message, signature) are valid."""
        unknown = [check for check in checks if check not in self.signatures]
        if self._pool is None or len(unknown) < _WORTH_SPLITTING:
            return [self.verify(*check) for check in checks]
        with self._timer("verify"):
            share = -(-len(unknown) // self._threads)
            others = [
                self._pool.submit(self._verify_each, unknown[start : start + share])
                for start in range(share, len(unknown), share)
            ]
            self._verify_each(unknown[:share])
            for other in others:
                other.result()
        return [check in self.signatures or self.verify(*check) for check in checks]

    def close(self) -> None:
        """End the threads."""
        if self._pool is not None:
            self._pool.shutdown()

    def _verify_each(self, checks: Sequence[SignatureCheck]) -> None:
        for check in checks:
            super().verify(*check)


class TimedRunner:
    """A contract runner whose time counts for ``contract``."""

    def __init__(self, runner: ContractRunner, timer: PhaseTimer) -> None:
        self._runner = runner
        self._timer = timer

    def check(self, code: bytes) -> None:
        """Refuse code that is no contract, with a ContractError."""
        with self._timer("contract"):
            self._runner.check(code)

    def run(self, state: State) -> ContractResult:
        """The result of the contract in force on the frozen ballot."""
        with self._timer("contract"):
            return self._runner.run(state)


class Checks:
    """One replica's checks, or those that several share.

    Attributes:
        memo: signatures and executions.
        runner: executes contracts.
    """

    def __init__(self, runner: ContractRunner, timer: PhaseTimer = untimed, threads: int = 1) -> None:
        self.memo = SignatureChecker(timer, threads)
        self.runner: ContractRunner = TimedRunner(runner, timer)
        self._blocks: dict[bytes, tuple[Block, bytes] | None] = {}
        self._admissions: dict[tuple[bytes, bytes], TransactionError | None] = {}
        self._byteless_admissions: dict[tuple[bytes, bytes], TransactionError | None] = {}

    def beside(self, runner: ContractRunner) -> Checks:
        """Checks for another replica that holds other bytes.

        What follows from a message alone is shared. What also depends on the updates at hand, such as whether a block
        can be judged, is not.
        """
        other = Checks(runner)
        other.memo.signatures, other.memo.forgeries = self.memo.signatures, self.memo.forgeries
        other.memo.byteless_executions = self.memo.byteless_executions
        other._blocks, other._byteless_admissions = self._blocks, self._byteless_admissions
        return other

    def decode_block(self, data: bytes) -> tuple[Block, bytes] | None:
        """The block and its id, or None when the bytes are no block in its canonical encoding."""
        if data not in self._blocks:
            _remember(self._blocks, data, _decode_block(data))
        return self._blocks[data]

    def admit(self, app_hash: bytes, transaction: Signed, check: Callable[[], None]) -> None:
        """Run ``check``, unless it has been run for this transaction on this state.

        Args:
            app_hash: of the state that the transaction meets.
            transaction: to judge.
            check: raises what is wrong with it.

        Raises:
            TransactionError: the check's verdict.
        """
        question = (app_hash, transaction.hash)
        admissions = self._admissions if needs_bytes(transaction.body) else self._byteless_admissions
        if question not in admissions:
            _remember(admissions, question, _verdict(check))
        refusal = admissions[question]
        if refusal is not None:
            # One instance, raised at every replica, would collect the tracebacks of all, and keep their frames alive.
            raise copy(refusal)


def signature_checks(members: Members, transactions: Iterable[Signed]) -> list[SignatureCheck]:
    """What to verify before the transactions can be right; those without a known author are left out."""
    checks: list[SignatureCheck] = []
    for signed in transactions:
        try:
            key = author_key(members, signed.body)
        except (UnknownParticipantError, RemovedError):
            continue
        checks.append((key, signed.message, signed.signature))
    return checks


def _decode_block(data: bytes) -> tuple[Block, bytes] | None:
    try:
        block = decode(data, Block)
    except CodecError:
        return None
    return block, block_id(block.header)


def _verdict(check: Callable[[], None]) -> TransactionError | None:
    try:
        check()
    except TransactionError as refusal:
        return refusal.with_traceback(None)
    return None


def _remember(known: dict[Key, Value], key: Key, value: Value) -> None:
    known[key] = value
    while len(known) > _REMEMBERED:
        del known[next(iter(known))]
