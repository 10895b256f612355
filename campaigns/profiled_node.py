"""``random_node`` that counts where its time goes, on its event loop and beside it, and tells it among its metrics.

A part that calls another one counts it, too: running the contract includes the reads of updates in it. How long the
loop is late counts everything that holds it up, its own work and that of threads that do not let it go on.
"""

from __future__ import annotations

import asyncio
import sys
import time
from functools import wraps
from typing import TYPE_CHECKING, Any

from prometheus_client import Counter, Gauge

from campaigns.random_node import draw_scores, run_node

draw_scores()

from bees.engines.chain_file import ChainWriter  # noqa: E402
from bees.ledger.aggregation import ContractExecutor  # noqa: E402  # after the scorer has been replaced
from bees.ledger.application import Application  # noqa: E402
from bees.node import metrics, service  # noqa: E402
from bees.node.blob_store import DiskBlobStore  # noqa: E402
from bees.node.certificates import SignedHeaders  # noqa: E402
from bees.protocol.witness import Witness  # noqa: E402
from bees.transport import update_hasher  # noqa: E402
from bees.transport.journal import DiskJournal  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable

_TICK_S = 0.01

PARTS: dict[str, tuple[type, str]] = {
    "contract": (ContractExecutor, "run"),
    "execute proposal": (Application, "execute"),
    "finalize block": (Application, "finalize_block"),
    "prepare proposal": (Application, "prepare_proposal"),
    "check transaction": (Application, "check_tx"),
    "commit": (Application, "commit"),
    "hash uploads and pulls": (update_hasher.UpdateHasher, "add"),
    "read updates from disk": (DiskBlobStore, "get"),
    "keep updates on disk": (DiskBlobStore, "keep"),
    "remove updates from disk": (DiskBlobStore, "prune"),
    "append to chain file": (ChainWriter, "append"),
    "write signed header": (SignedHeaders, "remember"),
    "write journal": (DiskJournal, "remember"),
    "judge results": (Witness, "judge"),
}


def timed(call: Callable[..., Any], count: Callable[[float], None]) -> Callable[..., Any]:
    """The same function, whose seconds are counted."""

    @wraps(call)
    def run(*arguments: Any, **options: Any) -> Any:  # noqa: ANN401  # whatever the function takes and gives
        begin = time.perf_counter()
        try:
            return call(*arguments, **options)
        finally:
            count(time.perf_counter() - begin)

    return run


class ProfiledMetrics(metrics.Metrics):
    """A node's metrics, and the seconds of each part."""

    def __init__(self) -> None:
        super().__init__()
        seconds = Counter("profiled_seconds", "Seconds in a part.", ["part"], registry=self.registry)
        told = "The longest for which the loop did nothing else."
        self.stall = Gauge("profiled_longest_stall_seconds", told, registry=self.registry)
        told = "CPU seconds of the thread in which the loop runs."
        self.loop_cpu = Gauge("profiled_loop_cpu_seconds", told, registry=self.registry)
        self.late = seconds.labels("loop is late")
        for part, (owner, name) in PARTS.items():
            setattr(owner, name, timed(getattr(owner, name), seconds.labels(part).inc))
        self._task = asyncio.get_running_loop().create_task(self._watch())

    async def _watch(self) -> None:
        longest = 0.0
        while True:
            begin = time.perf_counter()
            await asyncio.sleep(_TICK_S)
            late_s = time.perf_counter() - begin - _TICK_S
            self.late.inc(max(0.0, late_s))
            self.loop_cpu.set(time.thread_time())
            longest = max(longest, late_s)
            self.stall.set(longest)


if __name__ == "__main__":
    service.Metrics = ProfiledMetrics
    sys.exit(run_node(sys.argv[1:]))
