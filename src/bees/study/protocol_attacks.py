"""Attacks on the protocol, played for real and compared with the honest run of the same seed.

Each row is one history of ``bees.faults`` on a network that only delays, so that whatever is slower or other than in
the honest run is the liars' doing. The outcome is computed from what was measured; no row says what ought to happen.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Literal

import msgspec

from bees.faults.plan import SECOND_US
from bees.ledger.election import rank_servers
from bees.ledger.state import ServerAccount
from bees.study.protocol_catalogue import WITHSTOOD, Aim, Attack, By, all_attacks, honest_plan_like
from bees.study.protocol_comparison import count_false, count_lost, difference
from bees.study.protocol_recording import Deceit, record
from bees.study.rows import append_bytes, append_row, read_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from pathlib import Path

    from bees.faults.plan import Plan
    from bees.ledger.genesis import Genesis
    from bees.study.protocol_recording import Record

Verdict = Literal["succeeds", "convicted", "delayed", "outvoted", "refused", "no effect"]

HONEST_RUNS = 20
"""Seeds of honest runs: an attack delays if it is slower than all of them."""


class Pace(msgspec.Struct, frozen=True):
    """What a published round takes, on average over a history.

    Attributes:
        heights: ledger blocks.
        virtual_s: seconds of virtual time, among which are the pauses and timeouts of the engine.
        messages: between all participants.
        bytes: of these messages, in their canonical encoding.
        paid_mj: by each of the servers whose gain is looked at, from its account.
        turns: published rounds whose main node is one of these servers, as a share.
    """

    heights: float
    virtual_s: float
    messages: float
    bytes: float
    paid_mj: float
    turns: float


class ProtocolRow(msgspec.Struct, frozen=True, kw_only=True):
    """One attack, and what became of it.

    Attributes:
        attack: its name.
        by: who lies.
        liars: how many.
        is_beyond: whether these are more servers than the design withstands.
        cut_off: how many honest servers nothing reached for a while.
        aim: what the attack is after.
        seed: of its history.
        rounds: closed.
        skipped: of them, without a result.
        pace, honest_pace: of a published round, with the lies and in the honest run of the same seed.
        slowest_honest_s: virtual seconds per published round in the slowest of ``HONEST_RUNS`` honest runs.
        lies: messages that were changed or made up.
        withheld: messages that should have been sent.
        refused: lies that arrived at an honest participant and were refused, by the reason.
        taken: lies that arrived, and that nothing is wrong with by themselves.
        counted: of these, votes, proposals and attestations of liars, which others may outvote.
        convicted: liars that were convicted, and in which round the last of them was.
        honest_convicted: honest participants that were; there must be none.
        false_updates: updates that count in a published round, and are not what an honest participant would have sent.
        lost_updates: of honest participants, that do not count in a published round.
        most_lost_honest: the most that were lost in one of ``HONEST_RUNS`` honest runs, because they came too late.
        same_models: rounds whose w_g is that of the honest run.
        other_models: rounds whose w_g is not, by what differs.
        broken: the invariant that the attack has broken, or empty.
        outcome: in one word, see ``judge``.
    """

    attack: str
    by: By
    liars: int
    is_beyond: bool
    cut_off: int
    aim: Aim
    seed: int
    rounds: int
    skipped: int
    pace: Pace
    honest_pace: Pace
    slowest_honest_s: float
    lies: int
    withheld: int
    refused: dict[str, int]
    taken: int
    counted: int
    convicted: dict[str, int]
    honest_convicted: tuple[str, ...]
    false_updates: int
    lost_updates: int
    most_lost_honest: int
    same_models: int
    other_models: dict[str, int]
    broken: str
    outcome: Verdict


def measure_protocol_attacks(
    path: Path | None = None,
    seed: int = 0,
    attacks: Sequence[Attack] | None = None,
    on_row: Callable[[ProtocolRow], object] = lambda _: None,
) -> list[ProtocolRow]:
    """Play every attack that ``path`` does not hold yet, appending a row for each.

    Args:
        path: a .jsonl file; made if it does not exist. None: nothing is kept.
        seed: of the histories.
        attacks: what to play; all, if not given.
        on_row: called with each row, known ones too.

    Raises:
        InputError: a line of the file is broken.
        OutputError: the file cannot be written.
    """
    known = {} if path is None else {_name(row): row for row in read_rows(path, ProtocolRow) if row.seed == seed}
    if path is not None:
        append_bytes(path, b"")
    rows: list[ProtocolRow] = []
    for attack in all_attacks() if attacks is None else attacks:
        row = known.get((attack.name, attack.by, attack.liars, attack.cut_off))
        if row is None:
            row = play_attack(attack, seed)
            if path is not None:
                append_row(path, row)
        rows.append(row)
        on_row(row)
    return rows


def play_attack(attack: Attack, seed: int) -> ProtocolRow:
    """Play one attack, and compare it with the honest run."""
    plan = attack.plan(seed)
    played = record(plan, attack.deceit)
    honest_runs = [_play_honest(honest_plan_like(plan, seed + k)) for k in range(HONEST_RUNS)]
    honest = honest_runs[0]
    liars = {*(("server", k.index) for k in plan.liars), *(("device", k.index) for k in plan.lying_devices)}
    false, lost = count_false(played), count_lost(plan, played)
    differences = [difference(plan, one, other) for one, other in zip(played.rounds, honest.rounds, strict=False)]
    row = ProtocolRow(
        attack=attack.name,
        by=attack.by,
        liars=attack.liars,
        is_beyond=attack.by == "servers" and attack.liars > WITHSTOOD,
        cut_off=attack.cut_off,
        aim=attack.aim,
        seed=seed,
        rounds=len(played.rounds),
        skipped=sum(one.outcome.is_skipped for one in played.rounds),
        pace=_pace(played, attack.gaining, _turns(played, attack)),
        honest_pace=_pace(honest, attack.gaining, _turns(honest, attack._replace(capacity_factor=1, budget_divisor=1))),
        slowest_honest_s=max(_pace(one, ()).virtual_s for one in honest_runs),
        lies=played.lies,
        withheld=played.withheld,
        refused=dict(sorted(played.refused.items())),
        taken=played.taken,
        counted=played.counted,
        convicted={f"{k} {i}": t for (k, i), t in sorted(played.convictions.items()) if (k, i) in liars},
        honest_convicted=tuple(f"{k} {i}" for k, i in sorted(played.convictions) if (k, i) not in liars),
        false_updates=false,
        lost_updates=lost,
        most_lost_honest=max(count_lost(plan, one) for one in honest_runs),
        same_models=differences.count(""),
        other_models={name: differences.count(name) for name in sorted({*differences} - {""})},
        broken=played.broken,
        outcome="no effect",
    )
    return msgspec.structs.replace(row, outcome=judge(row))


def judge(row: ProtocolRow) -> Verdict:
    """The outcome: the first that holds.

    * ``succeeds``: an invariant is broken (which a chain that stands still does too), a false update counts, or liars
      that are after it have more turns as main node than in the honest run;
    * ``convicted``: some liar was, and no honest participant;
    * ``delayed``: rounds were skipped or took more virtual time, or more honest updates came too late for their round,
      than in any honest run;
    * ``outvoted``: false statements counted, and changed nothing;
    * ``refused``: lies arrived, and were refused;
    * ``no effect``: none of this; what was asked or said was answered as it would have been in any case.
    """
    has_more_turns = row.aim == "turns" and row.pace.turns > row.honest_pace.turns
    has_lost = row.lost_updates > row.most_lost_honest
    if row.broken or row.honest_convicted or row.false_updates or has_more_turns:
        return "succeeds"
    if row.convicted:
        return "convicted"
    if row.skipped or has_lost or row.pace.virtual_s > row.slowest_honest_s:
        return "delayed"
    if row.counted:
        return "outvoted"
    return "refused" if row.refused else "no effect"


@cache
def _play_honest(plan: Plan) -> Record:
    return record(plan, Deceit())


def _turns(recorded: Record, attack: Attack) -> float:
    """Share of published rounds in which a server that gains by the attack is first by Proof of Learning.

    What was claimed at genesis is put into the genesis, and the same rounds are ranked again.
    """
    genesis = attack.claim(recorded.genesis)
    published = recorded.published
    if genesis is recorded.genesis:
        return sum(one.outcome.main_node in attack.gaining for one in published) / max(1, len(published))
    firsts = [
        rank_servers(
            genesis, one.outcome.round, _claimed_accounts(recorded.genesis, genesis, one.accounts), one.ballot.eligible
        )[0]
        for one in published
        if one.ballot is not None
    ]
    return sum(first in attack.gaining for first in firsts) / max(1, len(firsts))


def _claimed_accounts(true: Genesis, claimed: Genesis, accounts: Sequence[ServerAccount]) -> tuple[ServerAccount, ...]:
    """The accounts, if they had begun at what was claimed."""
    return tuple(
        ServerAccount(account.battery_mj - before.battery_mj + after.battery_mj)
        for account, before, after in zip(accounts, true.servers, claimed.servers, strict=True)
    )


def _pace(recorded: Record, servers: Collection[int], turns: float = 0.0) -> Pace:
    per_round = 1 / max(1, len(recorded.published))
    paid = [recorded.genesis.servers[k].battery_mj - recorded.accounts[k].battery_mj for k in servers]
    return Pace(
        heights=recorded.height * per_round,
        virtual_s=recorded.ended_us / SECOND_US * per_round,
        messages=recorded.messages * per_round,
        bytes=recorded.bytes * per_round,
        paid_mj=sum(paid) / max(1, len(paid)) * per_round,
        turns=turns,
    )


def _name(row: ProtocolRow) -> tuple[str, str, int, int]:
    return row.attack, row.by, row.liars, row.cut_off
