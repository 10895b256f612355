"""Runs contracts in a thread of their own, so that the loop never waits for one.

A contract is a pure function of a frozen state and of bytes that are named by their hash. So it can run beside the
loop while everything that it judges stays on the loop: what asks for a result that is not known yet is put off, and
is done again from its beginning, on the state as it then is, when the thread has found the result.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import structlog

from bees.core.errors import ContractError
from bees.ledger.commitments import hash_contract

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bees.core.fixed_point import Words
    from bees.ledger.aggregation import ContractExecutor
    from bees.ledger.execution import ContractResult
    from bees.ledger.state import State

    Question = tuple[object, ...]
    Outcome = ContractResult | ContractError | None

T = TypeVar("T")

_KEPT = 16
"""Outcomes; those of older rounds are asked for no more."""

_log = structlog.get_logger(__name__)


class _NotKnownYetError(Exception):
    """The thread must find something out first."""

    def __init__(self, question: Question, find: Callable[[], Outcome]) -> None:
        super().__init__(question[0])
        self.question, self.find = question, find


class ContractThread:
    """A ``ContractRunner`` for one loop.

    Until ``start`` it computes at once, as a replay needs it. From then on ``executor`` and the virtual machine
    belong to the thread, and this object to the loop: ``run`` and ``check`` answer from memory, and where they
    cannot, only ``settle`` can call them. ``models`` may be read from any thread, since the executor replaces it
    whole.

    Args:
        executor: runs the contracts.
    """

    def __init__(self, executor: ContractExecutor) -> None:
        self._executor = executor
        self._thread: ThreadPoolExecutor | None = None
        self._outcomes: dict[Question, Outcome] = {}
        self._finding: dict[Question, asyncio.Task[None]] = {}

    @property
    def models(self) -> Mapping[bytes, Words]:
        """Words of the last global models, by hash."""
        return self._executor.models

    def start(self) -> None:
        """From now on, compute in the thread."""
        self._thread = ThreadPoolExecutor(1, "contract")

    async def stop(self) -> None:
        """Let the contract that runs end, which its fuel sees to; what was put off is given up."""
        if self._thread is not None:
            await asyncio.to_thread(self._thread.shutdown, wait=True, cancel_futures=True)
            await asyncio.gather(*self._finding.values(), return_exceptions=True)

    def check(self, code: bytes) -> None:
        """Refuse code that is no contract.

        Raises:
            ContractError: why.
        """
        self._known(("check", hash_contract(code)), lambda: self._executor.check(code))

    def run(self, state: State) -> ContractResult:
        """Result of the contract in force on ``state.ballot``.

        Raises:
            ContractError: it has no result.
            MissingBlobError: w_g(t-1) or an update is not at hand, or is not what was committed.
            VirtualMachineError: this machine cannot tell.
        """
        question = (
            "run",
            state.genesis.chain_id,
            state.round,
            hash_contract(state.contract),
            state.model,
            state.ballot,
        )
        result = self._known(question, lambda: self._executor.run(state))
        if result is None:
            raise ContractError("a run without result")
        return result

    async def settle(self, call: Callable[[], T]) -> T:
        """The result of a call that may ask for contracts; it is made again after each that had to be run.

        Args:
            call: changes nothing before it has asked for all contracts that it needs.

        Raises:
            MissingBlobError: a contract misses bytes; get them, and settle again.
            VirtualMachineError: this machine cannot run a contract.
        """
        while True:
            try:
                return call()
            except _NotKnownYetError as unknown:
                question, find = unknown.question, unknown.find
            # Whoever waits may go, such as a connection that CometBFT closes; what the thread finds is kept anyway.
            await asyncio.shield(self._found(question, find))

    def _known(self, question: Question, find: Callable[[], Outcome]) -> ContractResult | None:
        if self._thread is None and question not in self._outcomes:
            self._keep(question, _outcome_of(find))
        try:
            outcome = self._outcomes[question]
        except KeyError:
            raise _NotKnownYetError(question, find) from None
        if isinstance(outcome, ContractError):
            raise outcome.with_traceback(None)
        return outcome

    def _found(self, question: Question, find: Callable[[], Outcome]) -> asyncio.Task[None]:
        """The task that has the thread find it out, one for all who ask."""
        task = self._finding.get(question)
        if task is None:
            task = self._finding[question] = asyncio.create_task(self._find(question, find))
            task.add_done_callback(partial(self._forget, question))
        return task

    async def _find(self, question: Question, find: Callable[[], Outcome]) -> None:
        outcome = await asyncio.get_running_loop().run_in_executor(self._thread, _outcome_of, find)
        if isinstance(outcome, ContractError):
            _log.warning("the contract has no result" if question[0] == "run" else "no contract", reason=str(outcome))
        self._keep(question, outcome)

    def _keep(self, question: Question, outcome: Outcome) -> None:
        self._outcomes[question] = outcome
        while len(self._outcomes) > _KEPT:
            del self._outcomes[next(iter(self._outcomes))]

    def _forget(self, question: Question, task: asyncio.Task[None]) -> None:
        del self._finding[question]
        if not task.cancelled():
            task.exception()  # those who have waited were told; if all have gone, nobody need be


def _outcome_of(find: Callable[[], Outcome]) -> Outcome:
    """What was found, or that there is nothing to be found: both are the same at every server."""
    try:
        return find()
    except ContractError as error:
        return error
