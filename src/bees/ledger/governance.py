"""What more than 2N/3 of the servers may change, from the next round on: the contract (Deploy), the members (Amend)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from bees.core.errors import ContractError
from bees.core.keys import is_signed_by
from bees.ledger.commitments import hash_contract
from bees.ledger.membership import amend, amendment_bytes, consent_bytes
from bees.ledger.refusals import AmendError, DeployError
from bees.ledger.transactions import Amend, Deploy, approval_bytes

if TYPE_CHECKING:
    from bees.ledger.committee import Committee
    from bees.ledger.execution import ContractRunner
    from bees.ledger.state import State
    from bees.ledger.transactions import Approval


def govern(state: State, body: Deploy | Amend, runner: ContractRunner) -> State:
    """The state in which the change is agreed on; the next round begins with it.

    Raises:
        DeployError: a change of the contract without the right to it, or to what is no contract.
        AmendError: a change of the members without the right to it, or one that cannot be.
    """
    return _deploy(state, body, runner) if isinstance(body, Deploy) else _amend(state, body)


def _deploy(state: State, body: Deploy, runner: ContractRunner) -> State:
    if body.nonce != state.deploys:
        raise DeployError(f"nonce {body.nonce}, but {state.deploys} deploys came before")
    message = approval_bytes(body.chain_id, body.nonce, hash_contract(body.code))
    problem = _problem_of(body.approvals, state.members.committee, message)
    if problem is not None:
        raise DeployError(problem)
    try:
        runner.check(body.code)
    except ContractError as error:
        raise DeployError(str(error)) from error
    return replace(state, next_contract=body.code, deploys=state.deploys + 1)


def _amend(state: State, body: Amend) -> State:
    if body.nonce != state.amendments:
        raise AmendError(f"nonce {body.nonce}, but {state.amendments} amendments came before")
    members = amend(state.members if state.next_members is None else state.next_members, body.change)
    message = amendment_bytes(body.chain_id, body.nonce, body.change)
    problem = _problem_of(body.approvals, state.members.committee, message) or _problem_of_consent(body)
    if problem is not None:
        raise AmendError(problem)
    return replace(state, next_members=members, amendments=state.amendments + 1)


def _problem_of(approvals: tuple[Approval, ...], committee: Committee, message: bytes) -> str | None:
    """Why these are not the approvals of more than 2N/3 servers, or None."""
    approvers = [approval.server for approval in approvals]
    if approvers != sorted(set(approvers)):
        return "its approvals do not ascend"
    if len(approvers) < committee.quorum:
        return f"{len(approvers)} approvals, {committee.quorum} are needed"
    for approval in approvals:
        key = committee.key(approval.server)
        if key is None or not is_signed_by(key, message, approval.signature):
            return f"server {approval.server} has not approved it"
    return None


def _problem_of_consent(body: Amend) -> str | None:
    """Why the new key has not consented, or None."""
    key = body.change.public_key
    if key is None:
        return None if body.consent is None else "a removal needs no consent"
    message = consent_bytes(body.chain_id, body.nonce, body.change)
    if body.consent is None or not is_signed_by(key, message, body.consent):
        return "the new key has not signed its consent"
    return None
