from __future__ import annotations

import os
import signal
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from bees.core.errors import InputError, WorkerLostError
from bees.study.pinned_workers import shares, work_off

if TYPE_CHECKING:
    from collections.abc import Callable

    OnNote = Callable[[str], object]


def square(job: int, on_note: OnNote) -> tuple[int, frozenset[int]]:
    on_note(f"squaring {job}")
    return job * job, frozenset(os.sched_getaffinity(0))


def fail(job: int, on_note: OnNote) -> int:
    raise InputError("job", f"{job} is wrong")


def die(job: int, on_note: OnNote) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return job


def linger(job: int, on_note: OnNote) -> int:
    on_note(str(os.getpid()))
    time.sleep(0 if job == 0 else 600)
    return job


@pytest.mark.skipif(sys.platform != "linux", reason="no affinity elsewhere")
@pytest.mark.parametrize("workers", [1, 2])
def test_every_job_is_done_once_on_the_cores_of_its_worker(workers: int):
    notes: list[str] = []
    done = list(work_off(range(7), square, workers, notes.append))
    assert sorted(value for value, _ in done) == [k * k for k in range(7)]
    assert sorted(notes) == [f"squaring {k}" for k in range(7)]
    assert {cores for _, cores in done} <= {frozenset(share) for share in shares(workers)}


def test_shares_are_even_and_never_empty(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 1, 2}, raising=False)
    assert shares(1) == [[1, 2, 3]]
    assert shares(2) == [[1, 3], [2]]
    assert shares(5) == [[1], [2], [3], [1], [2]]


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_comes_back_as_it_was_raised(workers: int):
    with pytest.raises(InputError, match="is wrong"):
        list(work_off([1, 2, 3], fail, workers, [].append))


def test_a_process_that_dies_is_told_of_and_no_hang():
    with pytest.raises(WorkerLostError, match="exit code -9"):
        list(work_off([1, 2], die, 2, [].append))


def test_whoever_stops_listening_leaves_no_process_behind():
    notes: list[str] = []
    results: Any = work_off([1, 0, 0], linger, 2, notes.append)
    assert next(results) == 0
    results.close()
    for pid in {int(note) for note in notes}:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
