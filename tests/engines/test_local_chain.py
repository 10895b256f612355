from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from bees.core.errors import ChainFileError, MissingBlobError
from bees.core.fixed_point import words_to_bytes
from bees.core.stopwatch import Stopwatch
from bees.engines.audit import iter_chain, verify_chain
from bees.engines.local_chain import LocalChain
from bees.ledger.commitments import hash_model
from bees.ledger.proofs import check_model_proof
from bees.ledger.refusals import DuplicateError, WrongPhaseError
from bees.ledger.state import Phase
from bees.ledger.transactions import Publish, Signed, sign

if TYPE_CHECKING:
    from pathlib import Path

    from small_world import World


def start(world: World, **options: Any) -> LocalChain:
    chain = LocalChain(world.signed, world.server_keys, world.machine(), world.initial, **options)
    world.blobs = chain.blobs
    return chain


def publication(world: World, chain: LocalChain) -> Signed:
    state, main_node = chain.state, chain.state.main_node
    assert main_node is not None
    result = chain.executor.run(state)
    body = Publish(world.genesis.chain_id, state.round, state.model, main_node, result.selected, result.model)
    return sign(body, world.server_keys[main_node])


def play_round(world: World, chain: LocalChain) -> None:
    for duties in (world.updates, world.attests, lambda _: [publication(world, chain)]):
        chain.submit(duties(chain.state))
        chain.next_block()


def test_a_chain_starts_at_w_g_0(world: World) -> None:
    with start(world) as chain:
        assert (chain.state.height, chain.state.round, chain.state.phase) == (0, 1, Phase.COLLECT)
        assert np.array_equal(chain.global_model, world.initial)


def test_the_global_model_is_always_the_one_that_the_state_names(world: World) -> None:
    with start(world) as chain:
        for round_ in (1, 2, 3):
            play_round(world, chain)
            assert chain.state.round == round_ + 1
            assert hash_model(words_to_bytes(chain.global_model)) == chain.state.model
        assert chain.state.height == 9


@pytest.mark.parametrize("share", [True, False])
def test_the_proof_is_always_of_the_global_model(world: World, share: bool) -> None:
    with start(world, share_checks=share) as chain:
        assert chain.model_proof() is None
        expected = (0, b"")
        for round_ in (1, 2):
            play_round(world, chain)
            expected = (round_, hash_model(words_to_bytes(chain.global_model)))
            assert proved(world, chain) == expected
        chain.next_block()  # of the round after, in another state
        assert proved(world, chain) == expected


def proved(world: World, chain: LocalChain) -> tuple[int, bytes]:
    proof = chain.model_proof()
    assert proof is not None
    outcome = check_model_proof(world.genesis, proof, chain.verify)
    return outcome.round, outcome.model


def test_the_proof_after_catching_up_is_the_same(world: World, tmp_path: Path) -> None:
    path = tmp_path / "chain.db"
    with start(world, path=path) as chain:
        play_round(world, chain)
        chain.next_block()
        expected = chain.model_proof()
    with start(world, path=path, resumes=True) as again:
        again.catch_up(2)
        assert again.state.height == 4
        assert expected is not None
        assert again.model_proof() == expected


def test_where_the_main_node_verifies_alone_who_resumes_executes_the_contract_himself(
    make_world: type[World], tmp_path: Path
) -> None:
    path = tmp_path / "chain.db"
    world = make_world(verification="main_node")
    with start(world, path=path) as chain:
        for _ in range(2):
            play_round(world, chain)
        expected = chain.global_model
    with start(make_world(verification="main_node"), path=path, resumes=True) as again:
        again.catch_up(3)
        assert np.array_equal(again.global_model, expected)
    assert verify_chain(path, make_world().machine).valid


def test_without_a_path_nothing_is_written(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with start(world) as chain:
        play_round(world, chain)
    assert list(tmp_path.iterdir()) == []


def test_the_file_holds_the_chain_when_it_is_left(world: World, tmp_path: Path) -> None:
    path = tmp_path / "chain.db"
    with start(world, path=path) as chain:
        play_round(world, chain)
        play_round(world, chain)
    assert [file.name for file in tmp_path.iterdir()] == ["chain.db"]
    verdict = verify_chain(path, world.machine)
    assert (verdict.valid, verdict.blocks, verdict.round) == (True, 6, 2)
    assert verdict.model == chain.state.model.hex()


def test_a_chain_that_is_left_by_an_error_verifies_up_to_its_last_block(world: World, tmp_path: Path) -> None:
    path = tmp_path / "chain.db"

    def interrupted() -> None:
        with start(world, path=path) as chain:
            play_round(world, chain)
            chain.submit(world.updates(chain.state))
            chain.next_block()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [file.name for file in tmp_path.iterdir()] == ["chain.db"]
    verdict = verify_chain(path, world.machine)
    assert (verdict.valid, verdict.blocks, verdict.round) == (True, 4, 1)


def test_every_block_is_on_disk_before_the_next_begins(world: World, tmp_path: Path) -> None:
    path = tmp_path / "chain.db"
    with start(world, path=path) as chain:
        for height in (1, 2, 3):
            chain.next_block()
            assert len(list(iter_chain(path))) == height


@pytest.mark.parametrize(("share", "runs"), [(True, 1), (False, 4)])
def test_with_shared_checks_or_without_the_chain_is_the_same_file(
    make_world: type[World], tmp_path: Path, share: bool, runs: int
) -> None:
    world, path, usual = make_world(), tmp_path / "chain.db", make_world()
    with start(world, path=path, share_checks=share) as chain:
        play_round(world, chain)
    # The main node's own run of the contract is one of them, whose result its replica keeps.
    assert world.machines[0].runs == runs
    expected = [entry.block for entry in iter_chain(usual.write_chain(tmp_path / "usual.db", 1).path)]
    assert [entry.block for entry in iter_chain(path)] == expected


def test_a_transaction_that_no_honest_participant_sends_is_refused_by_name(world: World) -> None:
    with start(world) as chain:
        updates = world.updates(chain.state)
        chain.submit(updates)
        chain.next_block()
        with pytest.raises(WrongPhaseError):
            chain.submit(updates)
        chain.submit(world.attests(chain.state)[:1])
        chain.next_block()
        with pytest.raises(DuplicateError, match="has sent its Attest"):
            chain.submit(world.attests(chain.state)[:1])


def test_what_was_refused_is_in_no_block(world: World) -> None:
    with start(world) as chain:
        with pytest.raises(WrongPhaseError):
            chain.submit(world.attests(chain.state))
        chain.next_block()
        assert chain.state.attestations == {}


def test_an_update_that_is_not_revealed_stops_the_publication_by_name(world: World) -> None:
    with start(world) as chain:
        for duties in (world.updates, world.attests):
            chain.submit(duties(chain.state))
            chain.next_block()
        right = publication(world, chain)
        ballot = chain.state.ballot
        assert ballot is not None
        chain.blobs.prune(1)
        chain.executor._last = None  # as in a server that has not run the contract yet
        with pytest.raises(MissingBlobError) as caught:
            chain.submit([right])
        assert caught.value.commitment in {update.commitment for update in ballot.eligible}


def test_updates_are_forgotten_when_their_round_is_over(world: World) -> None:
    with start(world) as chain:
        chain.submit(world.updates(chain.state))
        chain.next_block()
        assert len(chain.blobs) == world.devices
        play_rest = (world.attests, lambda _: [publication(world, chain)])
        for duties in play_rest:
            chain.submit(duties(chain.state))
            chain.next_block()
        assert len(chain.blobs) == 0


def test_a_file_that_exists_is_never_written_over(world: World, tmp_path: Path) -> None:
    path = tmp_path / "chain.db"
    path.write_bytes(b"precious")
    with pytest.raises(ChainFileError, match="exists already"):
        start(world, path=path)
    assert path.read_bytes() == b"precious"


def test_a_folder_that_does_not_exist_is_an_error_of_the_chain_file(world: World, tmp_path: Path) -> None:
    with pytest.raises(ChainFileError):
        start(world, path=tmp_path / "nowhere" / "chain.db")


def test_the_time_is_taken_by_phase(world: World, tmp_path: Path) -> None:
    watch = Stopwatch()
    with start(world, path=tmp_path / "chain.db", timer=watch) as chain:
        play_round(world, chain)
    assert {"write", "verify", "sign", "contract", "commit", "consensus"} <= watch.seconds.keys()
