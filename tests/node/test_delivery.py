"""No single node decides whether a device's update counts: entry servers that die, drop, withhold or lie."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiohttp import web
from service_rig import DEVICES, network
from test_service import post, update_of

from bees.device import AsyncDevice
from bees.device.delivery import Delivery
from bees.device.nodes import Nodes
from bees.faults.world import samples_of
from bees.ledger.commitments import commit_to_update
from bees.ledger.state import Phase
from bees.transport.bodies import write_header

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from service_rig import Net

    from bees.device.client import Receipt


@pytest.fixture(autouse=True)
def no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks come faster here than once a second."""
    monkeypatch.setattr("bees.device.delivery._PAUSE_S", 0.1)


@asynccontextmanager
async def device_of(net: Net, folder: Path, first: int, device: int = 0) -> AsyncGenerator[asyncio.Task[Receipt]]:
    """A device that hands in one update; node ``first`` is its entry."""
    urls = net.urls[first:] + net.urls[:first]

    async def take_part() -> Receipt:
        journal = folder / "device.journal"
        async with AsyncDevice(urls, net.world.device_keys[device], net.world.signed, journal, timeout_s=3) as sdk:
            opened = await sdk.next_round()
            arrays = [array + 0.25 for array in opened.arrays]
            return await sdk.submit(opened, arrays, samples_of(device))

    task = asyncio.create_task(take_part())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def give_others(net: Net, session: aiohttp.ClientSession) -> None:
    """The updates of all other devices, to a node that no test takes away."""
    for device in range(1, DEVICES):
        assert (await post(session, net.urls[1], *update_of(net, device)))[0] == 202


async def until_taken(net: Net, commitment_holders: int) -> bytes:
    """Until so many nodes hold device 0's bytes; its commitment."""
    for _ in range(100):
        update = net.state.updates.get(0)
        if update is not None:
            holders = sum(update.commitment in node.store for node in net.nodes)
            if holders >= commitment_holders:
                return update.commitment
        await asyncio.sleep(0.05)
    raise AssertionError("too few nodes hold the bytes")


def silence(node: Any) -> None:
    """An entry server that says yes to everything and does nothing: no transaction, no bytes for anybody."""
    node.task.cancel()

    async def carry(*_: Any) -> None:
        pass

    node.api._carry = carry
    node.ledger.read_blob = lambda _: None


def test_an_entry_server_that_drops_and_withholds_an_update_changes_nothing(tmp_path: Path):
    async def play() -> None:
        async with network(tmp_path) as net, aiohttp.ClientSession() as session:
            silence(net.nodes[3])
            await give_others(net, session)
            async with device_of(net, tmp_path, first=3) as device:
                await net.until(lambda state: state.round == 2, blocks=100, pause_s=0.4)
                receipt = await asyncio.wait_for(device, 10)
            assert (receipt.node, receipt.accepted) == (net.urls[3], True)
            assert net.state.outcome is not None
            assert 0 in net.state.outcome.selected

    asyncio.run(play())


def test_an_entry_server_that_dies_after_it_took_the_bytes_is_made_up_for(tmp_path: Path):
    async def play() -> None:
        async with network(tmp_path) as net, aiohttp.ClientSession() as session:
            await give_others(net, session)
            async with device_of(net, tmp_path, first=3) as device:
                await net.until(lambda state: 0 in state.updates, pause_s=0.2)
                dead = net.nodes[3]
                dead.task.cancel()
                await dead.device_server.stop()
                await dead.peer_server.stop()
                await net.until(lambda state: state.phase is Phase.ATTEST)
                assert await until_taken(net, 4)
                await net.until(lambda state: state.round == 2, blocks=100, pause_s=0.4)
                assert (await asyncio.wait_for(device, 10)).accepted
            assert net.state.outcome is not None
            assert 0 in net.state.outcome.selected

    asyncio.run(play())


async def lie(port_of: Net, told: dict[str, Any]) -> web.AppRunner:
    """A server in node 3's place that tells all devices of this round, and takes everything."""

    async def answer(request: web.Request) -> web.Response:
        await request.read()
        return web.json_response(told if request.path == "/v1/round" else {"held": True, "status": "accepted"})

    await port_of.nodes[3].device_server.stop()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port_of.nodes[3].port).start()
    return runner


def test_a_node_that_never_answers_holds_up_no_device(tmp_path: Path):
    async def silent(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await asyncio.sleep(30)
        finally:
            writer.close()

    async def play() -> None:
        async with network(tmp_path) as net, aiohttp.ClientSession() as session:
            mute = await asyncio.start_server(silent, "127.0.0.1", 0)
            nodes = Nodes([f"http://127.0.0.1:{mute.sockets[0].getsockname()[1]}", *net.urls[:3]])
            delivery = Delivery(nodes, net.world.genesis, net.world.genesis.committee, *one_update(net), b"")
            began = time.monotonic()
            told = await delivery._ask_rounds()
            assert {url for url, _ in told} == set(net.urls[:3])
            assert {said.phase for _, said in told} == {"collect"}
            assert 0.4 < time.monotonic() - began < 2  # whoever is only a little slower is heard
            await give_others(net, session)
            await net.until(lambda state: state.phase is not Phase.COLLECT, blocks=100, pause_s=0)
            began = time.monotonic()
            told = await delivery._ask_rounds()
            assert delivery._say(told, delivery._lacks_it)
            assert len({url for url, _ in told}) >= 2
            assert time.monotonic() - began < 0.4
            await nodes.close()
            mute.close()

    asyncio.run(play())


def test_a_liar_that_answers_first_does_not_end_the_asking(tmp_path: Path):
    async def play() -> None:
        async with network(tmp_path) as net:
            liar = await lie(net, {"round": 1, "phase": "publish", "updates": [0], "open": True})
            nodes = Nodes([net.urls[3], *net.urls[:3]])
            delivery = Delivery(nodes, net.world.genesis, net.world.genesis.committee, *one_update(net), b"")
            told = dict(await delivery._ask_rounds())
            assert sum(said.phase == "collect" for said in told.values()) >= 2
            assert not delivery._say(list(told.items()), delivery._is_collect_over)
            await nodes.close()
            await liar.cleanup()

    asyncio.run(play())


def one_update(net: Net) -> tuple[Any, int, int]:
    """A signed Update, its device and round."""
    return update_of(net, 0)[0], 0, net.state.round


@pytest.mark.parametrize("phase", ["attest", "publish"])
def test_bytes_go_to_no_other_node_because_one_says_that_collect_is_over(tmp_path: Path, phase: str):
    async def play() -> None:
        async with network(tmp_path) as net:
            liar = await lie(net, {"round": 1, "phase": phase, "updates": list(range(DEVICES)), "open": True})
            async with device_of(net, tmp_path, first=0):
                await net.until(lambda state: 0 in state.updates, pause_s=0.2)
                assert net.state.phase is Phase.COLLECT
                await asyncio.sleep(1.5)
                commitment = net.state.updates[0].commitment
                assert [commitment in node.store for node in net.nodes] == [True, False, False, False]
            await liar.cleanup()

    asyncio.run(play())


def test_a_node_that_tells_of_no_round_does_not_keep_a_device_from_it(tmp_path: Path):
    async def play() -> None:
        async with network(tmp_path) as net, aiohttp.ClientSession() as session:
            liar = await lie(net, {"round": 0, "phase": "collect", "updates": [], "open": False})
            await give_others(net, session)
            async with device_of(net, tmp_path, first=3) as device:
                await net.until(lambda state: state.round == 2, blocks=100, pause_s=0.4)
                assert (await asyncio.wait_for(device, 10)).accepted
            await liar.cleanup()

    asyncio.run(play())


def test_the_bytes_of_what_is_on_the_chain_are_taken_of_anybody_and_no_others(tmp_path: Path):
    async def play() -> None:
        async with network(tmp_path) as net, aiohttp.ClientSession() as session:
            for node in net.nodes:
                node.task.cancel()
            signed, data = update_of(net, 0)
            header = {"Bees-Transaction": write_header(signed)}
            for status, told in ((202, "accepted"), (200, "known")):
                async with session.post(f"{net.urls[1]}/v1/transaction", headers=header) as answer:
                    assert (answer.status, json.loads(await answer.read())["status"]) == (status, told)
            await net.until(lambda state: 0 in state.updates)
            commitment = commit_to_update(0, 1, data)
            assert not any(commitment in node.store for node in net.nodes)
            await net.until(lambda state: state.phase is Phase.ATTEST, blocks=100, pause_s=0)
            assert (await post(session, net.urls[2], signed, bytes(len(data))))[0] == 422
            assert await post(session, net.urls[2], signed, data) == (202, {"status": "kept", "round": 1})
            assert await post(session, net.urls[2], signed, data) == (200, {"status": "known"})
            late, more = update_of(net, 1)
            status, told = await post(session, net.urls[2], late, more)
            assert (status, told["refusal"]) == (409, "WrongPhaseError")
            for url, held in ((net.urls[2], True), (net.urls[3], False)):
                async with session.get(f"{url}/v1/held/{commitment.hex()}") as answer:
                    assert await answer.json() == {"held": held}
            async with session.get(f"{net.urls[2]}/v1/held/xyz") as answer:
                assert (answer.status, (await answer.json())["error"]) == (400, "MalformedRequestError")

    asyncio.run(play())
