"""Lies that their author's own signature proves, and what follows from them.

Two kinds are provable: a Publish that is not the contract's result, and two different answers to one duty, such as
two Updates of a device in a round. An honest signer gives neither (``bees.protocol.signer``), so no honest
participant can be convicted. A lie that cannot be proved, such as a false attestation, is outvoted instead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from bees.core.canonical import encode
from bees.core.errors import ContractError
from bees.core.keys import is_signed_by
from bees.ledger.refusals import EvidenceError, WrongResultError
from bees.ledger.state import Phase
from bees.ledger.transactions import Attest, Delegate, Duty, Evidence, Publish, Update, author_key, signing_bytes

if TYPE_CHECKING:
    from bees.ledger.execution import ContractRunner
    from bees.ledger.state import Participant, State
    from bees.ledger.transactions import Statement

    Question = tuple[str, Participant, int, int | None]


def convict(state: State, body: Evidence, runner: ContractRunner) -> State:
    """The state in which the author of the statement has lost its turns, up to ``penalty_rounds`` after the offence.

    Raises:
        EvidenceError: it proves nothing, or nothing new.
        UnknownParticipantError: its author is not in the genesis.
        RemovedError: its author takes no part any more.
        MissingBlobError: an update that the contract must read is not at hand.
    """
    duty = body.first.body
    offence, author = round_of(duty), author_of(duty)
    last_round = offence + state.genesis.penalty_rounds
    # What is cheap to see comes first, so that a flood of useless evidence costs little.
    if not offence <= state.round <= last_round:
        raise EvidenceError(f"it is about round {offence}, and round {state.round} is open")
    if state.convictions.get(author, 0) >= last_round:
        raise EvidenceError(f"{author[0]} {author[1]} is convicted of this already")
    if body.second is not None:
        _check_contradiction(body.first, body.second)
        _check_statement(state, body.second)
    _check_statement(state, body.first)
    if body.second is None:
        _check_is_wrong(state, duty, runner)
    return replace(state, convictions={**state.convictions, author: last_round})


def check_result(state: State, body: Publish, runner: ContractRunner) -> None:
    """Check that a Publish is the result of the contract on the frozen ballot.

    Raises:
        WrongResultError: it is not, or there is none.
        MissingBlobError: an update that the contract must read is not at hand.
    """
    try:
        result = runner.run(state)
    except ContractError as error:
        raise WrongResultError(body.server, f"the contract has no result: {error}") from error
    if body.selected != result.selected:
        raise WrongResultError(body.server, "it names other devices than the contract selects")
    if body.model != result.model:
        raise WrongResultError(body.server, "its model is not the contract's")


def author_of(duty: Duty) -> Participant:
    """Who has signed it: the device that it is about, or a server."""
    match duty:
        case Delegate():
            return "device", duty.device
        case Update():
            return ("device", duty.device) if duty.server is None else ("server", duty.server)
        case Attest() | Publish():
            return "server", duty.server


def round_of(duty: Duty) -> int:
    """The communication round that it belongs to."""
    return duty.first_round if isinstance(duty, Delegate) else duty.round


def question_of(duty: Duty) -> Question:
    """What an author answers once: in a round, once for all, or for an Update once per device."""
    device = duty.device if isinstance(duty, Update) else None
    return type(duty).__name__, author_of(duty), round_of(duty), device


def _check_statement(state: State, statement: Statement) -> None:
    body = statement.body
    if body.chain_id != state.genesis.chain_id:
        raise EvidenceError("what it shows was signed for another chain")
    if not is_signed_by(author_key(state.members, body), signing_bytes(body), statement.signature):
        raise EvidenceError("what it shows is not signed by its author")


def _check_contradiction(first: Statement, second: Statement) -> None:
    """Two different answers of one author to one duty; only one order of the two is taken."""
    if question_of(first.body) != question_of(second.body):
        raise EvidenceError("what it shows does not answer one and the same duty")
    if encode(first.body) >= encode(second.body):
        raise EvidenceError("what it shows are not two answers, in the order of their encodings")


def _check_is_wrong(state: State, duty: Duty, runner: ContractRunner) -> None:
    """Refuse a Publish that is right, or that this state cannot judge any more."""
    if not isinstance(duty, Publish):
        raise EvidenceError("of a single answer only a Publish can be wrong by itself")
    if state.genesis.verification == "main_node":
        raise EvidenceError("in this reading the main node's word is taken for right")
    if duty.round == state.round and state.phase is Phase.PUBLISH:
        is_right = duty.previous_model == state.model and _is_result(state, duty, runner)
    elif state.outcome is not None and duty.round == state.outcome.round and not state.outcome.is_skipped:
        is_right = (duty.selected, duty.model) == (state.outcome.selected, state.outcome.model)
    else:
        raise EvidenceError(f"no result of round {duty.round} is at hand to judge it by")
    if is_right:
        raise EvidenceError("what it shows is the contract's result")


def _is_result(state: State, duty: Publish, runner: ContractRunner) -> bool:
    try:
        check_result(state, duty, runner)
    except WrongResultError:
        return False
    return True
