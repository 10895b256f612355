"""How many threads the model world may use, and how it shares work among them.

There are as many workers as CPUs that the process may run on (``taskset``, ``os.sched_setaffinity``), or as the
environment variable ``NPROC`` says. A unit of work is always computed by the same compiled program on one thread,
whichever worker takes it, so results don't depend on their number.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

THREADS_VARIABLE = "NPROC"

Job = TypeVar("Job")
Done = TypeVar("Done")


def worker_count() -> int:
    """Threads to use: ``NPROC`` where it is a positive number, else the CPUs that this process may run on."""
    wanted = os.environ.get(THREADS_VARIABLE, "")
    if wanted.isdecimal() and int(wanted) > 0:
        return int(wanted)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def for_each(work: Callable[[Job], Done], jobs: Iterable[Job], workers: int) -> list[Done]:
    """``work`` on each job, by ``workers`` threads; results in the order of the jobs."""
    if workers == 1:
        return [work(job) for job in jobs]
    with ThreadPoolExecutor(workers, thread_name_prefix="bees-learning") as pool:
        return list(pool.map(work, jobs))
