"""The process that trains for devices: what is wrong with a job, and that it is ended in time."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING

import numpy as np
import pytest
from msgspec.structs import replace
from offloaded_model import TINY

from bees.core.errors import TrainingError
from bees.core.fixed_point import words_to_bytes
from bees.faults.world import shared_world
from bees.node.training_process import TrainingProcess
from bees.node.training_worker import Trainers, TrainingJob
from bees.transport.offloading import TrainingSettings, encode_data

if TYPE_CHECKING:
    from pathlib import Path


def test_what_is_wrong_with_a_job_is_told_and_ends_nothing(tmp_path: Path):
    path = tmp_path / "data"
    draw = np.random.default_rng(1)
    path.write_bytes(encode_data(draw.normal(size=(9, 4)).astype(np.float32), np.arange(9, dtype=np.int32) % 2))
    words = words_to_bytes(shared_world(4, 4).initial_model)
    how = TrainingSettings(epochs=1, batch_size=4, learning_rate=0.1, seed=0)
    job = TrainingJob(bytes(32), 1, TINY.description, "offloaded_model:TINY", how, str(path), words)

    trainers = Trainers()
    foreign = trainers.train(replace(job, own_model="nowhere:MODEL"))
    assert (foreign.weights, "cannot be loaded" in foreign.problem) == (b"", True)
    lost = trainers.train(replace(job, path=str(tmp_path / "none")))
    assert (lost.weights, "FileNotFoundError" in lost.problem) == (b"", True)
    path.write_bytes(b"damaged")
    assert "is no safetensors" in trainers.train(job).problem


def test_a_process_that_has_died_is_started_again(tmp_path: Path):
    async def play() -> None:
        process = TrainingProcess(300)
        words = words_to_bytes(shared_world(4, 4).initial_model)
        missing = str(tmp_path / "none")
        job = TrainingJob(bytes(32), 1, TINY.description, "offloaded_model:TINY", TrainingSettings(), missing, words)
        pids: list[int] = []
        for _ in range(2):
            with pytest.raises(TrainingError, match="FileNotFoundError"):
                await process.train(job)
            assert process._process is not None
            pids.append(process._process.pid)
            os.kill(pids[-1], signal.SIGKILL)
            await process._process.wait()
        assert pids[0] != pids[1]
        await process.stop()

    asyncio.run(play())


def test_a_training_that_takes_too_long_is_ended_with_its_process(tmp_path: Path):
    path = tmp_path / "data"
    path.write_bytes(encode_data(np.zeros((1, 4), np.float32), np.zeros(1, np.int32)))

    async def play() -> None:
        process = TrainingProcess(2)
        words = words_to_bytes(shared_world(4, 4).initial_model)
        job = TrainingJob(
            bytes(32), 1, TINY.description, "offloaded_model:asleep", TrainingSettings(), str(path), words
        )
        task = asyncio.create_task(process.train(job))
        while process._process is None and not task.done():  # noqa: ASYNC110  # a process tells nobody that it starts
            await asyncio.sleep(0.01)
        pid = process._process.pid if process._process else 0
        with pytest.raises(TrainingError, match="ended after 2 s"):
            await task
        assert pid
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)

    asyncio.run(play())
