"""Many devices in one process: each is a ``bees.device.AsyncDevice`` at an address of its own, and all are measured."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import aiohttp

from bees.core.errors import BeesError, NetworkError
from bees.core.keys import SigningKey
from bees.device.client import AsyncDevice
from bees.device.nodes import Nodes
from bees.ledger.genesis import PhaseLengths
from campaigns.random_world import SAMPLE_CAP, drawn_update

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bees.device.client import DeviceRound, Receipt
    from bees.device.nodes import Answer
    from campaigns.random_world import RandomWorld

PHASES = PhaseLengths(collect=120, attest=208, publish=5, publish_ranks=4)
"""What ``bees genesis new`` sets for a thousand devices, but twice the COLLECT: here they share the servers' CPUs."""

_TIMEOUT_S = 120.0
_PER_NET = 250


@dataclass
class Tally:
    """What devices have asked, and what they were answered.

    Attributes:
        statuses: how often each path was answered with each status, or what came instead of an answer.
        seconds: how long each answer took, by path; those that wait on purpose are left out.
        problems: of devices that had to give an update up.
    """

    statuses: dict[str, Counter[str]] = field(default_factory=dict[str, Counter[str]])
    seconds: dict[str, list[float]] = field(default_factory=dict[str, list[float]])
    problems: list[str] = field(default_factory=list[str])

    def add(self, path: str, status: str, seconds: float) -> None:
        """Count an answer."""
        name, waits, _ = path.partition("?after=")
        name = "/v1/held" if name.startswith("/v1/held") else name
        self.statuses.setdefault(name + waits, Counter())[status] += 1
        if not waits:
            self.seconds.setdefault(name, []).append(seconds)


def own_address(index: int) -> str:
    """A loopback address for each device, since a node's limits are for each address."""
    return f"127.{1 + index // _PER_NET // _PER_NET}.{index // _PER_NET % _PER_NET}.{1 + index % _PER_NET}"


class MeasuredNodes(Nodes):
    """Nodes that are asked from one address, and whose answers are counted."""

    def __init__(self, urls: Sequence[str], address: str, tally: Tally) -> None:
        super().__init__(urls, timeout_s=_TIMEOUT_S)
        self._address = address
        self._tally = tally

    async def ask(self, url: str, path: str, **options: Any) -> Answer:  # noqa: ANN401  # those of ``Nodes.ask``
        """One request, counted."""
        if self._http is None:
            connector = aiohttp.TCPConnector(local_addr=(self._address, 0))
            self._http = aiohttp.ClientSession(connector=connector, timeout=self._timeout, auto_decompress=False)
        began, status = time.perf_counter(), "no patience left"
        try:
            answer = await super().ask(url, path, **options)
            status = str(answer.status)
        except NetworkError as error:
            status = type(error.__cause__ or error).__name__
            raise
        else:
            return answer
        finally:
            self._tally.add(path, status, time.perf_counter() - began)


class LoadDevice(AsyncDevice):
    """One of many."""

    def __init__(
        self, world: RandomWorld, index: int, urls: Sequence[str], journal: Path, address: str, tally: Tally
    ) -> None:
        key = SigningKey.from_seed(world.device_seeds[index])
        super().__init__(urls, key, world.signed, journal, timeout_s=_TIMEOUT_S)
        self._nodes = MeasuredNodes(urls, address, tally)


class Crowd:
    """All devices of a world; they hand in their updates at once.

    Attributes:
        tally: of the round that is played.
    """

    def __init__(
        self, world: RandomWorld, count: int, urls: Sequence[str], folder: Path, *, one_address: bool = False
    ) -> None:
        """Open the journals; nobody asks yet.

        Args:
            world: whose devices they are.
            count: how many of them, from the first.
            urls: of the nodes that each device knows, in its order.
            folder: for the journals.
            one_address: whether all come from one address, as behind a gateway; else each has its own.
        """
        self.tally = Tally()
        self._world = world
        self._stack = AsyncExitStack()
        self._devices = [
            LoadDevice(world, k, urls, folder / f"{k}.db", own_address(0 if one_address else k), self.tally)
            for k in range(count)
        ]

    async def __aenter__(self) -> Self:
        for device in self._devices:
            await self._stack.enter_async_context(device)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def open_round(self) -> list[DeviceRound]:
        """All devices fetch the open round and check it."""
        return list(await asyncio.gather(*(device.next_round() for device in self._devices)))

    async def hand_in(self, opened: Sequence[DeviceRound]) -> list[Receipt | None]:
        """All devices hand in an update at once, and stay until it counts; None for one that had to give up."""
        parameters = len(self._world.initial_model)
        arrays = [drawn_update(k, opened[k].round, parameters) for k in range(len(self._devices))]
        return list(await asyncio.gather(*(self._hand_in(k, opened[k], arrays[k]) for k in range(len(arrays)))))

    def fresh_tally(self) -> Tally:
        """What was counted up to now; counting begins anew."""
        counted = Tally(self.tally.statuses, self.tally.seconds, self.tally.problems)
        self.tally.statuses, self.tally.seconds, self.tally.problems = {}, {}, []
        return counted

    async def _hand_in(self, index: int, opened: DeviceRound, array: Any) -> Receipt | None:  # noqa: ANN401
        try:
            return await self._devices[index].submit(opened, [array], SAMPLE_CAP)
        except BeesError as error:
            self.tally.problems.append(f"device {index}, round {opened.round}: {error}")
            return None
