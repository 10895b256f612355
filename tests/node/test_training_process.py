"""The process that trains for devices: what it gives, what is wrong with a job, and that it is ended in time."""

from __future__ import annotations

import asyncio
import os
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


def test_it_trains_as_this_process_would_tells_what_is_wrong_and_ends_in_time(tmp_path: Path):
    path = tmp_path / "data"
    draw = np.random.default_rng(1)
    path.write_bytes(encode_data(draw.normal(size=(9, 4)).astype(np.float32), np.arange(9, dtype=np.int32) % 2))
    words = words_to_bytes(shared_world(4, 4).initial_model)
    how = TrainingSettings(epochs=1, batch_size=4, learning_rate=0.1, seed=0)
    job = TrainingJob(bytes(32), 1, TINY.description, "offloaded_model:TINY", how, str(path), words)

    async def play() -> None:
        process = TrainingProcess(60)
        here = np.frombuffer(Trainers().train(job).weights, dtype="<f4")
        np.testing.assert_array_equal(await process.train(job), here)
        other = await process.train(replace(job, round=2))
        assert not np.array_equal(other, here)
        with pytest.raises(TrainingError, match="cannot be loaded"):
            await process.train(replace(job, name=bytes([1]) * 32, own_model="nowhere:MODEL"))
        with pytest.raises(TrainingError, match="FileNotFoundError"):
            await process.train(replace(job, name=bytes([2]) * 32, path=str(tmp_path / "none")))
        pid = process._process.pid if process._process else 0
        assert pid
        await process.stop()
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
        hasty = TrainingProcess(0.2)
        with pytest.raises(TrainingError, match=r"ended after 0\.2 s"):
            await hasty.train(job)
        assert hasty._process is None

    asyncio.run(play())
