from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from msgspec.structs import replace

from bees.core.errors import DoubleSignError, MissingBlobError, VirtualMachineError
from bees.core.model import describe
from bees.ledger.commitments import commit_to_update, hash_model
from bees.ledger.execution import ContractResult
from bees.ledger.refusals import InvalidTransactionError
from bees.ledger.state import ServerAccount
from bees.ledger.transactions import Attest
from bees.protocol.server import HeldUpdates, attest, held_updates, publish
from bees.protocol.signer import MemoryJournal, Signer
from ledger.world import DEVICES, FAILING_CONTRACT, PARAMETERS, SERVER_KEYS, SERVERS, W0, World, weights

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bees.ledger.state import State
    from bees.ledger.transactions import Signed


def signer(server: int) -> Signer:
    return Signer(SERVER_KEYS[server], MemoryJournal())


def scores(updates: Sequence[bytes]) -> list[int]:
    """A made-up evaluation that depends on the bytes alone."""
    return [sum(update) % 50 for update in updates]


def unasked(_updates: Sequence[bytes]) -> list[int]:
    raise AssertionError("who has no duty evaluates nothing")


def attest_now(world: World, server: int, one: Signer | None = None, evaluate: Any = scores) -> Signed | None:
    held = held_updates(world.state, world.runner.blobs.get)
    return attest(one or signer(server), server, world.state, held, evaluate)


def with_empty_account(state: State, server: int) -> State:
    accounts = tuple(ServerAccount(0) if k == server else account for k, account in enumerate(state.servers))
    return replace(state, servers=accounts)


def main_node_of(world: World) -> int:
    assert world.state.main_node is not None
    return world.state.main_node


# Holding


def test_a_server_holds_what_was_committed_by_ascending_device():
    world = World()
    world.to_attest((5, 0, 3))
    held = held_updates(world.state, world.runner.blobs.get)
    assert list(held.items()) == [(device, weights(device, 1)) for device in (0, 3, 5)]


def test_an_update_that_was_not_revealed_is_not_held():
    world = World()
    world.to_attest((0, 3, 5))
    del world.runner.blobs[world.state.updates[3].commitment]
    assert list(held_updates(world.state, world.runner.blobs.get)) == [0, 5]


@pytest.mark.parametrize(
    "other", [weights(3, 2), weights(4, 1), weights(3, 1)[:-1], weights(3, 1) + b"\0", b""], ids=len
)
def test_bytes_that_were_not_committed_to_are_not_held(other: bytes):
    world = World()
    world.to_attest((0, 3, 5))
    world.runner.blobs[world.state.updates[3].commitment] = other
    assert list(held_updates(world.state, world.runner.blobs.get)) == [0, 5]


@pytest.mark.parametrize("length", [0, 4, 47, 52])
def test_committed_bytes_that_are_no_model_are_not_held(length: int):
    world = World()
    data = bytes(length)
    commitment = commit_to_update(3, 1, data)
    world.runner.blobs[commitment] = data
    world.block(world.update(0), world.update(3, commitment=commitment))
    assert list(held_updates(world.state, world.runner.blobs.get)) == [0]


def test_a_copied_commitment_gives_no_claim_on_anothers_update():
    world = World()
    stolen = commit_to_update(0, 1, weights(0, 1))
    world.block(world.update(0), world.update(3, commitment=stolen))
    assert list(held_updates(world.state, world.runner.blobs.get)) == [0]


def test_differences_are_held_only_if_they_lead_from_the_global_model_to_a_model():
    model = describe("tiny", [("w", (3, 3)), ("b", (3,))], 24, "delta8")
    world = World.of(model=model)
    state = world.state
    near, far = np.array(W0), np.full(PARAMETERS, 2**31 - 1, np.int32)
    right, beyond = bytes([0, *range(PARAMETERS)]), bytes([20, 127, *bytes(PARAMETERS - 1)])
    sent = [(commit_to_update(d, 1, u), u) for d, u in enumerate((right, beyond, bytes([3, *right[1:]]), right[:-1]))]
    world.runner.blobs.update(sent)
    world.block(*(world.update(device, commitment=name) for device, (name, _) in enumerate(sent)))
    for hold in (held_updates, HeldUpdates):
        assert dict(hold(world.state, world.runner.blobs.get, near)) == {0: right, 1: beyond}
        assert dict(hold(world.state, world.runner.blobs.get, far)) == {}
        with pytest.raises(MissingBlobError) as error:
            hold(world.state, world.runner.blobs.get)
        assert error.value.commitment == state.model


def test_updates_that_are_read_again_and_again_are_attested_alike():
    world = World()
    world.to_attest((5, 0, 3))
    read: list[bytes] = []

    def read_update(commitment: bytes) -> bytes | None:
        read.append(commitment)
        return world.runner.blobs.get(commitment)

    def by_one_and_by_two(updates: Sequence[bytes]) -> list[int]:
        assert len(read) == len(updates) == 3  # each was read to see that it is right
        assert updates[0] == weights(0, 1)
        return [count for first in (0, 2) for count in scores(updates[first : first + 2])]

    held = HeldUpdates(world.state, read_update)
    assert dict(held) == held_updates(world.state, world.runner.blobs.get)
    read.clear()
    held = HeldUpdates(world.state, read_update)
    assert attest(signer(1), 1, world.state, held, by_one_and_by_two) == attest_now(world, 1)
    world.runner.blobs.clear()
    with pytest.raises(MissingBlobError):
        attest(signer(1), 1, world.state, held, scores)


# Attesting


def test_a_server_attests_what_it_holds_and_the_chain_takes_it():
    world = World()
    world.to_attest((0, 3, 5))
    del world.runner.blobs[world.state.updates[3].commitment]
    signed = attest_now(world, 2)
    assert signed is not None
    assert isinstance(signed.body, Attest)
    assert signed.body.devices == (0, 5)
    assert signed.body.correct == tuple(scores([weights(0, 1), weights(5, 1)]))
    world.block(signed)
    assert list(world.state.attestations) == [2]


def test_a_server_that_holds_nothing_says_so():
    world = World()
    world.to_attest((0,))
    world.runner.blobs.clear()
    signed = attest_now(world, 2)
    assert signed is not None
    world.block(signed)
    assert world.state.attestations[2].devices == ()


def test_there_is_nothing_to_attest_outside_of_the_phase():
    world = World()
    assert attest_now(world, 0, evaluate=unasked) is None
    world.to_publish()
    assert attest_now(world, 0, evaluate=unasked) is None


def test_who_has_attested_does_not_do_it_again():
    world = World()
    world.to_attest()
    world.block(world.attest(1))
    assert attest_now(world, 1, evaluate=unasked) is None
    assert attest_now(world, 2) is not None


def test_an_empty_server_has_no_duty():
    world = World()
    world.to_attest()
    state = with_empty_account(world.state, 1)
    held = held_updates(state, world.runner.blobs.get)
    assert attest(signer(1), 1, state, held, unasked) is None
    assert attest(signer(2), 2, state, held, scores) is not None


def test_a_server_does_not_contradict_itself():
    world, one = World(), signer(1)
    world.to_attest()
    first = attest_now(world, 1, one)
    assert attest_now(world, 1, one) == first
    with pytest.raises(DoubleSignError, match="Attest for round 1"):
        attest_now(world, 1, one, lambda updates: [0] * len(updates))


class Bribed:
    def check(self, code: bytes) -> None:
        pass

    def run(self, state: State) -> ContractResult:  # noqa: ARG002  # it has made up its mind
        return ContractResult((0,), bytes(32))


# Publishing


def test_the_main_node_publishes_the_contracts_result_and_the_round_closes():
    world = World()
    world.to_publish()
    main_node = main_node_of(world)
    signed = publish(signer(main_node), main_node, world.state, world.runner)
    assert signed is not None
    world.block(signed)
    outcome = world.state.outcome
    assert outcome is not None
    assert (world.state.round, outcome.main_node, outcome.selected) == (2, main_node, (5, 6, 7))
    assert hash_model(world.runner.blobs[world.state.model]) == world.state.model


def test_nobody_else_publishes_nor_runs_the_contract():
    world = World()
    world.to_publish()
    ran = world.runner.runs
    others = [server for server in range(SERVERS) if server != world.state.main_node]
    assert [publish(signer(server), server, world.state, world.runner) for server in others] == [None] * 3
    assert world.runner.runs == ran


def test_the_second_rank_publishes_after_the_firsts_deadline():
    world = World()
    world.to_publish()
    first = main_node_of(world)
    for _ in range(world.genesis.phases.publish):
        world.block()
    second = main_node_of(world)
    assert second != first
    assert publish(signer(first), first, world.state, world.runner) is None
    signed = publish(signer(second), second, world.state, world.runner)
    assert signed is not None
    world.block(signed)
    assert world.state.round == 2


def test_nobody_publishes_outside_of_the_phase():
    world = World()
    assert [publish(signer(k), k, world.state, world.runner) for k in range(SERVERS)] == [None] * SERVERS
    world.to_attest()
    assert [publish(signer(k), k, world.state, world.runner) for k in range(SERVERS)] == [None] * SERVERS


def test_an_empty_main_node_has_no_duty():
    world = World()
    world.to_publish()
    main_node = main_node_of(world)
    assert publish(signer(main_node), main_node, with_empty_account(world.state, main_node), world.runner) is None


def test_a_contract_without_result_is_not_published_and_the_round_is_skipped():
    world = World.of(contract=FAILING_CONTRACT)
    world.to_publish()
    main_node = main_node_of(world)
    assert publish(signer(main_node), main_node, world.state, world.runner) is None
    while world.state.round == 1:
        world.block()
    assert world.state.outcome is not None
    assert world.state.outcome.is_skipped


def test_an_update_that_the_contract_needs_and_that_is_not_at_hand_is_named():
    world = World()
    world.to_publish()
    missing = world.state.updates[DEVICES - 1].commitment
    del world.runner.blobs[missing]
    main_node = main_node_of(world)
    with pytest.raises(MissingBlobError) as caught:
        publish(signer(main_node), main_node, world.state, world.runner)
    assert caught.value.commitment == missing


def test_an_honest_server_cannot_be_made_to_sign_two_results():
    world = World()
    world.to_publish()
    main_node = main_node_of(world)
    one = signer(main_node)
    honest = publish(one, main_node, world.state, world.runner)
    assert publish(one, main_node, world.state, world.runner) == honest
    with pytest.raises(DoubleSignError, match="Publish for round 1"):
        publish(one, main_node, world.state, Bribed())


def test_the_chain_refuses_a_result_that_a_corrupt_contract_runner_gives():
    world = World()
    world.to_publish()
    main_node = main_node_of(world)
    signed = publish(signer(main_node), main_node, world.state, Bribed())
    assert signed is not None
    with pytest.raises(InvalidTransactionError, match="published a wrong result"):
        world.propose(signed)


def test_a_main_node_whose_machine_fails_stops_instead_of_keeping_silent():
    world = World()
    world.to_publish()

    def fail(_state: State) -> ContractResult:
        raise VirtualMachineError("this machine has no memory")

    world.runner.run = fail
    with pytest.raises(VirtualMachineError):
        publish(signer(main_node_of(world)), main_node_of(world), world.state, world.runner)
