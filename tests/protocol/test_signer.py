from __future__ import annotations

import pytest

from bees.core.errors import DoubleSignError
from bees.core.keys import SigningKey, is_signed_by
from bees.ledger.transactions import Delegate, signing_bytes
from bees.protocol.signer import MemoryJournal, Signer

CHAIN = bytes(32)


def delegate(server: int, round_: int = 1) -> Delegate:
    return Delegate(CHAIN, 0, server, round_, round_)


def signer() -> Signer:
    return Signer(SigningKey.simulated(0, "device", 0), MemoryJournal())


def test_a_signature_is_valid_and_the_same_answer_may_be_signed_again():
    one = signer()
    first = one.sign(delegate(3), ("Delegate", 1))
    assert first == one.sign(delegate(3), ("Delegate", 1))
    assert is_signed_by(one.key.public_key, signing_bytes(first.body), first.signature)


def test_another_answer_to_the_same_duty_is_refused():
    one = signer()
    one.sign(delegate(3), ("Delegate", 1))
    with pytest.raises(DoubleSignError, match="already signed another Delegate for round 1"):
        one.sign(delegate(4), ("Delegate", 1))


def test_another_signer_with_the_same_journal_refuses_too_as_after_a_restart():
    journal = MemoryJournal()
    key = SigningKey.simulated(0, "device", 0)
    Signer(key, journal).sign(delegate(3), ("Delegate", 1))
    with pytest.raises(DoubleSignError):
        Signer(key, journal).sign(delegate(4), ("Delegate", 1))


def test_the_journal_forgets_closed_rounds_only():
    journal = MemoryJournal()
    for round_ in range(1, 6):
        journal.remember(("Attest", round_), b"%d" % round_)
    assert [journal.signed_for(("Attest", r)) for r in range(1, 6)] == [None, None, None, b"4", b"5"]
