"""Plans beyond what the design withstands, which must break an invariant: the proof that the checks can fail.

Two ways to one: *random* plans, drawn like all others but with more liars or a weak quorum; and, where these are slow
to find something, *directed* ones, in which all liars do what the attack needs and the rest stays out of its way.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count, islice
from typing import TYPE_CHECKING, Any, Literal

from msgspec.structs import replace

from bees.faults.campaign import Results, Settings, run_campaign
from bees.faults.plan import Liar, Partition, Plan
from bees.faults.plan_file import describe_plan, encode_plan, read_plan
from bees.faults.play import play
from bees.faults.shrink import shrink
from campaigns.evidence import EVIDENCE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

COUNTEREXAMPLES = EVIDENCE / "counterexamples"
Way = Literal["random", "directed"]

DIRECTED_MOST = 40
"""How many directed plans are played before a hunt is given up."""
_LONG_US = 20_000_000
"""Long enough for a round among those that are not cut off."""
AGREEMENT = "agreement"
LIVENESS = "rounds go on"
MEDIAN = "liars do not move a median"


@dataclass(frozen=True)
class Hunt:
    """What to look for, and where.

    Attributes:
        name: of the counterexample's file.
        invariant: that must break.
        settings: of the plans.
        behaviours: of all liars, in directed plans.
        device_behaviours: of all devices, in directed plans.
        explanation: why it breaks.
        cut_off: how many honest servers are cut off until the network heals, in directed plans.
    """

    name: str
    invariant: str
    settings: Settings
    behaviours: tuple[str, ...]
    device_behaviours: tuple[str, ...]
    explanation: str
    cut_off: int = 0

    def directed_plan(self, seed: int) -> Plan:
        """All liars do what the attack needs; nothing is lost, and nobody crashes."""
        drawn = self.settings.plan(seed)
        honest = sorted(set(range(drawn.servers)) - {liar.index for liar in drawn.liars})
        island = tuple(honest[: self.cut_off])
        heals_at_us = _LONG_US if island else drawn.heals_at_us
        lying = range(drawn.devices) if self.device_behaviours else ()
        return replace(
            drawn,
            heals_at_us=heals_at_us,
            longest_delay_us=2_000,
            loss=0.0,
            duplication=0.0,
            liars=tuple(Liar(liar.index, self.behaviours) for liar in drawn.liars),
            lying_devices=tuple(Liar(index, self.device_behaviours) for index in lying),
            delegating=(),
            events=(Partition(island, 0, heals_at_us),) if island else (),
        )


@dataclass(frozen=True)
class Found:
    """A counterexample.

    Attributes:
        way: how it was found.
        plan: as it was drawn.
        random_histories: random ones that were played before it was found, or in vain.
        directed_histories: likewise.
    """

    way: Way
    plan: Plan
    random_histories: int
    directed_histories: int


HUNTS = (
    Hunt(
        name="7-of-20-stall",
        invariant=LIVENESS,
        settings=Settings(faulty=7),
        behaviours=("silence",),
        device_behaviours=(),
        explanation=(
            "A block needs 14 signatures. With 7 liars there are 13 honest servers, so liars that take no part in "
            "consensus stop it for good. With 6 there are 14, and it goes on."
        ),
    ),
    Hunt(
        name="7-of-20-median",
        invariant=MEDIAN,
        settings=Settings(faulty=7),
        behaviours=("false attestation",),
        device_behaviours=(),
        cut_off=6,
        explanation=(
            "A block needs 14 signatures, and an update counts when 13 servers attest to hold it. While 6 honest "
            "servers are cut off, the chain goes on with 7 honest ones and the 7 liars, who all attest one false "
            "score. They are half of those that attest, so the lower median is theirs. With 6 liars of 14, it lies "
            "between two honest counts."
        ),
    ),
    Hunt(
        name="8-of-20-fork",
        invariant=AGREEMENT,
        settings=Settings(faulty=8),
        behaviours=("two proposals", "two votes"),
        device_behaviours=(),
        explanation=(
            "Two quorums of 14 among 20 share at least 8 servers. If these are the 8 liars, one of them proposes one "
            "block to 6 honest servers and another to the other 6; all liars vote for each; 6 + 8 = 14 commit both. "
            "With 7 liars, two quorums share an honest server, which votes once."
        ),
    ),
    Hunt(
        name="quorum-13-fork",
        invariant=AGREEMENT,
        settings=Settings(faulty=6, weak_quorum=True),
        behaviours=("two proposals", "two votes"),
        device_behaviours=(),
        explanation=(
            "Two quorums of 13 among 20 share at least 6 servers. If these are the 6 liars, each half of the 14 honest "
            "servers commits a block of its own: 7 + 6 = 13. 14 is the smallest quorum that 6 liars cannot split."
        ),
    ),
)


def hunt_down(hunt: Hunt, folder: Path, most: int, jobs: int, on_history: Callable[[], object] | None = None) -> Found:
    """Find a plan that breaks the invariant.

    Args:
        hunt: what to look for.
        folder: keeps the random histories, so that this can be resumed.
        most: random histories to play before directed ones.
        jobs: processes.
        on_history: progress.

    Raises:
        SystemExit: none was found.
    """
    results = Results(folder, hunt.settings)
    played = 0
    for first in range(0, most, 4 * jobs):
        seeds = range(first, min(first + 4 * jobs, most))
        run_campaign(results, seeds, jobs=jobs, on_history=on_history)
        for seed in seeds:
            played += 1
            if results.played[seed].result.violation == hunt.invariant:
                return Found("random", hunt.settings.plan(seed), played, 0)
    for tried, plan in enumerate(islice(_directed(hunt), DIRECTED_MOST), start=1):
        if play(plan).result.violation == hunt.invariant:
            return Found("directed", plan, played, tried)
        if on_history is not None:
            on_history()
    raise SystemExit(f"{hunt.name}: nothing was found in {most} random and {DIRECTED_MOST} directed histories")


def write_counterexample(hunt: Hunt, found: Found, budget: int, folder: Path = COUNTEREXAMPLES) -> dict[str, Any]:
    """Shrink what was found, keep its plan, and tell of it for the evidence."""
    tried = 0

    def note(played: int, best: Plan) -> None:  # noqa: ARG001  # OnTry
        nonlocal tried
        tried = played

    smallest = shrink(found.plan, hunt.invariant, budget, on_try=note)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{hunt.name}.json"
    path.write_bytes(encode_plan(smallest))
    result = play(smallest).result
    return {
        "invariant": hunt.invariant,
        "explanation": hunt.explanation,
        "found_by": found.way,
        "random_histories_played": found.random_histories,
        "directed_histories_played": found.directed_histories,
        "shrunk_in_histories": tried,
        "plan_file": f"docs/evidence/counterexamples/{path.name}",
        "seed": smallest.seed,
        "schedule_as_drawn": describe_plan(found.plan),
        "schedule": describe_plan(smallest),
        "heights": result.heights,
        "broken": result.detail,
        "broken_again": result.violation == hunt.invariant,
    }


def kept_plans(folder: Path = COUNTEREXAMPLES) -> dict[str, Plan]:
    """The kept counterexamples, by the name of their hunt."""
    return {path.stem: read_plan(path) for path in sorted(folder.glob("*.json"))}


def _directed(hunt: Hunt) -> Iterator[Plan]:
    return map(hunt.directed_plan, count())
