"""Proofs from a chain file (``bees.engines.prove``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace
from small_world import World

from bees.core.canonical import encode
from bees.core.errors import BeesError, ChainFileError, InputError
from bees.core.keys import is_signed_by
from bees.engines.prove import prove_from_file, read_signed_genesis
from bees.ledger.commitments import hash_model
from bees.ledger.proofs import check_model_proof
from bees.light_client import check_genesis, check_model, check_proof, read_genesis

if TYPE_CHECKING:
    from pathlib import Path

    from bees.ledger.state import State

ROUNDS = 3


@pytest.fixture(scope="module")
def world() -> World:
    return World()


@pytest.fixture(scope="module")
def chain(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("chain") / "chain.db"
    world.write_chain(path, ROUNDS)
    return path


def test_each_height_proves_the_last_round_that_is_closed_there(world: World, chain: Path):
    for height in range(3, 3 * ROUNDS + 1):
        proved = prove_from_file(chain, height=height, machine=world.machine)
        outcome = check_model_proof(world.genesis, proved.proof, is_signed_by)
        assert proved.proof.header.height == height
        assert outcome.round == height // 3
        assert proved.words is not None
        assert hash_model(proved.words) == outcome.model


def test_a_round_is_proved_at_the_first_height_at_which_it_is_closed(world: World, chain: Path):
    for round_ in range(1, ROUNDS + 1):
        proved = prove_from_file(chain, round_=round_, machine=world.machine)
        assert proved.proof.outcome.round == round_
        assert proved == prove_from_file(chain, height=3 * round_, machine=world.machine)


def test_the_last_height_is_the_default_and_the_file_stays_as_it_was(world: World, chain: Path):
    before = chain.read_bytes()
    assert prove_from_file(chain, machine=world.machine).proof.header.height == 3 * ROUNDS
    assert chain.read_bytes() == before


def test_a_device_needs_the_genesis_and_the_proof_only(world: World, chain: Path):
    proved = prove_from_file(chain, round_=2, machine=world.machine)
    genesis = read_genesis(encode(read_signed_genesis(chain)))
    check_genesis(genesis)
    outcome = check_proof(genesis, encode(proved.proof))
    assert (outcome.round, outcome.selected) == (2, proved.proof.outcome.selected)
    assert proved.words is not None
    check_model(outcome, proved.words)


def test_what_is_not_there_is_not_proved(world: World, chain: Path, tmp_path: Path):
    with pytest.raises(InputError, match=f"has {3 * ROUNDS} blocks, and no block 99"):
        prove_from_file(chain, height=99, machine=world.machine)
    with pytest.raises(InputError, match=f"the last closed round is {ROUNDS}; round 9 is not closed"):
        prove_from_file(chain, round_=9, machine=world.machine)
    with pytest.raises(InputError, match="no round is closed at height 2"):
        prove_from_file(chain, height=2, machine=world.machine)
    world.write_chain(tmp_path / "empty.db", 0)
    with pytest.raises(InputError, match="no blocks"):
        prove_from_file(tmp_path / "empty.db", machine=world.machine)
    with pytest.raises(ChainFileError, match="no such file"):
        prove_from_file(tmp_path / "nowhere.db")


def test_a_block_that_is_not_right_is_not_proved_but_those_before_it_are(world: World, chain: Path, tmp_path: Path):
    data = chain.read_bytes()
    altered = tmp_path / "altered.db"
    at = data.index(prove_from_file(chain, height=7, machine=world.machine).proof.header.app_hash)
    altered.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
    assert prove_from_file(altered, round_=2, machine=world.machine).proof.outcome.round == 2
    with pytest.raises(BeesError, match="7"):
        prove_from_file(altered, machine=world.machine)


def test_the_virtual_machine_is_the_packages_own_by_default(chain: Path):
    # This world's contract is no WebAssembly, which the real machine finds where the first round closes.
    with pytest.raises(BeesError):
        prove_from_file(chain)


class MainNodeWorld(World):
    """The paper's literal reading: the main node alone verifies and executes."""

    def _genesis(self):
        return replace(super()._genesis(), verification="main_node")

    def attests(self, state: State):
        return [signed for signed in super().attests(state) if signed.body.server in state.attesters]


def test_where_only_the_main_node_executes_the_outcome_is_proved_without_the_words(tmp_path: Path):
    world = MainNodeWorld()
    world.write_chain(tmp_path / "chain.db", 1)
    proved = prove_from_file(tmp_path / "chain.db", machine=world.machine)
    assert check_model_proof(world.genesis, proved.proof, is_signed_by).round == 1
    assert proved.words is None
