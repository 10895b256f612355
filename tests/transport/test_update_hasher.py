from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from bees.ledger.commitments import commit_to_update
from bees.transport.update_hasher import UpdateHasher

NUMBERS = st.integers(0, 2**63 - 1)


@settings(deadline=None, max_examples=50)
@given(NUMBERS, NUMBERS, st.lists(st.binary(max_size=300), max_size=8))
def test_bit_by_bit_gives_the_commitment_of_the_whole(device: int, round_: int, chunks: list[bytes]):
    hasher = UpdateHasher(device, round_)
    for chunk in chunks:
        hasher.add(chunk)
    assert hasher.commitment == commit_to_update(device, round_, b"".join(chunks))
