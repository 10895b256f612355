"""What a report says, as plain data: gathered here from results, laid out by ``bees.report.html``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from bees.report.figures import caption, legend, paper_figures
from bees.report.run_figures import run_figures
from bees.reproduce.claims import verdict_counts
from bees.reproduce.tables import difference_text, measured_text, published_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.figure import Figure

    from bees.reproduce.claims import Claim
    from bees.reproduce.curves import Reproduction
    from bees.results import DeviceTrace, RoundRow
    from bees.scenario import Scenario

READINGS: Final = {
    "topology.crowding": "U(3, 7) UEs on 20 servers make at most 140, yet 150 and 200 are reported.",
    "topology.placement": "Distances are given as a range, not as places on a map.",
    "radio.power_reading": "“p = 10 dB” can be 10 W or 10 mW.",
    "radio.noise_reading": "Eq. 5 prints N0, a density, where a noise power belongs.",
    "radio.path_loss_exponent": "γ is not given.",
    "radio.sharing": "How UEs share the 20 MHz is not said.",
    "radio.raw_data_reading": "80 MB are printed for data that has 0.47 MB.",
    "radio.update_reading": "80 KB are printed for whatever an update really has.",
    "computation.cpu_frequency_hz": "f_k is not given.",
    "computation.local_iterations": "L of Eq. 4 and 7 is not given.",
    "computation.iterations_reading": "L of Eq. 4 may or may not be the epochs that are trained.",
    "computation.redraw": "Whether C_k changes from block to block is not said.",
    "offloading.policy": "UEs offload “by battery level” in one section and “for lower latency” in another.",
    "learning.partition": "Data is “equally distributed” and “non-IID”, without a partition.",
    "learning.epochs": "“A few epochs”.",
    "learning.batch_size": "Not given.",
    "learning.learning_rate": "Not given.",
    "learning.selection_set": "The paper selects by test accuracy, which leaks the test set.",
    "ledger.contract": "BEES averages the ten best (Eq. 3), B-EI shares the single best.",
    "ledger.pol": "Eq. 2 divides by the leftover battery, which favours drained servers.",
}
"""Each knob at which the paper is silent or contradicts itself, and how."""


@dataclass(frozen=True)
class Provenance:
    """What was run, and where.

    Attributes:
        command: as typed.
        version: of BEES.
        seeds: that were run.
        date: of the run, in words; None leaves it out.
        seconds: wall-clock time of the computation, or None.
        environment: what ``environment.json`` holds, such as the versions of Python and JAX.
    """

    command: str
    version: str
    seeds: tuple[int, ...]
    date: str | None = None
    seconds: float | None = None
    environment: Mapping[str, object] = field(default_factory=dict[str, object])


@dataclass(frozen=True)
class LedgerSummary:
    """The chain that a run left.

    Attributes:
        chain_id: it names the chain in everything signed.
        height: ledger blocks.
        rounds: communication rounds that are closed.
        skipped: how many of them found no main node or no eligible update.
        transactions: in all blocks, or None.
        main_nodes: rounds published by each server.
        contract: hash of the contract's bytecode, or None.
        app_hash: root of the Merkle state after the last block, or None.
    """

    chain_id: str
    height: int
    rounds: int
    skipped: int
    transactions: int | None = None
    main_nodes: Mapping[int, int] = field(default_factory=dict[int, int])
    contract: str | None = None
    app_hash: str | None = None


@dataclass(frozen=True)
class RunRecord:
    """A finished or interrupted run, as the report needs it.

    Attributes:
        scenario: what was run.
        rounds: a row per block; empty if the run ended before the first.
        devices: per-UE arrays of the same blocks.
        provenance: what was run, and where.
        ledger: the chain, or None.
        problem: why the run did not end well, or None.
    """

    scenario: Scenario
    rounds: tuple[RoundRow, ...]
    devices: DeviceTrace
    provenance: Provenance
    ledger: LedgerSummary | None = None
    problem: str | None = None


@dataclass(frozen=True)
class ReproductionRecord:
    """A reproduction of the paper, as the report needs it.

    Attributes:
        reproduction: the curves.
        claims: their verdicts, of ``bees.reproduce.claims.claims_of``.
        scenarios: what was run, by a name such as ``BEES``.
        provenance: what was run, and where.
        ledger: the chain of one of the runs, or None.
    """

    reproduction: Reproduction
    claims: tuple[Claim, ...]
    scenarios: Mapping[str, Scenario]
    provenance: Provenance
    ledger: LedgerSummary | None = None


class FigureInput(NamedTuple):
    """A figure and its words; ``label`` is such as ``Fig. 3``."""

    name: str
    label: str
    figure: Figure
    caption: str


class ClaimRow(NamedTuple):
    """A claim as it is printed."""

    claim: str
    source: str
    published: str
    measured: str
    difference: str
    verdict: str
    reason: str


class KnobRow(NamedTuple):
    """A knob of the scenarios; ``values`` has one text per scenario, ``note`` says what the paper leaves open."""

    key: str
    values: tuple[str, ...]
    note: str = ""

    @property
    def differs(self) -> bool:
        """Whether the scenarios differ in it."""
        return len(set(self.values)) > 1

    def values_by_scenario(self, scenarios: tuple[str, ...]) -> list[tuple[str, str]]:
        """Each scenario's name with its value."""
        return list(zip(scenarios, self.values, strict=True))


@dataclass(frozen=True)
class ReportInput:
    """One page.

    Attributes:
        kind: what it is, such as ``Reproduction report``.
        title: its heading.
        lead: a sentence or two that say what came out.
        problem: why the run did not end well, or None.
        provenance: what was run, and where.
        tiles: the few numbers to see first: name, value, remark.
        claims: rows of the table of claims; empty for a single run.
        verdicts: how many claims have each verdict.
        figures: in order.
        legend: how to read the figures, or empty.
        scenarios: names of the columns of ``readings`` and ``sections``.
        readings: knobs at which the paper is silent or contradicts itself.
        sections: every knob, by section.
        ledger: the chain, or None.
    """

    kind: str
    title: str
    lead: str
    provenance: Provenance
    scenarios: tuple[str, ...]
    readings: tuple[KnobRow, ...]
    sections: Mapping[str, tuple[KnobRow, ...]]
    problem: str | None = None
    tiles: tuple[tuple[str, str, str], ...] = ()
    claims: tuple[ClaimRow, ...] = ()
    verdicts: Mapping[str, int] = field(default_factory=dict[str, int])
    figures: tuple[FigureInput, ...] = ()
    legend: str = ""
    ledger: LedgerSummary | None = None


def run_content(record: RunRecord) -> ReportInput:
    """What the report of a run says."""
    scenario, rounds = record.scenario, record.rounds
    figures: tuple[FigureInput, ...] = ()
    tiles: tuple[tuple[str, str, str], ...] = ()
    lead = "The run ended before its first block was complete."
    if rounds:
        last = rounds[-1]
        drawn = run_figures(rounds, record.devices, scenario.topology.servers)
        figures = tuple(FigureInput(name, d.title, d.figure, d.caption) for name, d in drawn.items())
        offloaded = sum(row.offloading_devices for row in rounds) / max(sum(row.active_devices for row in rounds), 1)
        tiles = (
            ("Accuracy", f"{last.accuracy:.1%}", f"after block {last.block}"),
            ("Latency", f"{last.total_latency_s:.2f} s", "end to end, all blocks"),
            ("Energy", f"{last.total_energy_j:,.0f} J", f"all {scenario.topology.devices} UEs"),
            ("Offloading", f"{offloaded:.0%}", "of the UEs' rounds"),
        )
        lead = (
            f"{scenario.topology.devices} devices on {scenario.topology.servers} edge servers trained one model "
            f"for {last.block} of {scenario.blocks} blocks, and every round is on their ledger."
        )
    readings, sections = _knobs({"Value": scenario})
    return ReportInput(
        kind="Run report", title=scenario.name, lead=lead, provenance=record.provenance, scenarios=("Value",),
        readings=readings, sections=sections, problem=record.problem, tiles=tiles, figures=figures,
        ledger=record.ledger,
    )  # fmt: skip


def reproduction_content(record: ReproductionRecord) -> ReportInput:
    """What the report of a reproduction says."""
    drawn = paper_figures(record.reproduction)
    readings, sections = _knobs(record.scenarios)
    return ReportInput(
        kind="Reproduction report",
        title="BEES, measured",
        lead=(
            f"The figures and claims of “BEES: Blockchain-Enabled Edge Intelligence Sharing Using Federated Learning”, "
            f"each beside what was measured over {record.reproduction.blocks} blocks."
        ),
        provenance=record.provenance,
        scenarios=tuple(record.scenarios),
        readings=readings,
        sections=sections,
        claims=tuple(_claim_row(claim) for claim in record.claims),
        verdicts=verdict_counts(record.claims),
        figures=tuple(
            FigureInput(name, f"Fig. {name.removeprefix('figure_')}", figure, caption(record.reproduction, name))
            for name, figure in drawn.items()
        ),
        legend=legend(record.reproduction),
        ledger=record.ledger,
    )


def _claim_row(claim: Claim) -> ClaimRow:
    return ClaimRow(
        claim.claim, claim.source, published_text(claim), measured_text(claim), difference_text(claim), claim.verdict,
        claim.reason,
    )  # fmt: skip


def _knobs(scenarios: Mapping[str, Scenario]) -> tuple[tuple[KnobRow, ...], dict[str, tuple[KnobRow, ...]]]:
    """The readings, and every knob by section, with a value per scenario."""
    plain: list[dict[str, Any]] = [msgspec.to_builtins(scenario) for scenario in scenarios.values()]
    if not plain:
        return (), {}
    sections: dict[str, tuple[KnobRow, ...]] = {}
    sections["experiment"] = tuple(
        KnobRow(key, tuple(_knob_text(p[key]) for p in plain)) for key, v in plain[0].items() if not isinstance(v, dict)
    )
    for section in (key for key, value in plain[0].items() if isinstance(value, dict)):
        sections[section] = tuple(
            KnobRow(
                key,
                tuple(_knob_text(p[section][key]) for p in plain),
                READINGS.get(f"{section}.{key}", ""),
            )
            for key in plain[0][section]
        )
    readings = tuple(
        row._replace(key=f"{section}.{row.key}") for section, rows in sections.items() for row in rows if row.note
    )
    return readings, sections


def _knob_text(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
