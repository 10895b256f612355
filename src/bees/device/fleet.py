"""Trains for one device, or for several that share a process: a gateway of sensors, a network on one machine."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import structlog

from bees.core.errors import DoubleSignError, NetworkError, NotAMemberError
from bees.core.fixed_point import dequantise
from bees.device.own_data import read_own_data
from bees.device.sync import Device
from bees.learning.described import model_of
from bees.learning.own_training import make_trainer
from bees.learning.samples import sizes_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from bees.device.offloading import Terms
    from bees.device.results import Delegated, DeviceRound
    from bees.scenario import Learning

_log = structlog.get_logger("bees.device")


@dataclass(frozen=True)
class Member:
    """One device of a fleet.

    Attributes:
        key: its key file.
        data: its folder.
        index: u_k, where the genesis does not name the key.
    """

    key: Path
    data: Path
    index: int | None = None


@dataclass(frozen=True)
class Handed:
    """An update that was handed in.

    Attributes:
        device: u_k.
        round: t.
        accepted: whether a block has it.
        delegated: what its server says, where that has trained in the device's place.
    """

    device: int
    round: int
    accepted: bool | None
    delegated: Delegated | None = None


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
        offload: on which terms each member offloads; None: their data stay here.

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
        offload: Terms | None = None,
    ) -> None:
        self._terms = offload
        self._devices: list[Device] = []
        self._stopping = threading.Event()
        self._left_out: list[NotAMemberError] = []
        try:
            for member in members:
                device = Device(node_urls, member.key, genesis, authority=authority, index=member.index)
                self._devices.append(device)
                if len(node_urls) == len(device.genesis.servers):
                    device.prefer(node_urls[device.genesis.devices[device.index].server])
            description = self._devices[0].genesis.model
            model = model_of(description, own_model)
            self._exponent = description.exponent
            data = [read_own_data(member.data, *sizes_of(model)) for member in members]
            self._trainer, self.samples = make_trainer(model, data, learning, seed), [len(own.y) for own in data]
            self._data = data if offload is not None else []
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
            BeesError: a member cannot go on; the others then end, too. But where the servers have removed a member,
                the others go on, and it is raised when they have ended.
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
        if self._left_out:
            raise self._left_out[0]

    def close(self) -> None:
        """Close all connections and journals."""
        for device in self._devices:
            device.close()

    def _take_part(self, member: int, rounds: int | None, on_update: Callable[[Handed], None]) -> None:
        device, done = self._devices[member], 0
        try:
            while (rounds is None or done < rounds) and not self._stopping.is_set():
                opened = device.next_round()
                try:
                    handed = self._delegate(member, opened) or self._train(member, opened)
                except (NetworkError, DoubleSignError) as error:
                    _log.warning("no update", device=device.index, round=opened.round, reason=str(error))
                    continue
                done += 1
                on_update(handed)
        except asyncio.CancelledError:
            return
        except NotAMemberError as error:
            _log.error("device takes no part any more", device=device.index, reason=str(error))
            self._left_out.append(error)
        finally:
            self._take_back(device)

    def _train(self, member: int, opened: DeviceRound) -> Handed:
        device = self._devices[member]
        weights = self._trainer.train(dequantise(opened.words, self._exponent), opened.round, [member])[0]
        receipt = device.submit(opened, self._unflatten(weights), self.samples[member])
        return Handed(device.index, opened.round, receipt.accepted)

    def _delegate(self, member: int, opened: DeviceRound) -> Handed | None:
        """Have the member's server train; None where it does not, and the member has to."""
        device, terms = self._devices[member], self._terms
        if terms is None or (device.offloads_until or opened.round) < opened.round:
            return None
        try:
            if device.offloads_until is None:
                device.offload(opened, *self._data[member], terms)
            delegated = device.delegate(opened)
        except NetworkError as error:
            fields = {"device": device.index, "round": opened.round, "reason": str(error)}
            _log.warning("the server does not train; training at home", **fields)
            return None
        return Handed(device.index, opened.round, delegated.accepted, delegated)

    def _take_back(self, device: Device) -> None:
        """Have the data deleted that were handed over until further notice."""
        if self._terms is None or self._terms.rounds is not None or device.offloads_until is None:
            return
        try:
            device.stop_offloading()
        except (NetworkError, asyncio.CancelledError) as error:
            _log.warning("the server has not deleted the data", device=device.index, reason=str(error))

    def _unflatten(self, weights: np.ndarray[tuple[int], np.dtype[np.float32]]) -> list[np.ndarray]:
        ends = np.cumsum([int(np.prod(shape)) for shape in self._shapes])[:-1]
        return [part.reshape(shape) for part, shape in zip(np.split(weights, ends), self._shapes, strict=True)]
