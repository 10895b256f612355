"""Every kept input, and some new ones, through every fuzz target."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bees.core import canonical
from campaigns import fuzz_targets
from campaigns.fuzz_corpus import kept_inputs
from campaigns.fuzz_mutators import mutate
from campaigns.fuzz_seeds import seeds
from campaigns.fuzz_targets import TARGETS, BrokenPropertyError, run_target

SLOW = {"contract", "chain_file", "run_folder"}
KEPT = [(name, file) for name in TARGETS for file in kept_inputs(name)]


@pytest.mark.parametrize(("target", "file"), KEPT)
def test_kept_inputs_do_no_harm(target: str, file: str):
    run_target(target, kept_inputs(target)[file])


def test_every_target_keeps_inputs():
    assert {name for name, _ in KEPT} == set(TARGETS)


@pytest.mark.parametrize("target", sorted(set(TARGETS) - {"npz"}))
def test_seeds_are_taken(target: str):
    assert [run_target(target, data) for data in seeds()[target]] == [True] * len(seeds()[target])


def test_some_own_data_is_taken_and_some_is_refused():
    assert {run_target("npz", data) for data in seeds()["npz"]} == {True, False}


def test_seeds_reach_every_kind_of_transaction_and_phase():
    kinds = {
        signed.body.__class__.__name__ for moment in fuzz_targets.world().snapshots for signed in moment.candidates
    }
    assert kinds == {"Delegate", "Update", "Attest", "Publish", "Deploy", "Amend", "Evidence"}
    assert {moment.application.state.phase for moment in fuzz_targets.world().snapshots} == {
        "collect",
        "attest",
        "publish",
    }


@pytest.mark.parametrize("target", sorted(TARGETS))
def test_mutations_do_no_harm(target: str):
    rng = random.Random(11)
    read = 0
    for _ in range(40 if target in SLOW else 150):
        data = mutate(target, rng.choice(seeds()[target]), rng)
        if data is not None:
            read += 1
            run_target(target, data)
    assert read > 30 or target == "idx"


@pytest.mark.parametrize("target", sorted(TARGETS))
def test_random_bytes_do_no_harm(target: str):
    @settings(deadline=None, max_examples=20 if target in SLOW else 60, database=None)
    @given(st.binary(max_size=200))
    def check(data: bytes):
        run_target(target, data)

    check()


def test_a_decoder_that_takes_a_second_spelling_is_found(monkeypatch: pytest.MonkeyPatch):
    def lenient(data: bytes, kind: type):
        return canonical._decoder(kind).decode(data)

    # The height of a commit, 1, in two bytes instead of one.
    spelled = seeds()["commit"][0].replace(b"\x94\x01", b"\x94\xcc\x01", 1)
    assert not run_target("commit", spelled)
    monkeypatch.setattr(fuzz_targets, "decode", lenient)
    with pytest.raises(BrokenPropertyError, match="other bytes"):
        run_target("commit", spelled)


def test_a_commit_check_without_signatures_is_found(monkeypatch: pytest.MonkeyPatch):
    proof = fuzz_targets.world().proofs[1]
    forged = canonical.encode(
        fuzz_targets.msgspec.structs.replace(
            proof, commit=fuzz_targets.msgspec.structs.replace(proof.commit, consensus_round=5)
        )
    )
    assert run_target("light_client_proof", forged)
    monkeypatch.setattr(fuzz_targets, "is_signed_by", lambda *_: True)
    with pytest.raises(BrokenPropertyError, match="the light client refuses what the ledger takes"):
        run_target("light_client_proof", forged)
