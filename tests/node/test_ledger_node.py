from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from abci_rig import AbciClient, RigPeers, make_node, running, simulate, transactions_of, world_of
from msgspec.structs import replace
from waiting import until

from bees.core.canonical import decode, encode
from bees.core.errors import ChainFileError, DivergedError, EngineError, GenesisError, StorageError
from bees.core.keys import is_signed_by
from bees.engines.audit import verify_chain
from bees.engines.blobs import MemoryBlobStore
from bees.ledger.merkle import MerklePath, check_path
from bees.ledger.proofs import check_model_proof
from bees.ledger.transactions import Publish, Signed
from bees.light_client import check_proof, read_genesis
from bees.node.abci.adapter import comet_chain_id
from bees.node.abci.pb.messages_pb2 import (
    Request,
    ResponseApplySnapshotChunk,
    ResponseOfferSnapshot,
    ResponseProcessProposal,
)
from bees.node.certificates import SignedHeaders, sign_header
from bees.node.ledger_node import LedgerNode, LedgerSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from bees.core.keys import SigningKey
    from bees.ledger.block import Block
    from bees.ledger.genesis import SignedGenesis

    Talk = Callable[[AbciClient], Awaitable[Any]]

ACCEPT, REJECT = ResponseProcessProposal.ACCEPT, ResponseProcessProposal.REJECT


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory):
    """The blocks of three simulated rounds with four servers."""
    return simulate(world_of(), tmp_path_factory.mktemp("simulated") / "chain.db", 3)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory):
    """Of two rounds with one server, whose signature is a certificate."""
    return simulate(world_of(1), tmp_path_factory.mktemp("alone") / "chain.db", 2)


def run(node: LedgerNode, talk: Talk):
    async def main():
        async with running(node) as client:
            return await talk(client)

    return asyncio.run(main())


def test_a_simulated_run_fed_through_abci_gives_the_same_blocks(tmp_path: Path, recorded: list[Block]):
    node = make_node(tmp_path)

    async def talk(client: AbciClient):
        hashes: list[bytes] = []
        blocks: list[Block] = []
        for block in recorded:
            proposed = await client.ask(process_proposal={"txs": transactions_of(block)})
            assert proposed.status == ACCEPT
            hashes.append(await client.block(block.header.height, transactions_of(block)))
            assert node.last_block is not None
            blocks.append(node.last_block)
        return hashes, blocks

    hashes, blocks = run(node, talk)
    assert hashes == [block.header.app_hash for block in recorded]
    assert blocks == recorded
    assert any(isinstance(s.body, Publish) for block in blocks for s in block.batch.transactions)
    assert node.counts.blobs_fetched > 0  # the contract's inputs came from the peers


def test_servers_certify_what_is_decided_and_auditors_take_their_chain_files(tmp_path: Path, recorded: list[Block]):
    peers = [RigPeers() for _ in range(4)]
    nodes = [make_node(tmp_path / str(k), k, peers[k]) for k in range(4)]

    async def main():
        for k, node in enumerate(nodes):
            peers[k].others = [other for other in nodes if other is not node]
            await node.start()
        clients = [await AbciClient.connect(node.abci_address) for node in nodes]
        for block in recorded:
            for client in clients:
                await client.block(block.header.height, transactions_of(block))
        for node in nodes:
            await certified(node, len(recorded))
        proofs = [node.proof() for node in nodes]
        await AbciClient.close_all()
        for node in nodes:
            await node.stop()
        return proofs

    proofs = asyncio.run(main())
    for k, (node, proof) in enumerate(zip(nodes, proofs, strict=True)):
        verdict = verify_chain(tmp_path / str(k) / "chain.db", expected_genesis=node.genesis.chain_id)
        assert verdict.valid, verdict.reason
        assert (verdict.blocks, verdict.round) == (len(recorded), 3)
        assert proof is not None
        assert check_model_proof(node.genesis, proof, is_signed_by).model == node.state.model
        by_light_client = check_proof(read_genesis(encode(node.signed_genesis)), encode(proof))
        assert (by_light_client.round, by_light_client.model) == (3, node.state.model)


async def certified(node: LedgerNode, height: int) -> None:
    done = asyncio.Event()
    node.on_certified(lambda newest: done.set() if newest.block.header.height >= height else None)
    if node.certified_height < height:
        await asyncio.wait_for(done.wait(), 10)


def test_a_restarted_server_stands_where_its_chain_file_ends(tmp_path: Path, alone: list[Block]):
    half = len(alone) // 2

    async def first(client: AbciClient):
        for block in alone[:half]:
            await client.block(block.header.height, transactions_of(block))
        await certified(first_node, half)

    first_node = make_node(tmp_path, servers=1)
    run(first_node, first)
    second_node = make_node(tmp_path, servers=1)

    async def second(client: AbciClient):
        info = await client.ask(info={})
        for block in alone[half:]:
            await client.block(block.header.height, transactions_of(block))
        await certified(second_node, len(alone))
        return info

    info = run(second_node, second)
    assert (info.last_block_height, info.last_block_app_hash) == (half, alone[half - 1].header.app_hash)
    assert second_node.height == len(alone)
    assert second_node.app_hash == alone[-1].header.app_hash
    verdict = verify_chain(tmp_path / "chain.db")
    assert (verdict.valid, verdict.blocks) == (True, len(alone))


def test_blocks_without_certificate_are_executed_again_and_signed_alike(tmp_path: Path, recorded: list[Block]):
    lives: list[RigPeers] = []

    def next_life() -> LedgerNode:
        lives.append(RigPeers())
        return make_node(tmp_path, peers=lives[-1])

    async def talk(client: AbciClient):
        for block in recorded[:3]:
            await client.block(block.header.height, transactions_of(block))
        await until(lambda: len(lives[-1].pushed) >= 3)
        return (await client.ask(info={})).last_block_height

    assert run(next_life(), talk) == 3
    node = next_life()
    assert node.height == 0  # alone, it has no certificate
    run(node, talk)
    first, second = (life.pushed for life in lives)
    assert first == second
    assert first == [sign_header(b.header, 0, node.key) for b in recorded[:3]]


def test_a_decided_block_waits_for_its_bytes_and_a_proposed_one_is_given_up(tmp_path: Path, recorded: list[Block]):
    peers = RigPeers()
    node = make_node(tmp_path, peers=peers)
    closing = next(k for k, b in enumerate(recorded) if any(isinstance(s.body, Publish) for s in b.batch.transactions))

    async def talk(client: AbciClient):
        for block in recorded[:closing]:
            await client.block(block.header.height, transactions_of(block))
        peers.withheld = True
        transactions = transactions_of(recorded[closing])
        proposed = await client.ask(process_proposal={"txs": transactions})
        peers.withheld, peers.lies = False, True
        lied = await client.ask(process_proposal={"txs": transactions})
        decided = asyncio.create_task(client.block(closing + 1, transactions))
        await asyncio.sleep(0.2)
        was_waiting = not decided.done()
        peers.lies = False
        return proposed.status, lied.status, was_waiting, await decided

    found = run(node, talk)
    assert found == (REJECT, REJECT, True, recorded[closing].header.app_hash)
    assert node.counts.fetches_failed > 2
    assert all(wanted.sources and 0 not in wanted.sources for wanted in peers.asked)


def test_a_decided_block_waits_for_room_on_the_disk(tmp_path: Path, recorded: list[Block], capsys: Any):
    node = make_node(tmp_path)
    closing = next(k for k, b in enumerate(recorded) if any(isinstance(s.body, Publish) for s in b.batch.transactions))

    class Full(MemoryBlobStore):
        is_full = True

        def put(self, device: int, round_: int, data: bytes) -> bytes:
            if self.is_full:
                raise StorageError("updates", "no space left; free some space")
            return super().put(device, round_, data)

    full = Full()
    node.blobs = node._judge._blobs = full

    async def talk(client: AbciClient):
        for block in recorded[:closing]:
            await client.block(block.header.height, transactions_of(block))
        decided = asyncio.create_task(client.block(closing + 1, transactions_of(recorded[closing])))
        await asyncio.sleep(0.2)
        was_waiting, full.is_full = not decided.done(), False
        return was_waiting, await decided

    assert run(node, talk) == (True, recorded[closing].header.app_hash)
    assert "an update that a block needs cannot be kept" in capsys.readouterr().out


def test_proposals_that_no_honest_server_makes_are_rejected(tmp_path: Path, recorded: list[Block]):
    node = make_node(tmp_path)
    good = transactions_of(recorded[0])

    async def talk(client: AbciClient) -> AsyncIterator[Any]:
        for transactions in (good[::-1], [*good, b"\x00"], [good[0], good[0]], transactions_of(recorded[2])):
            yield await client.ask(process_proposal={"txs": transactions})

    async def main():
        async with running(node) as client:
            return [answer.status async for answer in talk(client)]

    assert asyncio.run(main()) == [REJECT] * 4
    assert node.counts.proposals_rejected == 4


def test_a_proposal_holds_what_can_stand_together_in_order_and_fits(tmp_path: Path, recorded: list[Block]):
    node = make_node(tmp_path)
    good = transactions_of(recorded[0])
    assert len(good) == 4
    candidates = [b"garbage", *good[::-1], *transactions_of(recorded[-1])]

    async def talk(client: AbciClient):
        whole = await client.ask(prepare_proposal={"txs": candidates, "max_tx_bytes": 10_000})
        limit = sum(len(t) + 3 for t in good[:2])
        part = await client.ask(prepare_proposal={"txs": candidates, "max_tx_bytes": limit})
        none = await client.ask(prepare_proposal={"txs": candidates, "max_tx_bytes": 0})
        return list(whole.txs), list(part.txs), list(none.txs)

    assert run(node, talk) == (good, good[:2], [])


def test_check_tx_says_why_and_tells_what_was_heard(tmp_path: Path, recorded: list[Block]):
    node = make_node(tmp_path)
    heard: list[Signed] = []
    node.on_transaction(heard.append)
    good, early = transactions_of(recorded[0])[0], transactions_of(recorded[1])[0]
    forged = replace(decode(good, Signed), signature=bytes(64)).encoding

    async def talk(client: AbciClient):
        return [await client.ask(check_tx={"tx": t}) for t in (good, early, forged, b"no transaction", b"")]

    answers = run(node, talk)
    assert [answer.code for answer in answers] == [0, 1, 1, 2, 2]
    assert "not signed by its author" in answers[2].log
    assert all(answer.log for answer in answers[1:])
    assert [signed.encoding for signed in heard] == [good, early]
    assert node.counts.transactions_refused == 4


def test_queries_come_with_their_merkle_path(tmp_path: Path, recorded: list[Block]):
    node = make_node(tmp_path)

    async def talk(client: AbciClient):
        await client.block(1, transactions_of(recorded[0]))
        return [
            await client.ask(query={"path": path, "data": name})
            for path, name in (("leaf", b"round"), ("leaf", b"\xff"), ("store", b"round"))
        ]

    found, unknown, no_path = run(node, talk)
    value, path = decode(found.value, tuple[bytes, MerklePath])
    check_path(node.app_hash, "round", value, path)
    assert (found.code, found.height, unknown.code, no_path.code) == (0, 1, 1, 1)
    assert "'leaf'" in no_path.log


def test_snapshots_and_vote_extensions_are_declined(tmp_path: Path):
    async def talk(client: AbciClient):
        offered = await client.ask(offer_snapshot={"app_hash": b"x"})
        applied = await client.ask(apply_snapshot_chunk={"chunk": b"x"})
        listed = await client.ask(list_snapshots={})
        chunk = await client.ask(load_snapshot_chunk={"height": 1})
        verified = await client.ask(verify_vote_extension={"vote_extension": b"x"})
        extended = await client.ask(extend_vote={})
        return offered.result, applied.result, len(listed.snapshots), chunk.chunk, verified.status, extended

    found = run(make_node(tmp_path), talk)
    assert found[:4] == (ResponseOfferSnapshot.REJECT, ResponseApplySnapshotChunk.ABORT, 0, b"")
    assert (found[4], found[5].vote_extension) == (2, b"")


def init_chain(**changes: Any) -> dict[str, Any]:
    known = {"chain_id": comet_chain_id(world_of().genesis), "validators": [{"power": 1}] * 4, "initial_height": 1}
    return {**known, **changes}


def test_init_chain_answers_the_app_hash_before_the_first_block(tmp_path: Path):
    node = make_node(tmp_path)
    answer = run(node, lambda client: client.ask(init_chain=init_chain()))
    assert answer.app_hash == node.app_hash


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"chain_id": "bees-other"}, "genesis.json is of chain bees-other"),
        ({"validators": [{"power": 1}] * 3}, "for each of 4 servers"),
        ({"validators": [{"power": 1}] * 3 + [{"power": 9}]}, "power 1"),
        ({"initial_height": 7}, "starts at height 7"),
    ],
)
def test_another_chains_comet_is_refused(tmp_path: Path, changes: dict[str, Any], complaint: str):
    node = make_node(tmp_path)

    async def talk(client: AbciClient):
        client.send(Request(init_chain=init_chain(**changes)))
        assert await client.is_closed()
        await asyncio.wait_for(node.wait(), 5)

    with pytest.raises(EngineError, match=complaint):
        run(node, talk)


def test_a_decided_block_that_is_refused_here_stops_the_node(tmp_path: Path, recorded: list[Block]):
    node = make_node(tmp_path)

    async def talk(client: AbciClient):
        client.send(Request(finalize_block={"height": 1, "txs": [b"garbage"]}))
        assert await client.is_closed()
        await asyncio.wait_for(node.wait(), 5)

    with pytest.raises(EngineError, match="block 1 is decided, but refused here"):
        run(node, talk)


def test_a_comet_of_another_height_is_refused(tmp_path: Path):
    node = make_node(tmp_path)

    async def talk(client: AbciClient):
        client.send(Request(finalize_block={"height": 5, "txs": []}))
        assert await client.is_closed()
        await asyncio.wait_for(node.wait(), 5)

    with pytest.raises(EngineError, match="decided block 5, but this ledger stands at block 0"):
        run(node, talk)


def test_a_node_whose_state_differs_stops_and_says_so(tmp_path: Path, recorded: list[Block]):
    node, world = make_node(tmp_path), world_of()
    wrong = replace(recorded[0].header, app_hash=bytes(32))

    async def talk(client: AbciClient):
        await client.block(1, transactions_of(recorded[0]))
        assert node.take_signature(sign_header(wrong, 1, world.server_keys[1]))
        with pytest.raises(TimeoutError):  # one may lie
            await asyncio.wait_for(node.wait(), 0.3)
        assert node.take_signature(sign_header(wrong, 2, world.server_keys[2]))
        await asyncio.wait_for(node.wait(), 5)

    with pytest.raises(DivergedError, match=r"block 1: app hash differs.*servers 1, 2"):
        run(node, talk)


def test_forged_and_useless_signatures_change_nothing(tmp_path: Path, recorded: list[Block]):
    node, keys = make_node(tmp_path), world_of().server_keys
    header = recorded[0].header
    good = sign_header(header, 1, keys[1])
    late = sign_header(replace(header, height=1000), 1, keys[1])

    async def talk(client: AbciClient):
        await client.block(1, transactions_of(recorded[0]))
        forged = (replace(good, signature=bytes(64)), replace(good, server=99), replace(good, server=2), late)
        assert [node.take_signature(s) for s in forged] == [False] * 4
        assert node.take_signature(good)
        assert not node.take_signature(good)
        await asyncio.sleep(0.1)
        return node.certified_height

    assert run(node, talk) == 0
    assert node.counts.signatures_refused == 5


def test_signatures_of_certified_heights_come_from_the_chain_file(tmp_path: Path, alone: list[Block]):
    node = make_node(tmp_path, servers=1)

    async def talk(client: AbciClient):
        for block in alone:
            await client.block(block.header.height, transactions_of(block))
        await certified(node, len(alone))
        return node.signatures(1, 10_000), node.signatures(5, 2), node.signatures(-3, 1)

    every, none, one = run(node, talk)
    assert [s.height for s in every] == list(range(1, len(alone) + 1))
    assert none == []
    assert [s.height for s in one] == [1]
    assert all(a.block_id != b.block_id for a, b in pairwise(every))


def test_the_key_and_the_chain_file_must_fit_the_genesis(tmp_path: Path):
    world = world_of()
    settings = LedgerSettings(tmp_path, f"unix://{tmp_path}/a.sock", "http://127.0.0.1:9")

    def node(signed: SignedGenesis, server: int, key: SigningKey):
        return LedgerNode(
            settings, signed, server, key, world.machine, world.initial_model, MemoryBlobStore(), RigPeers()
        )

    with pytest.raises(GenesisError, match="not the one of server 0"):
        node(world.signed, 0, world.server_keys[1])
    with pytest.raises(GenesisError, match="no server 4"):
        node(world.signed, 4, world.server_keys[1])
    asyncio.run(node(world.signed, 0, world.server_keys[0]).stop())
    other = world_of(1)
    with pytest.raises(ChainFileError, match="another genesis"):
        node(other.signed, 0, other.server_keys[0])


def test_no_second_header_of_a_height_is_signed_even_after_a_crash(tmp_path: Path):
    signed = SignedHeaders(tmp_path / "certificates.db")
    assert signed.may_sign(7, b"a" * 32)
    signed.remember(7, b"a" * 32)
    signed.close()
    again = SignedHeaders(tmp_path / "certificates.db")
    assert again.may_sign(7, b"a" * 32)
    assert not again.may_sign(6, b"a" * 32)  # of which nothing is known any more
    assert again.may_sign(8, b"b" * 32)
    assert not again.may_sign(7, b"b" * 32)
    again.close()
