"""One edge server as a service: everything that ``bees node`` runs, put together and taken apart again."""

from __future__ import annotations

import asyncio
import signal
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from bees.contract.vm import VirtualMachine
from bees.core.errors import InputError
from bees.core.fixed_point import bytes_to_words
from bees.engines.chain_file import typed_errors
from bees.key_file import read_key_file
from bees.ledger.commitments import hash_model
from bees.ledger.genesis import SignedGenesis, check_genesis
from bees.node.blob_store import DiskBlobStore
from bees.node.comet_supervisor import CometSupervisor
from bees.node.config import blob_limit_bytes
from bees.node.device_api import DeviceApi
from bees.node.duties import Duties
from bees.node.duty_loop import DutyLoop
from bees.node.guarded_server import GuardedServer
from bees.node.http_peers import HttpPeers
from bees.node.ledger_node import LedgerNode, LedgerSettings
from bees.node.metrics import Metrics
from bees.node.offload_api import OffloadApi
from bees.node.offload_store import OffloadStore
from bees.node.offloading import Offloading
from bees.node.peer_api import PeerApi
from bees.node.scoring import Scorer
from bees.node.training_process import TrainingProcess
from bees.protocol.key_ring import KeyRing
from bees.run_folder import CHAIN
from bees.transport.genesis_file import read_genesis_file
from bees.transport.journal import DiskJournal

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from bees.core.fixed_point import Words
    from bees.ledger.genesis import Genesis
    from bees.node.config import NodeConfig

_THREADS = 32

_log = structlog.get_logger("bees.node")


def read_genesis(path: Path) -> SignedGenesis:
    """A genesis file that every server has signed.

    Raises:
        InputError: it cannot be read, or is no genesis.
        GenesisError: it contradicts itself, or a server has not signed it.
    """
    signed = read_genesis_file(path)
    check_genesis(signed)
    return signed


def read_initial_model(path: Path, genesis: Genesis) -> Words:
    """Words of w_g(0) from a file of raw little-endian int32.

    Raises:
        InputError: it cannot be read, or is another model than the genesis names.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(str(path), f"cannot be read: {error.strerror}") from None
    if hash_model(data) != genesis.initial_model:
        raise InputError(str(path), "is not w_g(0) of the genesis")
    return bytes_to_words(data)


def read_key_ring(config: NodeConfig, genesis: Genesis) -> KeyRing:
    """The keys of the node: of its server now, and its next one where the servers replace it.

    Raises:
        KeyFileError: one cannot be read.
        InputError: one is another participant's, or nobody's.
    """
    keys = [record.public_key for record in (*genesis.servers, *genesis.devices)]
    servers, server = len(genesis.servers), config.server
    if server >= servers:
        raise InputError("server", f"{server} is none of the {servers} servers of the genesis")
    named = [("key", config.key)] + ([("next_key", config.next_key)] if config.next_key else [])
    held = [(option, read_key_file(Path(file))) for option, file in named]
    for option, key in held:
        if key.public_key in keys and keys[server] != key.public_key:
            index = keys.index(key.public_key)
            owner = f"server {index}" if index < servers else f"device {index - servers}"
            raise InputError(option, f"is that of {owner}, not that of server {server}")
    ring = KeyRing(server, [key for _, key in held])
    # Where there is a chain, it says whether the servers have agreed on another key.
    if ring.named_in(genesis.committee) is None and not ring.waits and not (Path(config.folder) / CHAIN).exists():
        problem = f"is none of this genesis', not that of server {server}; one that the servers have still to agree on"
        raise InputError("key", f"{problem} stands in next_key too")
    return ring


async def serve(config: NodeConfig, on_start: Callable[[LedgerNode, int, int], None]) -> None:
    """Run an edge server until SIGTERM or Ctrl-C, or until it must stop.

    Args:
        config: of the node.
        on_start: told of the ledger, and of the ports of device API and blob plane.

    Raises:
        BeesError: it cannot start, or it must stop; its exit code says which.
    """
    signed = read_genesis(Path(config.genesis))
    genesis = signed.genesis
    key = read_key_ring(config, genesis)
    initial_model = read_initial_model(Path(config.initial_model), genesis)
    score = Scorer(genesis, config.scoring)
    folder = _made(config.folder)
    metrics = Metrics()
    store = DiskBlobStore(folder / "updates", blob_limit_bytes(config))
    # Most of them wait for the disk, and a read must not wait for writes.
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(_THREADS, "beside the loop"))
    async with AsyncExitStack() as stack:
        journal = stack.enter_context(DiskJournal(folder / "journal.db"))
        peers = HttpPeers(genesis, config.server, key, config.peers, store, metrics)
        settings = LedgerSettings(folder, config.comet.abci, config.comet.rpc)
        machine = VirtualMachine(genesis.virtual_machine)
        ledger = LedgerNode(settings, signed, config.server, key, machine, initial_model, store, peers)
        metrics.watch(ledger.counts)
        duties = Duties(config.server, key, journal, store, ledger.executor)
        offloading = _offloading(config, folder, ledger, store, journal, metrics)
        offload = OffloadApi(ledger, offloading, key.open_sealed, score.model, metrics) if offloading else None
        devices = DeviceApi(ledger, store, config.devices, metrics, offload)
        loop = DutyLoop(ledger, duties, score, peers, store, metrics, devices.entrusted, config.storage.rounds_kept)
        devices.tell(loop.hear, loop.wake)
        open_paths = frozenset({"/healthz", "/readyz", "/metrics"})
        device_server = GuardedServer(devices.routes, config.devices, metrics, open_paths)
        peer_server = GuardedServer(PeerApi(ledger, store, metrics).routes, config.peers, metrics)
        stopping = _stop_signals()
        await peers.start()
        stack.push_async_callback(peers.stop)
        await ledger.start()
        stack.push_async_callback(ledger.stop)
        ports: list[int] = []
        for listener in (device_server, peer_server):
            ports.append(await listener.start())
            stack.push_async_callback(listener.stop)
        stack.push_async_callback(loop.stop)
        on_start(ledger, *ports)
        comet = [CometSupervisor(config.comet, ledger).run()] if config.comet.home else []
        trains = [offloading.run()] if offloading else []
        await _until_first(ledger.wait(), loop.run(), stopping.wait(), *comet, *trains)
        _log.info("stopping", height=ledger.height, app_hash=ledger.app_hash.hex()[:16])


def _offloading(
    config: NodeConfig,
    folder: Path,
    ledger: LedgerNode,
    store: DiskBlobStore,
    journal: DiskJournal,
    metrics: Metrics,
) -> Offloading | None:
    """What trains for devices; None where nobody may offload here. Then no data stay from a time when they might."""
    section = config.offloading
    offers = OffloadStore(folder / "offloaded", section.total_limit_bytes)
    if not section.accept:
        for device in offers.offers:
            offers.end(device)
            _log.info("offloading is off: data of a device are deleted", device=device)
        return None
    trainers = [TrainingProcess(section.training_limit_s) for _ in range(section.trainings_at_once)]
    return Offloading(ledger, store, offers, journal, trainers, section, config.scoring.model, metrics)


def _made(name: str) -> Path:
    folder = Path(name)
    with typed_errors(folder):
        # Updates in it are secret while COLLECT is open.
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def _stop_signals() -> asyncio.Event:
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    return stopping


async def _until_first(*waits: Coroutine[Any, Any, object]) -> None:
    """Until one of them ends; what it raises is raised."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
