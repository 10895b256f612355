"""Playing a plan whatever it leads to: an error that should not be is a finding too, with its place and its seed."""

from __future__ import annotations

from time import process_time
from traceback import extract_tb
from typing import TYPE_CHECKING

from msgspec import Struct

from bees.faults.history import HistoryResult, run_history

if TYPE_CHECKING:
    from bees.faults.plan import Plan

NOTHING_RAISES = "nothing raises"
"""Not an invariant of the ledger, but of the program: no history may end in an error that nobody has foreseen."""
_DETAIL_CHARACTERS = 300


class Played(Struct, frozen=True, forbid_unknown_fields=True):
    """A history that was played.

    Attributes:
        result: what has become of it.
        cpu_s: the processor's time that it took, in seconds.
    """

    result: HistoryResult
    cpu_s: float


def play(plan: Plan) -> Played:
    """Play a history; an error in it becomes the violation of ``NOTHING_RAISES``."""
    since = process_time()
    try:
        result = run_history(plan)
    except Exception as error:  # noqa: BLE001  # a campaign of thousands must survive one, and tell of it
        result = _failed(plan, error)
    return Played(result, process_time() - since)


def violation_of(plan: Plan) -> str:
    """The invariant that a plan breaks, or an empty string."""
    return play(plan).result.violation


def _failed(plan: Plan, error: Exception) -> HistoryResult:
    places = extract_tb(error.__traceback__)
    where = f" in {places[-1].name}, line {places[-1].lineno}" if places else ""
    return HistoryResult(
        seed=plan.seed,
        digest="",
        violation=f"{NOTHING_RAISES}: {type(error).__name__}",
        detail=f"{type(error).__name__}: {error}"[:_DETAIL_CHARACTERS] + where,
        heights=0,
        rounds=0,
        skipped=0,
        virtual_s=0.0,
        deliveries=0,
        convicted=(),
        counts={},
    )
