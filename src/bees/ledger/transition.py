"""The state transition: what one transaction does to the state.

Each function takes a state and returns the next one, or refuses with an error that says why. Signatures are
checked by the caller (``bees.ledger.application``), because a replica checks each only once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from bees.ledger.evidence import check_result, convict
from bees.ledger.governance import govern
from bees.ledger.refusals import (
    AttestationError,
    ConvictedError,
    DelegationError,
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
from bees.ledger.rounds import author_of_update, charge, publish_round
from bees.ledger.state import AcceptedUpdate, Attestation, Delegation, Phase, State
from bees.ledger.transactions import Amend, Attest, Delegate, Deploy, Evidence, Publish, Transaction, Update

if TYPE_CHECKING:
    from bees.ledger.execution import ContractRunner
    from bees.ledger.genesis import Genesis
    from bees.ledger.state import Participant

DELEGATION_ROUNDS_LIMIT = 1 << 20


def apply_transaction(state: State, body: Transaction, runner: ContractRunner) -> State:
    """The state after one transaction of the block at ``state.height``.

    Raises:
        TransactionError: it is refused, and the state stays as it is.
        MissingBlobError: the contract must read an update that is not at hand.
    """
    if body.chain_id != state.genesis.chain_id:
        raise WrongChainError(body.chain_id)
    match body:
        case Delegate():
            return _delegate(state, body)
        case Update():
            return _update(state, body)
        case Attest():
            return _attest(state, body)
        case Publish():
            return _publish(state, body, runner)
        case Deploy() | Amend():
            return govern(state, body, runner)
        case Evidence():
            return convict(state, body, runner)


def _delegate(state: State, body: Delegate) -> State:
    _known_server(state.genesis, body.server)
    if body.first_round != state.round:
        raise WrongRoundError(body.first_round, state.round)
    if body.last_round < body.first_round:
        raise DelegationError(body.device, "its delegation is over before it begins")
    if body.last_round - state.round > DELEGATION_ROUNDS_LIMIT:
        raise DelegationError(body.device, f"a delegation lasts at most {DELEGATION_ROUNDS_LIMIT} rounds")
    _not_convicted(state, ("device", body.device))
    standing = state.delegations.get(body.device)
    if standing is not None and standing.first_round == state.round:
        raise DuplicateError("Delegate", body.device)
    delegation = Delegation(body.server, body.first_round, body.last_round)
    return replace(state, delegations={**state.delegations, body.device: delegation})


def _update(state: State, body: Update) -> State:
    _is_open(state, body, Phase.COLLECT)
    device = state.genesis.devices[body.device]
    if body.device in state.updates:
        raise DuplicateError("Update", body.device)
    if not 1 <= body.samples <= device.sample_cap:
        raise SampleCountError(body.device, body.samples, device.sample_cap)
    if body.server is not None:
        _check_delegation(state, body.device, body.server)
    accepted = AcceptedUpdate(body.commitment, body.samples, body.server)
    _not_convicted(state, ("device", body.device))
    _not_convicted(state, author_of_update(body.device, accepted))
    return replace(state, updates={**state.updates, body.device: accepted})


def _check_delegation(state: State, device: int, server: int) -> None:
    delegation = state.delegations.get(device)
    if delegation is None or delegation.server != server:
        raise DelegationError(device, f"has not delegated to server {server}")
    if not state.servers[server].is_active:
        raise EmptyAccountError(server)


def _attest(state: State, body: Attest) -> State:
    _is_open(state, body, Phase.ATTEST)
    if body.server in state.attestations:
        raise DuplicateError("Attest", body.server)
    if not state.servers[body.server].is_active:
        raise EmptyAccountError(body.server)
    if body.server not in state.attesters:
        raise NotElectedError(body.server, state.attesters[0] if state.attesters else None)
    _check_attestation(state, body)
    attestation = Attestation(body.devices, body.correct)
    charged = charge(state, [body.server], state.genesis.costs.attest_mj)
    return replace(charged, attestations={**state.attestations, body.server: attestation})


def _check_attestation(state: State, body: Attest) -> None:
    if len(body.devices) != len(body.correct):
        raise AttestationError(body.server, "it counts for other devices than it names")
    named = set(body.devices)
    if len(named) != len(body.devices) or list(body.devices) != sorted(named):
        raise AttestationError(body.server, "its devices do not ascend")
    if not state.updates.keys() >= named:
        raise AttestationError(body.server, "it names a device without update")
    if max(body.correct, default=0) > state.genesis.evaluation_samples:
        raise AttestationError(body.server, "it counts more samples than the evaluation set has")


def _publish(state: State, body: Publish, runner: ContractRunner) -> State:
    _is_open(state, body, Phase.PUBLISH)
    # state.height is the height of the block that carries this; the turn was set by the one before.
    elected = replace(state, height=state.height - 1).main_node
    if body.server != elected:
        raise NotElectedError(body.server, elected)
    if state.genesis.verification == "all_servers":
        check_result(state, body, runner)
    else:
        _check_form(state, body)
    return publish_round(state, body.server, body.selected, body.model)


def _check_form(state: State, body: Publish) -> None:
    """Where the main node's word is taken for what it selects, it must still be a selection."""
    eligible = {update.device for update in state.ballot.eligible} if state.ballot else set[int]()
    if list(body.selected) != sorted(eligible & set(body.selected)) or len(body.selected) > state.genesis.top_m:
        raise WrongResultError(body.server, "it does not name at most M eligible devices, ascending")


def _is_open(state: State, body: Update | Attest | Publish, phase: Phase) -> None:
    duty = type(body).__name__
    if body.round != state.round:
        raise WrongRoundError(body.round, state.round)
    if state.phase is not phase:
        raise WrongPhaseError(duty, state.phase)
    if body.previous_model != state.model:
        raise StaleModelError(body.previous_model)


def _not_convicted(state: State, participant: Participant) -> None:
    if state.is_convicted(participant):
        raise ConvictedError(*participant, state.convictions[participant])


def _known_server(genesis: Genesis, server: int) -> None:
    if not 0 <= server < len(genesis.servers):
        raise UnknownParticipantError("server", server)
