from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bees.core.errors import ProofError
from bees.core.hashes import digest
from bees.ledger.merkle import MerkleMap, MerklePath, check_path, merkle_root

if TYPE_CHECKING:
    import random

SIZES = range(1, 41)


def leaves(size: int) -> dict[str, bytes]:
    return {f"key/{index:03d}": f"value {index}".encode() for index in range(size)}


def is_proved(root: bytes, key: str, value: bytes, path: MerklePath) -> bool:
    try:
        check_path(root, key, value, path)
    except ProofError:
        return False
    return True


def textbook_top(hashes: list[bytes]) -> bytes:
    """The top of the tree by RFC 6962's recursion, which splits at the largest power of two below the size."""
    if len(hashes) == 1:
        return hashes[0]
    split = 1 << (len(hashes) - 1).bit_length() - 1
    return digest("merkle node", textbook_top(hashes[:split]) + textbook_top(hashes[split:]))


def mutations(path: MerklePath) -> list[MerklePath]:
    change, siblings = msgspec.structs.replace, path.siblings
    changed = [change(path, index=path.index + d) for d in (-path.total, -1, 1, 2, path.total)]
    changed += [change(path, total=path.total + d) for d in (-path.total, -1, 1, 2, path.total, 2**70)]
    changed += [change(path, index=path.index + d, total=path.total + d) for d in (-1, 1)]
    changed += [change(path, siblings=(*siblings, bytes(32))), change(path, siblings=(bytes(32), *siblings))]
    for at, sibling in enumerate(siblings):
        for other in (bytes([sibling[0] ^ 1]) + sibling[1:], sibling[:-1], sibling + b"\0", b""):
            changed.append(change(path, siblings=(*siblings[:at], other, *siblings[at + 1 :])))
        changed.append(change(path, siblings=siblings[:at] + siblings[at + 1 :]))
    if len(siblings) > 1:
        changed.append(change(path, siblings=siblings[::-1]))
    return changed


@pytest.mark.parametrize("size", SIZES)
def test_every_leaf_is_proved_and_nothing_else(size: int):
    given_ = leaves(size)
    tree = MerkleMap.of(given_)
    for key, value in given_.items():
        path = tree.prove(key)
        check_path(tree.root, key, value, path)
        assert tree.values[path.index] == value
        for mutated in mutations(path):
            assert not is_proved(tree.root, key, value, mutated), mutated
        for at in range(len(value)):
            assert not is_proved(tree.root, key, value[:at] + bytes([value[at] ^ 1]) + value[at + 1 :], path)
        assert not is_proved(tree.root, key, value + b"\0", path)
        assert not is_proved(tree.root, key[:-1], key[-1:].encode() + value, path)
        assert not is_proved(tree.root, key + "0", value, path)
        for at in (0, 15, 31):
            changed = bytearray(tree.root)
            changed[at] ^= 0x10
            assert not is_proved(bytes(changed), key, value, path)
        others = [other for other in given_ if other != key]
        assert not any(is_proved(tree.root, other, given_[other], path) for other in others)


@pytest.mark.parametrize("size", SIZES)
def test_the_root_is_the_textbooks_with_the_number_of_leaves(size: int):
    hashed = [
        digest("merkle leaf", len(key.encode()).to_bytes(4, "little") + key.encode() + value)
        for key, value in leaves(size).items()
    ]
    expected = digest("merkle root", size.to_bytes(8, "little"), textbook_top(hashed))
    assert MerkleMap.of(leaves(size)).root == expected


def test_no_two_sizes_share_a_root():
    roots = {MerkleMap.of(leaves(size)).root for size in range(41)}
    assert len(roots) == 41


def test_an_inner_node_cannot_be_passed_off_as_a_leaf():
    tree = MerkleMap.of(leaves(2))
    joined = b"".join(tree.levels[0])
    for key, value in (("", joined), (joined[:4].decode("latin-1"), joined[4:])):
        assert not is_proved(tree.root, key, value, MerklePath(0, 1, ()))


@settings(deadline=None, max_examples=50)
@given(st.dictionaries(st.text(max_size=6), st.binary(max_size=6), max_size=12), st.randoms(use_true_random=False))
def test_the_order_in_which_leaves_are_given_does_not_matter(given_: dict[str, bytes], chance: random.Random):
    keys = list(given_)
    chance.shuffle(keys)
    assert MerkleMap.of({key: given_[key] for key in keys}).root == MerkleMap.of(given_).root


def test_leaves_that_come_backwards_give_the_same_map():
    assert MerkleMap.of(dict(reversed(leaves(7).items()))) == MerkleMap.of(leaves(7))


def test_the_root_of_nothing_is_a_hash_of_its_own():
    assert MerkleMap.of({}).root == merkle_root(()) == digest("merkle empty", b"")


def test_a_map_has_as_many_leaves_as_an_encoded_number_can_say_and_no_more():
    node = digest("merkle leaf", (3).to_bytes(4, "little") + b"keyvalue")
    siblings = tuple(bytes([level] * 32) for level in range(63))
    for sibling in siblings:
        node = digest("merkle node", node + sibling)
    for total, is_possible in ((2**62 + 1, True), (2**63 - 1, True), (2**63, False)):
        root = digest("merkle root", total.to_bytes(8, "little"), node)
        assert is_proved(root, "key", b"value", MerklePath(0, total, siblings)) == is_possible


def test_a_leaf_that_is_not_there_is_not_proved():
    for tree in (MerkleMap.of({}), MerkleMap.of(leaves(3))):
        with pytest.raises(ProofError, match="no leaf 'nobody'"):
            tree.prove("nobody")


def test_nothing_is_proved_under_the_root_of_nothing():
    assert not is_proved(MerkleMap.of({}).root, "", b"", MerklePath(0, 1, ()))
    assert not is_proved(MerkleMap.of({}).root, "", b"", MerklePath(0, 0, ()))


@settings(deadline=None, max_examples=60)
@given(st.lists(st.binary(max_size=4), max_size=12), st.lists(st.binary(max_size=4), max_size=12))
def test_lists_share_a_root_only_if_they_are_equal(one: list[bytes], other: list[bytes]):
    assert (merkle_root(tuple(one)) == merkle_root(tuple(other))) == (one == other)
    assert len(one) < 2 or (merkle_root(tuple(one[::-1])) == merkle_root(tuple(one))) == (one[::-1] == one)
