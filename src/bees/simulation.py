"""One communication round after the other, in the words of the paper's Algorithm 1.

BEES, B-EI and plain FedAvg are this one loop: they differ in the scenario (contract, M, policy, sharing).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bees.core.errors import NoDeviceLeftError
from bees.core.fixed_point import dequantise, quantise, words_to_bytes
from bees.core.stopwatch import Stopwatch
from bees.edge.battery import debit
from bees.edge.physics import sense
from bees.ledger.state import Phase
from bees.protocol.device import OpenRound, check_global_model, commit_update, delegate_round
from bees.protocol.server import attest, held_updates, publish
from bees.results import RoundRow

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from bees.core.fixed_point import Words
    from bees.edge.physics import BlockPhysics
    from bees.experiment import Experiment
    from bees.ledger.state import EligibleUpdate


@dataclass(frozen=True)
class Round:
    """What one communication round has brought.

    Attributes:
        row: for rounds.jsonl.
        physics: per-UE arrays.
        charge_j: what the batteries hold after it, shape (K,).
        words: of w_g(t), shape (P,).
    """

    row: RoundRow
    physics: BlockPhysics
    charge_j: NDArray[np.float64]
    words: Words


def simulate(experiment: Experiment, stopwatch: Stopwatch | None = None) -> Iterator[Round]:
    """Algorithm 1: while sensors sense data, train locally, elect, verify, aggregate by contract, share w_g.

    Args:
        experiment: data, model, world and chain.
        stopwatch: accumulates wall-clock seconds by phase.

    Yields:
        each communication round, after its block is committed by every server.

    Raises:
        NoDeviceLeftError: every battery is empty.
    """
    watch = stopwatch or Stopwatch()
    words, charge_j = experiment.founding.initial_model, experiment.initial_charge_j
    totals = _Totals()
    for t in range(1, experiment.scenario.blocks + 1):
        physics = sense(experiment.edge, t, charge_j)
        if not physics.active.any():
            raise NoDeviceLeftError(t)
        updates = local_training(experiment, words, t, physics, watch)
        eligible, words = share_intelligence(experiment, words, updates, physics, watch)
        charge_j = debit(charge_j, physics.energy_j)
        with watch.measure("evaluate"):
            accuracy = experiment.test_accuracy(words)
        totals = totals.plus(physics)
        row = _row(experiment, t, physics, totals, eligible, accuracy)
        yield Round(row, physics, charge_j, words)


def local_training(
    experiment: Experiment, words: Words, t: int, physics: BlockPhysics, watch: Stopwatch
) -> dict[int, bytes]:
    """w_l^i <- LocalTraining(i, w_g) for each participant i, all at once; the raw words of each update."""
    participants = np.flatnonzero(physics.active)
    exponent = experiment.model.description.exponent
    with watch.measure("train"):
        weights = experiment.trainer.train(dequantise(words, exponent), t, participants)
    with watch.measure("quantise"):
        quantised = quantise(weights, exponent)
        return {int(device): words_to_bytes(update) for device, update in zip(participants, quantised, strict=True)}


def share_intelligence(
    experiment: Experiment, words: Words, updates: dict[int, bytes], physics: BlockPhysics, watch: Stopwatch
) -> tuple[tuple[EligibleUpdate, ...], Words]:
    """The round on the chain: COLLECT, ATTEST, PUBLISH. Returns what was eligible, and the words of w_g(t)."""
    collect(experiment, words, updates, physics, watch)
    attest_updates(experiment, watch)
    eligible = publish_model(experiment, watch)
    state = experiment.engine.state
    return eligible, experiment.engine.model_words(state.model)
