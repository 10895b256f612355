from __future__ import annotations

from itertools import pairwise

from bees.ledger.commitments import commit_to_update, hash_contract, hash_model


def test_a_commitment_is_bound_to_device_round_and_every_byte():
    data = bytes(range(48))
    changed = [data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :] for at in range(48)]
    commitments = [commit_to_update(3, 7, data), commit_to_update(7, 3, data), commit_to_update(3, 8, data)]
    commitments += [commit_to_update(3, 7, other) for other in (*changed, data[:-1], data + b"\0", b"")]
    assert len(set(commitments)) == len(commitments)
    assert commit_to_update(3, 7, memoryview(data)) == commitments[0]


def test_two_models_that_print_alike_have_different_hashes():
    # Weights that differ in the last bit of one word of thousands, where a printout shows "...".
    words = memoryview(bytearray(80_000))
    hashes = [hash_model(words)]
    for at in (0, 40_000, 79_999):
        words[at] ^= 1
        hashes.append(hash_model(words))
    assert len(set(hashes)) == 4
    assert all(a != b for a, b in pairwise(hashes))


def test_update_model_and_contract_of_the_same_bytes_have_different_names():
    data = bytes(64)
    assert len({hash_model(data), hash_contract(data), commit_to_update(0, 0, data)}) == 3
