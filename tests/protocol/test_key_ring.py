"""A server that holds two keys signs with the one that the chain names."""

from __future__ import annotations

import pytest

from bees.core.errors import NoKeyError
from bees.core.keys import SigningKey, is_signed_by, seal
from bees.ledger.committee import Committee
from bees.protocol.key_ring import KeyRing

OTHER, OLD, NEXT, THIRD = (SigningKey.simulated(7, k) for k in range(4))


def committee(own: SigningKey | None) -> Committee:
    return Committee((OTHER.public_key, None if own is None else own.public_key))


def test_the_key_that_is_named_signs_from_then_on():
    ring = KeyRing(1, [OLD, NEXT])
    for named in (OLD, NEXT, OLD):
        ring.follow(committee(named))
        assert ring.public_key == named.public_key
        assert is_signed_by(named.public_key, b"m", ring.sign(b"m"))
        assert [key.public_key for key in ring.by_chance] == [
            named.public_key,
            *({OLD.public_key, NEXT.public_key} - {named.public_key}),
        ]


def test_whoever_holds_no_key_that_counts_is_told_unless_one_is_to_come():
    with pytest.raises(
        NoKeyError, match="by one that is not at hand; give the file of its new key as next_key"
    ) as told:
        KeyRing(1, [OLD]).follow(committee(NEXT))
    assert (told.value.is_removed, told.value.exit_code) == (False, 2)
    ring = KeyRing(1, [NEXT, NEXT])
    ring.follow(committee(THIRD))
    assert ring.named_in(committee(THIRD)) is None
    assert ring.by_chance == (NEXT,)
    for keys in ([OLD], [OLD, NEXT]):
        with pytest.raises(NoKeyError, match="removed it from the chain; take it out of service") as told:
            KeyRing(1, keys).follow(committee(None))
        assert told.value.is_removed


def test_what_was_sealed_to_either_key_is_opened():
    ring = KeyRing(1, [OLD, NEXT])
    ring.follow(committee(NEXT))
    for key in (OLD, NEXT):
        assert ring.open_sealed(seal(key.public_key, b"data")) == b"data"
    assert ring.open_sealed(seal(THIRD.public_key, b"data")) is None
    assert ring.open_sealed(b"") is None
