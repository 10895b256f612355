"""The node's side of a training process: started when it is needed, ended when a training takes too long."""

from __future__ import annotations

import asyncio
import os
import struct
import sys
from typing import TYPE_CHECKING

import numpy as np
import structlog

from bees.core.canonical import decode, encode
from bees.core.errors import TrainingError
from bees.node.training_worker import TrainingDone, frame

if TYPE_CHECKING:
    from asyncio.subprocess import Process

    from numpy.typing import NDArray

    from bees.node.training_worker import TrainingJob

_PROGRAM = "from bees.node.training_worker import main; main()"
_LENGTH = struct.Struct("<Q")

_log = structlog.get_logger("bees.node.offloading")


class TrainingProcess:
    """Trains one job at a time.

    Args:
        limit_s: after which a training is ended, its start included.
    """

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._process: Process | None = None

    async def train(self, job: TrainingJob) -> NDArray[np.float32]:
        """w_k(t), float32, shape (P,).

        Raises:
            TrainingError: it has failed, or takes too long.
        """
        try:
            async with asyncio.timeout(self._limit_s):
                done = await self._ask(job)
        except TimeoutError:
            await self.stop()
            raise TrainingError(f"the training was ended after {self._limit_s:g} s") from None
        except (OSError, asyncio.IncompleteReadError) as error:
            await self.stop()
            raise TrainingError("the training process has died, perhaps for lack of memory") from error
        except asyncio.CancelledError:
            await self.stop()
            raise
        if done.problem:
            raise TrainingError(done.problem)
        return np.frombuffer(done.weights, dtype="<f4")

    async def stop(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.returncode is None:
            process.kill()
        # To the end of its output, so that its pipes are closed while the loop still runs.
        await process.communicate()

    async def _ask(self, job: TrainingJob) -> TrainingDone:
        process = self._process
        if process is None or process.returncode is not None:
            process = await self._start()
        if process.stdin is None or process.stdout is None:
            raise TrainingError("the training process has no pipes")
        process.stdin.write(frame(encode(job)))
        await process.stdin.drain()
        (size,) = _LENGTH.unpack(await process.stdout.readexactly(_LENGTH.size))
        return decode(await process.stdout.readexactly(size), TrainingDone)

    async def _start(self) -> Process:
        # It finds the modules that this process finds, a user's own model among them.
        path = os.pathsep.join(entry or str(os.curdir) for entry in sys.path)
        environment = {**os.environ, "PYTHONPATH": path, "NPROC": "1", "JAX_PLATFORMS": "cpu"}
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            "-c",
            _PROGRAM,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=environment,
        )
        _log.info("a process that trains for devices has started", pid=self._process.pid)
        return self._process
