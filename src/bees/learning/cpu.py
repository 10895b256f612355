"""How JAX runs here: on the CPU, each compiled program on the thread that calls it.

XLA would spread every small matrix product over a thread pool of its own, which costs more than it gains: local
training takes 150 ms of processor time per round of the paper's scenario, and 250 ms with that pool. The threads of
:mod:`bees.learning.workers` take whole programs instead.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

import jax

if TYPE_CHECKING:
    from collections.abc import Generator

_POOL_SIZE = "PJRT_NPROC"


@cache
def cpu_device() -> Any:  # noqa: ANN401  # JAX has no static type for its devices
    """The CPU, with XLA's own thread pool off.

    JAX reads these settings when it is first used in a process. Where that was before, training is slower, and
    its results are the same.
    """
    jax.config.update("jax_cpu_enable_async_dispatch", val=False)
    with _one_pool_thread():
        return jax.local_devices(backend="cpu")[0]


@contextmanager
def _one_pool_thread() -> Generator[None]:
    before = os.environ.get(_POOL_SIZE)
    os.environ[_POOL_SIZE] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_POOL_SIZE]
        else:
            os.environ[_POOL_SIZE] = before
