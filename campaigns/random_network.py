"""Lays, starts and ends a network of a random world: for each server a ``bees node`` and a CometBFT, as processes."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from bees.core.canonical import encode
from bees.core.errors import BeesError
from bees.core.fixed_point import words_to_bytes
from bees.core.keys import SigningKey
from bees.device.client import AsyncDevice
from bees.key_file import write_key_file
from bees.node.comet import CometKey, CometSettings, comet_genesis, write_home
from bees.node.comet_process import find_comet
from bees.node.config import CometSection, DevicesSection, NodeConfig, PeersSection, write_config
from campaigns.evidence import ROOT
from campaigns.random_world import SAMPLE_CAP, drawn_update

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from campaigns.random_world import RandomWorld

NODE = ROOT / "campaigns" / "random_node.py"
_END_S = 20.0
_PAUSE_S = 0.05
_FIRST_PORT, _PORTS = 10_000, 20_000


@dataclass(frozen=True)
class Address:
    """Where one server is.

    Attributes:
        host: of all its listeners but CometBFT's RPC, which is for the server alone.
        device, peer, p2p, rpc, metrics: ports of device API, blob plane, and CometBFT's three.
        prefix: of commands that run on this host, such as those of a network namespace.
    """

    host: str
    device: int
    peer: int
    p2p: int
    rpc: int
    metrics: int
    prefix: tuple[str, ...] = ()

    @property
    def url(self) -> str:
        """Of the device API."""
        return f"http://{self.host}:{self.device}"


def free_ports(count: int) -> list[int]:
    """Ports that nobody has now, all different; below those that outgoing connections take at any moment."""
    found: list[int] = []
    while len(found) < count:
        port = _FIRST_PORT + secrets.randbelow(_PORTS)
        with socket.socket() as one, suppress(OSError):
            one.bind(("", port))
            if port not in found:
                found.append(port)
    return found


def local_addresses(count: int) -> list[Address]:
    """All servers on this host."""
    ports = free_ports(5 * count)
    each = [ports[first : first + 5] for first in range(0, len(ports), 5)]
    return [Address("127.0.0.1", device, peer, p2p, rpc, metrics) for device, peer, p2p, rpc, metrics in each]


def direct(addresses: Sequence[Address]) -> Callable[[int, int, str], str]:
    """Each server reaches each other one where it listens."""
    return lambda _, target, port: f"{addresses[target].host}:{getattr(addresses[target], port)}"


@dataclass
class RandomNetwork:
    """Processes of one network, and its folder.

    Attributes:
        folder: of everything; a short path, since a unix socket is in it.
        world: what the servers agree on.
        addresses: of the servers.
        route: host:port by which a server reaches another's ``peer`` or ``p2p``.
        commit_s: CometBFT's pause after a block.
        propose_s: how long a CometBFT waits for a proposal.
        peers_timeout_s: how long a node waits for another one.
        limits: keys of both listeners in ``node.toml``; by default so many requests that no device is ever refused.
        nodes, comets: the processes that were started, by server.
    """

    folder: Path
    world: RandomWorld
    addresses: list[Address]
    route: Callable[[int, int, str], str]
    commit_s: float = 0.2
    propose_s: float = 1.0
    peers_timeout_s: float = 5.0
    limits: Mapping[str, Any] = field(default_factory=lambda: {"requests_per_second": 10_000.0, "burst": 100_000})
    nodes: dict[int, subprocess.Popen[bytes]] = field(default_factory=dict["int", "subprocess.Popen[bytes]"])
    comets: dict[int, subprocess.Popen[bytes]] = field(default_factory=dict["int", "subprocess.Popen[bytes]"])

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True)
        (self.folder / "bees.genesis").write_bytes(encode(self.world.signed))
        (self.folder / "w0.words").write_bytes(words_to_bytes(self.world.initial_model))
        servers = range(len(self.addresses))
        validators = [CometKey.from_seed(sha256(b"validator %d" % k).digest()) for k in servers]
        names = [CometKey.from_seed(sha256(b"node %d" % k).digest()) for k in servers]
        founded = datetime(2024, 1, 1, tzinfo=UTC)
        genesis = comet_genesis(self.world.genesis, [key.public_key for key in validators], founded)
        for k in servers:
            home = self.home(k)
            write_home(home / "comet", self._comet_settings(k, names), genesis, validators[k], names[k])
            write_key_file(home / "server.key", self.world.server_seeds[k])
            (home / "node.toml").write_text(write_config(self._config(k)))

    @property
    def urls(self) -> list[str]:
        """Of the device APIs."""
        return [address.url for address in self.addresses]

    def home(self, server: int) -> Path:
        """Folder of a server."""
        return self.folder / f"s{server}"

    def chain(self, server: int) -> Path:
        """Its chain file."""
        return self.home(server) / "data" / "chain.db"

    def start(self, *servers: int, entry: Path = NODE, options: Sequence[str] = ()) -> None:
        """Start node and CometBFT of these servers.

        Args:
            servers: all, when none is named.
            entry: a program like ``random_node.py``.
            options: that stand before the arguments of ``bees node``.
        """
        chosen = servers or tuple(range(len(self.addresses)))
        for k in chosen:
            self.start_node(k, entry=entry, options=options)
        for k in chosen:
            self.start_comet(k)

    def start_node(self, server: int, *, entry: Path = NODE, options: Sequence[str] = ()) -> None:
        """Start the node alone."""
        self._socket(server).unlink(missing_ok=True)
        command = [sys.executable, str(entry), *options, "--config", str(self.home(server) / "node.toml")]
        self.nodes[server] = self._spawn(server, command, "node.log")

    def start_comet(self, server: int, timeout_s: float = 60) -> None:
        """Start the CometBFT, when the node listens: it would wait three seconds for one that comes later."""
        self.wait(
            lambda: self._socket(server).exists() or self.nodes[server].poll() is not None, "a node listens", timeout_s
        )
        command = [str(find_comet()), "node", "--home", str(self.home(server) / "comet")]
        self.comets[server] = self._spawn(server, command, "comet.log")

    def kill(self, *servers: int) -> None:
        """``kill -9`` of node and CometBFT."""
        for k in servers:
            for process in (self.nodes.pop(k), self.comets.pop(k)):
                process.kill()
                process.wait()

    def close(self) -> None:
        """End all processes."""
        processes = [*self.nodes.values(), *self.comets.values()]
        for process in processes:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + _END_S
        for process in processes:
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.nodes.clear()
        self.comets.clear()

    def wait(self, until: Callable[[], bool], what: str, timeout_s: float = 90) -> float:
        """Seconds until something holds.

        Raises:
            TimeoutError: it does not, in time; with the ends of all logs.
        """
        begin = time.monotonic()
        while not until():
            if time.monotonic() - begin > timeout_s:
                raise TimeoutError(f"not within {timeout_s:g} s: {what}\n{self.logs()}")
            time.sleep(_PAUSE_S)
        return time.monotonic() - begin

    def logs(self, characters: int = 1500) -> str:
        """The ends of all logs."""
        paths = sorted(self.folder.glob("s*/*.log"))
        return "\n".join(f"--- {path}\n{path.read_text(errors='replace')[-characters:]}" for path in paths)

    def _spawn(self, server: int, command: list[str], log: str) -> subprocess.Popen[bytes]:
        environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}", "OMP_NUM_THREADS": "1"}
        with (self.home(server) / log).open("ab") as output:
            return subprocess.Popen(
                [*self.addresses[server].prefix, *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment,
                start_new_session=True,
            )

    def _socket(self, server: int) -> Path:
        return self.home(server) / "abci.sock"

    def _others(self, server: int) -> list[int]:
        return [k for k in range(len(self.addresses)) if k != server]

    def _comet_settings(self, server: int, names: list[CometKey]) -> CometSettings:
        address = self.addresses[server]
        return CometSettings(
            abci_address=f"unix://{self._socket(server)}",
            p2p_address=f"tcp://{address.host}:{address.p2p}",
            rpc_address=f"tcp://127.0.0.1:{address.rpc}",
            peers=tuple(f"{names[k].node_id}@{self.route(server, k, 'p2p')}" for k in self._others(server)),
            commit_s=self.commit_s,
            # How long the others wait for a proposer that is down or cut off.
            propose_s=self.propose_s,
            vote_s=0.5,
            metrics_address=f"{address.host}:{address.metrics}",
            is_local=True,
        )

    def _config(self, server: int) -> NodeConfig:
        address, others = self.addresses[server], self._others(server)
        urls = [f"http://{self.route(server, k, 'peer')}" if k in others else "" for k in range(len(self.addresses))]
        return NodeConfig(
            server=server,
            key="server.key",
            genesis="../bees.genesis",
            initial_model="../w0.words",
            folder="data",
            devices=DevicesSection(f"{address.host}:{address.device}", **self.limits),
            peers=PeersSection(
                f"{address.host}:{address.peer}", urls=tuple(urls), timeout_s=self.peers_timeout_s, **self.limits
            ),
            comet=CometSection(rpc=f"http://127.0.0.1:{address.rpc}", abci=f"unix://{self._socket(server)}"),
        )


class Devices:
    """All devices of a network, in a thread of their own: they take part by ``bees.device`` until they are ended.

    Attributes:
        opened: (device, round) of each w_g that a device has got to train from, in order.
        handed_in: (device, round) of each update that a node has taken, in order.
        refused: what kept an update from being handed in.
    """

    def __init__(self, network: RandomNetwork, known: Sequence[Sequence[int]] | None = None) -> None:
        """Start them.

        Args:
            network: whose nodes they ask.
            known: for each device the servers that it asks, in their order; all, unless this is given.
        """
        self.opened: list[tuple[int, int]] = []
        self.handed_in: list[tuple[int, int]] = []
        self.refused: list[str] = []
        self._network = network
        servers = len(network.addresses)
        self._known = known or [
            [(record.server + k) % servers for k in range(servers)] for record in network.world.genesis.devices
        ]
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="devices")
        self._folder = network.folder / "devices"
        self._folder.mkdir()
        self._thread.start()

    def close(self) -> None:
        """End them."""

        def end() -> None:
            for task in asyncio.all_tasks(self._loop):
                task.cancel()

        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(end)
        self._thread.join()

    def _run(self) -> None:
        with suppress(asyncio.CancelledError):
            self._loop.run_until_complete(self._all())
        self._loop.close()

    async def _all(self) -> None:
        await asyncio.gather(*(self._take_part(k) for k in range(len(self._network.world.device_seeds))))

    async def _take_part(self, index: int) -> None:
        world, urls = self._network.world, [self._network.urls[k] for k in self._known[index]]
        key = SigningKey.from_seed(world.device_seeds[index])
        async with AsyncDevice(urls, key, world.signed, self._folder / f"{index}.db", timeout_s=40) as device:
            while True:
                open_round = await device.next_round()
                self.opened.append((index, open_round.round))
                arrays = drawn_update(index, open_round.round, len(world.initial_model))
                try:
                    await device.submit(open_round, [arrays], SAMPLE_CAP)
                    self.handed_in.append((index, open_round.round))
                except BeesError as error:
                    self.refused.append(f"device {index}, round {open_round.round}: {error}")
