"""Running a scenario to its end, in memory or into a folder."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import numpy as np

from bees.core.errors import BeesError
from bees.core.fixed_point import dequantise
from bees.core.stopwatch import Stopwatch
from bees.engines.chain_file import ChainFile
from bees.experiment import prepare
from bees.results import DeviceTrace, RunResult
from bees.run_folder import RunFolder
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


def run(
    scenario: Scenario,
    *,
    model: Model | None = None,
    dataset: Dataset | None = None,
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
        scenario: what to run.
        model: an own model instead of the scenario's; see ``bees.learning.models.Model``.
        dataset: own data instead of the scenario's; see ``bees.learning.datasets.Dataset``.
        policy: an own offloading policy; see ``bees.edge.offloading.Policy``.
        share_checks: whether the replicas do identical checks once.
        on_round: called with each round's row as soon as its block is committed.

    Returns:
        rows, per-UE arrays and the final model.

    Raises:
        ScenarioError: the scenario and the data contradict each other.
        NoDeviceLeftError: every battery ran empty.
    """
    watch = Stopwatch()
    experiment = prepare(
        scenario, model=model, dataset=dataset, policy=policy, share_checks=share_checks, stopwatch=watch
    )
    rounds = list(_observed(experiment, watch, on_round))
    return _result(experiment, rounds, watch)


def run_into_folder(
    scenario: Scenario,
    path: Path,
    *,
    command: str,
    share_checks: bool = True,
    on_round: OnRound | None = None,
) -> RunResult:
    """Run a scenario and leave everything in a new folder; an interrupted run leaves a chain that verifies.

    Raises:
        OutputError: the folder exists, or cannot be written.
        ScenarioError: the scenario and the data contradict each other.
        NoDeviceLeftError: every battery ran empty.
    """
    folder = RunFolder(path, scenario, command)
    done: list[Round] = []

    def keep(row: RoundRow) -> None:
        folder.add_round(row)
        if on_round is not None:
            on_round(row)

    watch = Stopwatch()
    try:
        with ExitStack() as stack:
            chain = stack.enter_context(ChainFile.create(folder.chain))
            experiment = prepare(scenario, share_checks=share_checks, chain_file=chain, stopwatch=watch)
            for one in _observed(experiment, watch, keep):
                done.append(one)  # noqa: PERF402  # an interrupt must leave what is done
        result = _result(experiment, done, watch)
        folder.finish(result)
    except BeesError as error:
        folder.set_status("failed", error, blocks_done=len(done), blocks=scenario.blocks)
        raise
    except KeyboardInterrupt:
        folder.set_status("interrupted", blocks_done=len(done), blocks=scenario.blocks)
        raise
    return result


def _observed(experiment: Experiment, watch: Stopwatch, on_round: OnRound | None):
    for one in simulate(experiment, watch):
        if on_round is not None:
            on_round(one.row)
        yield one


def _result(experiment: Experiment, rounds: list[Round], watch: Stopwatch) -> RunResult:
    description = experiment.model.description
    return RunResult(
        scenario=experiment.scenario,
        rounds=tuple(one.row for one in rounds),
        devices=DeviceTrace(
            offloads=np.stack([one.physics.offloads for one in rounds]),
            active=np.stack([one.physics.active for one in rounds]),
            compute_time_s=np.stack([one.physics.compute_time_s for one in rounds]),
            transmit_time_s=np.stack([one.physics.transmit_time_s for one in rounds]),
            energy_j=np.stack([one.physics.energy_j for one in rounds]),
            charge_j=np.stack([one.charge_j for one in rounds]),
        ),
        model=description,
        weights=dequantise(rounds[-1].words, description.exponent),
        phase_seconds=dict(watch.seconds),
    )
