"""A network of tiny nodes, each a process with its own CometBFT, in folders and on ports of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bees.engines.chain_file import ChainReader
from bees.faults.world import shared_world
from bees.node.comet import CometKey, CometSettings, comet_genesis, write_home
from campaigns.random_network import free_ports

if TYPE_CHECKING:
    from collections.abc import Callable

_NODE = Path(__file__).with_name("tiny_node.py")


class TinyNet:
    """Nodes of a tiny world, started, killed and asked from a test."""

    def __init__(self, folder: Path, servers: int, devices: int = 4, commit_s: float = 0.2) -> None:
        self.folder, self.servers, self.devices = folder, servers, devices
        self.world = shared_world(servers, devices)
        self.http, self.rpc = free_ports(servers), free_ports(servers)
        self.processes: dict[int, subprocess.Popen[str]] = {}
        self.comets: dict[int, int] = {}
        p2p = free_ports(servers)
        validators = [CometKey.from_seed(sha256(b"validator %d" % k).digest()) for k in range(servers)]
        names = [CometKey.from_seed(sha256(b"node %d" % k).digest()) for k in range(servers)]
        genesis = comet_genesis(
            self.world.genesis, [key.public_key for key in validators], datetime(2024, 1, 1, tzinfo=UTC)
        )
        for k in range(servers):
            settings = CometSettings(
                abci_address=self.abci(k),
                p2p_address=f"tcp://127.0.0.1:{p2p[k]}",
                rpc_address=f"tcp://127.0.0.1:{self.rpc[k]}",
                peers=tuple(f"{names[j].node_id}@127.0.0.1:{p2p[j]}" for j in range(servers) if j != k),
                commit_s=commit_s,
                propose_s=2,
                vote_s=0.5,
                is_local=True,
            )
            write_home(self.home(k) / "comet", settings, genesis, validators[k], names[k])

    def home(self, server: int) -> Path:
        return self.folder / f"s{server}"

    def abci(self, server: int) -> str:
        return f"unix://{self.home(server)}/abci.sock"

    def start(self, *servers: int) -> None:
        for k in servers:
            self.reap(k)
            options: dict[str, Any] = {
                "server": k,
                "servers": self.servers,
                "devices": self.devices,
                "folder": self.home(k),
                "abci": self.abci(k),
                "ports": ",".join(map(str, self.http)),
                "rpc": self.rpc[k],
            }
            command = [sys.executable, str(_NODE), *(f"--{name}={value}" for name, value in options.items())]
            log = (self.home(k) / "node.log").open("a")
            self.processes[k] = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True
            )
            log.close()

    def start_all(self) -> None:
        self.start(*range(self.servers))

    def comet_of(self, server: int) -> int:
        if server not in self.comets:
            output = self.processes[server].stdout
            assert output is not None
            for line in output:
                if line.startswith("comet "):
                    self.comets[server] = int(line.split()[1])
                    break
        return self.comets[server]

    def kill(self, *servers: int) -> None:
        """kill -9 of a node and its CometBFT."""
        for k in servers:
            comet = self.comet_of(k)
            self.processes[k].kill()
            with suppress(ProcessLookupError):
                os.killpg(comet, signal.SIGKILL)
            self.reap(k)

    def reap(self, server: int) -> None:
        """Let go of a process that has ended."""
        process = self.processes.get(server)
        if process is not None:
            process.wait(15)
            if process.stdout is not None:
                process.stdout.close()
            del self.processes[server]
        self.comets.pop(server, None)

    def close(self) -> None:
        for k, process in self.processes.items():
            if process.poll() is None:
                with suppress(KeyError):
                    self.comet_of(k)
                process.terminate()
        for k in list(self.processes):
            comet = self.comets.get(k)
            try:
                self.reap(k)
            except subprocess.TimeoutExpired:
                self.processes[k].kill()
                self.reap(k)
            if comet is not None:
                with suppress(ProcessLookupError):
                    os.killpg(comet, signal.SIGKILL)

    def height(self, server: int) -> int:
        """Certified height of a node, from its chain file; 0 while it has none."""
        path = self.home(server) / "chain.db"
        if not path.exists():
            return 0
        with ChainReader(path) as reader:
            return reader.tip()[0]

    def wait(self, until: Callable[[], bool], what: str, timeout_s: float = 60) -> float:
        """Seconds until it holds."""
        begin = time.monotonic()
        while not until():
            if time.monotonic() - begin > timeout_s:
                pytest.fail(f"not within {timeout_s} s: {what}\n{self.logs()}")
            time.sleep(0.1)
        return time.monotonic() - begin

    def wait_height(self, height: int, *servers: int, timeout_s: float = 60) -> float:
        who = servers or tuple(range(self.servers))
        return self.wait(lambda: all(self.height(k) >= height for k in who), f"height {height} at {who}", timeout_s)

    def logs(self) -> str:
        return "\n".join(
            f"--- {path}\n{path.read_text(errors='replace')[-1500:]}"
            for k in range(self.servers)
            for path in (self.home(k) / "node.log", self.home(k) / "comet" / "comet.log")
            if path.exists()
        )
