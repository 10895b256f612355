"""A chain of the paper's size: 20 servers, 100 devices, a model of 19,885 parameters, 50 rounds, the real contract.

The updates are random, since nothing in the ledger depends on what they have learnt. All else is as in a run.
"""

from __future__ import annotations

import io
import random
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from bees.contract.description import describe_virtual_machine
from bees.contract.library import load_contract_code
from bees.contract.vm import VirtualMachine
from bees.core.fixed_point import words_to_bytes
from bees.core.hashes import digest
from bees.core.model import describe
from bees.engines.audit import ChainVerdict, export_chain, verify_chain
from bees.engines.local_chain import LocalChain
from bees.ledger.commitments import hash_model
from bees.ledger.transactions import Publish, Signed, sign

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from small_world import World

SERVERS, DEVICES, PARAMETERS, ROUNDS = 20, 100, 19_885, 50
CHANGES = 12


class Digest(io.RawIOBase):
    """A file that keeps only a hash of what is written to it."""

    def __init__(self) -> None:
        self.state = b""

    def write(self, data: Any) -> int:
        self.state = digest("exported", self.state, data)
        return len(data)


def exported(path: Path) -> bytes:
    out: Any = Digest()
    export_chain(path, out)
    return out.state


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from small_world import World  # noqa: PLC0415  # conftest.py has to make it importable first

    class FullWorld(World):
        def _genesis(self) -> Any:
            layers = [("w1", (784, 25)), ("b1", (25,)), ("w2", (25, 10)), ("b2", (10,))]
            contract, model = load_contract_code("fedavg"), describe("mlp-784-25-10", layers, 24)
            return replace(super()._genesis(), contract=contract, model=model, evaluation_samples=10_000)

    path = tmp_path_factory.mktemp("full") / "chain.db"
    world = FullWorld(servers=SERVERS, devices=DEVICES, parameters=PARAMETERS, top_m=10)
    machine = VirtualMachine(describe_virtual_machine())
    with LocalChain(world.signed, world.server_keys, machine, world.initial, path=path) as chain:
        world.blobs = chain.blobs
        for _ in range(ROUNDS):
            play_round(world, chain)
        assert chain.state.round == ROUNDS + 1
        assert hash_model(words_to_bytes(chain.global_model)) == chain.state.model
    return path


def play_round(world: World, chain: LocalChain) -> None:
    for duties in (world.updates, world.attests, lambda _: [publication(world, chain)]):
        chain.submit(duties(chain.state))
        chain.next_block()


def publication(world: World, chain: LocalChain) -> Signed:
    state, main_node = chain.state, chain.state.main_node
    assert main_node is not None
    result = chain.executor.run(state)
    body = Publish(world.genesis.chain_id, state.round, state.model, main_node, result.selected, result.model)
    return sign(body, world.server_keys[main_node])


@contextmanager
def changed(path: Path, position: int, flip: int) -> Generator[None]:
    """The file with one byte changed, in place, and whole again afterwards."""
    with path.open("r+b") as file:
        file.seek(position)
        original = file.read(1)[0]
        file.seek(position)
        file.write(bytes([original ^ flip]))
    try:
        yield
    finally:
        with path.open("r+b") as file:
            file.seek(position)
            file.write(bytes([original]))


def test_a_full_chain_verifies_from_its_file_alone(full: Path) -> None:
    verdict = verify_chain(full)
    assert (verdict.valid, verdict.blocks, verdict.round) == (True, 3 * ROUNDS, ROUNDS)
    assert (verdict.reason, verdict.warning) == ("", "")


def test_a_change_of_any_byte_of_a_full_chain_is_found_or_leaves_the_export_as_it_was(full: Path) -> None:
    draw, original, verdicts = random.Random(5), exported(full), list[ChainVerdict]()
    for _ in range(CHANGES):
        position, flip = draw.randrange(full.stat().st_size), draw.randrange(1, 256)
        with changed(full, position, flip):
            verdicts.append(verify_chain(full))
            if verdicts[-1].valid:
                assert exported(full) == original, f"byte {position} xor {flip}"
            else:
                assert verdicts[-1].reason
    assert exported(full) == original
    assert sum(not verdict.valid for verdict in verdicts) > CHANGES // 2, "nearly all of the file is used"
