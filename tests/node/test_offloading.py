"""Devices that offload, at four servers on real HTTP: trained, delegated, signed and selected; and what is refused."""

from __future__ import annotations

import asyncio
import stat
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import aiohttp
import numpy as np
import pytest
from msgspec.structs import replace
from offloaded_model import TINY
from service_rig import DEVICES, Net, network
from test_service import give_all

from bees.core.errors import DoubleSignError, InputError, NetworkError, StorageError, TrainingError
from bees.core.fixed_point import dequantise, quantise, words_to_bytes
from bees.core.keys import seal
from bees.device import AsyncDevice, Terms, TrainingSettings
from bees.device.offloading import _check_link
from bees.learning.own_training import make_trainer
from bees.learning.samples import Samples
from bees.ledger.commitments import commit_to_update
from bees.ledger.state import Phase
from bees.ledger.transactions import Delegate, Update
from bees.node.config import OffloadingSection
from bees.node.offload_store import OffloadStore
from bees.node.service import _offloading
from bees.node.training_process import TrainingProcess
from bees.protocol.device import OpenRound, commit_update, delegate_round
from bees.protocol.signer import MemoryJournal, Signer
from bees.scenario import Learning
from bees.transport.bodies import write_header
from bees.transport.offloading import Offer, Withdrawal, data_digest, encode_data, sign_word, write_word

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bees.node.training_worker import TrainingJob

DEVICE = 1
"""Its nearest server is 1, too."""

_DRAW = np.random.default_rng(5)
X = _DRAW.normal(size=(30, 4)).astype(np.float32)
Y = (X[:, 0] > 0).astype(np.int32)
SETTINGS = TrainingSettings(epochs=2, batch_size=10, learning_rate=0.1, seed=3)
TERMS = Terms(SETTINGS, patience_s=300)


def real() -> TrainingProcess:
    return TrainingProcess(300)


class Failing(TrainingProcess):
    def __init__(self) -> None:
        super().__init__(300)

    async def train(self, job: TrainingJob) -> Any:  # noqa: ARG002  # it fails whatever it is given
        raise TrainingError("no memory left")


class Instant(Failing):
    async def train(self, job: TrainingJob) -> Any:  # noqa: ARG002  # likewise
        return np.ones(8, np.float32)


class Slow(Failing):
    async def train(self, job: TrainingJob) -> Any:  # noqa: ARG002  # likewise
        await asyncio.sleep(3600)


def device_of(net: Net, folder: Path, index: int = DEVICE) -> AsyncDevice:
    return AsyncDevice(net.urls, net.world.device_keys[index], net.world.signed, folder / f"{index}.journal")


async def until(holds: Callable[[], bool], seconds: float = 300) -> None:
    async with asyncio.timeout(seconds):
        while not holds():  # noqa: ASYNC110  # what it waits for tells nobody
            await asyncio.sleep(0.02)


def has(net: Net, kind: type) -> Callable[[], bool]:
    return lambda: any(isinstance(s.body, kind) for node in net.nodes for s in node.ledger.pool)


async def play_round(net: Net, session: aiohttp.ClientSession) -> Any:
    """Blocks of a round in which ``DEVICE`` delegates, and the others hand in; its Update in the chain."""
    await until(has(net, Delegate))
    await net.block()
    await until(has(net, Update))
    await give_all(net, session, [k for k in range(DEVICES) if k != DEVICE])  # pyright: ignore[reportArgumentType]
    await net.block()
    accepted = net.state.updates[DEVICE]
    round_ = net.state.round
    await net.until(lambda state: state.round > round_)
    return accepted


def trained_at_home(net: Net, round_: int, words: Any) -> bytes:
    """What the device itself would hand in."""
    learning = Learning(epochs=2, batch_size=10, learning_rate=0.1, clients_per_chunk=1)
    trainer = make_trainer(TINY, [Samples(X, Y)], learning, 3)
    exponent = net.world.genesis.model.exponent
    return words_to_bytes(quantise(trainer.train(dequantise(words, exponent), round_, [0])[0], exponent))


def files(net: Net, server: int = DEVICE) -> list[Path]:
    return sorted(net.nodes[server].offloading.offers.folder.glob("*.data"))


def test_a_server_trains_signs_and_counts_as_the_device_would(tmp_path: Path):
    async def play() -> None:
        async with network(tmp_path, real) as net, aiohttp.ClientSession() as session:
            async with device_of(net, tmp_path) as sdk:
                for round_ in (1, 2):
                    opened = await sdk.next_round()
                    if round_ == 1:
                        await sdk.offload(opened, X, Y, Terms(SETTINGS, rounds=2, patience_s=300))
                        (path,) = files(net)
                        assert stat.S_IMODE(path.stat().st_mode) == 0o600
                        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
                    task = asyncio.create_task(sdk.delegate(opened))
                    accepted = await play_round(net, session)
                    told = await task
                    assert (told.server, told.samples, told.accepted) == (DEVICE, 30, True)
                    assert (accepted.server, accepted.samples) == (DEVICE, 30)
                    alone = trained_at_home(net, round_, opened.words)
                    assert accepted.commitment == commit_to_update(DEVICE, round_, alone)
                    with pytest.raises(DoubleSignError):
                        await sdk.submit(opened, [np.zeros(8)], 30)
                assert not files(net)
                with pytest.raises(NetworkError, match="rounds up to 2"):
                    await sdk.delegate(await sdk.next_round())
            assert not [s for b in net.blocks for s in b.batch.transactions if _is_own_update(s.body)]
            text = net.nodes[DEVICE].metrics.render().decode()
            assert 'bees_offloaded_trainings_total{result="trained"} 2.0' in text
            assert "bees_offloaded_data_bytes 0.0" in text
            assert "bees_offloaded_late_total 0.0" in text

    asyncio.run(play())


def _is_own_update(body: Any) -> bool:
    return isinstance(body, Update) and body.device == DEVICE and body.server is None


def test_a_device_whose_server_fails_trains_itself_and_has_signed_nothing(tmp_path: Path):
    async def play() -> None:
        async with network(tmp_path, Failing) as net, device_of(net, tmp_path) as sdk:
            opened = await sdk.next_round()
            with pytest.raises(InputError, match="offload them first"):
                await sdk.delegate(opened)
            await sdk.offload(opened, X, Y, TERMS)
            with pytest.raises(NetworkError, match="no memory left"):
                await sdk.delegate(opened)
            await sdk.submit(opened, opened.arrays, 30, confirm=False)
            with pytest.raises(NetworkError):
                await sdk.delegate(opened)
            await net.block()
            assert net.state.updates[DEVICE].server is None
            assert not net.state.delegations

    asyncio.run(play())


def test_a_slow_server_is_left_in_time_and_what_waits_is_bounded(tmp_path: Path):
    async def play() -> None:
        async with network(tmp_path, Slow) as net, aiohttp.ClientSession() as session:
            for index in range(DEVICES):
                async with device_of(net, tmp_path, index) as sdk:
                    opened = await sdk.next_round()
                    await sdk.offload(opened, X, Y, Terms(SETTINGS, server=2, patience_s=0.2))
                    with pytest.raises(NetworkError, match=r"within 0\.2 s"):
                        await sdk.delegate(opened)
            async with session.post(f"{net.urls[2]}/v1/offload/3/rounds/1") as answer:
                assert (answer.status, (await answer.json())["error"]) == (429, "TooManyRequestsError")
            net.nodes[2].ledger.pool.clear()
            for _ in range(3):
                await net.block()  # the loop is free while it trains
            assert net.state.round == 1
            await net.until(lambda state: state.round == 2, pause_s=0)
            assert "bees_offloaded_late_total 3.0" in net.nodes[2].metrics.render().decode()

    asyncio.run(play())


def test_whoever_holds_the_data_needs_them_but_once_and_deletes_them_when_told(tmp_path: Path):
    async def play() -> None:
        async with network(tmp_path, real) as net:
            async with device_of(net, tmp_path) as sdk:
                await sdk.offload(await sdk.next_round(), X, Y, TERMS)
                (first,) = files(net)
            async with device_of(net, tmp_path) as sdk:
                opened = await sdk.next_round()
                await sdk.offload(opened, X, Y, TERMS)
                assert files(net) == [first]
                for rounds, until_ in ((5, 5), (9, 5), (3, 3), (None, 2**20)):
                    await sdk.offload(opened, X, Y, Terms(SETTINGS, rounds=rounds))
                    assert sdk.offloads_until == until_
                    (held,) = files(net)
                    assert held != first
                offers = net.nodes[DEVICE].offloading.offers
                again = OffloadStore(offers.folder, offers.limit_bytes)
                assert again.offers == offers.offers
                assert again.last_serial(DEVICE) == offers.last_serial(DEVICE)
                await sdk.offload(opened, X[:10], Y[:10], TERMS)
                (second,) = files(net)
                assert second != first
                await sdk.stop_offloading()
                assert not files(net)
                assert sdk.offloads_until is None
                assert OffloadStore(offers.folder, offers.limit_bytes).last_serial(DEVICE) > 0

    asyncio.run(play())


def test_a_server_never_signs_two_updates_of_a_device_for_a_round(tmp_path: Path):
    async def play() -> None:
        async with network(tmp_path, Instant) as net, device_of(net, tmp_path) as sdk:
            node, opened = net.nodes[DEVICE], await sdk.next_round()
            before = Signer(node.ledger.key, node.journal)
            commit_update(before, OpenRound.of(net.state), DEVICE, 30, bytes(32), DEVICE)
            await sdk.offload(opened, X, Y, TERMS)
            task = asyncio.create_task(sdk.delegate(opened))
            await until(has(net, Delegate))
            await net.block()
            training = node.offloading.training(DEVICE, 1)
            await until(lambda: training.state == "failed")
            assert "another update was signed" in training.problem
            await net.until(lambda state: state.round == 2)
            assert (await task).accepted is False
            assert not any(isinstance(s.body, Update) for block in net.blocks for s in block.batch.transactions)

    asyncio.run(play())


def test_a_node_that_accepts_no_more_deletes_what_it_holds(tmp_path: Path):
    offers = OffloadStore(tmp_path / "offloaded", 100)
    offers.keep(Offer(bytes(32), 3, 0, 7, 1, 5, bytes(32), 10, 2, SETTINGS), bytes(10), bytes(32))
    config: Any = SimpleNamespace(offloading=OffloadingSection())
    nothing: Any = None
    assert _offloading(config, tmp_path, nothing, nothing, nothing, nothing) is None
    assert [path.name for path in offers.folder.iterdir()] == ["000003.word"]
    assert OffloadStore(offers.folder, 100).last_serial(3) == 7


@pytest.mark.parametrize("key", [None, bytes(32)])
def test_data_of_a_device_that_is_removed_or_has_another_key_are_deleted(tmp_path: Path, key: bytes | None):
    async def play() -> None:
        async with network(tmp_path, real) as net, device_of(net, tmp_path) as sdk:
            await sdk.offload(await sdk.next_round(), X, Y, TERMS)
            offloading, state = net.nodes[DEVICE].offloading, net.state
            offloading._end_offers(state)
            assert files(net)
            keys = list(state.members.devices)
            keys[DEVICE] = key
            offloading._end_offers(replace(state, members=replace(state.members, devices=tuple(keys))))
            assert not files(net)

    asyncio.run(play())


def test_a_delegate_without_a_training_makes_a_server_sign_nothing(tmp_path: Path):
    async def play() -> None:
        async with network(tmp_path, real) as net, aiohttp.ClientSession() as session:
            signer = Signer(net.world.device_keys[DEVICE], MemoryJournal())
            signed = delegate_round(signer, OpenRound.of(net.state), DEVICE, DEVICE)
            headers = {"Bees-Transaction": write_header(signed)}
            url = f"{net.urls[3]}/v1/transaction"
            for status in (202, 200):
                async with session.post(url, headers=headers) as answer:
                    assert answer.status == status
            await net.block()
            assert net.state.delegations[DEVICE].server == DEVICE
            async with session.post(url, headers=headers) as answer:
                assert (answer.status, await answer.json()) == (200, {"status": "known"})
            async with session.post(f"{net.urls[DEVICE]}/v1/offload/{DEVICE}/rounds/1") as answer:
                assert (answer.status, (await answer.json())["error"]) == (404, "NoOfferError")
            await asyncio.sleep(0.1)
            assert not has(net, Update)()

    asyncio.run(play())


def offer_of(net: Net, data: bytes, device: int = DEVICE, /, **changes: Any) -> Offer:
    chain_id = net.world.genesis.chain_id
    digest = data_digest(chain_id, DEVICE, device, data)
    offer = Offer(chain_id, device, DEVICE, 100, 1, 5, digest, len(data), len(Y), SETTINGS)
    return replace(offer, **changes)


async def post(session: aiohttp.ClientSession, net: Net, word: Any, body: bytes, path: str = "/v1/offload"):
    headers = {} if word is None else {"Bees-Offload": write_word(word)}
    async with session.post(net.urls[DEVICE] + path, data=body, headers=headers) as answer:
        told = await answer.json()
        return answer.status, told.get("refusal") or told.get("error") or told["status"]


def test_every_wrong_offer_is_refused_by_name_and_leaves_nothing(tmp_path: Path):
    async def play() -> None:
        async with network(tmp_path, real) as net, aiohttp.ClientSession() as session:
            key, other = net.world.device_keys[DEVICE], net.world.device_keys[2]
            to = net.world.genesis.servers[DEVICE].public_key
            data = encode_data(X, Y)
            sealed, odd, many = seal(to, data), encode_data(X[:, :3], Y), encode_data(X, Y + 2)

            def own(body: bytes = data, /, **changes: Any):
                return sign_word(offer_of(net, body, **changes), key)

            refused = [
                (None, sealed, 400, "MalformedRequestError"),
                (sign_word(offer_of(net, data), other), sealed, 409, "BadSignatureError"),
                (own(device=99), sealed, 409, "UnknownParticipantError"),
                (own(chain_id=bytes(32)), sealed, 403, "OfferRefusedError"),
                (own(server=2), sealed, 403, "OfferRefusedError"),
                (own(samples=601), sealed, 403, "OfferRefusedError"),
                (own(samples=29), sealed, 403, "OfferRefusedError"),
                (own(last_round=0 + 2**30), sealed, 403, "OfferRefusedError"),
                (own(settings=replace(SETTINGS, epochs=4)), sealed, 403, "OfferRefusedError"),
                (own(data_bytes=2 * 10**6), sealed, 413, "WrongLengthError"),
                (own(), sealed + b"x", 413, "WrongLengthError"),
                (own(), data + bytes(48), 422, "WrongBytesError"),
                (own(), seal(net.world.genesis.servers[0].public_key, data), 422, "WrongBytesError"),
                (own(), seal(to, bytes(len(data))), 422, "WrongBytesError"),
                (sign_word(offer_of(net, data, device=2), other), sealed, 422, "WrongBytesError"),
                (own(odd), seal(to, odd), 403, "OfferRefusedError"),
                (own(many), seal(to, many), 403, "OfferRefusedError"),
                (own(bytes(99)), seal(to, bytes(99)), 403, "OfferRefusedError"),
                (sign_word(Withdrawal(net.world.genesis.chain_id, 1, 1, 9), key), sealed, 400, "MalformedRequestError"),
            ]
            for word, body, status, name in refused:
                assert await post(session, net, word, body) == (status, name), word
            assert not files(net)
            assert await post(session, net, own(), sealed) == (202, "held")
            assert await post(session, net, own(), sealed) == (409, "StaleWordError")
            stop = Withdrawal(net.world.genesis.chain_id, DEVICE, DEVICE, 101)
            path = "/v1/offload/stop"
            assert await post(session, net, sign_word(stop, other), b"", path) == (409, "BadSignatureError")
            assert await post(session, net, own(), b"", path) == (400, "MalformedRequestError")
            assert len(files(net)) == 1
            assert await post(session, net, sign_word(stop, key), b"", path) == (200, "deleted")
            assert await post(session, net, sign_word(stop, key), b"", path) == (409, "StaleWordError")
            assert await post(session, net, own(), sealed) == (409, "StaleWordError")
            assert await post(session, net, own(serial=102), sealed) == (202, "held")
            net.nodes[DEVICE].offloading.offers.limit_bytes = len(data) - 1
            assert await post(session, net, own(serial=103), sealed) == (429, "TooManyRequestsError")
            for path, status in (("/v1/offload/1/rounds/7", 404), ("/v1/offload/x", 400), ("/v1/offload/1", 200)):
                async with session.get(net.urls[DEVICE] + path) as answer:
                    assert answer.status == status
            await net.until(lambda state: state.phase is not Phase.COLLECT or state.round > 1, pause_s=0)
            assert await post(session, net, None, b"", "/v1/offload/1/rounds/1") == (403, "OfferRefusedError")

    asyncio.run(play())


def test_a_node_that_has_not_opted_in_takes_nothing(tmp_path: Path):
    async def play() -> None:
        async with network(tmp_path) as net, device_of(net, tmp_path) as sdk, aiohttp.ClientSession() as session:
            with pytest.raises(NetworkError, match="trains for nobody"):
                await sdk.offload(await sdk.next_round(), X, Y, TERMS)
            assert await post(session, net, None, b"") == (403, "NoOffloadingError")

    asyncio.run(play())


def test_raw_data_travel_in_plain_only_within_a_host_or_when_told_to():
    for url in ("https://edge0:7600", "http://127.0.0.1:7600", "http://[::1]:7600", "http://localhost:1"):
        _check_link(url, insecure=False)
    _check_link("http://edge0:7600", insecure=True)
    for url in ("http://edge0:7600", "http://10.0.0.1:7600", "http://localhost.example.org"):
        with pytest.raises(InputError, match="--insecure-offload"):
            _check_link(url, insecure=False)


@pytest.mark.parametrize(
    ("x", "y"),
    [(X, Y[:3]), (X[:0], Y[:0]), (X * np.nan, Y), (X, Y - 1), (X, X[:, 0]), (np.tile(X, (30, 1)), [1] * 900)],
)
def test_samples_that_are_none_do_not_leave_the_device(tmp_path: Path, x: Any, y: Any):
    async def play() -> None:
        async with network(tmp_path, real) as net, device_of(net, tmp_path) as sdk:
            with pytest.raises(InputError):
                await sdk.offload(await sdk.next_round(), x, y, TERMS)

    asyncio.run(play())


def test_offers_survive_crashes_whole_or_not_at_all(tmp_path: Path):
    key = bytes(32)
    offers = OffloadStore(tmp_path / "o", 100)
    offer = Offer(bytes(32), 3, 0, 7, 1, 5, bytes(32), 10, 2, SETTINGS)
    offers.keep(offer, bytes(10), key)
    offers.keep(replace(offer, device=4, data_bytes=90), bytes(90), key)
    with pytest.raises(StorageError, match="total_limit_mb"):
        offers.keep(replace(offer, device=5, data_bytes=1), b"x", key)
    (offers.folder / "000009-1.data").write_bytes(b"of a crash before its word")
    (offers.folder / "000003.word.draft").write_bytes(b"of a crash")
    offers.data_of(replace(offer, device=4)).write_bytes(b"cut")
    again = OffloadStore(tmp_path / "o", 100)
    assert set(again.offers) == {3}
    assert (again.last_serial(4), again.size_bytes) == (7, 10)
    assert sorted(path.name for path in again.folder.iterdir()) == ["000003-7.data", "000003.word", "000004.word"]
    (again.folder / "000003.word").write_bytes(b"junk")
    with pytest.raises(StorageError, match="is damaged"):
        OffloadStore(tmp_path / "o", 100)
