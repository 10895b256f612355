from __future__ import annotations

import asyncio
import stat
from typing import TYPE_CHECKING, Any

import pytest
from abci_rig import AbciClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from bees.core.errors import AbciError, EngineError
from bees.node.abci.framing import frame
from bees.node.abci.pb.messages_pb2 import Request, Response
from bees.node.abci.server import AbciServer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path


class Slow:
    """Answers the slower the earlier it was asked; refuses queries, breaks at Commit."""

    async def answer(self, request: Request) -> Response:
        match request.WhichOneof("value"):
            case "check_tx":
                await asyncio.sleep(0.02 if request.check_tx.tx == b"slow" else 0)
                response = Response()
                response.check_tx.data = request.check_tx.tx
                return response
            case "commit":
                raise EngineError("the disk is gone")
            case other:
                raise AbciError(f"request {other!r} is none that an application answers")


def serve(
    folder: Path, talk: Callable[[AbciServer], Awaitable[Any]], limit: int = 1 << 16
) -> tuple[Any, Any, list[BaseException]]:
    """What ``talk`` finds, the lines that were logged, and why the application failed."""
    failures: list[BaseException] = []

    async def main():
        server = AbciServer(f"unix://{folder}/a.sock", Slow(), failures.append, limit)
        await server.start()
        try:
            return await talk(server)
        finally:
            await AbciClient.close_all()
            await server.stop()

    with capture_logs() as lines:
        found = asyncio.run(main())
    return found, lines, failures


def test_answers_come_in_the_order_of_the_requests(tmp_path: Path):
    async def talk(server: AbciServer):
        client = await AbciClient.connect(server.address)
        client.send(Request(check_tx={"tx": b"slow"}), Request(check_tx={"tx": b"fast"}), Request(flush={}))
        client.send(Request(echo={"message": "hello"}))
        return [await client.receive() for _ in range(4)]

    found, _, failures = serve(tmp_path, talk)
    assert [r.WhichOneof("value") for r in found] == ["check_tx", "check_tx", "flush", "echo"]
    assert [found[0].check_tx.data, found[1].check_tx.data, found[3].echo.message] == [b"slow", b"fast", "hello"]
    assert not failures


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (frame(bytes(1 << 17))[:3], "at most"),
        (b"\xff" * 12, "has no end"),
        (frame(b"\xff\xff\xff"), "no request"),
        (frame(b""), "says nothing"),
        (frame(Request(query={"path": "x"}).SerializeToString()), "none that an application answers"),
        (frame(b"abc")[:-1], "ends within a message"),
    ],
)
def test_hostile_bytes_close_their_connection_with_one_line_and_no_other(tmp_path: Path, data: bytes, reason: str):
    async def talk(server: AbciServer):
        other, client = await AbciClient.connect(server.address), await AbciClient.connect(server.address)
        client.writer.write(data)
        client.writer.write_eof()
        is_closed = await client.is_closed()
        return is_closed, (await other.ask(echo={"message": "still here"})).message

    found, lines, failures = serve(tmp_path, talk)
    assert found == (True, "still here")
    assert [line["event"] for line in lines] == ["abci connection closed"]
    assert reason in lines[0]["reason"]
    assert not failures


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(min_size=1, max_size=200))
def test_no_bytes_break_the_server(tmp_path: Path, data: bytes):
    async def talk(server: AbciServer):
        client = await AbciClient.connect(server.address)
        client.writer.write(data)
        client.writer.write_eof()
        await asyncio.wait_for(client.reader.read(), 10)
        other = await AbciClient.connect(server.address)
        return (await other.ask(echo={"message": "alive"})).message

    found, lines, _ = serve(tmp_path, talk)
    assert found == "alive"
    assert len(lines) <= 1


def test_what_breaks_the_application_is_told_to_its_owner(tmp_path: Path):
    async def talk(server: AbciServer):
        client = await AbciClient.connect(server.address)
        client.send(Request(commit={}))
        return await client.is_closed()

    is_closed, _, failures = serve(tmp_path, talk)
    assert is_closed
    assert [str(failure) for failure in failures] == ["the disk is gone"]


def test_no_more_connections_than_cometbft_needs(tmp_path: Path):
    async def talk(server: AbciServer):
        clients = [await AbciClient.connect(server.address) for _ in range(16)]
        for client in clients:
            await client.ask(echo={"message": "here"})
        return await (await AbciClient.connect(server.address)).is_closed()

    is_closed, lines, _ = serve(tmp_path, talk)
    assert is_closed
    assert [line["event"] for line in lines] == ["abci connection refused"]


def test_the_socket_is_the_owners_alone_and_replaces_what_a_crash_left(tmp_path: Path):
    async def talk(server: AbciServer):
        again = AbciServer(server.address, Slow(), lambda _: None, 100)
        await again.start()
        found = mode()
        await again.stop()
        return found

    def mode() -> int:
        return stat.S_IMODE((tmp_path / "a.sock").stat().st_mode)

    assert serve(tmp_path, talk)[0] == 0o600


@pytest.mark.parametrize("address", ["nowhere", "tcp://127.0.0.1:x", "tcp://127.0.0.1:99999", "unix:///no/such/a.sock"])
def test_an_address_that_cannot_be_listened_on_is_named(address: str):
    async def main():
        await AbciServer(address, Slow(), lambda _: None, 100).start()

    with pytest.raises(EngineError, match=r"listen|ABCI address"):
        asyncio.run(main())
