"""Working off jobs in several processes, each pinned to its share of the cores.

A pool of the standard library would do, but for three things: each process must be confined to its cores before JAX
counts them, tell of its steps between two results, and end at once when it is interrupted, not after its job.
"""

from __future__ import annotations

import os
import signal
import threading
from collections import deque
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, Any, Self, TypeVar

from bees.core.errors import WorkerLostError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence
    from multiprocessing.connection import Connection

    OnNote = Callable[[str], object]

Job = TypeVar("Job")
Done = TypeVar("Done")


def work_off(jobs: Sequence[Job], work: Callable[[Job, OnNote], Done], workers: int, on_note: OnNote) -> Iterator[Done]:
    """The results, as they come.

    Args:
        jobs: started in this order.
        work: takes a job, and whom to tell of its steps; a function of a module, so that other processes find it.
        workers: how many processes; with one, this process works itself, on all its cores.
        on_note: is told of the steps of all.

    Raises:
        WorkerLostError: a process has died.
        Exception: what ``work`` raises.
    """
    if workers == 1 or len(jobs) <= 1:
        for job in jobs:
            yield work(job, on_note)
        return
    with ExitStack() as stack:
        team = [stack.enter_context(_Worker(work, cores)) for cores in shares(min(workers, len(jobs)))]
        yield from _work_off_in(team, deque(jobs), on_note)


def shares(workers: int) -> list[list[int]]:
    """The cores of each process: as even as can be, and no core twice unless there are more processes than cores."""
    if not hasattr(os, "sched_getaffinity"):
        return [[] for _ in range(workers)]
    cores = sorted(os.sched_getaffinity(0))
    return [cores[number::workers] or [cores[number % len(cores)]] for number in range(workers)]


@dataclass(frozen=True)
class _Note:
    text: str


@dataclass(frozen=True)
class _Result:
    value: Any


@dataclass(frozen=True)
class _Failure:
    error: Exception


def _work_off_in(team: list[_Worker], waiting: deque[Any], on_note: OnNote) -> Iterator[Any]:
    busy = {worker.connection: worker for worker in team}
    for worker in team:
        worker.give(waiting.popleft())
    while busy:
        for connection in _ready(busy):
            worker = busy[connection]
            match worker.receive():
                case _Note(text):
                    on_note(text)
                case _Failure(error):
                    raise error
                case _Result(value):
                    if waiting:
                        worker.give(waiting.popleft())
                    else:
                        del busy[connection]
                    yield value


def _ready(busy: dict[Connection, _Worker]) -> list[Connection]:
    heard = wait(list(busy))
    return [connection for connection in busy if connection in heard]


class _Worker:
    """A process and our end of its pipe."""

    def __init__(self, work: Callable[[Any, OnNote], Any], cores: list[int]) -> None:
        # Spawned, not forked: JAX has threads.
        context = get_context("spawn")
        self.connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(work, cores, theirs), daemon=True)
        with _deaf_to_interrupts():
            self._process.start()
        theirs.close()

    def give(self, job: object) -> None:
        try:
            self.connection.send(job)
        except OSError as error:
            raise self._lost() from error

    def receive(self) -> _Note | _Result | _Failure:
        try:
            return self.connection.recv()
        except (EOFError, OSError) as error:
            raise self._lost() from error

    def _lost(self) -> WorkerLostError:
        self._process.join()
        return WorkerLostError(self._process.exitcode)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.connection.close()
        self._process.terminate()
        self._process.join()


@contextmanager
def _deaf_to_interrupts() -> Generator[None]:
    """A process that is started in here ignores Ctrl-C: a terminal sends it to all, and it is for us to end them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _serve(work: Callable[[Any, OnNote], Any], cores: list[int], connection: Connection) -> None:
    if cores:
        os.sched_setaffinity(0, cores)
    # A closed pipe means that whoever has started us is gone.
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):
        while True:
            job = connection.recv()
            try:
                message = _Result(work(job, lambda text: connection.send(_Note(text))))
            except (BrokenPipeError, ConnectionResetError):
                return
            except Exception as error:  # noqa: BLE001  # whatever it is, the other process raises it
                message = _Failure(error)
            connection.send(message)
