"""A contract runs beside the loop: once for all who ask, with the same outcome as on it, and to its end."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from abci_rig import world_of
from msgspec.structs import replace

from bees.core.errors import ContractError, MissingBlobError, VirtualMachineError
from bees.faults.world import train
from bees.ledger.aggregation import ContractExecutor
from bees.ledger.commitments import commit_to_update
from bees.ledger.execution import ContractResult
from bees.ledger.state import Ballot, EligibleUpdate, Phase, State, initial_state
from bees.node.contract_thread import ContractThread

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

RESULT = ContractResult((1,), bytes(32))


def publishing_state(round_: int = 1) -> State:
    """PUBLISH of a round in which all four devices have handed in."""
    eligible = tuple(
        EligibleUpdate(k, commit_to_update(k, round_, train(k, round_)), 10 + k, 500 + k) for k in range(4)
    )
    opened = initial_state(world_of().genesis)
    return replace(opened, round=round_, phase=Phase.PUBLISH, ballot=Ballot(eligible, (0, 1, 2, 3)))


@dataclass
class Gated:
    """An executor that a test lets go on, and that tells where it ran."""

    outcomes: list[ContractResult | Exception]
    gate: threading.Event = field(default_factory=threading.Event)
    threads: list[str] = field(default_factory=list[str])

    def run(self, _: State) -> ContractResult:
        self.threads.append(threading.current_thread().name)
        assert self.gate.wait(10)
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def check(self, code: bytes) -> None:
        raise ContractError(f"{len(code)} bytes")


def play(executor: Gated, talk: Callable[[ContractThread], Awaitable[None]]) -> None:
    async def main() -> None:
        thread = ContractThread(executor)  # pyright: ignore[reportArgumentType]  # all of it that is asked
        thread.start()
        try:
            await talk(thread)
        finally:
            executor.gate.set()
            await thread.stop()

    asyncio.run(main())


def test_the_thread_finds_what_the_executor_finds():
    world, state = world_of(), publishing_state()
    blobs = {update.commitment: train(update.device, 1) for update in state.ballot.eligible} if state.ballot else {}

    def executor() -> ContractExecutor:
        return ContractExecutor(world.machine, blobs.get, world.initial_model)

    async def beside() -> tuple[ContractResult, list[bytes]]:
        thread = ContractThread(executor())
        thread.start()
        result = await thread.settle(lambda: thread.run(state))
        await thread.stop()
        return result, [words.tobytes() for words in thread.models.values()]

    at_once, alone = ContractThread(executor()), executor()
    assert (at_once.run(state), alone.run(state)) == (alone.run(state),) * 2
    result, models = asyncio.run(beside())
    assert result == alone.run(state)
    assert models == [words.tobytes() for words in alone.models.values()]


def test_the_loop_goes_on_and_all_who_ask_get_the_one_run():
    async def talk(thread: ContractThread) -> None:
        state = publishing_state()
        asked = [asyncio.create_task(thread.settle(lambda: thread.run(state))) for _ in range(3)]
        asked[0].get_loop().call_later(0.02, asked[0].cancel)
        await asyncio.wait(asked[:1])
        assert [task.done() for task in asked] == [True, False, False]
        executor.gate.set()
        assert await asyncio.gather(*asked[1:]) == [RESULT, RESULT]
        assert await thread.settle(lambda: thread.run(state)) == RESULT

    executor = Gated([RESULT])
    play(executor, talk)
    assert len(executor.threads) == 1
    assert executor.threads[0].startswith("contract")


def test_what_nobody_waits_for_any_more_is_kept():
    async def talk(thread: ContractThread) -> None:
        state = publishing_state()
        asked = asyncio.create_task(thread.settle(lambda: thread.run(state)))
        await asyncio.sleep(0.01)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        executor.gate.set()
        assert await thread.settle(lambda: thread.run(state)) == RESULT

    executor = Gated([RESULT])
    play(executor, talk)
    assert len(executor.threads) == 1


def test_a_call_is_made_again_on_the_state_as_it_then_is():
    states = [publishing_state(1), publishing_state(2)]
    seen: list[int] = []

    async def talk(thread: ContractThread) -> None:
        def call() -> ContractResult:
            seen.append(states[0].round)
            return thread.run(states[0])

        asked = asyncio.create_task(thread.settle(call))
        await asyncio.sleep(0.01)
        del states[0]
        executor.gate.set()
        assert await asked == RESULT

    executor = Gated([ContractError("of the first state"), RESULT])
    play(executor, talk)
    assert seen == [1, 2, 2]


def test_no_result_is_an_outcome_and_missing_bytes_are_none(capsys: pytest.CaptureFixture[str]):
    failures = [MissingBlobError(bytes(32)), VirtualMachineError("no memory"), ContractError("it trapped")]

    async def talk(thread: ContractThread) -> None:
        executor.gate.set()
        state = publishing_state()
        for failure in (*failures, failures[-1]):
            with pytest.raises(type(failure), match=str(failure)):
                await thread.settle(lambda: thread.run(state))
        with pytest.raises(ContractError, match="7 bytes"):
            await thread.settle(lambda: thread.check(b"no code"))

    executor = Gated(list(failures))
    play(executor, talk)
    assert len(executor.threads) == 3
    assert capsys.readouterr().out.count("the contract has no result") == 1


def test_stopping_waits_for_the_contract_that_runs():
    async def talk(thread: ContractThread) -> None:
        first, second = (publishing_state(round_) for round_ in (1, 2))
        asked = [asyncio.create_task(thread.settle(lambda s=s: thread.run(s))) for s in (first, second)]
        await asyncio.sleep(0.01)
        stopping = asyncio.create_task(thread.stop())
        await asyncio.sleep(0.02)
        assert not stopping.done()
        executor.gate.set()
        await stopping
        found = await asyncio.gather(*asked, return_exceptions=True)
        assert found[0] == RESULT
        assert isinstance(found[1], asyncio.CancelledError)

    executor = Gated([RESULT])
    play(executor, talk)
    assert len(executor.threads) == 1
