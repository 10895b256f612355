"""The device for programs without an asyncio loop, which most training loops are."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

from bees.core.errors import InputError
from bees.core.keys import SigningKey
from bees.device.client import AsyncDevice
from bees.device.offloading import Terms
from bees.key_file import read_key_file
from bees.ledger.genesis import SignedGenesis
from bees.transport.genesis_file import read_genesis_file

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator, Sequence
    from types import TracebackType

    from numpy.typing import ArrayLike

    from bees.device.results import Delegated, DeviceRound, Receipt
    from bees.ledger.genesis import Genesis

T = TypeVar("T")


class Device:
    """One device. Use it as a context manager, in one thread.

    ::

        with Device(["http://127.0.0.1:7600"], "device.key", "genesis.bees") as device:
            for round in device.rounds():
                arrays = train(round.arrays)
                device.submit(round, arrays, samples=600)

    Args:
        node_urls: of the nodes' device APIs, the nearest first; one URL will do.
        key: the device's, or its key file.
        genesis: the device's own copy, or its file: all that the device believes.
        journal: file that remembers what was signed; beside the key file by default.
        authority: PEM file of the authority that has signed the nodes' certificates.
        timeout_s: until a node must have answered.
        index: u_k, which must be given where the servers have replaced the key that the genesis names.

    Raises:
        GenesisError: the genesis contradicts itself, or not every server has signed it.
        InputError: the key is no device's of this genesis and no index was given, or a file cannot be read.
    """

    def __init__(
        self,
        node_urls: Sequence[str] | str,
        key: SigningKey | Path | str,
        genesis: SignedGenesis | Path | str,
        *,
        journal: Path | str | None = None,
        authority: str | None = None,
        timeout_s: float = 60.0,
        index: int | None = None,
    ) -> None:
        urls = [node_urls] if isinstance(node_urls, str) else list(node_urls)
        self._device = AsyncDevice(
            urls,
            key if isinstance(key, SigningKey) else read_key_file(Path(key)),
            genesis if isinstance(genesis, SignedGenesis) else read_genesis_file(Path(genesis)),
            _journal_of(key, journal),
            authority=authority,
            timeout_s=timeout_s,
            index=index,
        )
        self._runner = asyncio.Runner()
        self._task: asyncio.Task[Any] | None = None

    @property
    def genesis(self) -> Genesis:
        """What the device believes."""
        return self._device.genesis

    @property
    def index(self) -> int:
        """u_k: its index in the genesis."""
        return self._device.index

    def prefer(self, url: str) -> None:
        """Ask this node first, until it fails."""
        self._device.prefer(url)

    def next_round(self) -> DeviceRound:
        """Wait for a round that this device has not handed in yet, and check its w_g(t-1)."""
        return self._run(self._device.next_round())

    def rounds(self) -> Iterator[DeviceRound]:
        """One round after the other, for ever."""
        while True:
            yield self.next_round()

    def submit(
        self, round_: DeviceRound, arrays: Sequence[ArrayLike], samples: int, *, confirm: bool = True
    ) -> Receipt:
        """Quantise, commit, sign and hand in the trained arrays; see ``AsyncDevice.submit``."""
        return self._run(self._device.submit(round_, arrays, samples, confirm=confirm))

    @property
    def offloads_until(self) -> int | None:
        """The last round for which the server holds this device's data; None where it holds none."""
        return self._device.offloads_until

    def offload(self, round_: DeviceRound, x: ArrayLike, y: ArrayLike, terms: Terms | None = None) -> None:
        """Hand the raw data to a server, once; see ``AsyncDevice.offload``."""
        self._run(self._device.offload(round_, x, y, terms or Terms()))

    def delegate(self, round_: DeviceRound, *, confirm: bool = True) -> Delegated:
        """Have the server train for the round and sign its update; see ``AsyncDevice.delegate``."""
        return self._run(self._device.delegate(round_, confirm=confirm))

    def stop_offloading(self) -> None:
        """Have the server delete the data; see ``AsyncDevice.stop_offloading``."""
        self._run(self._device.stop_offloading())

    def interrupt(self) -> None:
        """From another thread: have what waits now end with ``asyncio.CancelledError``."""
        task = self._task
        if task is not None:
            self._runner.get_loop().call_soon_threadsafe(task.cancel)

    def close(self) -> None:
        """Close connections and journal."""
        self._runner.run(self._device.close())
        self._runner.close()

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        async def tracked() -> T:
            self._task = asyncio.current_task()
            try:
                return await work
            finally:
                self._task = None

        return self._runner.run(tracked())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def _journal_of(key: SigningKey | Path | str, journal: Path | str | None) -> Path:
    if journal is not None:
        return Path(journal)
    if isinstance(key, SigningKey):
        raise InputError("journal", "name a file that remembers what was signed: a key in memory has none beside it")
    return Path(f"{key}.journal")
