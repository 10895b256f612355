"""When a server has waited long enough for bytes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from bees.node.duties import Patience


def attests_at(attest: int, missing: list[int]) -> int:
    """Heights into the phase at which a server goes on that misses so many updates, height by height."""
    patience = Patience()
    for k in range(attest):
        phases = SimpleNamespace(attest=attest)
        state: Any = SimpleNamespace(round=3, phase_opened=100, height=100 + k, genesis=SimpleNamespace(phases=phases))
        if patience.is_over(state, missing[min(k, len(missing) - 1)]):
            return k
    return attest


@pytest.mark.parametrize(
    ("attest", "nothing_comes", "always_some"), [(2, 1, 1), (3, 2, 2), (4, 2, 2), (6, 3, 4), (8, 4, 5), (208, 26, 138)]
)
def test_a_server_waits_longer_while_bytes_come_and_never_too_long(attest: int, nothing_comes: int, always_some: int):
    assert attests_at(attest, [7]) == nothing_comes
    assert attests_at(attest, list(range(1000, 0, -1))) == always_some


def test_one_update_that_nobody_gives_costs_an_eighth_of_the_phase():
    assert attests_at(208, [*range(1000, 0, -50), 1]) == 19 + 1 + 26


def test_the_next_round_begins_anew():
    patience = Patience()
    for round_, opened in ((1, 0), (2, 20)):
        phases = SimpleNamespace(attest=8)
        for k in range(4):
            state: Any = SimpleNamespace(
                round=round_, phase_opened=opened, height=opened + k, genesis=SimpleNamespace(phases=phases)
            )
            assert not patience.is_over(state, 5)
