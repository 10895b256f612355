"""What the tests of faulty networks share: ways to cut servers off, and what a network's chain files must say."""

from __future__ import annotations

import json
import os
import selectors
import shutil
import socket
import subprocess
import threading
from contextlib import suppress
from itertools import combinations
from typing import TYPE_CHECKING, Any, Protocol
from urllib.request import urlopen

from bees.contract.vm import VirtualMachine
from bees.engines.audit import iter_chain, verify_chain
from bees.engines.chain_file import ChainReader
from bees.ledger.aggregation import ContractExecutor
from bees.ledger.replay import replay
from campaigns.random_network import Address, direct, local_addresses

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from bees.ledger.state import State
    from bees.ledger.transactions import Signed
    from campaigns.random_network import RandomNetwork


class Links(Protocol):
    """How the servers of a network reach one another."""

    addresses: list[Address]
    route: Callable[[int, int, str], str]

    def cut(self, *servers: int) -> None:
        """From now on these servers reach one another only, and the rest likewise."""
        ...

    def heal(self) -> None:
        """All reach all again."""
        ...

    def close(self) -> None:
        """Leave nothing behind."""
        ...


class Namespaces:
    """Each server on a host of its own: a network namespace, by a cable to a switch. A cut moves cables elsewhere.

    What is sent into a cut is lost without a word, as it is when a real cable is pulled.
    """

    def __init__(self, count: int) -> None:
        self._name = f"b{os.getpid() % 10**6}"
        self._switches = f"{self._name}s", f"{self._name}t"
        subnet = f"10.{100 + os.getpid() % 100}.{os.getpid() // 100 % 256}"
        self._hosts = [f"{self._name}n{k}" for k in range(count)]
        try:
            for switch in self._switches:
                _ip("link", "add", switch, "type", "bridge")
                _ip("link", "set", switch, "up")
            _ip("address", "add", f"{subnet}.254/24", "dev", self._switches[0])
            for k, host in enumerate(self._hosts):
                _ip("netns", "add", host)
                _ip("link", "add", host, "type", "veth", "peer", "name", "eth0", "netns", host)
                _ip("link", "set", host, "master", self._switches[0], "up")
                _ip("-n", host, "address", "add", f"{subnet}.{k + 1}/24", "dev", "eth0")
                _ip("-n", host, "link", "set", "eth0", "up")
                _ip("-n", host, "link", "set", "lo", "up")
        except BaseException:
            self.close()
            raise
        self.addresses = [
            Address(f"{subnet}.{k + 1}", 7600, 7601, 26656, 26657, 26660, ("ip", "netns", "exec", host))
            for k, host in enumerate(self._hosts)
        ]
        self.route = direct(self.addresses)

    @staticmethod
    def missing() -> str | None:
        """Why there can be none here, or None."""
        if shutil.which("ip") is None:
            return "there is no `ip` of iproute2"
        name = f"b{os.getpid() % 10**6}"
        for make, end in (
            (("netns", "add", f"{name}x"), ("netns", "del", f"{name}x")),
            (("link", "add", f"{name}x", "type", "bridge"), ("link", "del", f"{name}x")),
            (("link", "add", f"{name}x", "type", "veth", "peer", "name", f"{name}y"), ("link", "del", f"{name}x")),
        ):
            try:
                _ip(*make)
            except subprocess.CalledProcessError as error:
                return f"`ip {' '.join(make)}` is refused: {error.stderr.strip()}"
            _ip(*end)
        return None

    def cut(self, *servers: int) -> None:
        for k in servers:
            _ip("link", "set", self._hosts[k], "master", self._switches[1])

    def heal(self) -> None:
        for host in self._hosts:
            _ip("link", "set", host, "master", self._switches[0])

    def close(self) -> None:
        for command in (
            *(("link", "del", host) for host in self._hosts),
            *(("netns", "del", host) for host in self._hosts),
            *(("link", "del", switch) for switch in self._switches),
        ):
            with suppress(subprocess.CalledProcessError):
                _ip(*command)


class Proxies:
    """All servers on this host; between each two of them TCP proxies, which stop to pass anything on when cut.

    Nobody is told of a cut: connections stay open, and new ones are taken, but no byte goes through.
    """

    def __init__(self, count: int) -> None:
        self.addresses = local_addresses(count)
        self._pairs = [(j, k) for j in range(count) for k in range(count) if j != k]
        self._selector = selectors.DefaultSelector()
        self._ports: dict[tuple[int, int, str], int] = {}
        self._apart: frozenset[int] = frozenset()
        self._streams: list[_Stream] = []
        for pair in self._pairs:
            for port in ("peer", "p2p"):
                self._listen(*pair, port)
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._run, name="proxies")
        self._thread.start()

    def route(self, source: int, target: int, port: str) -> str:
        return f"127.0.0.1:{self._ports[source, target, port]}"

    def cut(self, *servers: int) -> None:
        self._apart = frozenset(servers)

    def heal(self) -> None:
        self._apart = frozenset()

    def close(self) -> None:
        self._ends.set()
        self._thread.join()
        for key in list(self._selector.get_map().values()):
            key.fileobj.close()  # pyright: ignore[reportUnknownMemberType, reportAttributeAccessIssue]
        for stream in self._streams:
            stream.close()
        self._selector.close()

    def _listen(self, source: int, target: int, port: str) -> None:
        listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        listener.settimeout(0)
        self._ports[source, target, port] = listener.getsockname()[1]
        goal = "127.0.0.1", getattr(self.addresses[target], port)
        self._selector.register(listener, selectors.EVENT_READ, (source, target, goal))

    def _run(self) -> None:
        while not self._ends.is_set():
            for key, _ in self._selector.select(0.02):
                source, target, goal = key.data
                taken, _ = key.fileobj.accept()  # pyright: ignore[reportUnknownMemberType, reportAttributeAccessIssue]
                self._streams.append(_Stream(taken, goal, lambda j=source, k=target: self._is_cut(j, k)))
                threading.Thread(target=self._streams[-1].run, daemon=True).start()

    def _is_cut(self, source: int, target: int) -> bool:
        return (source in self._apart) != (target in self._apart)


class _Stream:
    """One connection through a proxy."""

    def __init__(self, near: socket.socket, goal: tuple[str, int], is_cut: Callable[[], bool]) -> None:
        self._near, self._far, self._goal, self._is_cut = near, socket.socket(), goal, is_cut
        self._ended = threading.Event()

    def run(self) -> None:
        try:
            if self._wait_while_cut():
                self._far.connect(self._goal)
                back = threading.Thread(target=self._pass, args=(self._far, self._near), daemon=True)
                back.start()
                self._pass(self._near, self._far)
                back.join()
        except OSError:
            pass
        finally:
            self._near.close()
            self._far.close()

    def close(self) -> None:
        self._ended.set()
        for one in (self._near, self._far):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def _pass(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while self._wait_while_cut() and (data := source.recv(1 << 16)):
                if not self._wait_while_cut():
                    break
                sink.sendall(data)
        self.close()

    def _wait_while_cut(self) -> bool:
        """Until bytes may pass; False when they never will."""
        while self._is_cut():
            if self._ended.wait(0.02):
                return False
        return not self._ended.is_set()


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)


def told_round(network: RandomNetwork, server: int) -> dict[str, Any] | None:
    """What a node says of the open round; None where it does not answer."""
    return told_json(f"{network.urls[server]}/v1/round")


def told_json(url: str) -> dict[str, Any] | None:
    try:
        with urlopen(url, timeout=2) as answer:  # noqa: S310  # a node's
            return json.load(answer)
    except OSError:
        return None


def told_metrics(network: RandomNetwork, server: int) -> dict[str, float]:
    """The metrics of a node, by name and labels as Prometheus writes them."""
    with urlopen(f"{network.urls[server]}/metrics", timeout=10) as answer:  # noqa: S310  # a node's
        lines = [line for line in answer.read().decode().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def certified_height(network: RandomNetwork, server: int) -> int:
    """Of the chain file; 0 while there is none."""
    path = network.chain(server)
    if not path.exists():
        return 0
    with ChainReader(path) as reader:
        return reader.tip()[0]


def wait_round(network: RandomNetwork, round_: int, *servers: int, timeout_s: float = 90) -> None:
    """Until these servers say that they have reached a round."""

    def reached() -> bool:
        told = [told_round(network, k) for k in servers]
        return all(one is not None and one["round"] >= round_ for one in told)

    network.wait(reached, f"round {round_} at {servers}", timeout_s)


def wait_certified(network: RandomNetwork, height: int, *servers: int, timeout_s: float = 90) -> None:
    """Until the chain files of these servers reach a height."""
    network.wait(
        lambda: all(certified_height(network, k) >= height for k in servers), f"height {height} at {servers}", timeout_s
    )


def blocks(path: Path) -> list[bytes]:
    """The blocks of a chain file, as they stand there."""
    with ChainReader(path) as reader:
        return [row.block for row in reader.blocks()]


def transactions(path: Path) -> list[Signed]:
    """All transactions of a chain file, in order."""
    return [signed for entry in iter_chain(path) for signed in entry.block.batch.transactions]


def states(network: RandomNetwork, server: int) -> list[State]:
    """The state after each block of a chain file, which is replayed for it."""
    world = network.world
    with ChainReader(network.chain(server)) as reader:
        executor = ContractExecutor(VirtualMachine(world.genesis.virtual_machine), reader.blob, world.initial_model)
        stored = ((row.block, row.commit) for row in reader.blocks())
        return [audited.state for audited in replay(world.signed, stored, executor)]


def check_chains(network: RandomNetwork, servers: Iterable[int] = range(4)) -> list[list[bytes]]:
    """All chain files verify, and are equal as far as both go; the blocks of each."""
    chains = [blocks(network.chain(k)) for k in servers]
    for first, second in combinations(chains, 2):
        common = min(len(first), len(second))
        assert common > 0
        assert first[:common] == second[:common]
    for k in servers:
        verdict = verify_chain(network.chain(k), expected_genesis=network.world.genesis.chain_id)
        assert verdict.valid, f"server {k}: {verdict.reason}"
    return chains


__all__ = [
    "Links",
    "Namespaces",
    "Proxies",
    "blocks",
    "certified_height",
    "check_chains",
    "states",
    "told_json",
    "told_metrics",
    "told_round",
    "transactions",
    "wait_certified",
    "wait_round",
]
