from __future__ import annotations

import numpy as np
import pytest

from bees.edge.harvest import charge_up, harvested_j, mean_harvest_j
from bees.edge.proof_of_work import expected_hashes, mining_energy_j
from bees.scenario import Battery, ProofOfWork, Timing

SUNNY, TIMING = Battery(harvest_w=0.5), Timing(interval_s=4.0)


def test_harvest_is_uniform_around_its_mean_and_new_in_each_block() -> None:
    first, second = (harvested_j(SUNNY, TIMING, 100_000, 1, block) for block in (1, 2))
    assert mean_harvest_j(SUNNY, TIMING) == 2.0
    assert first.mean() == pytest.approx(2.0, rel=0.01)
    assert (first.min(), first.max()) == pytest.approx((0.0, 4.0), abs=0.01)
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.02
    assert first.tobytes() == harvested_j(SUNNY, TIMING, 100_000, 1, 1).tobytes()


def test_nothing_is_harvested_in_the_paper() -> None:
    assert not harvested_j(Battery(), Timing(), 5, 0, 1).any()


def test_a_battery_holds_no_more_than_its_capacity() -> None:
    battery = Battery(device_capacity_j=10.0)
    assert charge_up(battery, np.array([0.0, 9.0, 10.0, 12.0]), np.full(4, 3.0)).tolist() == [3.0, 10.0, 10.0, 12.0]


def test_proof_of_work_is_blocks_times_hashes_times_joules() -> None:
    assert mining_energy_j(ProofOfWork(hashes_per_block=1e6, joules_per_hash=2e-6), 50) == pytest.approx(100.0)
    assert expected_hashes(1.0) == ProofOfWork().hashes_per_block == 2**32
    assert mining_energy_j(ProofOfWork(), 0) == 0
