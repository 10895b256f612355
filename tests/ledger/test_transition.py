"""What each transaction does, and every reason for which it is refused (``bees.ledger.refusals``)."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from world import DEVICE_KEYS, DEVICES, FAILING_CONTRACT, SERVER_KEYS, SERVERS, World, genesis

from bees.core.errors import MissingBlobError, TransactionError, VirtualMachineError
from bees.ledger.genesis import DutyCosts, ServerRecord
from bees.ledger.refusals import (
    AttestationError,
    BadSignatureError,
    DelegationError,
    DeployError,
    DuplicateError,
    EmptyAccountError,
    NotElectedError,
    SampleCountError,
    StaleModelError,
    UnknownParticipantError,
    WrongChainError,
    WrongPhaseError,
    WrongResultError,
    WrongRoundError,
)
from bees.ledger.state import AcceptedUpdate, Attestation, Delegation, Outcome, Phase
from bees.ledger.transactions import Approval, Deploy, Publish, Signed, Update, sign
from bees.ledger.transition import DELEGATION_ROUNDS_LIMIT


def refused(world: World, signed: Signed, kind: type[TransactionError]) -> Any:
    """The refusal, which must be of exactly this kind and leave the state as it is."""
    before = world.state, world.application.app_hash
    with pytest.raises(kind) as refusal:
        world.application.check_tx(signed)
    assert type(refusal.value) is kind
    assert world.application.prepare_proposal([signed]).transactions == ()
    assert (world.state, world.application.app_hash) == before
    return refusal.value


def a_publish(world: World, server: int) -> Publish:
    return Publish(world.genesis.chain_id, world.state.round, world.state.model, server, (), bytes(32))


def changed(signed: Signed, key: int = 0, **changes: Any) -> Signed:
    """The transaction with other fields, signed by a server."""
    return sign(msgspec.structs.replace(signed.body, **changes), SERVER_KEYS[key])


def with_batteries(*batteries_mj: int) -> tuple[ServerRecord, ...]:
    return tuple(
        ServerRecord(record.public_key, 10, battery_mj)
        for record, battery_mj in zip(genesis().servers, batteries_mj, strict=True)
    )


def approvals_of(signed: Signed) -> tuple[Approval, ...]:
    assert isinstance(signed.body, Deploy)
    return signed.body.approvals


def one_of_each(world: World) -> dict[str, Signed]:
    return {
        "Update": world.update(0),
        "Attest": world.attest(0, {}),
        "Publish": sign(a_publish(world, 0), SERVER_KEYS[0]),
        "Delegate": world.delegate(0, 1),
        "Deploy": world.deploy(b"product"),
    }


# Any transaction


@pytest.mark.parametrize("duty", ["Update", "Attest", "Publish", "Delegate", "Deploy"])
def test_a_transaction_for_another_chain_is_refused(duty: str):
    world = World()
    body = msgspec.structs.replace(one_of_each(world)[duty].body, chain_id=b"\1" * 32)
    key = DEVICE_KEYS[0] if duty in {"Update", "Delegate"} else SERVER_KEYS[0]
    assert refused(world, sign(body, key), WrongChainError).chain_id == b"\1" * 32


@pytest.mark.parametrize("duty", ["Update", "Attest", "Publish", "Delegate", "Deploy"])
def test_a_transaction_that_its_author_has_not_signed_is_refused(duty: str):
    world = World()
    signed = one_of_each(world)[duty]
    other = sign(signed.body, SERVER_KEYS[3])
    cut = Signed(signed.body, signed.signature[:63] + bytes([signed.signature[63] ^ 1]))
    another = Signed(signed.body, world.delegate(1, 1).signature)
    for forged in (other, cut, another):
        error = refused(world, forged, BadSignatureError)
        assert (error.duty, error.author) == (duty, 0)


def test_a_delegated_update_must_be_signed_by_the_server_and_not_by_the_device():
    world = World()
    world.block(world.delegate(0, 2))
    body = world.update(0, server=2).body
    refused(world, sign(body, DEVICE_KEYS[0]), BadSignatureError)


@pytest.mark.parametrize("index", [8, 2**31, 2**63 - 1, -1])
def test_a_transaction_of_nobody_is_refused(index: int):
    world = World()
    for signed, kind in (
        (world.update(0, device=index), "device"),
        (world.delegate(0, 1, device=index), "device"),
        (changed(world.update(0), device=index, server=0), "device"),
        (changed(world.update(0), server=index), "server"),
        (world.delegate(0, 1, server=index), "server"),
        (world.attest(0, {}, server=index), "server"),
        (sign(a_publish(world, index), SERVER_KEYS[0]), "server"),
        (changed(world.deploy(b"product"), server=index), "server"),
    ):
        error = refused(world, signed, UnknownParticipantError)
        assert (error.kind, error.index) == (kind, index)


def test_a_duty_in_another_round_is_refused():
    world = World()
    for signed in (world.update(0, round=2), world.attest(0, {}, round=0), world.delegate(0, 1, first_round=2)):
        assert refused(world, signed, WrongRoundError).open == 1
    world.whole_round()
    assert refused(world, world.update(0, round=1), WrongRoundError).given == 1


def test_what_was_signed_for_a_closed_round_is_worthless():
    world = World()
    signed = [world.update(0), world.delegate(1, 2, rounds=9)]
    world.block(*signed)
    world.to_attest(tuple(range(1, DEVICES)))
    attestations = [world.attest(server) for server in range(SERVERS)]
    world.block(*attestations)
    published = world.publish()
    world.block(published)
    for old in (*signed, *attestations, published):
        refused(world, old, WrongRoundError)


def test_a_duty_out_of_its_phase_is_refused():
    world = World()
    for signed in (world.attest(0, {}), sign(a_publish(world, 0), SERVER_KEYS[0])):
        assert refused(world, signed, WrongPhaseError).phase == "collect"
    world.to_attest((0, 1, 2))
    for signed in (world.update(3), sign(a_publish(world, 0), SERVER_KEYS[0])):
        assert refused(world, signed, WrongPhaseError).phase == "attest"
    world.block(*(world.attest(server) for server in range(SERVERS)))
    for signed in (world.update(3), world.attest(0)):
        assert refused(world, signed, WrongPhaseError).phase == "publish"


def test_a_duty_on_another_global_model_is_refused():
    world = World()
    refused(world, world.update(0, previous_model=b"\2" * 32), StaleModelError)
    world.to_attest()
    assert refused(world, world.attest(0, previous_model=b"\2" * 32), StaleModelError).given == b"\2" * 32
    world.block(*(world.attest(server) for server in range(SERVERS)))
    refused(world, world.publish(previous_model=b"\2" * 32), StaleModelError)


# Update


def test_an_update_is_kept_with_its_commitment_and_samples():
    world = World()
    signed = world.update(5)
    assert isinstance(signed.body, Update)
    world.block(signed)
    assert world.state.updates == {5: AcceptedUpdate(signed.body.commitment, 15, None)}


def test_a_second_update_of_a_device_is_refused_whatever_it_says():
    world = World()
    world.block(world.update(0))
    for second in (world.update(0), world.update(0, samples=1), world.update(0, commitment=b"\3" * 32)):
        error = refused(world, second, DuplicateError)
        assert (error.duty, error.author) == ("Update", 0)


@pytest.mark.parametrize("samples", [0, 101, 2**63 - 1])
def test_a_sample_count_beyond_the_registered_cap_is_refused(samples: int):
    error = refused(World(), World().update(3, samples=samples), SampleCountError)
    assert (error.device, error.samples, error.cap) == (3, samples, 100)


@pytest.mark.parametrize("samples", [1, 100])
def test_a_sample_count_within_the_cap_is_taken(samples: int):
    world = World()
    world.block(world.update(3, samples=samples))
    assert world.state.updates[3].samples == samples


# Delegate


def test_a_delegated_update_names_its_server_who_is_to_blame():
    world = World()
    world.block(world.delegate(0, 2), world.update(0, server=2))
    assert world.state.updates[0].server == 2
    assert world.state.delegations == {0: Delegation(2, 1, 1)}


def test_without_a_delegation_to_this_server_its_update_is_refused():
    world = World()
    refused(world, world.update(0, server=2), DelegationError)
    world.block(world.delegate(0, 1), world.delegate(3, 2))
    assert refused(world, world.update(0, server=2), DelegationError).device == 0


def test_a_device_that_has_delegated_may_still_send_its_own_update():
    world = World()
    world.block(world.delegate(0, 2), world.update(0))
    assert world.state.updates[0].server is None
    refused(world, world.update(0, server=2), DuplicateError)


def test_a_delegation_ends_after_its_last_round():
    world = World()
    world.block(world.delegate(0, 2, rounds=2), world.delegate(1, 2, rounds=1))
    world.whole_round()
    assert world.state.delegations == {0: Delegation(2, 1, 2)}
    refused(world, world.update(1, server=2), DelegationError)
    world.block(world.update(0, server=2))
    world.to_attest(tuple(range(1, DEVICES)))
    for _ in range(3):
        world.block()
    assert world.state.round == 3
    assert world.state.delegations == {}
    refused(world, world.update(0, server=2), DelegationError)


def test_a_delegation_that_was_replaced_cannot_be_replayed_into_force():
    world = World()
    old = world.delegate(0, 1, rounds=100)
    world.block(old)
    refused(world, old, DuplicateError)
    refused(world, world.delegate(0, 2), DuplicateError)
    world.whole_round()
    refused(world, old, WrongRoundError)
    world.block(world.delegate(0, 2, rounds=1))
    for _ in range(2):
        refused(world, old, WrongRoundError)
        world.whole_round()
    assert world.state.delegations == {}


def test_an_impossible_delegation_is_refused():
    world = World()
    for rounds in (0, -1, DELEGATION_ROUNDS_LIMIT + 2):
        assert refused(world, world.delegate(4, 1, rounds=rounds), DelegationError).device == 4
    assert DELEGATION_ROUNDS_LIMIT == 1_048_576
    world.block(world.delegate(4, 1, rounds=DELEGATION_ROUNDS_LIMIT + 1))
    assert world.state.delegations[4].last_round == 1 + DELEGATION_ROUNDS_LIMIT


def test_a_server_without_battery_cannot_sign_for_a_device():
    world = World.of(servers=with_batteries(1000, 1000, 0, 1000))
    world.block(world.delegate(0, 2))
    assert refused(world, world.update(0, server=2), EmptyAccountError).server == 2


# Attest


def test_an_attestation_is_kept_and_paid_for():
    world = World()
    world.to_attest()
    world.block(world.attest(2, {0: 7, 5: 50}))
    assert world.state.attestations == {2: Attestation((0, 5), (7, 50))}
    assert [account.battery_mj for account in world.state.servers] == [1000, 1000, 990, 1000]


def test_a_second_attestation_is_refused():
    world = World()
    world.to_attest()
    world.block(world.attest(2))
    for second in (world.attest(2), world.attest(2, {})):
        error = refused(world, second, DuplicateError)
        assert (error.duty, error.author) == ("Attest", 2)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"devices": (0, 1), "correct": (1,)}, "other devices than it names"),
        ({"devices": (0,), "correct": (1, 2)}, "other devices than it names"),
        ({"devices": (1, 0), "correct": (1, 1)}, "do not ascend"),
        ({"devices": (1, 1), "correct": (1, 1)}, "do not ascend"),
        ({"devices": (0, 4), "correct": (1, 1)}, "without update"),
        ({"devices": (2**63 - 1,), "correct": (1,)}, "without update"),
        ({"devices": (1, 2**20), "correct": (1, 1)}, "without update"),
        ({"devices": (2**20, 1), "correct": (1, 1)}, "do not ascend"),
        ({"devices": (0, 1), "correct": (5, 51)}, "more samples than the evaluation set"),
        ({"devices": (0,), "correct": (51,)}, "more samples than the evaluation set"),
    ],
)
def test_an_attestation_that_contradicts_itself_or_the_round_is_refused(changes: dict[str, Any], problem: str):
    world = World()
    world.to_attest((0, 1, 2))
    error = refused(world, world.attest(1, **changes), AttestationError)
    assert error.server == 1
    assert problem in str(error)


def test_a_server_without_battery_cannot_attest():
    world = World.of(servers=with_batteries(0, 1000, 1000, 1000))
    world.to_attest()
    assert refused(world, world.attest(0), EmptyAccountError).server == 0


def test_an_account_never_falls_below_zero_and_then_has_no_duties_until_the_harvest():
    world = World.of(servers=with_batteries(3, 1000, 1000, 1000))
    world.to_attest()
    world.block(*(world.attest(server) for server in range(SERVERS)))
    assert world.state.ballot is not None
    assert world.state.servers[0].battery_mj == 0
    assert 0 not in world.state.ballot.ranking
    assert world.state.active_servers == (1, 2, 3)
    world.block(world.publish())
    assert world.state.servers[0].battery_mj == 5
    assert world.state.active_servers == (0, 1, 2, 3)


def test_when_all_drain_by_attesting_the_round_is_skipped_and_the_next_one_opens():
    world = World.of(servers=with_batteries(1, 1, 1, 1), costs=DutyCosts(1, 1, 0))
    world.to_publish()
    assert world.state.ballot is not None
    assert len(world.state.ballot.eligible) == DEVICES
    assert world.state.ballot.ranking == ()
    assert world.state.main_node is None
    assert refused(world, sign(a_publish(world, 0), SERVER_KEYS[0]), NotElectedError).elected is None
    world.block()
    assert (world.state.round, world.state.phase) == (2, Phase.COLLECT)


# Publish


def test_a_publication_closes_the_round_and_is_paid_for():
    world = World()
    world.to_publish()
    main_node, signed = world.state.main_node, world.publish()
    world.block(signed)
    assert isinstance(signed.body, Publish)
    assert world.state.outcome == Outcome(1, signed.body.model, (5, 6, 7), main_node)
    assert (world.state.round, world.state.model) == (2, signed.body.model)
    assert main_node is not None
    assert world.state.servers[main_node].battery_mj == 1000 - 10 - 50 + 5
    assert not world.state.updates
    assert not world.state.attestations
    assert world.state.ballot is None


def test_each_rank_publishes_in_its_own_turn_only():
    world = World()
    world.to_publish()
    assert world.state.ballot is not None
    for rank in range(3):
        for _ in range(2):
            elected = world.state.ballot.ranking[rank]
            assert world.state.main_node == elected
            world.application.check_tx(world.publish(elected))
            for other in set(range(SERVERS)) - {elected}:
                error = refused(world, world.publish(other), NotElectedError)
                assert (error.server, error.elected) == (other, elected)
            world.block()
    assert world.state.round == 2


@pytest.mark.parametrize(
    "changes", [{"selected": (5, 6)}, {"selected": ()}, {"selected": (7, 6, 5)}, {"model": bytes(32)}], ids=str
)
def test_a_result_that_is_not_the_contracts_is_refused(changes: dict[str, Any]):
    world = World()
    world.to_publish()
    error = refused(world, world.publish(**changes), WrongResultError)
    assert error.server == world.state.main_node


def test_a_contract_without_result_lets_nobody_publish_and_the_round_still_ends():
    world = World.of(contract=FAILING_CONTRACT)
    world.to_publish()
    assert world.state.main_node is not None
    error = refused(
        world, sign(a_publish(world, world.state.main_node), SERVER_KEYS[world.state.main_node]), WrongResultError
    )
    assert "written to have none" in str(error)
    for _ in range(6):
        world.block()
    assert world.state.round == 2


def test_bytes_that_are_not_at_hand_refuse_nothing_but_are_asked_for():
    world = World()
    world.to_publish()
    signed, before = world.publish(), world.state
    missing = world.state.updates[7].commitment
    data = world.runner.blobs.pop(missing)
    with pytest.raises(MissingBlobError) as error:
        world.block(signed)
    assert error.value.commitment == missing
    assert world.state is before
    assert world.application.prepare_proposal([signed]).transactions == ()
    world.runner.blobs[missing] = data
    world.block(signed)
    assert world.state.round == 2


# Deploy


def test_a_new_contract_is_in_force_from_the_next_round_on():
    world = World()
    world.to_publish()
    signed = world.publish()
    world.block(world.deploy(FAILING_CONTRACT), signed)
    assert (world.state.contract, world.state.next_contract, world.state.deploys) == (FAILING_CONTRACT, None, 1)


def test_of_two_deploys_in_a_round_the_later_one_counts():
    world = World()
    world.block(world.deploy(FAILING_CONTRACT))
    assert (world.state.contract, world.state.next_contract) == (world.genesis.contract, FAILING_CONTRACT)
    world.block(world.deploy(b"product"))
    assert world.state.next_contract == b"product"
    assert world.state.deploys == 2


def test_a_deploy_cannot_be_replayed():
    world = World()
    first = world.deploy(b"product")
    world.block(first)
    for old in (first, world.deploy(b"product", nonce=0), world.deploy(b"product", nonce=2)):
        assert "deploys came before" in str(refused(world, old, DeployError))


@pytest.mark.parametrize(
    ("approvers", "problem"),
    [
        ((), "0 approvals, 3 are needed"),
        ((0, 1), "2 approvals, 3 are needed"),
        ((0, 1, 1), "do not ascend"),
        ((2, 1, 0), "do not ascend"),
    ],
)
def test_a_deploy_needs_more_than_two_thirds_of_the_servers(approvers: tuple[int, ...], problem: str):
    world = World()
    assert problem in str(refused(world, world.deploy(b"product", approvers), DeployError))


def test_an_approval_of_other_code_or_another_nonce_or_by_another_key_is_none():
    world = World()
    right, other_code = world.deploy(b"product"), world.deploy(FAILING_CONTRACT)
    other_nonce = world.deploy(b"product", nonce=1)
    for wrong in (other_code, other_nonce):
        forged = changed(right, approvals=approvals_of(wrong))
        assert "server 0 has not approved" in str(refused(world, forged, DeployError))
    first, second, third = approvals_of(right)
    swapped = (first, Approval(1, third.signature), Approval(2, second.signature))
    assert "server 1 has not approved" in str(refused(world, changed(right, approvals=swapped), DeployError))
    stranger = (first, second, Approval(SERVERS, third.signature))
    refused(world, changed(right, approvals=stranger), DeployError)
    far_stranger = (first, second, Approval(2**20, third.signature))
    refused(world, changed(right, approvals=far_stranger), DeployError)
    refused(world, changed(right, approvals=far_stranger[::-1]), DeployError)


def test_code_that_is_no_contract_is_not_deployed():
    world = World()
    for code in (b"", b"junk"):
        assert "is no contract" in str(refused(world, world.deploy(code), DeployError))


def test_a_machine_that_cannot_judge_stops_and_refuses_nothing() -> None:
    """Out of memory is no WrongResult and no DeployError: other servers have memory, and would differ."""
    world = World()
    world.to_publish()
    publish, deploy = world.publish(), world.deploy(b"product")

    def fail(*_: object) -> None:
        raise VirtualMachineError("this machine has no memory")

    runner = world.runner
    runner.run = runner.check = fail
    for signed in (publish, deploy):
        with pytest.raises(VirtualMachineError):
            world.application.check_tx(signed)
        with pytest.raises(VirtualMachineError):
            world.application.prepare_proposal([signed])
        with pytest.raises(VirtualMachineError):
            world.propose(signed)
    del runner.run, runner.check
    world.block(deploy, publish)
    assert world.state.outcome is not None
    assert not world.state.outcome.is_skipped
