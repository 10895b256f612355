"""A chain on which server 3's key is replaced and then server 2 removed: it goes on, and everybody can follow it."""

from __future__ import annotations

import json
from contextlib import closing
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace
from small_world import World

from bees.core.canonical import decode, encode
from bees.core.errors import InputError, ProofError
from bees.core.fixed_point import words_to_bytes
from bees.core.keys import is_signed_by
from bees.engines.audit import verify_chain
from bees.engines.blobs import MemoryBlobStore
from bees.engines.chain_file import ChainReader, ChainWriter
from bees.engines.embedded import EmbeddedEngine
from bees.engines.inspect import describe_block, describe_chain
from bees.engines.network_usage import measure_traffic
from bees.engines.prove import prove_from_file
from bees.engines.restore import restore
from bees.ledger.aggregation import ContractExecutor
from bees.ledger.block import Commit, CommitSignature, vote_bytes
from bees.ledger.proofs import CommitteeProof, Committees, check_model_proof
from bees.ledger.replay import replay
from bees.light_client import RefusedError, check_proof, follow_committee, read_genesis

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

ROUNDS, REPLACED_IN, REMOVED_IN = 5, 2, 3


def record(world: World, path: Path, *, share_checks: bool) -> list[Any]:
    """The blocks of the chain, which is written to a file."""
    made: list[Any] = []
    with (
        closing(world.engine(share_checks=share_checks)) as engine,
        ChainWriter.create(path, world.signed, words_to_bytes(world.initial)) as writer,
    ):
        engine.add_key(3, world.next_keys[3])
        for round_ in range(1, ROUNDS + 1):
            more = {
                REPLACED_IN: lambda: [world.amend(engine.state, 3)],
                REMOVED_IN: lambda: [world.amend(engine.state, 2, is_removed=True)],
            }.get(round_, list)
            for block in world.play_round(engine, *more()):
                made.append(block)
                writer.append(block.block, block.commit, world.read_by(block))
        assert len({replica.application.app_hash for replica in engine.replicas}) == 1
    return made


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Any:
    world, path = World(), tmp_path_factory.mktemp("amended") / "chain.db"
    return SimpleNamespace(world=world, path=path, made=record(world, path, share_checks=True))


def test_rounds_go_on_and_the_new_key_signs(chain: Any):
    outcomes = [made.state.outcome for made in chain.made if made.state.phase_opened == made.state.height]
    assert {outcome.round for outcome in outcomes if outcome and not outcome.is_skipped} == set(range(1, ROUNDS + 1))
    state = chain.made[-1].state
    assert state.members.committee.members == (0, 1, 3)
    assert state.members.committee.keys[3] == chain.world.next_keys[3].public_key
    after = [made.commit for made in chain.made[3 * REMOVED_IN :]]
    assert all({vote.server for vote in commit.signatures} == {0, 1, 3} for commit in after)
    attested = [
        signed.body.server
        for made in chain.made[3 * REMOVED_IN :]
        for signed in made.block.batch.transactions
        if type(signed.body).__name__ == "Attest"
    ]
    assert sorted(attested) == sorted([0, 1, 3] * (ROUNDS - REMOVED_IN))


def test_replicas_that_share_nothing_make_the_same_chain(chain: Any, tmp_path: Path):
    apart = record(World(), tmp_path / "chain.db", share_checks=False)
    assert [made.block for made in apart] == [made.block for made in chain.made]


def test_it_replays_to_the_same_app_hashes(chain: Any):
    with ChainReader(chain.path) as reader:
        executor = ContractExecutor(chain.world.machine(), reader.blob, chain.world.initial)
        stored = ((row.block, row.commit) for row in reader.blocks())
        audited = list(replay(chain.world.signed, stored, executor))
    assert [one.state for one in audited] == [made.state for made in chain.made]


def test_a_stopped_chain_goes_on_from_its_file(chain: Any):
    blobs = MemoryBlobStore()
    world = chain.world

    def runner() -> ContractExecutor:
        return ContractExecutor(world.machine(), blobs.get, world.initial)

    with closing(EmbeddedEngine(world.signed, world.server_keys, runner)) as engine:
        engine.add_key(3, world.next_keys[3])
        assert [made.state for made in restore(chain.path, engine, blobs)] == [made.state for made in chain.made]


def test_its_verdict_says_who_takes_part(chain: Any):
    verdict = verify_chain(chain.path, chain.world.machine)
    assert verdict.valid, verdict.reason
    assert (verdict.amendments, verdict.servers, verdict.devices) == (2, (0, 1, 3), (0, 1, 2))
    assert (verdict.blocks, verdict.round) == (3 * ROUNDS, ROUNDS)


def rewritten(chain: Any, path: Path, height: int, commit: Commit) -> Path:
    """The chain with another commit at a height."""
    with ChainWriter.create(path, chain.world.signed, words_to_bytes(chain.world.initial)) as writer:
        for made in chain.made:
            found = commit if made.state.height == height else made.commit
            writer.append(made.block, found, chain.world.read_by(made))
    return path


def commit_by(chain: Any, height: int, keys: dict[int, Any]) -> Commit:
    true = chain.made[height - 1].commit
    message = vote_bytes(chain.world.genesis.chain_id, height, 0, "precommit", true.block_id)
    votes = tuple(CommitSignature(k, key.sign(message)) for k, key in keys.items())
    return replace(true, consensus_round=0, signatures=votes)


@pytest.mark.parametrize("after", [1, 2])
def test_a_commit_by_those_who_counted_before_is_refused(chain: Any, tmp_path: Path, after: int):
    height = 3 * REPLACED_IN + after
    old, new = chain.world.server_keys, chain.world.next_keys
    by_new = commit_by(chain, height, {1: old[1], 2: old[2], 3: new[3]})
    assert verify_chain(rewritten(chain, tmp_path / "new.db", height, by_new), chain.world.machine).valid
    by_old = commit_by(chain, height, {1: old[1], 2: old[2], 3: old[3]})
    verdict = verify_chain(rewritten(chain, tmp_path / "old.db", height, by_old), chain.world.machine)
    assert (verdict.valid, verdict.first_bad) == (False, height)
    assert "signature of server 3 is not valid" in verdict.reason


@pytest.mark.parametrize("servers", [(0, 1, 2), (0, 1), (0, 1, 2, 3)])
def test_a_commit_with_a_removed_server_or_without_one_of_three_is_refused(
    chain: Any, tmp_path: Path, servers: Sequence[int]
):
    height = 3 * REMOVED_IN + 1
    keys = dict(enumerate((*chain.world.server_keys[:3], chain.world.next_keys[3])))
    path = rewritten(chain, tmp_path / "chain.db", height, commit_by(chain, height, {k: keys[k] for k in servers}))
    verdict = verify_chain(path, chain.world.machine)
    assert (verdict.valid, verdict.first_bad) == (False, height)


def test_each_height_is_proved_by_the_committees_that_stand_beside_its_proof(chain: Any):
    genesis, trusted = chain.world.genesis, read_genesis(encode(chain.world.signed))
    for height in range(3, 3 * ROUNDS + 1):
        proved = prove_from_file(chain.path, height=height, machine=chain.world.machine)
        assert len(proved.committees) == (height > 3 * REPLACED_IN) + (height > 3 * REMOVED_IN)
        known = Committees(genesis).follow(decode(encode(proved.committees), tuple[CommitteeProof, ...]), is_signed_by)
        outcome = check_model_proof(genesis, proved.proof, is_signed_by, known)
        light = check_proof(follow_committee(trusted, encode(proved.committees)), encode(proved.proof))
        assert (light.round, light.model) == (outcome.round, outcome.model) == (height // 3, outcome.model)
    last = prove_from_file(chain.path, machine=chain.world.machine).proof
    with pytest.raises(ProofError):
        check_model_proof(genesis, last, is_signed_by)
    with pytest.raises(RefusedError):
        check_proof(trusted, encode(last))


def test_amendments_are_told_in_words(chain: Any):
    told = describe_chain(chain.path)
    key = chain.world.next_keys[3].public_key.hex()
    amended = {line["height"]: line["amendments"] for line in told if line["amendments"]}
    assert amended == {3 * REPLACED_IN - 2: [f"server 3 has key {key[:16]}"], 3 * REMOVED_IN - 2: ["server 2 removed"]}
    block = describe_block(chain.path, 3 * REPLACED_IN - 2)
    assert block is not None
    amend = block["transactions"][0]
    assert (amend["type"], amend["approved_by"], amend["amendment"]) == (
        "Amend",
        [0, 1, 2],
        f"server 3 has key {key[:16]}",
    )
    assert amend["change"] == {"kind": "server", "index": 3, "public_key": key, "validator": None}
    json.dumps(block)


def test_traffic_is_not_averaged_over_heights_with_other_servers(chain: Any):
    with pytest.raises(InputError, match="has amended its members"):
        measure_traffic(chain.path, chain.world.machine)
