"""``bees study network``: what each spelling of updates costs on every link, and what it buys.

Each row is one whole run with its ledger: accuracy, seconds and joules are those of the run, in which a UE sends the
bytes that its update really has, and bytes are counted from the chain that the run has written.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import msgspec

from bees.core.update_codec import UpdateEncoding
from bees.edge.physics import simulate_physics
from bees.engines.network_usage import SPREADS, RoundTraffic, count_usage, measure_traffic
from bees.experiment import prepare
from bees.scenario import QuantisationError
from bees.scenario_file import load_scenario
from bees.simulation import simulate
from bees.study.rows import append_bytes, append_row, read_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bees.engines.network_usage import NetworkUsage, Spread
    from bees.results import RoundRow

    OnRound = Callable[[str], object]

PRESET = "paper"


class Spelling(msgspec.Struct, frozen=True, kw_only=True):
    """How updates are spelled, and what becomes of what that leaves unsaid.

    Attributes:
        update_encoding: the knob of ``learning``.
        quantisation_error: likewise.
    """

    update_encoding: UpdateEncoding
    quantisation_error: QuantisationError = "fed_back"

    def changes(self) -> list[str]:
        """As ``key=value`` changes to a scenario."""
        return [f"learning.{key}={value}" for key, value in msgspec.structs.asdict(self).items()]


SPELLINGS = (
    Spelling(update_encoding="words"),
    Spelling(update_encoding="delta16"),
    Spelling(update_encoding="delta8"),
    Spelling(update_encoding="delta8", quantisation_error="dropped"),
    Spelling(update_encoding="delta16", quantisation_error="dropped"),
)


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """What one spelling gives with one seed.

    Attributes:
        spelling: the knobs.
        seed: of the run.
        blocks: T.
        accuracy: of w_g(T) on the test set.
        latency_s: of all blocks, agreement of the servers being free, as in the paper.
        full_mesh_latency_s: the same with ``backhaul.model = "full_mesh"``.
        energy_j: of all UEs in all blocks.
        transmission_energy_j: the part of it that radios took.
        update_bytes: of one update.
        traffic: of the ledger.
        changes: ``key=value`` changes that every run of the study had besides.
    """

    spelling: Spelling
    seed: int
    blocks: int
    accuracy: float
    latency_s: float
    full_mesh_latency_s: float
    energy_j: float
    transmission_energy_j: float
    update_bytes: int
    traffic: RoundTraffic
    changes: tuple[str, ...] = ()

    def usage(self, spread: Spread) -> NetworkUsage:
        """Bytes per round on each kind of link."""
        return count_usage(self.traffic, self.spelling.update_encoding, spread)


def measure(
    path: Path, spellings: Sequence[Spelling], seeds: Sequence[int], on_round: OnRound, changes: Sequence[str] = ()
) -> list[Row]:
    """Run every spelling and seed that ``path`` does not hold yet, appending a row for each.

    Args:
        path: a .jsonl file; made if it does not exist.
        spellings: what to run.
        seeds: of the runs.
        on_round: called with what was done, once for each communication round.
        changes: ``key=value`` changes to every scenario.

    Raises:
        InputError: a line of the file is broken.
        OutputError: the file cannot be written.
    """
    rows: list[Row] = read_rows(path, Row)
    blocks = load_scenario(PRESET, changes).blocks
    known = {(row.spelling, row.seed) for row in rows if (row.blocks, row.changes) == (blocks, tuple(changes))}
    append_bytes(path, b"")
    for seed, spelling in itertools.product(seeds, spellings):
        if (spelling, seed) in known:
            for _ in range(blocks):
                on_round("known already")
            continue
        rows.append(run_spelling(spelling, seed, on_round, changes))
        append_row(path, rows[-1])
    return rows


def run_spelling(spelling: Spelling, seed: int, on_round: OnRound, changes: Sequence[str] = ()) -> Row:
    """One whole run of one spelling with one seed."""
    own = [f"seed={seed}", "radio.update_reading=encoded", *spelling.changes(), *changes]
    scenario = load_scenario(PRESET, own)
    with TemporaryDirectory(prefix="bees-network-") as scratch:
        chain = Path(scratch) / "chain.db"
        with prepare(scenario, chain_file=chain) as experiment:
            rounds: list[RoundRow] = []
            for one in simulate(experiment):
                rounds.append(one.row)
                on_round(f"{spelling.update_encoding}, {spelling.quantisation_error}: {one.row.accuracy:.3f}")
            learning, model = experiment.learning, experiment.speller.model
        traffic = measure_traffic(chain)
    meshed = simulate_physics(
        load_scenario(PRESET, [*own, "backhaul.model=full_mesh"]),
        learning.samples,
        sample_bytes=learning.sample_bytes,
        parameters=model.parameters,
    )
    return Row(
        spelling=spelling,
        seed=seed,
        blocks=scenario.blocks,
        accuracy=rounds[-1].accuracy,
        latency_s=rounds[-1].total_latency_s,
        full_mesh_latency_s=float(meshed.cumulative_latency_s[-1]),
        energy_j=rounds[-1].total_energy_j,
        transmission_energy_j=sum(row.transmission_energy_j for row in rounds),
        update_bytes=model.update_bytes,
        traffic=traffic,
        changes=tuple(changes),
    )


def summarise_rows(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Means over the seeds of each spelling, in the order of the rows."""
    grouped: dict[Spelling, list[Row]] = {}
    for row in rows:
        grouped.setdefault(row.spelling, []).append(row)
    return [
        {
            **msgspec.structs.asdict(spelling),
            "seeds": len(group),
            **{name: _mean([getattr(row, name) for row in group]) for name in _MEASURED},
            **{f"{spread}_bytes": _mean([row.usage(spread).total for row in group]) for spread in SPREADS},
        }
        for spelling, group in grouped.items()
    ]


_MEASURED = (
    "accuracy",
    "latency_s",
    "full_mesh_latency_s",
    "energy_j",
    "transmission_energy_j",
    "update_bytes",
)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
