"""Clients that mean harm to one node: slow, huge, malformed, forged, repeated, and very many at once.

Each kind is told how it was answered, and comes from addresses of its own. It is a process of its own, so that its work
counts as nobody else's, such as
``python -m campaigns.hostile_clients --port 7600 --kind garbage --seconds 10 --world 4,1000,20000``
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any
from urllib.request import urlopen

import typer

from bees.core.keys import SigningKey
from bees.ledger.commitments import commit_to_update
from bees.ledger.transactions import Update, sign
from bees.transport.bodies import TRANSACTION_HEADER, write_header
from campaigns.load_devices import PHASES
from campaigns.random_world import random_world

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from campaigns.random_world import RandomWorld

_ANSWER_BYTES = 400
_PATIENCE_S = 90.0
HOSTILE_DEVICES = 40
"""The last of the world's devices, whose keys attackers have."""
_ADDRESS = "127.200.0.{}"


class Target:
    """The node, and how it has answered.

    Attributes:
        seconds: how long an attack lasts.
        outcomes: how often each status came, with the error's name; or what came instead.
    """

    def __init__(self, host: str, port: int, seconds: float, world: RandomWorld) -> None:
        self.seconds = seconds
        self.world = world
        self.outcomes: Counter[str] = Counter()
        self.url = f"http://{host}:{port}"
        self._host, self._port = host, port

    @property
    def is_over(self) -> bool:
        """Whether the attack ends."""
        return asyncio.get_running_loop().time() > self._ends

    async def play(self, kind: str) -> None:
        """Attack."""
        self._ends = asyncio.get_running_loop().time() + self.seconds
        await KINDS[kind](self)

    async def connect(self, source: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection from one of the hostile addresses."""
        return await asyncio.open_connection(self._host, self._port, local_addr=(_ADDRESS.format(source), 0))

    async def send(self, source: int, *parts: bytes, pause_s: float = 0.0) -> None:
        """Send parts one by one over a connection of their own, and note the answer."""
        writer = None
        try:
            reader, writer = await self.connect(source)
            answer = asyncio.create_task(reader.read(_ANSWER_BYTES))
            for part in parts:
                writer.write(part)
                with suppress(ConnectionError):
                    # A refusal may be there although the node reads no more.
                    await writer.drain()
                if answer.done() or writer.is_closing():
                    break
                if pause_s:
                    await asyncio.wait((answer,), timeout=pause_s)
            async with asyncio.timeout(_PATIENCE_S):
                self.note(await answer)
        except TimeoutError:
            self.outcomes["no answer"] += 1
        except OSError as error:
            self.outcomes[type(error).__name__] += 1
        finally:
            if writer is not None:
                writer.close()

    def note(self, answer: bytes) -> None:
        """Count an answer by its status, and the name of its error."""
        head, _, body = answer.partition(b"\r\n\r\n")
        status = head.split(b" ")[1].decode() if head.startswith(b"HTTP/") else "closed"
        try:
            told: dict[str, Any] = json.loads(body)
            name = str(told.get("refusal") or told.get("error") or told.get("status") or "")
        except (ValueError, AttributeError):
            name = ""
        self.outcomes[f"{status} {name}".strip()] += 1

    async def many(self, count: int, attack: Callable[[int], Awaitable[None]]) -> None:
        """So many at once, each again and again until the end."""

        async def one(index: int) -> None:
            while not self.is_over:
                await attack(index)

        await asyncio.gather(*(one(index) for index in range(count)))

    def update_of(self, device: int, *, round_: int | None = None, forged: bool = False) -> str:
        """A signed Update of a registered device, for the open round; or with a stranger's signature."""
        with urlopen(f"{self.url}/v1/round", timeout=60) as answer:  # noqa: S310  # our own node
            told: dict[str, Any] = json.load(answer)
        key = SigningKey.from_seed(os.urandom(32) if forged else self.world.device_seeds[device])
        opened = int(told["round"]) if round_ is None else round_
        commitment = commit_to_update(device, opened, bytes(self.update_bytes))
        model = bytes.fromhex(told["previous_model"])
        update = Update(self.world.genesis.chain_id, opened, model, device, None, commitment, 1)
        return write_header(sign(update, key))

    @property
    def update_bytes(self) -> int:
        """Of an update."""
        return self.world.genesis.model.update_bytes


def upload(header: str, length: int, path: str = "/v1/update") -> bytes:
    """The head of an upload."""
    lines = f"POST {path} HTTP/1.1", "Host: x", f"Content-Length: {length}", f"{TRANSACTION_HEADER}: {header}"
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


async def slow_headers(target: Target) -> None:
    """300 requests whose heads come a byte a second."""
    slow = [b"G", b"E", b"T", b" ", b"/", *([b"a"] * 100)]
    await target.many(300, lambda _: target.send(1, *slow, pause_s=1.0))


async def slow_bodies(target: Target) -> None:
    """Forty devices of the chain that send 100 bytes a second, more than there are places for uploads."""
    count = len(target.world.device_seeds)
    headers = [target.update_of(count - 1 - k) for k in range(HOSTILE_DEVICES)]

    async def one(index: int) -> None:
        head = upload(headers[index], target.update_bytes)
        await target.send(2, head, *([bytes(100)] * 100), pause_s=1.0)

    await target.many(len(headers), one)


async def long_bodies(target: Target) -> None:
    """Uploads that go on for a megabyte after what they announce."""
    header = target.update_of(0, forged=True)
    head = upload(header, target.update_bytes)
    await target.many(4, lambda _: target.send(3, head, *([bytes(1 << 16)] * 16)))


async def huge_lengths(target: Target) -> None:
    """Uploads of a device of the chain that announce 10 GB."""
    header = target.update_of(len(target.world.device_seeds) - 1)
    head = upload(header, 10 * 10**9)
    await target.many(4, lambda _: target.send(4, head + bytes(1 << 16)))


async def garbage(target: Target) -> None:
    """Transactions that are random bytes, and requests that are no HTTP."""

    async def one(index: int) -> None:
        noise = os.urandom(200).hex()
        kinds = (upload(noise, 0, "/v1/transaction"), os.urandom(300) + b"\r\n\r\n", b"GET " + b"/" * 9000)
        await target.send(5, kinds[index % len(kinds)])

    await target.many(6, one)


async def forgeries(target: Target) -> None:
    """Updates in the names of devices, signed with strangers' keys; each new, so that none is remembered."""
    header = [target.update_of(k, forged=True) for k in range(50)]
    counter = iter(range(10**9))
    await target.many(
        4, lambda _: target.send(6, upload(header[next(counter) % len(header)], target.update_bytes) + bytes(1 << 14))
    )


async def replays(target: Target) -> None:
    """One device's transaction of another round, again and again."""
    header = target.update_of(0, round_=10**6)
    await target.many(4, lambda _: target.send(7, upload(header, 0, "/v1/transaction")))


async def flood(target: Target) -> None:
    """Questions over 50 connections from one address, as fast as they are answered."""

    async def one(_: int) -> None:
        try:
            reader, writer = await target.connect(8)
        except OSError as error:
            target.outcomes[type(error).__name__] += 1
            return
        try:
            while not target.is_over:
                writer.write(b"GET /v1/round HTTP/1.1\r\nHost: x\r\n\r\n")
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
                body = await reader.readexactly(length)
                target.note(head + (body if b" 200 " not in head[:20] else b""))
                if b"close" in head.lower():
                    break
        except (OSError, asyncio.IncompleteReadError) as error:
            target.outcomes[type(error).__name__] += 1
        finally:
            writer.close()

    await target.many(50, one)


async def idle(target: Target) -> None:
    """5,000 connections from three addresses that say nothing, opened again when they are closed."""

    async def one(index: int) -> None:
        await target.send(20 + index % 3)
        await asyncio.sleep(0.5)

    await target.many(5000, one)


KINDS: dict[str, Callable[[Target], Awaitable[None]]] = {
    "slow heads": slow_headers,
    "slow bodies": slow_bodies,
    "bodies longer than announced": long_bodies,
    "10 GB announced": huge_lengths,
    "garbage": garbage,
    "forged signatures": forgeries,
    "replays": replays,
    "flood from one address": flood,
    "idle connections": idle,
}


def main(
    port: Annotated[int, typer.Option()],
    kind: Annotated[list[str], typer.Option()],
    seconds: Annotated[float, typer.Option()],
    world: Annotated[str, typer.Option(help="N,K,P of the random world.")],
    host: Annotated[str, typer.Option()] = "127.0.0.1",
) -> None:
    """Attack, and print how it was answered, as JSON."""
    servers, devices, parameters = map(int, world.split(","))
    known = random_world(servers, devices, parameters, phases=PHASES)
    targets = {name: Target(host, port, seconds, known) for name in kind}

    async def play() -> None:
        await asyncio.gather(*(target.play(name) for name, target in targets.items()))

    asyncio.run(play())
    json.dump({name: dict(target.outcomes) for name, target in targets.items()}, sys.stdout)


if __name__ == "__main__":
    typer.run(main)
