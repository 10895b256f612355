"""The order in which updates arrive never changes a result, whatever the contract."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import world
from world import DEVICES, PARAMETERS, SERVER_KEYS, SERVERS, W0, World, genesis

from bees.contract.library import contract_names, load_contract_code
from bees.contract.vm import VirtualMachine
from bees.core.fixed_point import words_to_bytes
from bees.ledger.aggregation import ContractExecutor
from bees.ledger.genesis import sign_genesis
from bees.ledger.transactions import Publish

if TYPE_CHECKING:
    from collections.abc import Sequence

ORDERS = (tuple(range(DEVICES)), tuple(reversed(range(DEVICES))), (3, 0, 7, 4, 1, 6, 2, 5))
ROUNDS = 2


class Executor(ContractExecutor):
    """An executor whose blobs stand beside it."""

    def __init__(self, machine: VirtualMachine) -> None:
        self.blobs: dict[bytes, bytes] = {}
        super().__init__(machine, self.blobs.get, W0)


def drawn(device: int, round_: int) -> bytes:
    random = np.random.default_rng([device, round_])
    return words_to_bytes(random.integers(-(2**24), 2**24, PARAMETERS, dtype=np.int32))


@pytest.fixture(scope="module")
def machine() -> VirtualMachine:
    return VirtualMachine(genesis().virtual_machine)


def play(code: bytes, machine: VirtualMachine, *collected: Sequence[int]) -> list[tuple[bytes, bytes, object]]:
    """App hash, w_g and Publish after each of some rounds, whose updates come in these blocks, in this order."""
    top_m = 1 if code == load_contract_code("argmax") else 6
    made = World(sign_genesis(genesis(contract=code, top_m=top_m), SERVER_KEYS), Executor(machine))
    seen: list[tuple[bytes, bytes, object]] = []
    for _ in range(ROUNDS):
        for devices in collected:
            made.block(*(made.update(device) for device in devices))
        made.block(*(made.attest(server) for server in range(SERVERS)))
        published = made.publish()
        made.block(published)
        assert isinstance(published.body, Publish)
        seen.append((made.application.app_hash, made.state.model, published.body))
    return seen


@pytest.mark.parametrize("name", contract_names())
def test_the_order_of_arrival_changes_nothing(name: str, machine: VirtualMachine, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(world, "weights", drawn)
    code = load_contract_code(name)
    first, *others = (play(code, machine, order) for order in ORDERS)
    assert others == [first] * len(others)
    models = [model for _, model, _ in first]
    assert len({genesis().initial_model, *models}) == 1 + ROUNDS
    in_two_blocks = play(code, machine, ORDERS[2][:3], ORDERS[2][3:])
    assert [model for _, model, _ in in_two_blocks] == models
    assert [body for _, _, body in in_two_blocks] == [body for _, _, body in first]
