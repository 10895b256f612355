"""A device follows the servers of its chain, over HTTP, whatever some nodes answer (``bees.device.committees``)."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from bees.core.canonical import encode
from bees.core.errors import CodecError, InputError, NetworkError, NotAMemberError, ProofError
from bees.core.keys import SigningKey
from bees.device.client import AsyncDevice
from bees.device.committees import KnownCommittees
from bees.device.delivery import Delivery
from bees.device.nodes import Nodes
from bees.faults.world import shared_world
from bees.ledger.block import Header
from bees.ledger.commitments import commit_to_update
from bees.ledger.committee import Committee
from bees.ledger.merkle import MerkleMap
from bees.ledger.proofs import CommitteeProof, Committees
from bees.ledger.transactions import Update, sign
from campaigns.forgeries import commit_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
    from pathlib import Path

WORLD = shared_world(4, 4)
OLD, NEW = WORLD.server_keys, WORLD.next_server_keys
C0 = WORLD.genesis.committee
C1 = Committee((*C0.keys[:3], NEW[3].public_key))
C2 = Committee((*C0.keys[:2], None, NEW[3].public_key))


def proved(height: int, committee: Committee, keys: Sequence[SigningKey], servers: Sequence[int]) -> CommitteeProof:
    tree = MerkleMap.of({"committee": encode(committee), "round": b""})
    header = Header(WORLD.genesis.chain_id, height, bytes(32), bytes(32), tree.root)
    return CommitteeProof(header, commit_of(header, keys, servers), committee, tree.prove("committee"))


PROOFS = (proved(10, C1, OLD, (1, 2, 3)), proved(20, C2, (*OLD[:3], NEW[3]), (1, 2, 3)))


async def honest(request: web.Request) -> web.Response:
    """One proof at a time, so that it must be asked again."""
    after = int(request.query["after"])
    return web.Response(body=encode(tuple(proof for proof in PROOFS if proof.header.height > after)[:1]))


async def forged(_: web.Request) -> web.Response:
    return web.Response(body=encode((proved(10, C2, NEW, (1, 2, 3)),)))


async def out_of_order(_: web.Request) -> web.Response:
    return web.Response(body=encode(PROOFS[1:]))


async def garbage(_: web.Request) -> web.Response:
    return web.Response(body=b"\x93" * 100)


async def refusing(_: web.Request) -> web.Response:
    return web.json_response({"error": "InternalError", "message": "no"}, status=500)


@asynccontextmanager
async def nodes_that(*handlers: Callable[[web.Request], Awaitable[web.Response]]) -> AsyncGenerator[Nodes]:
    """Nodes on real HTTP, each of which answers in its way."""
    runners: list[web.AppRunner] = []
    urls: list[str] = []
    for handler in handlers:
        app = web.Application()
        app.router.add_get("/v1/committee", handler)
        app.router.add_post("/v1/update", handler)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        runners.append(runner)
        urls.append(f"http://127.0.0.1:{runner.addresses[0][1]}")
    nodes = Nodes(urls, timeout_s=5)
    try:
        yield nodes
    finally:
        await nodes.close()
        for runner in runners:
            await runner.cleanup()


def test_what_a_node_proves_is_followed_and_kept(tmp_path: Path):
    path = tmp_path / "d.journal.committees"

    async def play() -> KnownCommittees:
        known = KnownCommittees(WORLD.genesis, path)
        async with nodes_that(honest) as nodes:
            await known.follow(nodes, nodes.urls[0])
        return known

    known = asyncio.run(play())
    assert (known.proved.newest, known.proved.height, len(known.proved.changes)) == (C2, 20, 2)
    assert KnownCommittees(WORLD.genesis, path).proved == known.proved
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize(
    ("lie", "error"),
    [(forged, ProofError), (out_of_order, ProofError), (garbage, CodecError), (refusing, NetworkError)],
)
def test_a_lie_is_refused_and_an_honest_node_beside_it_is_enough(lie: object, error: type[Exception], tmp_path: Path):
    path = tmp_path / "d.journal.committees"

    async def play() -> None:
        known = KnownCommittees(WORLD.genesis, path)
        async with nodes_that(lie, honest) as nodes:  # pyright: ignore[reportArgumentType]  # one of the handlers
            with pytest.raises(error):
                await known.follow(nodes, nodes.urls[0])
            assert known.proved == Committees(WORLD.genesis)
            assert not path.exists()
            await known.follow_all(nodes)
            assert known.proved.newest == C2
            # Nor does it go back.
            await known.follow_all(nodes)
            assert known.proved.newest == C2

    asyncio.run(play())


def test_a_file_that_is_damaged_or_of_another_chain_is_named(tmp_path: Path):
    path = tmp_path / "d.journal.committees"
    path.write_bytes(b"\x92")
    with pytest.raises(InputError, match=r"is damaged .*delete it"):
        KnownCommittees(WORLD.genesis, path)
    path.write_bytes(encode((bytes(32), ())))
    with pytest.raises(InputError, match="belongs to chain 0000"):
        KnownCommittees(WORLD.genesis, path)


def test_a_new_key_needs_the_index_of_its_device(tmp_path: Path):
    new = SigningKey.simulated(1, "new device", 2)

    async def index_of(key: SigningKey, index: int | None) -> int:
        url = "http://127.0.0.1:9"
        async with AsyncDevice([url], key, WORLD.signed, tmp_path / "d.journal", index=index) as device:
            return device.index

    assert asyncio.run(index_of(new, 2)) == 2
    assert asyncio.run(index_of(WORLD.device_keys[1], None)) == 1
    assert asyncio.run(index_of(WORLD.device_keys[1], 1)) == 1
    for key, index, told in (
        (new, None, r"no device of chain .*--index K"),
        (new, 4, "4 is none of the 4 devices"),
        (new, -1, "-1 is none"),
        (WORLD.device_keys[1], 2, "2 is given, but the key is that of device 1"),
    ):
        with pytest.raises(InputError, match=told):
            asyncio.run(index_of(key, index))


def refusing_for(refusal: str) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def refuse(_: web.Request) -> web.Response:
        told = {"error": "RefusedTransactionError", "message": "no", "refusal": refusal}
        return web.json_response(told, status=409)

    return refuse


@pytest.mark.parametrize(
    ("refusals", "told"),
    [
        (["RemovedError"] * 4, "device 2 takes no part any more"),
        (["RemovedError", "RemovedError", "WrongRoundError", "WrongRoundError"], "takes no part any more"),
        (["BadSignatureError"] * 4, "not that of device 2.*--index 2"),
        (["RemovedError", *["WrongRoundError"] * 3], None),
        (["BadSignatureError", "RemovedError", "WrongRoundError", "WrongRoundError"], None),
    ],
)
def test_a_device_ends_where_more_nodes_than_may_lie_say_that_it_takes_no_part(refusals: list[str], told: str | None):
    data = bytes(8)
    body = Update(WORLD.genesis.chain_id, 1, bytes(32), 2, None, commit_to_update(2, 1, data), 1)

    async def play() -> None:
        async with nodes_that(*map(refusing_for, refusals)) as nodes:
            delivery = Delivery(nodes, WORLD.genesis, C0, sign(body, WORLD.device_keys[2]), 2, 1, data)
            with pytest.raises(NetworkError):
                await delivery.entrust()
            delivery.check_membership()

    if told is None:
        asyncio.run(play())
    else:
        with pytest.raises(NotAMemberError, match=told):
            asyncio.run(play())
