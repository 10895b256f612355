"""Running a scenario to its end, in memory or into a folder."""

from __future__ import annotations

from contextlib import suppress
from os import PathLike
from time import monotonic
from typing import TYPE_CHECKING

import numpy as np

from bees.core.errors import BeesError, OutputError
from bees.core.fixed_point import dequantise
from bees.core.stopwatch import Stopwatch
from bees.experiment import Own, lay_groundwork, open_experiment, prepare
from bees.results import DeviceTrace, RunResult
from bees.run_folder import STATUS, RunFolder, write_json
from bees.scenario_file import load_scenario
from bees.simulation import simulate

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bees.edge.offloading import Policy
    from bees.experiment import Experiment
    from bees.learning.datasets import Dataset
    from bees.learning.models import Model
    from bees.results import RoundRow
    from bees.scenario import Scenario
    from bees.simulation import Round

    OnRound = Callable[[RoundRow], object]

STATUS_INTERVAL_S = 1.0
"""How old ``status.json`` may grow while rounds go on."""


def run(
    scenario: Scenario | str | PathLike[str],
    *,
    model: Model | None = None,
    dataset: Dataset | str | Path | None = None,
    policy: Policy | None = None,
    share_checks: bool = True,
    on_round: OnRound | None = None,
) -> RunResult:
    """Run a scenario in memory.

    Example:
        >>> import bees
        >>> result = bees.run(bees.load_scenario("quick", ["blocks=2"]))
        >>> len(result.rounds)
        2

    Args:
        scenario: what to run, or the preset or TOML file that says it.
        model: an own model instead of the scenario's; see ``bees.learning.models.Model``.
        dataset: own data instead of the scenario's, or the path of an .npz file; see
            ``bees.learning.datasets.Dataset``.
        policy: an own offloading policy; see ``bees.edge.offloading.Policy``.
        share_checks: whether the replicas do identical checks once.
        on_round: called with each round's row as soon as its block is committed.

    Returns:
        rows, per-UE arrays and the final model.

    Raises:
        DatasetError: the data is broken.
        InputError: what is handed in is no scenario, model or policy.
        ModelShapeError: the model does not fit the data.
        ScenarioError: the scenario contradicts itself or the data.
        NoDeviceLeftError: every battery ran empty.
    """
    source = "scenario"
    if isinstance(scenario, str | PathLike):
        scenario, source = load_scenario(scenario), str(scenario)
    watch = Stopwatch()
    own = Own(model=model, dataset=dataset, policy=policy)
    rounds: list[Round] = []
    with prepare(scenario, own, share_checks=share_checks, timer=watch, source=source) as experiment:
        for one in simulate(experiment):
            rounds.append(one)
            if on_round is not None:
                on_round(one.row)
        return _result(experiment, rounds, watch)


def run_into_folder(
    scenario: Scenario,
    path: Path,
    *,
    command: str,
    resumes: bool = False,
    share_checks: bool = True,
    on_round: OnRound | None = None,
    source: str = "scenario",
) -> RunResult:
    """Run a scenario and leave everything in a folder; a run that was stopped leaves a chain that verifies.

    The folder is made when scenario and data have been found to be sound, so that a refusal leaves none behind.
    A row is written when the blocks of its round are committed and synced: whoever reads it may rely on them.

    Args:
        scenario: what to run.
        path: of the folder.
        command: to be noted in it.
        resumes: whether the folder is that of a run that was stopped; else it must not exist.
        share_checks: whether the replicas do identical checks once.
        on_round: called with each round's row as soon as its block is committed.
        source: the file or preset that the scenario came from, to name when something is wrong with it.

    Raises:
        OutputError: the folder exists, or cannot be written.
        StorageError: the chain file cannot be written; what was committed stays, and the run can be resumed.
        DatasetError: the data is broken.
        ScenarioError: the scenario and the data contradict each other.
        NoDeviceLeftError: every battery ran empty.
    """
    groundwork = lay_groundwork(scenario, source=source)
    folder = RunFolder(path, groundwork.scenario, command, resumes=resumes)
    progress = _Progress(folder, scenario.blocks)
    watch = Stopwatch()
    rounds: list[Round] = []
    try:
        with open_experiment(
            groundwork, share_checks=share_checks, timer=watch, chain_file=folder.chain, resumes=folder.chain.exists()
        ) as experiment:
            for one in simulate(experiment):
                rounds.append(one)
                folder.add_round(one.row)
                progress.tell(len(rounds))
                if on_round is not None:
                    on_round(one.row)
        result = _result(experiment, rounds, watch)
        folder.finish(result)
    except KeyboardInterrupt:
        # The disk may be what has failed: that must not hide what ended the run.
        with suppress(OutputError):
            progress.note("interrupted")
        raise
    except BaseException as error:
        with suppress(OutputError):
            progress.note_failure(error)
        raise
    return result


class _Progress:
    """Keeps ``blocks_done`` of ``status.json`` up to date, at most about once a second: writing costs time."""

    def __init__(self, folder: RunFolder, blocks: int) -> None:
        self._folder, self._blocks = folder, blocks
        self._done, self._told_at = 0, monotonic()

    def tell(self, done: int) -> None:
        self._done = done
        if monotonic() - self._told_at >= STATUS_INTERVAL_S:
            self.note("running")
            self._told_at = monotonic()

    def note(self, status: str, error: BeesError | None = None) -> None:
        self._folder.set_status(status, error, blocks_done=self._done, blocks=self._blocks)

    def note_failure(self, error: BaseException) -> None:
        if isinstance(error, BeesError):
            self.note("failed", error)
            return
        # Whatever else ends a run, such as a policy of the user's own that raises, must not leave it "running".
        facts = {"blocks_done": self._done, "blocks": self._blocks}
        named = {"error": type(error).__name__, "message": str(error)}
        write_json(self._folder.path, STATUS, {"status": "failed", **facts, **named})


def _result(experiment: Experiment, rounds: list[Round], watch: Stopwatch) -> RunResult:
    description = experiment.learning.model.description
    return RunResult(
        scenario=experiment.scenario,
        rounds=tuple(one.row for one in rounds),
        devices=DeviceTrace(
            offloads=np.stack([one.physics.decision for one in rounds]),
            participates=np.stack([one.physics.participates for one in rounds]),
            active=np.stack([one.physics.arrives for one in rounds]),
            compute_time_s=np.stack([one.physics.compute_time_s for one in rounds]),
            transmit_time_s=np.stack([one.physics.transmit_time_s for one in rounds]),
            energy_j=np.stack([one.physics.energy_j for one in rounds]),
            charge_j=np.stack([one.charge_j for one in rounds]),
            raw_bytes=np.stack([one.physics.raw_bytes_sent for one in rounds]),
        ),
        model=description,
        weights=dequantise(rounds[-1].words, description.exponent),
        phase_seconds=dict(watch.seconds),
    )
