"""Measuring the curves behind Figures 3 to 8: real runs, ledger and all, and physics alone where that is enough.

Figures 3 to 5 come from full runs. Figures 7 and 8 (energy of 150 and 200 UEs) need no training: the energy of a
block depends on the edge world and on how many samples each UE holds, and the full run computes it with this very
function from the same data and partition (a test shows it).
"""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING

import msgspec

from bees import __version__
from bees.core.hashes import digest
from bees.edge.physics import simulate_physics
from bees.experiment import split_data
from bees.learning.models import build_model
from bees.reproduce.curves import Curve, Reproduction
from bees.run_folder import BROKEN_JSON, cannot_write, write_bytes
from bees.runner import run, run_into_folder
from bees.scenario_file import dump_scenario, load_scenario

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from bees.scenario import Scenario

    OnStep = Callable[[str, int], object]
    """Called with what is being measured, and how many blocks of it are new."""

CURVES = "curves"
"""The folder of what is measured, by which a reproduction is known."""
SCHEMES = {"BEES": "paper", "B-EI": "b-ei"}
TRAINED_DEVICES = (50, 75, 100)
PHYSICS_DEVICES = (150, 200)
_KEPT_DEVICES = 100
"""Only these runs keep their folder with the chain; the others are variations."""


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """One run of one seed, as it is kept for resuming.

    Attributes:
        scenario: hash of the scenario's text.
        accuracy: after each block; empty for physics alone.
        latency_s: accumulated.
        energy_j: accumulated.
        seconds: wall-clock time that it took.
    """

    scenario: str
    accuracy: tuple[float, ...]
    latency_s: tuple[float, ...]
    energy_j: tuple[float, ...]
    seconds: float


@dataclass(frozen=True)
class Job:
    """One run to be measured.

    Attributes:
        scheme: ``BEES`` or ``B-EI``.
        devices: K.
        seed: of the run.
        trains: whether it is a full run.
    """

    scheme: str
    devices: int
    seed: int
    trains: bool

    @property
    def name(self) -> str:
        """Such as ``bees-k100-s0``."""
        return f"{self.scheme.lower()}-k{self.devices}-s{self.seed}"

    def scenario(self, changes: Sequence[str]) -> Scenario:
        """The preset with this job's K and seed."""
        own = [f"topology.devices={self.devices}", f"seed={self.seed}", f"name={self.name}"]
        return load_scenario(SCHEMES[self.scheme], [*changes, *own])


def jobs_of(seeds: Sequence[int]) -> tuple[Job, ...]:
    """All runs that the figures need, the most telling first."""
    trained = sorted(TRAINED_DEVICES, reverse=True)
    return tuple(
        Job(scheme, devices, seed, devices in TRAINED_DEVICES)
        for seed in seeds
        for devices in (*trained, *PHYSICS_DEVICES)
        for scheme in SCHEMES
    )


def measure(
    folder: Path, seeds: Sequence[int], command: str, on_step: OnStep, changes: Sequence[str] = ()
) -> Reproduction:
    """Run whatever is not measured yet, and return all curves.

    Args:
        folder: exists; keeps what is measured in ``curves/`` and the main runs in ``runs/``.
        seeds: of the runs.
        command: to be noted in the runs' folders.
        on_step: progress.
        changes: ``key=value`` changes to every scenario.

    Raises:
        OutputError: the folder cannot be written.
        StorageError: a run's chain file cannot be written.
        ScenarioError: a change is refused.
        DatasetError: the data is broken.
    """
    curves_folder = folder / CURVES
    try:
        curves_folder.mkdir(exist_ok=True)
    except OSError as error:
        raise cannot_write(curves_folder, error) from error
    measured = {job: _measure_once(folder, job, job.scenario(changes), command, on_step) for job in jobs_of(seeds)}
    blocks = max(len(one.latency_s) for one in measured.values())
    curves = tuple(_curves(measured, seeds))
    seconds = sum(one.seconds for one in measured.values())
    return Reproduction(version=__version__, blocks=blocks, curves=curves, seconds=seconds)


def _measure_once(folder: Path, job: Job, scenario: Scenario, command: str, on_step: OnStep) -> Measured:
    path = folder / CURVES / f"{job.name}.json"
    identity = digest("scenario text", dump_scenario(scenario).encode()).hex()
    if path.is_file():
        try:
            known = msgspec.json.decode(path.read_bytes(), type=Measured)
        except BROKEN_JSON:
            known = None  # cut by a crash: measure again
        if known is not None and known.scenario == identity:
            on_step(job.name, scenario.blocks)
            return known
    one = _run(folder, job, scenario, identity, command, on_step) if job.trains else _physics(scenario, identity)
    if not job.trains:
        on_step(job.name, scenario.blocks)
    write_bytes(path.parent, path.name, msgspec.json.encode(one))
    return one


def _run(folder: Path, job: Job, scenario: Scenario, identity: str, command: str, on_step: OnStep) -> Measured:
    start = perf_counter()

    def step(_row: object) -> None:
        on_step(job.name, 1)

    if job.devices == _KEPT_DEVICES:
        result = run_into_folder(scenario, _free(folder / "runs" / job.name), command=command, on_round=step)
    else:
        result = run(scenario, on_round=step)
    return Measured(
        scenario=identity,
        accuracy=tuple(result.accuracy.tolist()),
        latency_s=tuple(result.total_latency_s.tolist()),
        energy_j=tuple(result.total_energy_j.tolist()),
        seconds=perf_counter() - start,
    )


def _physics(scenario: Scenario, identity: str) -> Measured:
    start = perf_counter()
    data = split_data(scenario)
    parameters = build_model(scenario.learning, data.dataset).description.parameters
    physics = simulate_physics(scenario, data.samples, sample_bytes=data.sample_bytes, parameters=parameters)
    return Measured(
        scenario=identity,
        accuracy=(),
        latency_s=tuple(physics.cumulative_latency_s.tolist()),
        energy_j=tuple(physics.cumulative_energy_j.tolist()),
        seconds=perf_counter() - start,
    )


def _free(path: Path) -> Path:
    """The path, or with a number behind it where an interrupted attempt has left a folder."""
    candidates = (path, *(path.with_name(f"{path.name}-{attempt}") for attempt in range(2, 1000)))
    return next(candidate for candidate in candidates if not candidate.exists())


def _curves(measured: dict[Job, Measured], seeds: Sequence[int]) -> Iterator[Curve]:
    for scheme in SCHEMES:
        for devices in (*TRAINED_DEVICES, *PHYSICS_DEVICES):
            rows = [one for job, one in measured.items() if (job.scheme, job.devices) == (scheme, devices)]
            yield Curve(
                scheme=scheme,
                devices=devices,
                seeds=tuple(seeds),
                accuracy=tuple(one.accuracy for one in rows if one.accuracy),
                latency_s=tuple(one.latency_s for one in rows),
                energy_j=tuple(one.energy_j for one in rows),
            )
