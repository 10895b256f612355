from __future__ import annotations

from bees.contract.description import DEFAULT_FUEL_LIMIT
from bees.contract.library import contract_names
from bees.contract.speed import PARAMETERS, UPDATES, contract_speeds


def test_every_contract_aggregates_all_ues_of_the_paper_within_the_default_fuel():
    speeds = contract_speeds(repetitions=1)
    assert tuple(speed.name for speed in speeds) == contract_names()
    for speed in speeds:
        assert 0 < speed.fuel < 0.97 * DEFAULT_FUEL_LIMIT, speed
        assert speed.bytes == 4 * PARAMETERS * (1 if speed.name == "argmax" else UPDATES)
        assert speed.gigabytes_per_s > 0


def test_fuel_is_the_same_each_time():
    first, second = (contract_speeds(updates=7, parameters=300, repetitions=1) for _ in range(2))
    assert [speed.fuel for speed in first] == [speed.fuel for speed in second]
