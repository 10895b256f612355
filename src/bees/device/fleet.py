"""Trains for one device, or for several that share a process: a gateway of sensors, a network on one machine."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import structlog

from bees.core.errors import DoubleSignError, NetworkError
from bees.core.fixed_point import dequantise
from bees.device.own_data import read_own_data
from bees.device.sync import Device
from bees.learning.datasets import Dataset
from bees.learning.described import model_of
from bees.learning.models import CNN, MLP
from bees.learning.partition import NO_SAMPLE, Partition
from bees.learning.training import LocalTrainer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from bees.learning.models import Model
    from bees.scenario import Learning

_log = structlog.get_logger("bees.device")


@dataclass(frozen=True)
class Member:
    """One device of a fleet.

    Attributes:
        key: its key file.
        data: its folder.
    """

    key: Path
    data: Path


@dataclass(frozen=True)
class Handed:
    """An update that was handed in.

    Attributes:
        device: u_k.
        round: t.
        accepted: whether a block has it.
    """

    device: int
    round: int
    accepted: bool | None


class Fleet:
    """Devices of one process, each with its own key, data and connection, and one compiled trainer for all.

    Args:
        members: the devices.
        node_urls: of the nodes. Where they are as many as the servers of the genesis, they must be in its order, and
            each member asks its nearest server first.
        genesis: file of the genesis.
        learning: epochs, batch size, learning rate.
        seed: of the shuffling.
        own_model: ``package.module:name``; "": made from the genesis.
        authority: of the nodes' certificates.

    Raises:
        BeesError: a key, the genesis or the data is not right.
    """

    def __init__(
        self,
        members: Sequence[Member],
        node_urls: Sequence[str],
        genesis: Path,
        learning: Learning,
        *,
        seed: int = 0,
        own_model: str = "",
        authority: str | None = None,
    ) -> None:
        self._devices: list[Device] = []
        self._stopping = threading.Event()
        try:
            for member in members:
                device = Device(node_urls, member.key, genesis, authority=authority)
                self._devices.append(device)
                if len(node_urls) == len(device.genesis.servers):
                    device.prefer(node_urls[device.genesis.devices[device.index].server])
            description = self._devices[0].genesis.model
            model = model_of(description, own_model)
            self._exponent = description.exponent
            self._trainer, self.samples = _make_trainer(model, members, learning, seed)
            self._shapes = [array.shape for array in description.arrays]
        except BaseException:
            self.close()
            raise

    @property
    def indices(self) -> tuple[int, ...]:
        """u_k of each member."""
        return tuple(device.index for device in self._devices)

    def run(self, rounds: int | None, on_update: Callable[[Handed], None]) -> None:
        """Take part in rounds, each member in a thread of its own.

        Args:
            rounds: how many each member hands in; None for ever.
            on_update: told of each update.

        Raises:
            BeesError: a member cannot go on; the others then end, too.
        """
        with ThreadPoolExecutor(len(self._devices), thread_name_prefix="device") as pool:
            jobs = [pool.submit(self._take_part, k, rounds, on_update) for k in range(len(self._devices))]
            try:
                for job in as_completed(jobs):
                    job.result()
            finally:
                self._stopping.set()
                for device in self._devices:
                    device.interrupt()

    def close(self) -> None:
        """Close all connections and journals."""
        for device in self._devices:
            device.close()

    def _take_part(self, member: int, rounds: int | None, on_update: Callable[[Handed], None]) -> None:
        device, done = self._devices[member], 0
        try:
            while (rounds is None or done < rounds) and not self._stopping.is_set():
                opened = device.next_round()
                weights = self._trainer.train(dequantise(opened.words, self._exponent), opened.round, [member])[0]
                try:
                    receipt = device.submit(opened, self._unflatten(weights), self.samples[member])
                except (NetworkError, DoubleSignError) as error:
                    _log.warning("no update", device=device.index, round=opened.round, reason=str(error))
                    continue
                done += 1
                on_update(Handed(device.index, opened.round, receipt.accepted))
        except asyncio.CancelledError:
            return

    def _unflatten(self, weights: np.ndarray[tuple[int], np.dtype[np.float32]]) -> list[np.ndarray]:
        ends = np.cumsum([int(np.prod(shape)) for shape in self._shapes])[:-1]
        return [part.reshape(shape) for part, shape in zip(np.split(weights, ends), self._shapes, strict=True)]


def _make_trainer(
    model: Model, members: Sequence[Member], learning: Learning, seed: int
) -> tuple[LocalTrainer, list[int]]:
    inputs, classes = _sizes(model)
    data = [read_own_data(member.data, inputs, classes) for member in members]
    samples = [len(own.y) for own in data]
    index = np.full((len(data), max(samples)), NO_SAMPLE, dtype=np.int32)
    start = 0
    for row, count in enumerate(samples):
        index[row, :count] = np.arange(start, start + count)
        start += count
    x, y = np.concatenate([own.x for own in data]), np.concatenate([own.y for own in data])
    dataset = Dataset("own", x, y, x[:1], y[:1], classes or int(y.max()) + 1, x.shape[1:])
    partition = Partition(index, np.array(samples, dtype=np.int32))
    return LocalTrainer(model, dataset, partition, learning, seed, threads=1), samples


def _sizes(model: Model) -> tuple[int | None, int | None]:
    match model:
        case MLP(inputs=inputs, classes=classes):
            return inputs, classes
        case CNN(image_shape=shape, classes=classes):
            return int(np.prod(shape)), classes
        case _:
            return None, None
