"""When a phase closes, and what it leaves to the next one.

There is no clock on a chain: a phase closes when it is complete, or after a number of heights.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from bees.ledger.election import rank_servers
from bees.ledger.state import Ballot, EligibleUpdate, Outcome, Phase, ServerAccount

if TYPE_CHECKING:
    from bees.ledger.state import State


BATTERY_LIMIT_MJ = 2**63 - 1
"""Where accounts stop growing: the largest integer that the canonical encoding of a genesis holds."""


def close_phases(state: State) -> State:
    """The state after the last transaction of a block: closes the open phase if it is time to."""
    match state.phase:
        case Phase.COLLECT if _collect_is_over(state):
            return _open(state, Phase.ATTEST) if state.updates else skip_round(state)
        case Phase.ATTEST if _attest_is_over(state):
            ballot = freeze_ballot(state)
            return _open(replace(state, ballot=ballot), Phase.PUBLISH) if ballot.eligible else skip_round(state)
        case Phase.PUBLISH if _publish_is_over(state):
            return skip_round(state)
        case _:
            return state


def freeze_ballot(state: State) -> Ballot:
    """What ATTEST has found: the eligible updates, their scores, and the servers by Proof of Learning."""
    eligible = eligible_updates(state)
    return Ballot(eligible, rank_servers(state.genesis, state.round, state.servers, eligible))


def eligible_updates(state: State) -> tuple[EligibleUpdate, ...]:
    """Updates whose bytes at least 2f+1 servers hold, scored by the lower median of their counts.

    With at most f liars, a median of 2f+1 lies between two honest counts, so no lie moves a score further than
    honest servers disagree.
    """
    scores: dict[int, list[int]] = {device: [] for device in state.updates}
    for attestation in state.attestations.values():
        for device, correct in zip(attestation.devices, attestation.correct, strict=True):
            scores[device].append(correct)
    quorum = attest_quorum(state)
    return tuple(
        EligibleUpdate(device, update.commitment, update.samples, lower_median(scores[device]))
        for device, update in sorted(state.updates.items())
        if len(scores[device]) >= quorum
    )


def attest_quorum(state: State) -> int:
    """2f+1, where at most f of the servers that had duties when ATTEST opened lie: ``f = (servers - 1) // 3``.

    A server whose last energy went into its attestation still counts, else those that drain would lower the bar.
    """
    servers = len({*state.active_servers, *state.attestations})
    return 2 * ((max(1, servers) - 1) // 3) + 1


def lower_median(values: list[int]) -> int:
    """The middle value, or the lower of the two middle ones: an integer that somebody really attested."""
    return sorted(values)[(len(values) - 1) // 2]


def publish_round(state: State, main_node: int, selected: tuple[int, ...], model: bytes) -> State:
    """Close the round with the contract's result."""
    return _next_round(state, Outcome(state.round, model, selected, main_node))


def skip_round(state: State) -> State:
    """Close the round without a result: w_g(t) = w_g(t-1)."""
    return _next_round(state, Outcome(state.round, state.model, (), None))


def _next_round(state: State, outcome: Outcome) -> State:
    harvest = state.genesis.costs.harvest_mj
    return replace(
        state,
        round=state.round + 1,
        phase=Phase.COLLECT,
        phase_opened=state.height,
        model=outcome.model,
        contract=state.contract if state.next_contract is None else state.next_contract,
        next_contract=None,
        servers=tuple(ServerAccount(min(account.battery_mj + harvest, BATTERY_LIMIT_MJ)) for account in state.servers),
        delegations={d: g for d, g in state.delegations.items() if g.last_round > state.round},
        updates={},
        attestations={},
        ballot=None,
        outcome=outcome,
    )


def _open(state: State, phase: Phase) -> State:
    return replace(state, phase=phase, phase_opened=state.height)


def _heights_open(state: State) -> int:
    return state.height - state.phase_opened


def _collect_is_over(state: State) -> bool:
    complete = len(state.updates) == len(state.genesis.devices)
    return complete or _heights_open(state) >= state.genesis.phases.collect


def _attest_is_over(state: State) -> bool:
    complete = all(server in state.attestations for server in state.active_servers)
    return complete or _heights_open(state) >= state.genesis.phases.attest


def _publish_is_over(state: State) -> bool:
    if state.ballot is None:
        return True
    turns = min(state.genesis.phases.publish_ranks, len(state.ballot.ranking))
    return _heights_open(state) >= turns * state.genesis.phases.publish
