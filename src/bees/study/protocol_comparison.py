"""What differs between the rounds of two recordings, and whether updates are what honest participants would send."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bees.faults.world import evaluate, samples_of, train
from bees.ledger.commitments import commit_to_update

if TYPE_CHECKING:
    from bees.faults.plan import Plan
    from bees.ledger.state import EligibleUpdate
    from bees.study.protocol_recording import Record, RoundRecord

SKIPPED = "skipped"
FALSE_UPDATE = "a false update is aggregated"
HONEST_UPDATE_LOST = "an honest update came too late"
LIAR_LEFT_OUT = "without a liar's update"
OTHER = "with an update that came too late in the honest run"


def difference(plan: Plan, played: RoundRecord, honest: RoundRecord) -> str:
    """Why a round has not ended with the w_g of the honest run, or an empty string where it has."""
    if (played.outcome.selected, played.outcome.model) == (honest.outcome.selected, honest.outcome.model):
        return ""
    if played.outcome.is_skipped:
        return SKIPPED
    found, expected = _by_device(played), _by_device(honest)
    if any(not _is_honest(found[device], played.outcome.round) for device in played.outcome.selected):
        return FALSE_UPDATE
    lost = expected.keys() - found.keys()
    if any(not _is_a_liars(plan, device) for device in lost):
        return HONEST_UPDATE_LOST
    return LIAR_LEFT_OUT if lost else OTHER


def count_false(recorded: Record) -> int:
    """How many updates count in a published round that are not what an honest participant would have sent."""
    return sum(
        not _is_honest(update, one.outcome.round) for one in recorded.published for update in _by_device(one).values()
    )


def count_lost(plan: Plan, recorded: Record) -> int:
    """How many updates of honest participants do not count in a published round."""
    honest = {device for device in range(plan.devices) if not _is_a_liars(plan, device)}
    return sum(len(honest - _by_device(one).keys()) for one in recorded.published)


def _by_device(record: RoundRecord) -> dict[int, EligibleUpdate]:
    return {update.device: update for update in record.ballot.eligible} if record.ballot else {}


def _is_honest(update: EligibleUpdate, round_: int) -> bool:
    bytes_ = train(update.device, round_)
    honest = (commit_to_update(update.device, round_, bytes_), samples_of(update.device), evaluate([bytes_])[0])
    return (update.commitment, update.samples, update.correct) == honest


def _is_a_liars(plan: Plan, device: int) -> bool:
    """Whether a liar signs this device's updates: itself, or the server to which it delegates."""
    home = device * plan.servers // plan.devices
    has_lying_home = device in plan.delegating and home in {liar.index for liar in plan.liars}
    return has_lying_home or device in {liar.index for liar in plan.lying_devices}
