from __future__ import annotations

from typing import Any

import msgspec
import pytest
from world import DEVICE_KEYS, SERVER_KEYS, World, genesis

from bees.core.canonical import encode
from bees.core.errors import ContractLoadError, GenesisError
from bees.core.hashes import digest
from bees.core.model import describe
from bees.ledger.application import Application
from bees.ledger.genesis import (
    DeviceRecord,
    DutyCosts,
    Genesis,
    Hash,
    Natural,
    PhaseLengths,
    Positive,
    PublicKey,
    ServerRecord,
    Signature,
    SignedGenesis,
    check_genesis,
    sign_genesis,
)

USUAL = genesis()
DEVICE, SERVER = USUAL.devices[0], USUAL.servers[0]
# Another value for every field, so that none is left out of what the servers sign.
OTHER: dict[str, Any] = {
    "name": "other",
    "servers": (*USUAL.servers[:3], ServerRecord(USUAL.servers[3].public_key, 13, 1001)),
    "devices": (*USUAL.devices[:7], DeviceRecord(USUAL.devices[7].public_key, 3, 99)),
    "model": describe("tiny", [("w", (3, 3)), ("b", (3,))], exponent=23),
    "initial_model": bytes(32),
    "evaluation_set": bytes(32),
    "evaluation_samples": 51,
    "contract": b"product",
    "top_m": 4,
    "pol": "round_robin",
    "phases": PhaseLengths(4, 3, 2, 4),
    "costs": DutyCosts(10, 50, 6),
    "penalty_rounds": 4,
    "verification": "main_node",
    "virtual_machine": msgspec.structs.replace(USUAL.virtual_machine, fuel_limit=1),
}


def refusal_of(rules: Genesis) -> GenesisError:
    with pytest.raises(GenesisError) as refusal:
        check_genesis(sign_genesis(rules, SERVER_KEYS[: len(rules.servers)]))
    return refusal.value


def test_a_genesis_that_all_have_signed_is_taken():
    check_genesis(sign_genesis(USUAL, SERVER_KEYS))


def test_every_field_is_in_the_chain_id():
    assert OTHER.keys() == {f.name for f in msgspec.structs.fields(Genesis)}
    ids = {genesis(**{name: value}).chain_id for name, value in OTHER.items()}
    assert len(ids | {USUAL.chain_id}) == len(OTHER) + 1


@pytest.mark.parametrize("name", OTHER)
def test_signatures_are_good_for_no_other_genesis(name: str):
    signatures = sign_genesis(USUAL, SERVER_KEYS).signatures
    with pytest.raises(GenesisError, match="has not signed this genesis"):
        check_genesis(SignedGenesis(genesis(**{name: OTHER[name]}), signatures))


def test_every_server_must_have_signed_in_order():
    right = sign_genesis(USUAL, SERVER_KEYS).signatures
    for signatures, problem in (
        (right[:3], "3 for 4 servers"),
        ((*right, right[0]), "5 for 4 servers"),
        ((right[1], right[0], *right[2:]), "server 0 has not signed"),
        ((*right[:3], bytes(64)), "server 3 has not signed"),
    ):
        with pytest.raises(GenesisError, match=problem) as refusal:
            check_genesis(SignedGenesis(USUAL, signatures))
        assert refusal.value.field == "signatures"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"servers": ()}, "servers"),
        ({"devices": ()}, "devices"),
        ({"devices": (DEVICE, DEVICE)}, "public_key"),
        ({"servers": (SERVER,) * 2}, "public_key"),
        ({"devices": (DeviceRecord(SERVER_KEYS[0].public_key, 0, 1),)}, "public_key"),
        ({"devices": (DeviceRecord(DEVICE_KEYS[0].public_key, 4, 1),)}, "devices"),
        ({"devices": (DeviceRecord(DEVICE_KEYS[0].public_key, 0, 2**32),)}, "devices"),
        ({"devices": tuple(DeviceRecord(k.public_key, 0, 2**31) for k in DEVICE_KEYS[:2])}, "devices"),
        ({"model": describe("none", [], 24)}, "model"),
        ({"model": describe("none", [("w", (3, 0))], 24)}, "model"),
        ({"model": describe("partly none", [("w", (3, 0)), ("b", (3,))], 24)}, "model"),
        ({"model": describe("negative", [("w", (-3, -4))], 24)}, "model"),
        ({"model": describe("fine", [("w", (12,))], 31)}, "model"),
        ({"model": describe("fine", [("w", (12,))], -1)}, "model"),
        ({"evaluation_samples": 2**32}, "evaluation_samples"),
    ],
)
def test_a_genesis_that_contradicts_itself_is_refused_by_its_field(changes: dict[str, Any], field: str):
    error = refusal_of(genesis(**changes))
    assert error.field == field
    assert field in str(error)


@pytest.mark.parametrize("exponent", [0, 30])
def test_a_model_of_a_single_number_at_either_end_of_the_exponents_is_taken(exponent: int):
    check_genesis(sign_genesis(genesis(model=describe("smallest", [("w", (1,))], exponent)), SERVER_KEYS))


def test_the_chain_id_is_the_hash_of_the_genesis_in_its_own_domain():
    fresh = genesis()  # a chain id is computed once
    assert fresh.chain_id == digest("genesis", encode(fresh))


def test_servers_sign_the_chain_id_under_a_name_of_its_own():
    fresh = genesis()
    message = b"bees genesis\0" + fresh.chain_id
    assert sign_genesis(fresh, SERVER_KEYS).signatures == tuple(key.sign(message) for key in SERVER_KEYS)


@pytest.mark.parametrize(
    ("kind", "lengths"), [(Hash, {32}), (PublicKey, {32}), (Signature, {64})], ids=["hash", "key", "signature"]
)
def test_hashes_keys_and_signatures_have_one_length(kind: Any, lengths: set[int]):
    def is_taken(length: int) -> bool:
        try:
            msgspec.convert(bytes(length), kind)
        except msgspec.ValidationError:
            return False
        return True

    assert {length for length in range(130) if is_taken(length)} == lengths


@pytest.mark.parametrize(("kind", "least"), [(Natural, 0), (Positive, 1)], ids=["natural", "positive"])
def test_whole_numbers_end_where_their_encoding_does(kind: Any, least: int):
    for number in (least, least + 1, 2**63 - 1):
        assert msgspec.convert(number, kind) == number
    for number in (least - 1, 2**63, 2**63 + 1, 2**64 - 1):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(number, kind)


def test_sample_caps_may_sum_to_just_below_what_int64_sums_exactly():
    caps = (2**31, 2**31 - 1)
    devices = tuple(DeviceRecord(key.public_key, 0, cap) for key, cap in zip(DEVICE_KEYS, caps, strict=False))
    check_genesis(sign_genesis(genesis(devices=devices), SERVER_KEYS))


@pytest.mark.parametrize(("servers", "quorum"), [(1, 1), (2, 2), (3, 3), (4, 3), (6, 5), (7, 5), (20, 14), (21, 15)])
def test_two_commit_quorums_share_an_honest_server(servers: int, quorum: int):
    rules = genesis(servers=(SERVER,) * servers)
    assert rules.committee.quorum == quorum
    assert 3 * quorum > 2 * servers
    assert 2 * quorum - servers > (servers - 1) // 3


def test_a_chain_does_not_start_from_a_bad_genesis_or_contract():
    world = World()
    with pytest.raises(GenesisError):
        Application(SignedGenesis(world.genesis, ()), world.runner)
    with pytest.raises(ContractLoadError):
        Application(sign_genesis(genesis(contract=b"junk"), SERVER_KEYS), world.runner)
