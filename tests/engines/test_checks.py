from __future__ import annotations

import traceback
from types import SimpleNamespace
from typing import Any

import pytest

from bees.engines.checks import Checks
from bees.ledger.refusals import DuplicateError


@pytest.fixture
def checks() -> Any:
    runner: Any = SimpleNamespace()
    with_threads = Checks(runner)
    yield with_threads
    with_threads.memo.close()


TRANSACTION: Any = SimpleNamespace(body=None, hash=bytes(32))


def test_each_question_is_checked_once(checks: Checks) -> None:
    asked: list[str] = []
    for app_hash in (b"a", b"a", b"b"):
        checks.admit(app_hash, TRANSACTION, lambda: asked.append("once"))
    assert len(asked) == 2


def test_a_refusal_that_is_remembered_is_raised_anew_each_time(checks: Checks) -> None:
    def check() -> None:
        raise DuplicateError("Update", 3)

    def refusal() -> DuplicateError:
        with pytest.raises(DuplicateError) as caught:
            checks.admit(b"state", TRANSACTION, check)
        return caught.value

    refusals = [refusal() for _ in range(5)]
    assert len(set(map(id, refusals))) == 5
    assert {str(one) for one in refusals} == {str(DuplicateError("Update", 3))}
    assert {len(traceback.extract_tb(one.__traceback__)) for one in refusals} == {2}
