"""How fast the packaged contracts aggregate, and how much of their fuel that takes."""

from __future__ import annotations

from dataclasses import dataclass
from time import thread_time

import numpy as np

from bees.contract.description import DEFAULT_FUEL_LIMIT, describe_virtual_machine
from bees.contract.library import contract_names, load_contract_code
from bees.contract.vm import VirtualMachine
from bees.core.seeds import generator

UPDATES, PARAMETERS = 100, 19_885
"""All UEs of the paper, and its model (784-25-10)."""

_SAMPLES = 600
_SPREAD = 2**18
"""How far trained words lie from ``w_g(t-1)``, about 1/64 where a model has 24 fractional bits."""


@dataclass(frozen=True)
class ContractSpeed:
    """One call of a contract's ``aggregate``.

    Attributes:
        name: of the packaged contract.
        bytes: of the updates that it was given.
        seconds: of the processor, which other programs disturb less than the clock; of the fastest repetition, with
            what a server pays beside: a fresh instance, and the copies.
        fuel: that it used up, the same on every machine.
    """

    name: str
    bytes: int
    seconds: float
    fuel: int

    @property
    def gigabytes_per_s(self) -> float:
        """Bytes of updates in a second, in 10^9."""
        return self.bytes / self.seconds / 1e9


def contract_speeds(
    *, updates: int = UPDATES, parameters: int = PARAMETERS, repetitions: int = 3
) -> tuple[ContractSpeed, ...]:
    """Measure every packaged contract.

    Args:
        updates: M; ``argmax`` takes 1 in any case.
        parameters: P.
        repetitions: of which the fastest counts.

    Raises:
        ContractError: a contract has no result, such as by running out of the default fuel.
    """
    machine = VirtualMachine(describe_virtual_machine(fuel_limit=DEFAULT_FUEL_LIMIT))
    random = generator(0, "contract speed")
    w_prev = random.integers(-(2**22), 2**22, parameters, dtype=np.int32)
    rows = [w_prev + random.integers(-_SPREAD, _SPREAD, parameters, dtype=np.int32) for _ in range(updates)]
    speeds: list[ContractSpeed] = []
    for name in contract_names():
        contract = machine.load(load_contract_code(name))
        taken = rows[:1] if name == "argmax" else rows
        scores, counts = list(range(len(taken))), [_SAMPLES] * len(taken)
        laps: list[float] = []
        for _ in range(repetitions):
            since = thread_time()
            contract.aggregate(scores, counts, taken, w_prev)
            laps.append(thread_time() - since)
        speeds.append(ContractSpeed(name, 4 * parameters * len(taken), min(laps), contract.fuel_used))
    return tuple(speeds)
