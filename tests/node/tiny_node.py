"""One server of a tiny world as a process: the ledger of ``bees.node``, its duties in a few lines, HTTP to its peers.

Its updates are those of ``bees.faults.world``, which need no training. It starts its own CometBFT, and ends with it.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
import structlog
from aiohttp import web

from bees.core.canonical import decode, encode
from bees.core.errors import BeesError, CometError, MissingBlobError, TransactionError
from bees.engines.blobs import MemoryBlobStore
from bees.faults.world import FaultWorld, evaluate, samples_of, train
from bees.ledger.state import Phase
from bees.node.certificates import HeaderSignature
from bees.node.comet_process import CometProcess, find_comet
from bees.node.ledger_node import LedgerNode, LedgerSettings
from bees.node.peers import WantedBlob
from bees.protocol.device import OpenRound, commit_update
from bees.protocol.server import attest, held_updates, publish
from bees.protocol.signer import MemoryJournal, Signer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bees.ledger.state import State

_TIMEOUT = aiohttp.ClientTimeout(total=2)


class HttpPeers:
    def __init__(self, ports: list[int], me: int) -> None:
        self.urls = [f"http://127.0.0.1:{port}" for k, port in enumerate(ports) if k != me]
        self.session = aiohttp.ClientSession(timeout=_TIMEOUT)

    async def fetch_blob(self, wanted: WantedBlob) -> bytes | None:
        for url in self.urls:
            with suppress(aiohttp.ClientError, TimeoutError):
                async with self.session.get(f"{url}/blob/{wanted.commitment.hex()}") as answer:
                    if answer.status == 200:
                        return await answer.read()
        return None

    async def push_signature(self, signature: HeaderSignature) -> None:
        async def push(url: str) -> None:
            with suppress(aiohttp.ClientError, TimeoutError):
                async with self.session.post(f"{url}/signature", data=encode(signature)):
                    pass

        await asyncio.gather(*(push(url) for url in self.urls))

    async def pull_signatures(self, first_height: int, last_height: int) -> Sequence[HeaderSignature]:
        found: list[HeaderSignature] = []
        for url in self.urls:
            with suppress(aiohttp.ClientError, TimeoutError):
                async with self.session.get(f"{url}/signatures/{first_height}/{last_height}") as answer:
                    found += decode(await answer.read(), tuple[HeaderSignature, ...])
        return found


def serve(node: LedgerNode) -> web.Application:
    async def blob(request: web.Request) -> web.Response:
        data = node.read_blob(bytes.fromhex(request.match_info["name"]))
        return web.Response(status=404) if data is None else web.Response(body=data)

    async def take(request: web.Request) -> web.Response:
        node.take_signature(decode(await request.read(), HeaderSignature))
        return web.Response()

    async def give(request: web.Request) -> web.Response:
        first, last = int(request.match_info["first"]), int(request.match_info["last"])
        return web.Response(body=encode(tuple(node.signatures(first, last))))

    app = web.Application()
    app.add_routes(
        [
            web.get("/blob/{name}", blob),
            web.post("/signature", take),
            web.get("/signatures/{first}/{last}", give),
        ]
    )
    return app


class Duties:
    """Trains for the server's devices, attests and publishes; after every block again, until it is on the chain."""

    def __init__(self, node: LedgerNode, world: FaultWorld) -> None:
        self.node, self.world = node, world
        self.signer = Signer(node.key, MemoryJournal())
        self.turn = asyncio.Event()
        node.on_block(lambda _: self.turn.set())

    async def run(self) -> None:
        while True:
            self.turn.clear()
            with suppress(BeesError):
                await self.do()
            await self.turn.wait()

    async def do(self) -> None:
        state = self.node.state
        if state.phase is Phase.COLLECT:
            await self.train(state)
        elif state.phase is Phase.ATTEST and self.node.server not in state.attestations:
            held = held_updates(state, self.node.read_blob)
            for device in state.updates:
                if device not in held:
                    await self.fetch(state, device)
            held = held_updates(state, self.node.read_blob)
            if signed := attest(self.signer, self.node.server, state, held, evaluate):
                await self.node.submit(signed)
        elif state.phase is Phase.PUBLISH:
            executor = self.node.executor
            signed = await executor.settle(lambda: publish(self.signer, self.node.server, state, executor))
            if signed:
                await self.node.submit(signed)

    async def train(self, state: State) -> None:
        for device, record in enumerate(state.genesis.devices):
            if record.server == self.node.server and device not in state.updates:
                data = train(device, state.round)
                self.node.blobs.put(device, state.round, data)
                signer = Signer(self.world.device_keys[device], MemoryJournal())
                with suppress(TransactionError, MissingBlobError, CometError):
                    update = commit_update(signer, OpenRound.of(state), device, samples_of(device), data)
                    await self.node.submit(update)

    async def fetch(self, state: State, device: int) -> None:
        await self.node._judge.obtain(WantedBlob(state.updates[device].commitment, device, state.round, ()))


async def main(options: argparse.Namespace) -> int:
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    world = FaultWorld(options.servers, options.devices)
    folder, ports = Path(options.folder), [int(port) for port in options.ports.split(",")]
    peers = HttpPeers(ports, options.server)
    settings = LedgerSettings(folder, options.abci, f"http://127.0.0.1:{options.rpc}", 2.0, 0.1, 0.5)
    key = world.server_keys[options.server]
    args = (world.machine, world.initial_model, MemoryBlobStore(), peers)
    node = LedgerNode(settings, world.signed, options.server, key, *args)
    await node.start()
    runner = web.AppRunner(serve(node), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", ports[options.server]).start()
    duties = asyncio.create_task(Duties(node, world).run())
    comet = CometProcess(find_comet(), folder / "comet")
    await comet.start()
    print("comet", comet.pid, flush=True)  # noqa: T201  # for the test, which kills it with its node
    ends = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, ends.set)
    tasks = [asyncio.create_task(task) for task in (node.wait(), comet.wait(), ends.wait())]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
        return 0 if ends.is_set() else 3
    except BeesError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)  # noqa: T201
        return error.exit_code
    finally:
        for task in (*tasks, duties):
            task.cancel()
        await comet.stop()
        await node.stop()
        await runner.cleanup()
        await peers.session.close()


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    for name in ("server", "servers", "devices", "rpc"):
        parser.add_argument(f"--{name}", type=int, default=0)
    for name in ("folder", "abci", "ports"):
        parser.add_argument(f"--{name}", required=True)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(asyncio.run(main(parse())))
