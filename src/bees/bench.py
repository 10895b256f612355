"""Seconds per round by phase, the ledger's share, the price of one replica on its own, and the contracts' speed.

Both ways of running the replicas are measured in one run: with identical checks shared in the process, and with
each replica doing everything itself (``docs/decisions/0005-shared-checks.md``).
"""

from __future__ import annotations

import resource
import sys
from collections import defaultdict
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
from msgspec.structs import replace

from bees.contract.description import DEFAULT_FUEL_LIMIT
from bees.contract.speed import PARAMETERS, UPDATES, contract_speeds
from bees.core.errors import BeesError
from bees.core.fixed_point import dequantise
from bees.core.seeds import generator
from bees.core.stopwatch import Stopwatch
from bees.experiment import prepare, prepare_learning
from bees.learning.baselines import BASELINES, measure_baseline
from bees.simulation import simulate

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bees.scenario import Scenario

OTHER_PHASES = ("sense", "train", "evaluate")
"""Everything else in a round is the ledger's: quantise, sign, hold, verify, contract, commit, consensus."""
WARM_UP_ROUNDS = 2
_NUMPY_LAPS = 5


def bench(scenario: Scenario, on_round: Callable[[], object]) -> dict[str, Any]:
    """Measure all rounds but those that warm up, with shared checks and without.

    Args:
        scenario: its number of blocks is ``WARM_UP_ROUNDS`` more than are to be measured.
        on_round: progress.

    Returns:
        ``round_s`` and ``phases`` (medians, seconds, shared checks), ``ledger_share``, ``ledger_ms_per_replica``
        (a replica that does everything itself), ``peak_memory_mb``, and both measurements in full.
    """
    shared = _measure(scenario, share_checks=True, on_round=on_round)
    own = _measure(scenario, share_checks=False, on_round=on_round)
    servers = shared.pop("servers")
    del own["servers"]
    return {
        "round_s": shared["round_s"],
        "phases": shared["phases"],
        "ledger_share": shared["ledger_s"] / shared["round_s"],
        "ledger_ms_per_replica": 1e3 * own["ledger_s"] / servers,
        "peak_memory_mb": peak_memory_mb(),
        "rounds": scenario.blocks - WARM_UP_ROUNDS,
        "servers": servers,
        "devices": scenario.topology.devices,
        "shared_checks": shared,
        "own_checks": own,
    }


def price_verification(
    scenario: Scenario, verified_by_all: Mapping[str, Any], on_round: Callable[[], object]
) -> dict[str, dict[str, float]]:
    """What a round costs under each reading of who verifies, beside the same learning without any ledger.

    Args:
        scenario: as for ``bench``.
        verified_by_all: the report of ``bench`` on it, which has measured that reading.
        on_round: progress.

    Returns:
        By reading, and for ``plain FedAvg``: ``round_s``, ``ledger_share`` and ``ledger_ms_per_replica`` (that of a
        replica which does everything itself; 0 without a ledger).
    """
    alone = replace(scenario, ledger=replace(scenario.ledger, verification="main_node"))
    shared, own = (_measure(alone, share_checks=share, on_round=on_round) for share in (True, False))
    columns = ("round_s", "ledger_share", "ledger_ms_per_replica")
    return {
        "plain FedAvg": dict(zip(columns, (_learning_round_s(scenario, scenario.blocks), 0.0, 0.0), strict=True)),
        "main_node": {
            "round_s": shared["round_s"],
            "ledger_share": shared["ledger_s"] / shared["round_s"],
            "ledger_ms_per_replica": 1e3 * own["ledger_s"] / own["servers"],
        },
        "all_servers": {column: verified_by_all[column] for column in columns},
    }


def bench_contracts(*, updates: int = UPDATES, parameters: int = PARAMETERS) -> dict[str, Any]:
    """How fast each packaged contract aggregates, beside a plain mean by NumPy of as many rows.

    Args:
        updates: M, all UEs of the paper; ``argmax`` takes 1 in any case.
        parameters: P, the paper's model.

    Returns:
        ``updates``, ``parameters``, ``fuel_limit``, ``numpy_mean`` (``seconds``, ``gb_per_s``), and ``contracts``: by
        name ``seconds``, ``gb_per_s`` and ``fuel`` of one call, with a fresh instance and the copies into its memory.
    """
    rows = generator(0, "bench contracts").integers(-(2**22), 2**22, (updates, parameters), dtype=np.int32)
    laps: list[float] = []
    for _ in range(_NUMPY_LAPS):
        since = perf_counter()
        rows.mean(axis=0)
        laps.append(perf_counter() - since)
    speeds = contract_speeds(updates=updates, parameters=parameters)
    return {
        "updates": updates,
        "parameters": parameters,
        "fuel_limit": DEFAULT_FUEL_LIMIT,
        "numpy_mean": {"seconds": min(laps), "gb_per_s": rows.nbytes / min(laps) / 1e9},
        "contracts": {
            speed.name: {"seconds": speed.seconds, "gb_per_s": speed.gigabytes_per_s, "fuel": speed.fuel}
            for speed in speeds
        },
    }


def _measure(scenario: Scenario, *, share_checks: bool, on_round: Callable[[], object]) -> dict[str, Any]:
    watch = Stopwatch()
    laps: list[dict[str, float]] = []
    totals: list[float] = []
    with prepare(scenario, share_checks=share_checks, timer=watch) as experiment:
        before, since = dict(watch.seconds), perf_counter()
        for number, _ in enumerate(simulate(experiment), start=1):
            now, seconds = perf_counter(), dict(watch.seconds)
            if number > WARM_UP_ROUNDS:
                totals.append(now - since)
                laps.append({phase: seconds[phase] - before.get(phase, 0.0) for phase in seconds})
            on_round()
            before, since = seconds, perf_counter()
        servers = len(experiment.server_signers)
    phases = _medians(laps)
    round_s = median(totals)
    other_s = sum(phases.get(phase, 0.0) for phase in OTHER_PHASES)
    return {
        "round_s": round_s,
        "fastest_round_s": min(totals),
        "ledger_s": round_s - other_s,
        "phases": phases,
        "servers": servers,
    }


def _medians(laps: list[dict[str, float]]) -> dict[str, float]:
    by_phase: defaultdict[str, list[float]] = defaultdict(list)
    for lap in laps:
        for phase, seconds in lap.items():
            by_phase[phase].append(seconds)
    return {phase: median(seconds) for phase, seconds in sorted(by_phase.items())}


def peak_memory_mb() -> float:
    """The most memory that this process has held, in MB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak / 1e3


def compare_learning(scenario: Scenario, rounds: int) -> dict[str, float | str]:
    """Median seconds of one round's learning, as BEES does it and as others would write it; no ledger in any of them.

    Args:
        scenario: data, model and partition; UEs must hold equally many samples.
        rounds: measured rounds of each, after one that warms up.

    Returns:
        Seconds by name, or why a comparison could not be run.
    """
    results: dict[str, float | str] = {"BEES": _learning_round_s(scenario, rounds)}
    for name in BASELINES:
        try:
            results[name] = measure_baseline(name, scenario, rounds)
        except BeesError as error:
            results[name] = str(error)
    return results


def _learning_round_s(scenario: Scenario, rounds: int) -> float:
    world = prepare_learning(scenario)
    everybody = np.arange(len(world.samples))
    weights = dequantise(world.initial_words, world.model.description.exponent)
    seconds: list[float] = []
    for t in range(rounds + 1):
        since = perf_counter()
        world.score(world.trainer.train(weights, t, everybody))
        seconds.append(perf_counter() - since)
    return median(seconds[1:])
