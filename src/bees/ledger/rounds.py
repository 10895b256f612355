"""When a phase closes, and what it leaves to the next one.

There is no clock on a chain: a phase closes when it is complete, or after a number of heights.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from bees.ledger.election import rank_servers
from bees.ledger.state import Ballot, EligibleUpdate, Outcome, Phase, ServerAccount

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bees.ledger.membership import Members
    from bees.ledger.state import AcceptedUpdate, Delegation, Participant, State


BATTERY_LIMIT_MJ = 2**63 - 1
"""Where accounts stop growing: the largest integer that the canonical encoding of a genesis holds."""


def close_phases(state: State) -> State:
    """The state after the last transaction of a block: closes the open phase if it is time to."""
    match state.phase:
        case Phase.COLLECT if _collect_is_over(state):
            return _open(_elect_before_attest(state), Phase.ATTEST) if state.updates else skip_round(state)
        case Phase.ATTEST if _attest_is_over(state):
            eligible = eligible_updates(state)
            absent = [server for server in state.attesters if server not in state.attestations]
            charged = charge(state, absent, state.genesis.costs.attest_mj)
            if not eligible:
                return skip_round(charged)
            return _open(replace(charged, ballot=freeze_ballot(charged, eligible)), Phase.PUBLISH)
        case Phase.PUBLISH if _publish_is_over(state):
            return skip_round(charge(state, _missed_turns(state), state.genesis.costs.publish_mj))
        case _:
            return state


def freeze_ballot(state: State, eligible: tuple[EligibleUpdate, ...]) -> Ballot:
    """What ATTEST has found: the eligible updates, their scores, and the servers by Proof of Learning."""
    if state.ballot is not None:
        return replace(state.ballot, eligible=eligible)
    return Ballot(eligible, _rank(state, eligible))


def eligible_updates(state: State) -> tuple[EligibleUpdate, ...]:
    """Updates whose bytes at least 2f+1 servers hold, scored by the lower median of their counts.

    An update counts for nothing when its device, or whoever has signed it, was convicted meanwhile.

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
        if len(scores[device]) >= quorum and not _is_tainted(state, device, update)
    )


def _is_tainted(state: State, device: int, update: AcceptedUpdate) -> bool:
    """Whether the device, or the server that has signed in its place, was convicted."""
    return state.is_convicted(("device", device)) or state.is_convicted(author_of_update(device, update))


def author_of_update(device: int, update: AcceptedUpdate) -> Participant:
    """Who has signed it, and so is to blame: the device, or the server that it has delegated to."""
    return ("device", device) if update.server is None else ("server", update.server)


def attest_quorum(state: State) -> int:
    """2f+1, where at most f of the servers that had duties when ATTEST opened lie: ``f = (servers - 1) // 3``.

    A server whose last energy went into its attestation still counts, else those that drain would lower the bar.
    Where the main node verifies alone, there is no one to outvote it, and 2f+1 is 1.
    """
    servers = len({*state.attesters, *state.attestations})
    return 2 * ((max(1, servers) - 1) // 3) + 1


def lower_median(values: list[int]) -> int:
    """The middle value, or the lower of the two middle ones: an integer that somebody really attested."""
    return sorted(values)[(len(values) - 1) // 2]


def publish_round(state: State, main_node: int, selected: tuple[int, ...], model: bytes) -> State:
    """Close the round with the contract's result; the main node and those that let their turns pass are charged."""
    ranking = state.ballot.ranking if state.ballot else ()
    charged = charge(state, [*ranking[: ranking.index(main_node)], main_node], state.genesis.costs.publish_mj)
    return _next_round(charged, Outcome(state.round, model, selected, main_node))


def skip_round(state: State) -> State:
    """Close the round without a result: w_g(t) = w_g(t-1)."""
    return _next_round(state, Outcome(state.round, state.model, (), None))


def charge(state: State, servers: Iterable[int], cost_mj: int) -> State:
    """Take the cost of a duty from the servers' accounts, as far as there is something."""
    paying = frozenset(servers)
    accounts = (
        ServerAccount(max(0, account.battery_mj - cost_mj)) if index in paying else account
        for index, account in enumerate(state.servers)
    )
    return replace(state, servers=tuple(accounts))


def _rank(state: State, eligible: tuple[EligibleUpdate, ...]) -> tuple[int, ...]:
    """The servers by Proof of Learning, without those that have lost their turns."""
    ranking = rank_servers(state.genesis, state.round, state.servers, eligible)
    return tuple(server for server in ranking if not state.is_convicted(("server", server)))


def _elect_before_attest(state: State) -> State:
    """Where the main node verifies alone, Proof of Learning elects it from all Updates of the round, unverified."""
    if state.genesis.verification == "all_servers":
        return state
    unscored = (EligibleUpdate(d, u.commitment, u.samples, 0) for d, u in sorted(state.updates.items()))
    return replace(state, ballot=Ballot((), _rank(state, tuple(unscored))[:1]))


def _next_round(state: State, outcome: Outcome) -> State:
    harvest = state.genesis.costs.harvest_mj
    opened = state.round + 1
    members = state.members if state.next_members is None else state.next_members
    return replace(
        state,
        round=opened,
        phase=Phase.COLLECT,
        phase_opened=state.height,
        model=outcome.model,
        contract=state.contract if state.next_contract is None else state.next_contract,
        next_contract=None,
        members=members,
        next_members=None,
        servers=tuple(
            ServerAccount(0 if key is None else min(account.battery_mj + harvest, BATTERY_LIMIT_MJ))
            for account, key in zip(state.servers, members.committee.keys, strict=True)
        ),
        delegations={d: g for d, g in state.delegations.items() if _goes_on(state, members, d, g)},
        updates={},
        attestations={},
        ballot=None,
        outcome=outcome,
        convictions={p: last for p, last in state.convictions.items() if last >= opened},
    )


def _goes_on(state: State, members: Members, device: int, delegation: Delegation) -> bool:
    """Whether a delegation outlives the round. What a replaced key has delegated, whoever stole it may have."""
    is_same_device = members.devices[device] == state.members.devices[device]
    return delegation.last_round > state.round and is_same_device


def _open(state: State, phase: Phase) -> State:
    return replace(state, phase=phase, phase_opened=state.height)


def _heights_open(state: State) -> int:
    return state.height - state.phase_opened


def _collect_is_over(state: State) -> bool:
    complete = all(
        device in state.updates or key is None or state.is_convicted(("device", device))
        for device, key in enumerate(state.members.devices)
    )
    return complete or _heights_open(state) >= state.genesis.phases.collect


def _attest_is_over(state: State) -> bool:
    complete = all(server in state.attestations for server in state.attesters)
    return complete or _heights_open(state) >= state.genesis.phases.attest


def _publish_is_over(state: State) -> bool:
    return _heights_open(state) >= len(_missed_turns(state)) * state.genesis.phases.publish


def _missed_turns(state: State) -> tuple[int, ...]:
    """Servers that have had, or will have had, a turn when the round is skipped."""
    return state.ballot.ranking[: state.genesis.phases.publish_ranks] if state.ballot else ()
