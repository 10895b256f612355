"""The service half of four servers on real HTTP: whole rounds, bytes that stay secret, requests that are refused."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import replace as replace_
from typing import TYPE_CHECKING, Any
from unittest.mock import Mock

import aiohttp
import pytest
from aiohttp.test_utils import make_mocked_request
from msgspec.structs import replace
from service_rig import DEVICES, SERVERS, Net, network
from waiting import until

from bees.core.canonical import decode, encode
from bees.core.errors import CometError, DoubleSignError, NetworkError, ProofError
from bees.device import AsyncDevice
from bees.faults.world import samples_of, train
from bees.ledger.commitments import commit_to_update
from bees.ledger.state import Phase
from bees.ledger.transactions import Evidence, Update, sign
from bees.node.certificates import HeaderSignature
from bees.node.duties import wanted_updates
from bees.node.judge import Counts
from bees.node.signed_requests import Request, sign_request
from bees.protocol.device import OpenRound, commit_update
from bees.protocol.key_ring import KeyRing
from bees.protocol.signer import MemoryJournal, Signer
from bees.transport.bodies import ModelAnswer, write_header

if TYPE_CHECKING:
    from pathlib import Path

    from bees.node.blob_store import DiskBlobStore


def update_of(net: Net, device: int, /, **changes: Any):
    """A device's signed Update for the open round, and its bytes."""
    data = train(device, net.state.round)
    signer = Signer(net.world.device_keys[device], MemoryJournal())
    signed = commit_update(signer, OpenRound.of(net.state), device, samples_of(device), data)
    if changes:
        signed = sign(replace(signed.body, **changes), net.world.device_keys[device])
    return signed, data


async def post(session: aiohttp.ClientSession, url: str, signed: Any, data: bytes):
    headers = {} if signed is None else {"Bees-Transaction": write_header(signed)}
    async with session.post(f"{url}/v1/update", data=data, headers=headers) as answer:
        return answer.status, await answer.json()


async def give_all(net: Net, session: aiohttp.ClientSession, devices: range = range(DEVICES)) -> None:
    for device in devices:
        signed, data = update_of(net, device)
        status, told = await post(session, net.urls[net.world.genesis.devices[device].server], signed, data)
        assert (status, told["status"]) == (202, "accepted")


def rounds_of(store: DiskBlobStore) -> set[int]:
    return {store.round_of(name) or 0 for name in store.commitments()}


def test_whole_rounds_from_uploads_to_proofs(tmp_path: Path):
    async def play() -> None:
        async with network(tmp_path) as net, aiohttp.ClientSession() as session:
            for round_ in (1, 2):
                await give_all(net, session)
                await net.until(lambda state, round_=round_: state.round > round_)
                assert net.state.outcome is not None
                assert not net.state.outcome.is_skipped
                assert len({node.ledger.app_hash for node in net.nodes}) == 1
            async with session.get(net.urls[3] + "/v1/model") as answer:
                given = decode(await answer.read(), ModelAnswer)
            assert given.round == 3
            assert given.proof is not None
            assert given.proof.outcome.model == given.previous_model == net.state.model
            async with session.get(net.urls[0] + "/metrics") as answer:
                text = await answer.text()
            assert "bees_round 3.0" in text
            assert 'bees_duties_total{kind="Attest"} 2.0' in text

    asyncio.run(play())


def test_devices_take_part_by_the_sdk_and_one_node_may_be_down(tmp_path: Path):
    async def take_part(net: Net, device: int, rounds: int) -> list[bool | None]:
        urls = net.urls[device:] + net.urls[:device]
        key, journal = net.world.device_keys[device], tmp_path / f"device{device}.journal"
        accepted: list[bool | None] = []
        for _ in range(rounds):
            # A new life for each round: only the journal stays.
            async with AsyncDevice(urls, key, net.world.signed, journal) as sdk:
                opened = await sdk.next_round()
                arrays = [array + 0.25 * (device + 1) for array in opened.arrays]
                accepted.append((await sdk.submit(opened, arrays, samples_of(device))).accepted)
        return accepted

    async def play() -> None:
        async with network(tmp_path) as net:
            await net.nodes[3].device_server.stop()
            tasks = [asyncio.create_task(take_part(net, device, 2)) for device in range(DEVICES)]
            await net.until(lambda _: all(task.done() for task in tasks), blocks=200, pause_s=0.2)
            assert await asyncio.gather(*tasks) == [[True, True]] * DEVICES

    asyncio.run(play())


def test_a_server_that_is_known_by_another_of_its_keys_signs_once_more(tmp_path: Path):
    """Server 1 goes on with its next key, of which server 0 has not heard yet."""

    async def play() -> None:
        async with network(tmp_path) as net:
            known, coming = net.world.server_keys[1], net.world.next_server_keys[1]
            heard, peers = net.nodes[0].ledger.heard, net.nodes[1].peers
            for height, keys in enumerate(([coming, known], [known, coming], [coming]), start=1):
                peers._key = KeyRing(1, keys)
                await peers._give_signature(0, encode(HeaderSignature(height, bytes(32), 1, bytes(64))))
            assert [signature.height for signature in heard] == [1, 2]

    asyncio.run(play())


def test_bytes_are_secret_until_collect_closes_and_for_servers_alone(tmp_path: Path):
    async def ask(session: aiohttp.ClientSession, net: Net, commitment: bytes, **changes: Any) -> int:
        path = f"/v1/blobs/{commitment.hex()}"
        said = replace_(Request(1, 0, "GET", path, time.time_ns() // 10**6), **changes)
        headers = sign_request(net.world.genesis.chain_id, net.world.server_keys[1], said)
        async with session.get(net.nodes[0].peer_url + path, headers=headers) as answer:
            return answer.status

    async def play() -> None:
        async with network(tmp_path) as net, aiohttp.ClientSession() as session:
            for node in net.nodes:
                node.task.cancel()
            device = next(d for d in range(DEVICES) if net.world.genesis.devices[d].server == 0)
            signed, data = update_of(net, device)
            assert (await post(session, net.urls[0], signed, data))[0] == 202
            commitment = commit_to_update(device, 1, data)
            long_ago = time.time_ns() // 10**6 - 120_000
            assert await ask(session, net, commitment) == 404
            await net.until(lambda state: state.phase is Phase.ATTEST)
            wanted = wanted_updates(net.state, 1, net.nodes[1].store)
            assert [w.commitment for w in wanted] == [commitment]
            assert wanted[0].sources[0] == 0
            assert await ask(session, net, commitment) == 200
            assert await ask(session, net, commitment, receiver=2) == 401
            assert await ask(session, net, commitment, sender=2) == 401
            assert await ask(session, net, commitment, method="POST") == 401
            assert await ask(session, net, commitment, time_ms=long_ago) == 401
            assert await ask(session, net, bytes(32)) == 404
            async with session.get(f"{net.nodes[0].peer_url}/v1/blobs/{commitment.hex()}") as answer:
                assert (answer.status, (await answer.json())["error"]) == (401, "NotAuthenticError")

    asyncio.run(play())


def test_every_wrong_upload_is_refused_by_name_and_leaves_nothing(tmp_path: Path):
    async def play() -> None:
        async with network(tmp_path) as net, aiohttp.ClientSession() as session:
            url, store = net.urls[0], net.nodes[0].store
            signed, data = update_of(net, 0)
            stranger = sign(signed.body, net.world.server_keys[0])
            refusals = [
                (None, data, 400, "MalformedRequestError"),
                (stranger, data, 409, "BadSignatureError"),
                (update_of(net, 0, round=7)[0], data, 409, "WrongRoundError"),
                (update_of(net, 0, samples=10**6)[0], data, 409, "SampleCountError"),
                (update_of(net, 0, device=99)[0], data, 409, "UnknownParticipantError"),
                (update_of(net, 0, server=0)[0], data, 400, "MalformedRequestError"),
                (signed, data + b"x", 413, "WrongLengthError"),
                (signed, b"", 413, "WrongLengthError"),
                (signed, bytes(len(data)), 422, "WrongBytesError"),
            ]
            for transaction, body, status, name in refusals:
                found, told = await post(session, url, transaction, body)
                assert (found, told.get("refusal") or told["error"]) == (status, name), told
            assert len(store) == 0
            assert (await post(session, url, signed, data))[0] == 202
            assert (await post(session, url, signed, data)) == (200, {"status": "known"})
            for path, status in (("/v1/nothing", 404), ("/v1/update", 405), ("/v1/round?after=-1", 400)):
                async with session.get(url + path) as answer:
                    assert answer.status == status
                    assert (await answer.json())["error"]
            assert not list((store.folder / "incoming").iterdir())

    asyncio.run(play())


def test_two_updates_of_one_device_are_reported_and_convict_it(tmp_path: Path):
    async def play() -> None:
        async with network(tmp_path) as net, aiohttp.ClientSession() as session:
            signed, data = update_of(net, 0)
            assert (await post(session, net.urls[0], signed, data))[0] == 202
            other = train(0, 99)
            body = signed.body
            assert isinstance(body, Update)
            second = sign(
                Update(body.chain_id, 1, body.previous_model, 0, None, commit_to_update(0, 1, other), body.samples),
                net.world.device_keys[0],
            )
            status, told = await post(session, net.urls[0], second, other)
            assert (status, told["refusal"]) == (409, "DuplicateError")
            await net.until(lambda state: ("device", 0) in state.convictions)
            said = [signed for block in net.blocks for signed in block.batch.transactions]
            assert any(isinstance(signed.body, Evidence) for signed in said)

    asyncio.run(play())


def test_a_server_that_withholds_is_counted_and_the_round_goes_on(tmp_path: Path):
    async def play() -> None:
        async with network(tmp_path) as net, aiohttp.ClientSession() as session:
            device = next(d for d in range(DEVICES) if net.world.genesis.devices[d].server == 3)
            await give_all(net, session)
            await net.nodes[3].peer_server.stop()
            await net.until(lambda state: state.round == 2, blocks=100, pause_s=0.1)
            assert net.state.outcome is not None
            assert not net.state.outcome.is_skipped
            assert device not in net.state.outcome.selected

    asyncio.run(play())


def test_a_device_believes_no_node_that_lies(tmp_path: Path):
    async def play() -> None:
        async with network(tmp_path) as net:
            key, journal = net.world.device_keys[0], tmp_path / "device.journal"
            async with AsyncDevice([net.urls[0]], key, net.world.signed, journal, timeout_s=5) as sdk:
                net.nodes[0].ledger.executor.models[net.state.model] = net.world.initial_model + 1
                with pytest.raises(NetworkError, match="not w_g") as caught:
                    await sdk._nodes.first(sdk._ask_round, "the open round")
                assert isinstance(caught.value.__context__ or caught.value, (NetworkError, ProofError))

    asyncio.run(play())


def test_a_device_never_signs_two_updates_for_one_round(tmp_path: Path):
    async def play() -> None:
        async with network(tmp_path) as net:
            key, journal = net.world.device_keys[0], tmp_path / "device.journal"
            async with AsyncDevice(net.urls, key, net.world.signed, journal) as sdk:
                opened = await sdk.next_round()
                await sdk.submit(opened, opened.arrays, 10, confirm=False)
            async with AsyncDevice(net.urls, key, net.world.signed, journal) as sdk:
                with pytest.raises(DoubleSignError):
                    await sdk.submit(opened, [array + 1 for array in opened.arrays], 10, confirm=False)

    asyncio.run(play())


def test_an_update_that_comes_too_late_is_told_and_not_raised(tmp_path: Path):
    async def play() -> None:
        async with network(tmp_path) as net, aiohttp.ClientSession() as session:
            journal = tmp_path / "device.journal"
            async with AsyncDevice(net.urls, net.world.device_keys[0], net.world.signed, journal) as sdk:
                opened = await sdk.next_round()
                await give_all(net, session, range(1, DEVICES))
                await net.until(lambda state: state.phase != Phase.COLLECT)
                receipt = await sdk.submit(opened, opened.arrays, 10)
                assert (receipt.node, receipt.accepted) == ("", False)

    asyncio.run(play())


def test_slow_malformed_and_hostile_requests_end_soon_and_in_json(tmp_path: Path):
    async def raw(port: int, data: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(data)
        answer = await asyncio.wait_for(reader.read(-1), 5)
        writer.close()
        return answer

    async def play() -> None:
        async with network(tmp_path, header_timeout_s=0.5, body_timeout_s=0.5, connections=50) as net:
            port = net.nodes[0].port
            for garbage in (
                b"\0\1\2\3\r\n\r\n",
                b"GET " + b"/" * 9000 + b" HTTP/1.1\r\n\r\n",
                b"\x16\x03\x01\x02\r\n\r\n",
            ):
                answer = await raw(port, garbage)
                assert answer.startswith(b"HTTP/1."), answer
                assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"] == "MalformedRequestError"
            many = b"".join(b"X-%d: a\r\n" % k for k in range(500))
            assert b" 400 " in (await raw(port, b"GET / HTTP/1.1\r\n" + many + b"\r\n"))[:20]
            began = time.monotonic()
            for never_ends in (b"GET /v1/round HT", b""):
                answer = await raw(port, never_ends)
                assert answer.startswith(b"HTTP/1.1 408 "), answer
                assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"] == "TooSlowError"
            signed, _ = update_of(net, 0)
            head = (
                f"POST /v1/update HTTP/1.1\r\nHost: x\r\nContent-Length: 32\r\nBees-Transaction: {write_header(signed)}"
            )
            slow = await raw(port, head.encode() + b"\r\n\r\nfew")
            assert slow.startswith(b"HTTP/1.1 408"), slow
            assert time.monotonic() - began < 4
            idle = await asyncio.gather(*(asyncio.open_connection("127.0.0.1", port) for _ in range(60)))
            answers = await asyncio.gather(*(asyncio.wait_for(reader.read(-1), 5) for reader, _ in idle))
            assert sum(b"TooManyConnections" in answer for answer in answers) >= 10
            for _, writer in idle:
                writer.close()

    asyncio.run(play())


def test_one_device_takes_one_place_of_the_queue(tmp_path: Path):
    async def play() -> None:
        async with network(tmp_path, body_timeout_s=1.0) as net, aiohttp.ClientSession() as session:
            signed, data = update_of(net, 0)
            head = f"POST /v1/update HTTP/1.1\r\nHost: x\r\nContent-Length: {len(data)}\r\n"
            reader, writer = await asyncio.open_connection("127.0.0.1", net.nodes[0].port)
            writer.write(f"{head}Bees-Transaction: {write_header(signed)}\r\n\r\n".encode() + data[:3])
            await asyncio.sleep(0.2)
            status, told = await post(session, net.urls[0], signed, data)
            assert (status, told["error"]) == (429, "TooManyRequestsError")
            assert (await post(session, net.urls[0], *update_of(net, 1)))[0] == 202
            assert b" 408 " in (await asyncio.wait_for(reader.read(-1), 5))[:20]
            writer.close()
            assert (await post(session, net.urls[0], signed, data))[0] == 202

    asyncio.run(play())


def test_a_server_gets_so_many_updates_at_once_and_signatures_are_small(tmp_path: Path):
    async def play() -> None:
        async with network(tmp_path) as net, aiohttp.ClientSession() as session:
            signed, data = update_of(net, 0)
            assert (await post(session, net.urls[0], signed, data))[0] == 202
            await net.until(lambda state: state.phase is not Phase.COLLECT, pause_s=0)
            path = f"/v1/blobs/{commit_to_update(0, 1, data).hex()}"
            url, chain_id = net.nodes[0].peer_url, net.world.genesis.chain_id
            await until(lambda: len(net.nodes[1].store) == 1 and not net.nodes[0].peer_api._serving[1])
            for serving, status in ((15, 200), (16, 429)):
                net.nodes[0].peer_api._serving[1] = serving
                said = Request(1, 0, "GET", path, time.time_ns() // 10**6)
                headers = sign_request(chain_id, net.world.server_keys[1], said)
                async with session.get(url + path, headers=headers) as answer:
                    assert answer.status == status
                await until(lambda serving=serving: net.nodes[0].peer_api._serving[1] == serving)
            async with session.post(f"{url}/v1/signatures", data=bytes(2000)) as answer:
                assert (answer.status, (await answer.json())["error"]) == (400, "MalformedRequestError")

    asyncio.run(play())


def test_one_peer_cannot_ask_without_end(tmp_path: Path):
    async def play() -> None:
        async with network(tmp_path, requests_per_second=1.0, burst=5) as net, aiohttp.ClientSession() as session:
            statuses: list[int] = []
            last: dict[str, Any] = {}
            for _ in range(8):
                async with session.get(net.urls[0] + "/v1/round") as answer:
                    statuses.append(answer.status)
                    last = await answer.json()
            assert statuses == [200] * 5 + [429] * 3
            assert last["error"] == "TooManyRequestsError"
            async with session.get(net.urls[0] + "/healthz") as answer:
                assert answer.status == 200

    asyncio.run(play())


def test_one_address_has_so_many_connections_and_others_still_get_in(tmp_path: Path):
    async def ask(port: int, source: str) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0))
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = await asyncio.wait_for(reader.read(-1), 5)
        writer.close()
        return answer

    async def play() -> None:
        async with network(tmp_path, connections_per_address=3) as net:
            port = net.nodes[0].port
            idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
            await asyncio.sleep(0.1)
            refused = await ask(port, "127.0.0.1")
            assert refused.startswith(b"HTTP/1.1 429 ")
            assert json.loads(refused.partition(b"\r\n\r\n")[2])["error"] == "TooManyConnections"
            assert (await ask(port, "127.0.0.2")).startswith(b"HTTP/1.1 200 ")
            for _, writer in idle:
                writer.close()
            await asyncio.sleep(0.1)
            assert (await ask(port, "127.0.0.1")).startswith(b"HTTP/1.1 200 ")

    asyncio.run(play())


def test_addresses_of_one_ipv6_network_share_their_requests(tmp_path: Path):
    async def play() -> None:
        async with network(tmp_path, requests_per_second=1.0, burst=2) as net:
            statuses: list[int] = []
            for host in ("2001:db8::1", "2001:db8::ffff:1", "2001:db8:0:0:5::", "2001:db8:0:1::1", "192.0.2.1"):
                transport = Mock()
                transport.get_extra_info = lambda name, host=host: (host, 1, 0, 0) if name == "peername" else None
                request = make_mocked_request("GET", "/v1/round", transport=transport)
                answer = await net.nodes[0].device_server._guard(request, net.nodes[0].api._health)
                statuses.append(answer.status)
            assert statuses == [200, 200, 429, 200, 200]

    asyncio.run(play())


def test_what_the_ledger_counts_and_what_servers_exchange_is_among_the_metrics(tmp_path: Path):
    async def play() -> None:
        async with network(tmp_path) as net, aiohttp.ClientSession() as session:
            first, second = net.nodes[:2]
            counts = Counts(transactions_refused=5, proposals_rejected=4, blobs_fetched=3, fetches_failed=2)
            first.metrics.watch(counts)
            await first.peers.push_signature(HeaderSignature(1, bytes(32), 0, bytes(64)))
            await net.until(lambda _: bool(second.ledger.heard), pause_s=0.1)
            (pushed,) = second.ledger.heard[:1]
            await second.peers.pull_signatures(1, 1)
            counts.signatures_refused += 1
            told: list[dict[str, float]] = []
            for node in (first, second):
                async with session.get(node.url + "/metrics") as answer:
                    lines = [line for line in (await answer.text()).splitlines() if not line.startswith("#")]
                told.append({name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)})
            size = len(encode(pushed))
            names = ("transactions_refused", "proposals_rejected", "blobs_fetched", "fetches_failed")
            assert [told[0][f"bees_{name}_total"] for name in (*names, "signatures_refused")] == [5, 4, 3, 2, 1]
            assert told[0]['bees_peer_bytes_total{direction="sent",kind="signature"}'] >= 3 * size
            received = told[1]['bees_peer_bytes_total{direction="received",kind="signature"}']
            # One by push, and those of the others by pull.
            assert received >= size + len(encode((pushed,)))

    asyncio.run(play())


def test_an_update_is_taken_while_the_engine_does_not_answer_and_sent_once_it_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("bees.node.duty_loop._SAID_AGAIN_AFTER", 1)

    async def play() -> None:
        async with network(tmp_path) as net, aiohttp.ClientSession() as session:
            ledger: Any = net.nodes[0].ledger
            submit = ledger.submit

            async def unreachable(_: Any) -> None:
                raise CometError("CometBFT cannot be reached")

            ledger.submit = unreachable
            signed, data = update_of(net, 0)
            assert (await post(session, net.urls[0], signed, data))[0] == 202
            assert net.nodes[0].api.entrusted(net.state) == [signed]
            ledger.submit = submit
            await net.until(lambda state: 0 in state.updates or state.round > 1, pause_s=0.1)
            assert net.state.round == 1

    asyncio.run(play())


def test_updates_stay_until_the_block_that_read_them_is_certified(tmp_path: Path):
    async def play() -> None:
        async with network(tmp_path) as net, aiohttp.ClientSession() as session:
            slow, prompt = net.nodes[0], net.nodes[1]
            await net.block()
            slow.ledger.certifies = False
            for round_ in range(1, 6):
                await give_all(net, session)
                await net.until(lambda state, round_=round_: state.round > round_)
            await until(lambda: min(rounds_of(prompt.store)) == 4)
            assert rounds_of(slow.store) == {1, 2, 3, 4, 5}
            slow.ledger.certifies = True
            await net.block()
            await give_all(net, session)
            await net.until(lambda state: state.round > 6)
            await until(lambda: min(rounds_of(slow.store)) == 5)

    asyncio.run(play())


def test_a_full_store_keeps_what_a_block_waits_for_and_refuses_the_rest(tmp_path: Path):
    async def play() -> None:
        async with network(tmp_path) as net, aiohttp.ClientSession() as session:
            for node in net.nodes:
                node.task.cancel()
            device = next(d for d in range(DEVICES) if net.world.genesis.devices[d].server == 0)
            signed, data = update_of(net, device)
            assert (await post(session, net.urls[0], signed, data))[0] == 202
            await net.until(lambda state: state.phase is Phase.ATTEST)
            full = net.nodes[1]
            full.store.limit_bytes = 1
            (wanted,) = wanted_updates(net.state, 1, full.store)
            assert await full.peers.fetch_blob(wanted) is None
            assert await full.peers.fetch_blob(wanted._replace(for_block=True)) == data
            assert full.store.get(wanted.commitment) == data
            assert not list((full.store.folder / "incoming").iterdir())

    asyncio.run(play())


def test_readiness_follows_the_chain(tmp_path: Path):
    async def play() -> None:
        async with network(tmp_path) as net, aiohttp.ClientSession() as session:
            async with session.get(net.urls[0] + "/readyz") as answer:
                assert answer.status == 404
            await net.block()
            async with session.get(net.urls[0] + "/readyz") as answer:
                assert answer.status == 200
            async with session.get(net.urls[1] + "/v1/description") as answer:
                told = await answer.json()
            assert (told["servers"], told["model"]["arrays"][0]["name"]) == (SERVERS, "w")

    asyncio.run(play())
