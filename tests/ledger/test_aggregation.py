"""SmartContract of Algorithm 1 with the real virtual machine and the packaged contracts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from world import DEVICES, PARAMETERS, SERVERS, W0, World, genesis, weights

from bees.contract.library import load_contract_code
from bees.contract.reference import average_updates
from bees.contract.vm import VirtualMachine
from bees.core.errors import ContractError, MissingBlobError
from bees.core.fixed_point import bytes_to_words, words_to_bytes
from bees.core.keys import SigningKey
from bees.core.model import describe
from bees.ledger.aggregation import ContractExecutor
from bees.ledger.commitments import commit_to_update, hash_model
from bees.ledger.genesis import SignedGenesis, sign_genesis
from bees.ledger.replay import replay
from bees.ledger.state import Ballot, EligibleUpdate, State, initial_state

if TYPE_CHECKING:
    from bees.core.update_codec import UpdateEncoding

FEDAVG, ARGMAX = load_contract_code("fedavg"), load_contract_code("argmax")


class Executor(ContractExecutor):
    """An executor whose blobs stand beside it."""

    def __init__(self, machine: VirtualMachine) -> None:
        self.blobs: dict[bytes, bytes] = {}
        super().__init__(machine, self.blobs.get, W0)


@pytest.fixture(scope="module")
def machine() -> VirtualMachine:
    return VirtualMachine(genesis().virtual_machine)


def signed_genesis(**changes: Any) -> SignedGenesis:
    keys = tuple(SigningKey.simulated(1, "server", k) for k in range(SERVERS))
    return sign_genesis(genesis(**{"contract": FEDAVG, **changes}), keys)


def balloted(executor: Executor, given_: dict[int, tuple[int, int, bytes]], **changes: Any) -> State:
    """The state whose ballot holds (samples, correct, bytes) by device."""
    eligible: list[EligibleUpdate] = []
    for device, (samples, correct, data) in sorted(given_.items()):
        commitment = commit_to_update(device, 1, data)
        executor.blobs[commitment] = data
        eligible.append(EligibleUpdate(device, commitment, samples, correct))
    state = initial_state(genesis(**{"contract": FEDAVG, **changes}))
    return replace(state, ballot=Ballot(tuple(eligible), (0,)))


def hash_of(words: list[int]) -> bytes:
    return hash_model(words_to_bytes(np.array(words, np.int32)))


@settings(deadline=None, max_examples=40)
@given(
    st.dictionaries(
        st.integers(0, DEVICES - 1),
        st.tuples(
            st.integers(1, 7) | st.integers(1, 2**28),
            st.integers(0, 50),
            st.lists(st.integers(-(2**31), 2**31 - 1), min_size=PARAMETERS, max_size=PARAMETERS),
        ),
        min_size=1,
    ),
    st.integers(1, DEVICES),
)
def test_fedavg_is_eq_3_in_exact_rationals_of_the_m_most_accurate(
    machine: VirtualMachine, given_: dict[int, tuple[int, int, list[int]]], top_m: int
):
    executor = Executor(machine)
    updates = {d: (n, c, words_to_bytes(np.array(w, np.int32))) for d, (n, c, w) in given_.items()}
    result = executor.run(balloted(executor, updates, top_m=top_m))
    best = sorted(sorted(given_, key=lambda d: (-given_[d][1], d))[:top_m])
    assert result.selected == tuple(best)
    expected = average_updates([given_[d][0] for d in best], [given_[d][2] for d in best])
    assert result.model == hash_of(expected)
    assert executor.models[result.model].tolist() == expected


def test_argmax_shares_the_most_accurate_update_as_it_is(machine: VirtualMachine):
    executor = Executor(machine)
    state = balloted(executor, {d: (10, c, weights(d, 1)) for d, c in ((1, 30), (4, 41), (6, 41))}, contract=ARGMAX)
    result = executor.run(state)
    assert result.selected == (4,)
    assert result.model == hash_model(weights(4, 1))


def test_bytes_that_are_missing_or_not_what_was_committed_are_named(machine: VirtualMachine):
    executor = Executor(machine)
    state = balloted(executor, {d: (10, d, weights(d, 1)) for d in range(3)})
    assert state.ballot is not None
    name = state.ballot.eligible[1].commitment
    right = executor.blobs.pop(name)
    for data in (None, right[:-1] + b"\xff", right[:-4], right + right, weights(2, 1), b""):
        if data is not None:
            executor.blobs[name] = data
        with pytest.raises(MissingBlobError) as error:
            executor.run(state)
        assert error.value.commitment == name
    executor.blobs[name] = right
    assert executor.run(state).selected == (0, 1, 2)


@pytest.mark.parametrize("length", [0, 1, 4, 44, 47, 49, 52, 96])
def test_an_update_that_is_no_model_leaves_the_contract_without_result(machine: VirtualMachine, length: int):
    executor = Executor(machine)
    state = balloted(executor, {0: (10, 5, weights(0, 1)), 1: (10, 5, bytes(length))})
    with pytest.raises(ContractError, match=f"device 1 has {length} bytes"):
        executor.run(state)


@pytest.mark.parametrize("encoding", ["delta16", "delta8"])
def test_differences_are_added_to_the_global_model_before_they_are_averaged(
    machine: VirtualMachine, encoding: UpdateEncoding
):
    model, executor = describe("tiny", [("w", (3, 3)), ("b", (3,))], 24, encoding), Executor(machine)
    trained = [W0 + d * np.arange(PARAMETERS, dtype=np.int32) for d in (2, 4)]
    updates = {d: (10, 5, model.spell_update(words, W0)) for d, words in enumerate(trained)}
    result = executor.run(balloted(executor, updates, model=model))
    assert executor.models[result.model].tolist() == (W0 + 3 * np.arange(PARAMETERS)).tolist()


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (bytes([0, *bytes(PARAMETERS - 1)]), "12 bytes"),
        (bytes([26, 64, *bytes(PARAMETERS - 1)]), "shift by 26"),
        (bytes([1, 1, *bytes(PARAMETERS - 1)]), "canonical"),
        (bytes([25, 127, *bytes(PARAMETERS - 1)]), "32 bits"),
    ],
)
def test_a_difference_that_leads_to_no_model_leaves_the_contract_without_result(
    machine: VirtualMachine, data: bytes, problem: str
):
    model, executor = describe("tiny", [("w", (3, 3)), ("b", (3,))], 24, "delta8"), Executor(machine)
    state = balloted(executor, {0: (10, 5, bytes(13)), 1: (10, 5, data)}, model=model)
    with pytest.raises(ContractError, match=f"device 1 has {len(data)} bytes, which is no model: .*{problem}"):
        executor.run(state)


def test_a_global_model_that_is_not_at_hand_is_named(machine: VirtualMachine):
    executor = Executor(machine)
    state = balloted(executor, {0: (10, 5, weights(0, 1))})
    with pytest.raises(MissingBlobError) as error:
        executor.run(replace(state, model=b"\7" * 32))
    assert error.value.commitment == b"\7" * 32


def test_the_same_question_runs_the_contract_once_and_another_one_again(
    machine: VirtualMachine, monkeypatch: pytest.MonkeyPatch
):
    executor, runs = Executor(machine), list[State]()
    run = ContractExecutor._run
    monkeypatch.setattr(ContractExecutor, "_run", lambda self, state: runs.append(state) or run(self, state))
    state = balloted(executor, {d: (10, d, weights(d, 1)) for d in range(5)})
    assert executor.run(state) == executor.run(replace(state, height=9))
    assert len(runs) == 1
    assert state.ballot is not None
    fewer = Ballot(state.ballot.eligible[:2], (0,))
    for other in (replace(state, contract=ARGMAX), replace(state, ballot=fewer)):
        assert executor.run(other) != executor.run(state)
    assert len(runs) == 5


def test_code_that_is_no_contract_is_refused(machine: VirtualMachine):
    for code in (b"", b"\0asm\x01\0\0\0", FEDAVG[:-1], FEDAVG + b"\0"):
        with pytest.raises(ContractError):
            Executor(machine).check(code)


def test_a_chain_of_rounds_runs_on_the_real_machine_and_is_replayed(machine: VirtualMachine):
    signed, executor = signed_genesis(), Executor(machine)
    world = World(signed, executor)
    by_hand = W0
    for t in (1, 2, 3):
        world.whole_round()
        best = [bytes_to_words(weights(d, t)).tolist() for d in (5, 6, 7)]
        by_hand = np.array(average_updates([15, 16, 17], best), np.int32)
        assert world.state.outcome is not None
        assert world.state.outcome.selected == (5, 6, 7)
        assert world.state.model == hash_model(words_to_bytes(by_hand))
    world.block(world.deploy(ARGMAX))
    world.whole_round()
    world.whole_round()
    assert world.state.model == hash_model(weights(7, 5))
    auditor = Executor(machine)
    auditor.blobs.update(executor.blobs)
    states = [audited.state for audited in replay(signed, world.stored, auditor)]
    assert states[-1] == world.state
