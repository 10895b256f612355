"""``bees study offloading``: when should a device offload? Phase diagrams, policies in worlds, and what is learnt.

A row for each diagram, for each policy in each world (physics alone), and for each pair of them that is trained. Rows
are appended in the order of the plan, whatever the number of processes, so that the file is the same.
"""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec
import numpy as np

from bees.core.errors import NoDeviceLeftError, ScenarioError
from bees.edge.proof_of_work import mining_energy_j
from bees.experiment import prepare
from bees.scenario_file import load_scenario
from bees.simulation import simulate
from bees.study.offloading_diagram import Plane, Point, Sharing, Typical, draw, point_of, typical
from bees.study.offloading_worlds import LEARNT, POLICIES, WORLDS, knobs_of, run_course, scenario_of
from bees.study.rows import append_bytes, append_row, read_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from bees.results import RoundRow
    from bees.study.offloading_worlds import Course

    OnRow = Callable[[str], object]

CONSTANTS = ("paper", "sound")
SHARERS = (1, 5, 30, 100)
"""The whole band, the mean of a cell, the channels of a cell, and the whole network."""
PLANES: tuple[Plane, ...] = ("work", "hardware")


class DiagramRow(msgspec.Struct, frozen=True, kw_only=True, tag="diagram"):
    """A phase diagram.

    Attributes:
        constants: the preset that the typical UE is of.
        ue: the typical UE.
        sharing: with how many it shares, and how long its raw data serves.
        plane: ``work``: cycles per sample by raw bytes; ``hardware``: bandwidth by clock.
        cells: a line for each y, a digit for each x, as ``bees.study.offloading_diagram.draw`` says.
        published: the UE with the published 80 MB.
        real: the UE with the real size of its samples.
    """

    constants: str
    ue: Typical
    sharing: Sharing
    plane: Plane
    cells: tuple[str, ...]
    published: Point
    real: Point


class PolicyRow(msgspec.Struct, frozen=True, kw_only=True, tag="policy"):
    """What a policy does in a world, by physics alone; sums are over all blocks.

    Attributes:
        world: its name.
        policy: its name.
        seed: of the run.
        knobs: all changes to the world's preset.
        blocks: T.
        ended_at: the block at which nobody was left, or None.
        latency_s: of all blocks.
        energy_j: of all UEs.
        server_energy_j: of all servers.
        mining_energy_j: what mining the same blocks by Proof of Work would have cost.
        uplink_bytes: from UEs to servers.
        downlink_bytes: from servers to UEs.
        backhaul_bytes: between servers.
        raw_bytes: raw data that left their owners.
        raw_samples_shared: distinct samples that left them.
        offloaded: updates that arrived and were trained at a server.
        arrived: updates that arrived, block by block.
        charged: UEs that were not empty when each block began, and at the end.
        pattern: a hash of who arrived when; None if the policy refuses this world.
        refused: why it does, or None.
    """

    world: str
    policy: str
    seed: int
    knobs: tuple[str, ...]
    blocks: int
    ended_at: int | None = None
    latency_s: float = 0.0
    energy_j: float = 0.0
    server_energy_j: float = 0.0
    mining_energy_j: float = 0.0
    uplink_bytes: float = 0.0
    downlink_bytes: float = 0.0
    backhaul_bytes: float = 0.0
    raw_bytes: float = 0.0
    raw_samples_shared: int = 0
    offloaded: int = 0
    arrived: tuple[int, ...] = ()
    charged: tuple[int, ...] = ()
    pattern: str | None = None
    refused: str | None = None


class LearningRow(msgspec.Struct, frozen=True, kw_only=True, tag="learning"):
    """What a policy in a world learns: a real run, with its ledger.

    Attributes:
        world: its name.
        policy: its name.
        seed: of the run.
        knobs: all changes to the world's preset.
        pattern: a hash of who arrived when.
        trained_as: world and policy of the run that was trained. Another pair in which the same UEs arrive in the same
            blocks learns the same, and is not trained again.
        accuracy: after each block.
        total_latency_s: up to each block.
        total_energy_j: of all UEs, up to each block.
    """

    world: str
    policy: str
    seed: int
    knobs: tuple[str, ...]
    pattern: str
    trained_as: tuple[str, str]
    accuracy: tuple[float, ...]
    total_latency_s: tuple[float, ...]
    total_energy_j: tuple[float, ...]


Row: TypeAlias = DiagramRow | PolicyRow | LearningRow


class DiagramTask(msgspec.Struct, frozen=True):
    """To draw one diagram."""

    constants: str
    sharing: Sharing
    plane: Plane


class PolicyTask(msgspec.Struct, frozen=True):
    """To run one policy in one world, by physics alone."""

    world: str
    policy: str
    seed: int
    changes: tuple[str, ...]


class LearningTask(msgspec.Struct, frozen=True):
    """To train a pair, for all pairs in which the same UEs arrive."""

    pairs: tuple[tuple[str, str], ...]
    seed: int
    changes: tuple[str, ...]
    pattern: str


Task: TypeAlias = DiagramTask | PolicyTask | LearningTask


def study_offloading(
    path: Path, seeds: Sequence[int], on_row: OnRow, *, jobs: int = 1, changes: Sequence[str] = ()
) -> list[Row]:
    """Measure all that ``path`` does not hold yet, appending rows as they are measured.

    Args:
        path: a .jsonl file; made if it does not exist.
        seeds: of the runs.
        on_row: called with what was done, for each of ``planned`` parts.
        jobs: how many processes work at once.
        changes: ``key=value`` changes to every scenario.

    Raises:
        InputError: a line of the file is broken.
        OutputError: the file cannot be written.
        ScenarioError: a change is none, or makes no world.
    """
    rows: list[Row] = read_rows(path, Row)
    append_bytes(path, b"")
    changes = tuple(changes)
    plans: tuple[Callable[[], list[Task]], ...] = (
        lambda: diagram_tasks(changes),
        lambda: policy_tasks(seeds, changes),
        lambda: learning_tasks(rows, seeds, changes),
    )
    for plan in plans:
        tasks = plan()
        known = {key for row in rows for key in [_key_of_row(row)]}
        missing = [task for task in tasks if not _keys_of(task) <= known]
        for _ in range(len(tasks) - len(missing)):
            on_row("known already")
        for made in _work_off(missing, jobs):
            for row in made:
                if _key_of_row(row) not in known:
                    append_row(path, row)
                    rows.append(row)
            on_row(describe(made[0]))
    return rows


def planned(seeds: Sequence[int]) -> int:
    """How many parts the study has at most, for a progress bar."""
    return len(diagram_tasks(())) + len(policy_tasks(seeds, ())) + len(LEARNT) * len(seeds)


def diagram_tasks(changes: tuple[str, ...]) -> list[Task]:
    """All diagrams, for one block and for all of a run."""
    run = load_scenario("paper", changes).blocks
    sharings = [Sharing(sharers=n, blocks=m) for m in (1, run) for n in SHARERS]
    return [DiagramTask(name, sharing, plane) for name in CONSTANTS for plane in PLANES for sharing in sharings]


def policy_tasks(seeds: Sequence[int], changes: tuple[str, ...]) -> list[Task]:
    """All policies in all worlds."""
    return [PolicyTask(world, policy, seed, changes) for seed in seeds for world in WORLDS for policy in POLICIES]


def learning_tasks(rows: Sequence[Row], seeds: Sequence[int], changes: tuple[str, ...]) -> list[Task]:
    """One training for each pattern of arrivals among the pairs whose accuracy is wanted."""
    patterns = {(row.world, row.policy, row.knobs): row.pattern for row in rows if isinstance(row, PolicyRow)}
    grouped: dict[tuple[int, str], list[tuple[str, str]]] = {}
    for seed in seeds:
        for world, policy in LEARNT:
            pattern = patterns.get((world, policy, knobs_of(world, policy, seed, changes)))
            if pattern is not None:
                grouped.setdefault((seed, pattern), []).append((world, policy))
    return [LearningTask(tuple(pairs), seed, changes, pattern) for (seed, pattern), pairs in grouped.items()]


def measure(task: Task) -> list[Row]:
    """The rows of a task; a pure function of it.

    Raises:
        ScenarioError: the task's changes make no world.
    """
    if isinstance(task, DiagramTask):
        return [measure_diagram(task)]
    return [measure_policy(task)] if isinstance(task, PolicyTask) else list(measure_learning(task))


def measure_diagram(task: DiagramTask) -> DiagramRow:
    """Draw a diagram, and its two points."""
    scenario = load_scenario(task.constants)
    ue = typical(scenario)
    return DiagramRow(
        constants=task.constants,
        ue=ue,
        sharing=task.sharing,
        plane=task.plane,
        cells=draw(task.plane, ue, task.sharing),
        published=point_of(ue, task.sharing, scenario.radio.raw_data_bytes),
        real=point_of(ue, task.sharing, ue.real_bytes),
    )


def measure_policy(task: PolicyTask) -> PolicyRow:
    """Run the edge world; a policy that is not made for a world says so in its row."""
    scenario = scenario_of(task.world, task.policy, task.seed, task.changes)
    knobs = knobs_of(task.world, task.policy, task.seed, task.changes)
    try:
        course = run_course(scenario)
    except ScenarioError as error:
        if error.key != "offloading.policy":
            raise
        return PolicyRow(
            world=task.world, policy=task.policy, seed=task.seed, knobs=knobs, blocks=0, refused=error.problem
        )
    totals: dict[str, Any] = {name: _total(course, name) for name in _SUMMED}
    return PolicyRow(
        world=task.world,
        policy=task.policy,
        seed=task.seed,
        knobs=knobs,
        blocks=len(course.rows),
        ended_at=course.ended_at,
        mining_energy_j=mining_energy_j(scenario.proof_of_work, len(course.rows)),
        raw_samples_shared=int(course.rows[-1]["raw_samples_shared"]),
        offloaded=int(_total(course, "offloaded")),
        arrived=tuple(int(row["arrived"]) for row in course.rows),
        charged=(*(int(row["charged"]) for row in course.rows), course.charged_at_end),
        pattern=course.pattern,
        **totals,
    )


_SUMMED = (
    "latency_s",
    "energy_j",
    "server_energy_j",
    "uplink_bytes",
    "downlink_bytes",
    "backhaul_bytes",
    "raw_bytes",
)


def measure_learning(task: LearningTask) -> Iterator[LearningRow]:
    """Train the first pair, with its ledger, and give all pairs what they have in common with it."""
    rounds = run_until_nobody_is_left(task)
    for world, policy in task.pairs:
        course = run_course(scenario_of(world, policy, task.seed, task.changes))
        seconds, joules = (
            np.cumsum([row[name] for row in course.rows])[: len(rounds)].tolist() for name in ("latency_s", "energy_j")
        )
        yield LearningRow(
            world=world,
            policy=policy,
            seed=task.seed,
            knobs=knobs_of(world, policy, task.seed, task.changes),
            pattern=task.pattern,
            trained_as=task.pairs[0],
            accuracy=tuple(row.accuracy for row in rounds),
            total_latency_s=tuple(seconds),
            total_energy_j=tuple(joules),
        )


def run_until_nobody_is_left(task: LearningTask) -> list[RoundRow]:
    """The rounds of the task's first pair."""
    rounds: list[RoundRow] = []
    with prepare(scenario_of(*task.pairs[0], task.seed, task.changes)) as experiment:
        try:
            rounds.extend(one.row for one in simulate(experiment))
        except NoDeviceLeftError:
            return rounds
    return rounds


def describe(row: Row) -> str:
    """A row in a few words."""
    if isinstance(row, DiagramRow):
        return f"{row.constants}: {row.plane} diagram, {row.sharing.sharers} sharing"
    if isinstance(row, PolicyRow):
        return f"{row.policy} in {row.world}: {row.energy_j:,.0f} J"
    return f"{row.policy} in {row.world}: {row.accuracy[-1]:.3f}"


def summarise(rows: Sequence[Row]) -> list[dict[str, str | int | float | None]]:
    """A line for each policy in each world and seed, with the accuracy where it was trained."""
    learnt = {(row.world, row.policy, row.knobs): row.accuracy[-1] for row in rows if isinstance(row, LearningRow)}
    return [
        {
            "world": row.world,
            "policy": row.policy if row.seed == 0 else f"{row.policy} (seed {row.seed})",
            "latency_s": round(row.latency_s, 2),
            "energy_j": round(row.energy_j, 1),
            "server_energy_j": round(row.server_energy_j, 1),
            "arrived": sum(row.arrived),
            "alive": row.charged[-1],
            "raw_samples_shared": row.raw_samples_shared,
            "accuracy": learnt.get((row.world, row.policy, row.knobs)),
        }
        for row in rows
        if isinstance(row, PolicyRow) and row.refused is None
    ]


def _work_off(tasks: Sequence[Task], jobs: int) -> Iterable[list[Row]]:
    if jobs == 1 or len(tasks) <= 1:
        yield from map(measure, tasks)
        return
    # Not forked: JAX has threads.
    with ProcessPoolExecutor(min(jobs, len(tasks)), multiprocessing.get_context("spawn")) as pool:
        try:
            yield from pool.map(measure, tasks)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _total(course: Course, name: str) -> float:
    return float(sum(row[name] for row in course.rows))


def _key_of_row(row: Row) -> tuple[Any, ...]:
    if isinstance(row, DiagramRow):
        return ("diagram", row.constants, row.sharing, row.plane)
    return (type(row).__name__, row.world, row.policy, row.knobs)


def _keys_of(task: Task) -> set[tuple[Any, ...]]:
    if isinstance(task, DiagramTask):
        return {("diagram", task.constants, task.sharing, task.plane)}
    if isinstance(task, PolicyTask):
        knobs = knobs_of(task.world, task.policy, task.seed, task.changes)
        return {("PolicyRow", task.world, task.policy, knobs)}
    return {
        ("LearningRow", world, policy, knobs_of(world, policy, task.seed, task.changes)) for world, policy in task.pairs
    }
