"""``bees study readings``: which partition, epochs, batch, learning rate and selection come nearest to the paper.

The paper gives four accuracies after 50 blocks (BEES and B-EI, with 100 and 50 UEs) and none of these knobs. Each
setting is run as it is, over several seeds, and its distance to the four is written down, near or far.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import msgspec

from bees.experiment import prepare_learning
from bees.scenario_file import load_scenario
from bees.study import rows
from bees.study.learning_only import learning_rounds

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    OnCurve = Callable[[str], object]

PUBLISHED = {("BEES", 100): 0.89, ("B-EI", 100): 0.72, ("BEES", 50): 0.88, ("B-EI", 50): 0.54}
SCHEMES = {"BEES": "paper", "B-EI": "b-ei"}
CURVES_PER_ROW = len(PUBLISHED)
_EARLY_BLOCKS = 9
"""Fewer than ten."""
_SPEEDS = ((0.003, 10), (0.03, 10), (0.01, 32))
"""Learning rate and batch size: slower and faster than the default 0.01 and 10, and larger batches."""


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """What the paper leaves open about the learning.

    Attributes:
        partition: how samples are split among the UEs.
        dirichlet_alpha: its concentration, where it has one.
        epochs: E.
        batch_size: of a local mini-batch.
        learning_rate: alpha.
        selection_set: which set ranks the UEs.
    """

    partition: str = "dirichlet"
    dirichlet_alpha: float = 0.5
    epochs: int = 1
    batch_size: int = 10
    learning_rate: float = 0.01
    selection_set: str = "test"

    def changes(self) -> list[str]:
        """As ``key=value`` changes to a scenario."""
        return [f"learning.{key}={value}" for key, value in msgspec.structs.asdict(self).items()]


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """What one setting gives with one seed.

    Attributes:
        setting: the knobs.
        seed: of the run.
        blocks: T.
        accuracy: after the last block, by ``scheme-K``.
        b_ei_ahead: at how many of the first 9 blocks B-EI is more accurate than BEES, with 100 UEs.
        distance: mean absolute difference to the published accuracies.
        changes: ``key=value`` changes that every run of the study had besides.
    """

    setting: Setting
    seed: int
    blocks: int
    accuracy: dict[str, float]
    b_ei_ahead: int
    distance: float
    changes: tuple[str, ...] = ()


def default_grid() -> tuple[Setting, ...]:
    """The settings that are searched: the partitions first, then each other knob around them."""
    skews = (0.1, 0.2, 0.3, 0.5, 1.0)
    return (
        *(Setting(dirichlet_alpha=alpha) for alpha in skews),
        Setting(partition="iid"),
        Setting(partition="shards"),
        *(Setting(dirichlet_alpha=0.2, learning_rate=rate, batch_size=batch) for rate, batch in _SPEEDS),
        Setting(dirichlet_alpha=0.2, epochs=3),
        Setting(selection_set="validation"),
        # Where the first ones came nearest: stronger skew, and more epochs to make up for it.
        Setting(dirichlet_alpha=0.05),
        Setting(dirichlet_alpha=0.1, epochs=3),
        Setting(dirichlet_alpha=0.1, epochs=5),
        Setting(dirichlet_alpha=0.1, learning_rate=0.03),
        Setting(dirichlet_alpha=0.05, epochs=3),
    )


def search(
    path: Path, settings: Sequence[Setting], seeds: Sequence[int], on_curve: OnCurve, changes: Sequence[str] = ()
) -> list[Row]:
    """Run every setting and seed that ``path`` does not hold yet, appending a row for each.

    Args:
        path: a .jsonl file; made if it does not exist.
        settings: what to run.
        seeds: of the runs.
        on_curve: called with what was done, after each of a row's curves.
        changes: ``key=value`` changes to every scenario.

    Raises:
        InputError: a line of the file is broken.
    """
    measured = read_rows(path)
    blocks = load_scenario(SCHEMES["BEES"], changes).blocks
    known = {(row.setting, row.seed) for row in measured if (row.blocks, row.changes) == (blocks, tuple(changes))}
    rows.append_bytes(path, b"")  # a file that cannot be written is better found out now than after an hour
    # Seeds are the outer loop: a study that is stopped has all settings with the first seeds.
    for seed, setting in itertools.product(seeds, settings):
        if (setting, seed) in known:
            for _ in range(CURVES_PER_ROW):
                on_curve("known already")
            continue
        row = run_setting(setting, seed, on_curve, changes)
        rows.append_row(path, row)
        measured.append(row)
    return measured


def run_setting(setting: Setting, seed: int, on_curve: OnCurve, changes: Sequence[str] = ()) -> Row:
    """The four curves of one setting with one seed."""
    curves: dict[tuple[str, int], list[float]] = {}
    for devices in (100, 50):
        own = [f"topology.devices={devices}", f"seed={seed}", *setting.changes(), *changes]
        world = prepare_learning(load_scenario(SCHEMES["BEES"], own))  # both schemes learn from the same data
        for scheme, preset in SCHEMES.items():
            rounds = learning_rounds(load_scenario(preset, own), world)
            curves[scheme, devices] = [accuracy for accuracy, _ in rounds]
            on_curve(f"{scheme} with {devices} UEs: {curves[scheme, devices][-1]:.3f}")
    early = zip(curves["B-EI", 100][:_EARLY_BLOCKS], curves["BEES", 100], strict=False)
    return Row(
        setting=setting,
        seed=seed,
        blocks=len(curves["BEES", 100]),
        accuracy={f"{scheme}-{devices}": curve[-1] for (scheme, devices), curve in curves.items()},
        b_ei_ahead=sum(b_ei > bees for b_ei, bees in early),
        changes=tuple(changes),
        distance=sum(abs(curves[key][-1] - published) for key, published in PUBLISHED.items()) / len(PUBLISHED),
    )


def read_rows(path: Path) -> list[Row]:
    """The rows that a study has written; a last line that was cut by a crash is dropped.

    Raises:
        InputError: another line is broken, or the file cannot be read.
        OutputError: the cut line cannot be removed.
    """
    return rows.read_rows(path, Row)


def summarise_rows(measured: Sequence[Row]) -> list[dict[str, Any]]:
    """Means over the seeds of each setting, the nearest to the paper first."""
    grouped: dict[Setting, list[Row]] = {}
    for row in measured:
        grouped.setdefault(row.setting, []).append(row)
    summaries = [
        {
            **msgspec.structs.asdict(setting),
            "seeds": len(group),
            **{key: sum(row.accuracy[key] for row in group) / len(group) for key in group[0].accuracy},
            "b_ei_ahead": sum(row.b_ei_ahead for row in group) / len(group),
            "distance": sum(row.distance for row in group) / len(group),
        }
        for setting, group in grouped.items()
    ]
    return sorted(summaries, key=lambda summary: summary["distance"])
