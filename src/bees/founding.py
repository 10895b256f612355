"""Founding a simulated chain: the participants' keys and the genesis that a scenario stands for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bees.contract.description import describe_virtual_machine, memory_for
from bees.contract.library import load_contract_code
from bees.core.fixed_point import words_to_bytes
from bees.core.keys import SigningKey
from bees.core.seeds import generator
from bees.ledger.commitments import hash_model
from bees.ledger.genesis import (
    DeviceRecord,
    DutyCosts,
    Genesis,
    PhaseLengths,
    ServerRecord,
    SignedGenesis,
    sign_genesis,
)
from bees.scenario_checks import NO_CONTRACT

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from bees.core.fixed_point import Words
    from bees.core.model import ModelDescription
    from bees.scenario import Scenario

_MJ_PER_J = 1000


@dataclass(frozen=True)
class Founding:
    """A signed genesis and the keys of all whom it registers.

    Attributes:
        genesis: signed by every server.
        server_keys: in the order of the servers.
        device_keys: in the order of the devices.
        initial_model: words of w_g(0).
        next_contract: code that the servers deploy while the chain runs, or None.
    """

    genesis: SignedGenesis
    server_keys: tuple[SigningKey, ...]
    device_keys: tuple[SigningKey, ...]
    initial_model: Words
    next_contract: bytes | None = None


@dataclass(frozen=True)
class Members:
    """Who belongs to whom, and how much each device holds.

    Attributes:
        servers: N.
        server_of_device: index of each device's server, shape (K,).
        samples: n_k, shape (K,).
    """

    servers: int
    server_of_device: NDArray[np.integer]
    samples: NDArray[np.integer]


@dataclass(frozen=True)
class Task:
    """What is learnt.

    Attributes:
        model: its arrays and exponent.
        initial_model: words of w_g(0).
        evaluation_set: hash of the samples that score updates.
        evaluation_samples: T, how many they are.
    """

    model: ModelDescription
    initial_model: Words
    evaluation_set: bytes
    evaluation_samples: int


def found(scenario: Scenario, members: Members, task: Task) -> Founding:
    """Make the keys, write the genesis, and have every server sign it."""
    seed = scenario.seed
    server_keys = tuple(SigningKey.simulated(seed, "server", k) for k in range(members.servers))
    device_keys = tuple(SigningKey.simulated(seed, "device", k) for k in range(len(members.samples)))
    ledger = scenario.ledger
    genesis = Genesis(
        name=scenario.name,
        servers=_server_records(scenario, server_keys),
        devices=tuple(
            DeviceRecord(key.public_key, int(server), int(samples))
            for key, server, samples in zip(device_keys, members.server_of_device, members.samples, strict=True)
        ),
        model=task.model,
        initial_model=hash_model(words_to_bytes(task.initial_model)),
        evaluation_set=task.evaluation_set,
        evaluation_samples=task.evaluation_samples,
        contract=load_contract_code(ledger.contract),
        top_m=ledger.top_m,
        pol=ledger.pol,
        phases=PhaseLengths(
            ledger.collect_heights, ledger.attest_heights, ledger.publish_heights, ledger.publish_ranks
        ),
        costs=DutyCosts(_mj(ledger.attest_cost_j), _mj(ledger.publish_cost_j), _mj(ledger.harvest_j)),
        penalty_rounds=ledger.penalty_rounds,
        verification=ledger.verification,
        virtual_machine=describe_virtual_machine(
            fuel_limit=ledger.fuel, memory_limit_bytes=memory_for(task.model.model_bytes, ledger.top_m)
        ),
    )
    deploys = ledger.deploy_contract != NO_CONTRACT
    next_contract = load_contract_code(ledger.deploy_contract) if deploys else None
    return Founding(sign_genesis(genesis, server_keys), server_keys, device_keys, task.initial_model, next_contract)


def _server_records(scenario: Scenario, keys: tuple[SigningKey, ...]) -> tuple[ServerRecord, ...]:
    ledger = scenario.ledger
    capacities_hz = generator(scenario.seed, "server capacity").uniform(
        ledger.server_capacity_hz_min, ledger.server_capacity_hz_max, len(keys)
    )
    budget_mj = _mj(scenario.battery.server_capacity_j)
    return tuple(
        ServerRecord(key.public_key, round(capacity_hz), budget_mj)
        for key, capacity_hz in zip(keys, capacities_hz, strict=True)
    )


def _mj(energy_j: float) -> int:
    return round(energy_j * _MJ_PER_J)
