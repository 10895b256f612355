"""How a device asks nodes: again where an idle connection was closed, and again while all are busy."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from bees.core.errors import NetworkError, NodeRefusesError
from bees.device.nodes import Answer, Nodes

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence


@asynccontextmanager
async def node(replies: Sequence[bytes], *, closes: bool) -> AsyncGenerator[tuple[Nodes, list[bytes]]]:
    """A node that gives these replies one by one, and the heads of requests; it may close a connection after each."""
    heard: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                heard.append(head)
                writer.write(replies[min(len(heard), len(replies)) - 1])
                await writer.drain()
                if closes:
                    break
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    nodes = Nodes([f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"], timeout_s=5)
    try:
        yield nodes, heard
    finally:
        await nodes.close()
        server.close()


def reply(status: int) -> bytes:
    return b"HTTP/1.1 %d Told\r\nContent-Length: 2\r\nContent-Type: application/json\r\n\r\n{}" % status


def test_an_update_goes_again_where_the_node_has_closed_an_idle_connection():
    async def play() -> None:
        async with node([reply(200)], closes=True) as (nodes, heard):
            (url,) = nodes.urls
            for _ in range(3):
                # The client learns only when it writes that the connection is gone.
                assert (await nodes.ask(url, "/v1/update", body=b"")).status == 200
            assert len(heard) == 3

    asyncio.run(play())


def test_a_node_that_only_closes_is_a_failure():
    async def play() -> None:
        async with node([b""], closes=True) as (nodes, heard):
            with pytest.raises(NetworkError, match="disconnected"):
                await nodes.ask(nodes.urls[0], "/v1/update", body=b"")
            assert len(heard) == 2

    asyncio.run(play())


@pytest.mark.parametrize(("patience_s", "status", "asked"), [(30, 429, 3), (30, 503, 3), (0, 429, 1), (30, 409, 1)])
def test_busy_nodes_are_asked_again_and_those_that_refuse_are_not(
    monkeypatch: pytest.MonkeyPatch, patience_s: float, status: int, asked: int
):
    monkeypatch.setattr("bees.device.nodes._PAUSE_S", 0.01)

    async def play() -> None:
        async with node([reply(status), reply(status), reply(202)], closes=False) as (nodes, heard):

            async def give(url: str) -> Answer:
                answer = await nodes.ask(url, "/v1/update", body=b"")
                answer.check()
                return answer

            if asked == 3:
                assert (await nodes.first(give, "the update", patience_s)).status == 202
            else:
                with pytest.raises(NetworkError, match="none of 1 nodes"):
                    await nodes.first(give, "the update", patience_s)
            assert len(heard) == asked

    asyncio.run(play())


def test_only_some_refusals_pass():
    assert [NodeRefusesError("node", "why", status).is_busy for status in (400, 409, 422, 429, 503)] == [
        False,
        False,
        False,
        True,
        True,
    ]
