from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from bees.contract.description import describe_virtual_machine
from bees.contract.library import load_contract_code
from bees.core.errors import GenesisError
from bees.core.fixed_point import words_to_bytes
from bees.core.keys import is_signed_by
from bees.core.model import describe
from bees.founding import Founding, Members, Task, found
from bees.ledger.commitments import hash_model
from bees.ledger.genesis import SignedGenesis, check_genesis
from bees.scenario_file import load_scenario

MODEL = describe("tiny", [("w", (2, 3)), ("b", (3,))], exponent=20)
WORDS = np.arange(9, dtype=np.int32)
TASK = Task(MODEL, WORDS, evaluation_set=bytes(range(32)), evaluation_samples=77)
MEMBERS = Members(servers=3, server_of_device=np.array([0, 0, 1, 2, 2]), samples=np.array([10, 20, 30, 40, 50]))


def founded(*changes: str, members: Members = MEMBERS, task: Task = TASK) -> Founding:
    return found(load_scenario("quick", changes), members, task)


def genesis_of(*changes: str, **options: Any):
    return founded(*changes, **options).genesis.genesis


def test_the_genesis_can_be_started_from():
    check_genesis(founded().genesis)


def test_every_server_has_signed_it_and_none_can_be_left_out():
    founding = founded()
    assert len(founding.genesis.signatures) == len(founding.server_keys) == 3
    for cut in (founding.genesis.signatures[:-1], founding.genesis.signatures[::-1]):
        with pytest.raises(GenesisError, match="signatures"):
            check_genesis(SignedGenesis(founding.genesis.genesis, cut))


def test_the_keys_are_those_that_it_registers():
    founding = founded()
    genesis = founding.genesis.genesis
    for keys, records in ((founding.server_keys, genesis.servers), (founding.device_keys, genesis.devices)):
        assert [key.public_key for key in keys] == [record.public_key for record in records]
        for key, record in zip(keys, records, strict=True):
            assert is_signed_by(record.public_key, b"message", key.sign(b"message"))


def test_each_device_is_registered_with_its_server_and_no_more_samples_than_it_holds():
    devices = genesis_of().devices
    assert [(device.server, device.sample_cap) for device in devices] == [(0, 10), (0, 20), (1, 30), (2, 40), (2, 50)]


def test_what_is_learnt_is_pinned():
    founding = founded()
    genesis = founding.genesis.genesis
    assert (genesis.model, genesis.initial_model) == (MODEL, hash_model(words_to_bytes(WORDS)))
    assert (genesis.evaluation_set, genesis.evaluation_samples) == (bytes(range(32)), 77)
    assert np.array_equal(founding.initial_model, WORDS)


@pytest.mark.parametrize("contract", ["fedavg", "argmax"])
def test_the_contract_is_the_scenarios(contract: str):
    assert genesis_of(f"ledger.contract={contract}").contract == load_contract_code(contract)


def test_the_ledgers_knobs_reach_the_genesis_in_its_units():
    genesis = genesis_of(
        "ledger.top_m=2", "ledger.pol=round_robin", "ledger.collect_heights=5", "ledger.attest_heights=6",
        "ledger.publish_heights=7", "ledger.publish_ranks=2", "ledger.attest_cost_j=0.0125",
        "ledger.publish_cost_j=2.5", "ledger.harvest_j=0.5", "battery.server_capacity_j=12.3456", "ledger.fuel=1234",
    )  # fmt: skip
    assert (genesis.top_m, genesis.pol) == (2, "round_robin")
    phases, costs = genesis.phases, genesis.costs
    assert (phases.collect, phases.attest, phases.publish, phases.publish_ranks) == (5, 6, 7, 2)
    assert (costs.attest_mj, costs.publish_mj, costs.harvest_mj) == (12, 2500, 500)
    assert {server.battery_mj for server in genesis.servers} == {12_346}
    assert genesis.virtual_machine == describe_virtual_machine(fuel_limit=1234)


def test_capacities_are_drawn_from_the_scenarios_range():
    members = Members(200, np.array([0]), np.array([1]))
    capacities = [s.capacity_hz for s in genesis_of("ledger.server_capacity_hz_min=1e9", members=members).servers]
    assert all(1e9 <= capacity <= 4e9 for capacity in capacities)
    assert np.mean(capacities) == pytest.approx(2.5e9, rel=0.1)
    assert len(set(capacities)) == 200


def test_the_same_seed_founds_the_same_chain():
    assert founded().genesis == founded().genesis


@pytest.mark.parametrize(
    "change", ["seed=1", "name=other", "ledger.top_m=3", "ledger.fuel=5000", "battery.server_capacity_j=1.0"]
)
def test_another_scenario_founds_another_chain(change: str):
    assert genesis_of(change).chain_id != genesis_of().chain_id


def test_another_seed_has_other_keys_but_another_size_does_not():
    first, other = founded(), founded("seed=1")
    assert not {key.public_key for key in (*first.server_keys, *first.device_keys)} & {
        key.public_key for key in (*other.server_keys, *other.device_keys)
    }
    more = founded(members=Members(4, np.array([0, 0, 1, 2, 2, 3]), np.array([10, 20, 30, 40, 50, 60])))
    assert [key.public_key for key in more.server_keys[:3]] == [key.public_key for key in first.server_keys]


def test_other_initial_words_or_data_found_another_chain():
    tasks = (TASK, Task(MODEL, WORDS + 1, TASK.evaluation_set, 77), Task(MODEL, WORDS, bytes(32), 77))
    assert len({genesis_of(task=task).chain_id for task in tasks}) == 3


def test_a_chain_of_nobody_is_refused():
    nobody = Members(1, np.array([], dtype=np.int64), np.array([], dtype=np.int64))
    with pytest.raises(GenesisError, match="at least one device"):
        check_genesis(founded(members=nobody).genesis)


def test_a_changed_genesis_is_signed_by_nobody():
    signed = founded().genesis
    with pytest.raises(GenesisError, match="has not signed"):
        check_genesis(SignedGenesis(replace(signed.genesis, top_m=1), signed.signatures))
