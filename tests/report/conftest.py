from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from bees.report.content import LedgerSummary, Provenance, ReproductionRecord, RunRecord
from bees.reproduce.claims import claims_of
from bees.reproduce.curves import Curve, Reproduction
from bees.results import DeviceTrace, RoundRow
from bees.scenario import Ledger, Radio, Scenario, Topology

if TYPE_CHECKING:
    from collections.abc import Callable


def made_up_curve(scheme: str, devices: int, seeds: int, blocks: int) -> Curve:
    """Curves of a plausible shape, to draw; no measurement."""
    t = np.arange(1, blocks + 1)
    slow = 1.0 if scheme == "BEES" else 1.4
    learns = devices <= 100
    return Curve(
        scheme=scheme,
        devices=devices,
        seeds=tuple(range(seeds)),
        accuracy=tuple(tuple(0.9 - 0.01 * s - 0.6 * np.exp(-t / 6)) for s in range(seeds)) if learns else (),
        latency_s=tuple(tuple(0.11 * slow * t + 0.001 * s) for s in range(seeds)),
        energy_j=tuple(tuple((60 + 0.6 * devices) * slow * t + s) for s in range(seeds)),
    )


def made_up_reproduction(seeds: int, blocks: int) -> Reproduction:
    cases = [(scheme, devices) for scheme in ("BEES", "B-EI") for devices in (100, 50, 150, 200)]
    curves = tuple(made_up_curve(scheme, devices, seeds, blocks) for scheme, devices in cases)
    return Reproduction(version="0.1.0", blocks=blocks, curves=curves, seconds=12.5)


def made_up_run(blocks: int, devices: int, servers: int) -> tuple[tuple[RoundRow, ...], DeviceTrace]:
    rng = np.random.default_rng(5)
    rows = tuple(
        RoundRow(
            block=t,
            accuracy=0.9 - 0.5 / t,
            best_local_accuracy=0.88 - 0.5 / t,
            mean_local_accuracy=0.7 - 0.5 / t,
            latency_s=0.1 + 0.01 * (t % 3),
            total_latency_s=0.11 * t,
            energy_j=125.0,
            computation_energy_j=75.0,
            transmission_energy_j=50.0,
            total_energy_j=125.0 * t,
            server_energy_j=0.0,
            charged_devices=devices,
            participating_devices=devices,
            active_devices=devices,
            offloading_devices=0,
            uplink_bytes=80e3 * devices,
            downlink_bytes=80e3 * devices,
            backhaul_bytes=0.0,
            raw_bytes=0.0,
            raw_samples_shared=0,
            eligible_updates=devices,
            selected=tuple(sorted(int(k) for k in rng.choice(devices, min(10, devices), replace=False))),
            main_node=None if t % 7 == 3 else t % servers,
            model="ab" * 32,
            height=3 * t,
        )
        for t in range(1, blocks + 1)
    )
    nothing = np.zeros((blocks, devices))
    charge_j = np.maximum(rng.uniform(20, 90, devices) - np.arange(1, blocks + 1)[:, None], 0.0)
    flags = np.zeros((blocks, devices), dtype=np.bool_)
    return rows, DeviceTrace(flags, ~flags, ~flags, nothing, nothing, nothing, charge_j, nothing)


@pytest.fixture
def reproduction_of() -> Callable[[int, int], Reproduction]:
    return made_up_reproduction


@pytest.fixture
def run_of() -> Callable[[int, int, int], tuple[tuple[RoundRow, ...], DeviceTrace]]:
    return made_up_run


@pytest.fixture
def provenance() -> Provenance:
    return Provenance("bees run paper --seed 0", "0.1.0", (0,), environment={"python": "3.11.9"})


@pytest.fixture
def ledger() -> LedgerSummary:
    return LedgerSummary("paper-0", 150, 50, 1, 6150, {3: 40, 4: 9}, "5f" * 32, "9a" * 32)


@pytest.fixture
def run_record(provenance: Provenance, ledger: LedgerSummary) -> Callable[..., RunRecord]:
    def record(
        blocks: int = 5, devices: int = 12, scenario: Scenario | None = None, problem: str | None = None
    ) -> RunRecord:
        scenario = scenario or Scenario(name="small", topology=Topology(devices=devices, servers=4))
        rows, trace = made_up_run(blocks, devices, scenario.topology.servers)
        return RunRecord(scenario, rows, trace, provenance, ledger, problem)

    return record


@pytest.fixture
def reproduction_record(provenance: Provenance, ledger: LedgerSummary) -> Callable[..., ReproductionRecord]:
    def record(seeds: int = 1, blocks: int = 50) -> ReproductionRecord:
        reproduction = made_up_reproduction(seeds, blocks)
        scenarios = {
            "BEES": Scenario(),
            "B-EI": Scenario(radio=Radio(sharing="contending"), ledger=Ledger(contract="argmax")),
        }
        return ReproductionRecord(reproduction, claims_of(reproduction), scenarios, provenance, ledger)

    return record
