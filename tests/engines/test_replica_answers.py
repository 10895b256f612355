"""Answers to who asks what happened: enough for whoever lags behind, and no more for whoever asks without end."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from small_world import World

from bees.engines.messages import Decision, Status

if TYPE_CHECKING:
    import pytest

    from bees.engines.embedded import EmbeddedEngine
    from bees.engines.replica import Payload, Replica

ASKER = 3


def after_a_block() -> tuple[EmbeddedEngine, Replica, Counter[str]]:
    """An engine, its replica 0 and a count of what that sends to replica 3 from now on."""
    engine = World().engine()
    engine.next_block()
    told: Counter[str] = Counter()
    send = engine.network.send

    def count(sender: int, receiver: int, payload: Payload) -> None:
        told[type(payload).__name__] += (sender, receiver) == (0, ASKER)
        send(sender, receiver, payload)

    engine.network.send = count
    return engine, engine.replicas[0], told


def test_a_flood_of_questions_costs_two_answers() -> None:
    _, replica, told = after_a_block()
    for _ in range(1000):
        replica.deliver(Status(1, ASKER))
    assert told == {"Decision": 2}


def test_a_flood_of_many_heights_costs_few_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    _, replica, told = after_a_block()
    decision = Decision(1, b"", replica.last_decision[1]) if replica.last_decision else None
    # A store that holds every height, so that each question has an answer.
    monkeypatch.setattr(replica, "_store", type("Full", (), {"decision": staticmethod(lambda _: decision)})())
    for height in range(1, 1000):
        replica.deliver(Status(height, ASKER))
    assert told == {"Decision": 64}


def test_after_a_while_the_asker_is_answered_again() -> None:
    engine, replica, told = after_a_block()
    for _ in range(10):
        replica.deliver(Status(1, ASKER))
    engine.network.run(lambda node, payload: engine.replicas[node].deliver(payload), lambda: False, 10**8)
    for _ in range(10):
        replica.deliver(Status(1, ASKER))
    assert told == {"Decision": 4}
