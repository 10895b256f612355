"""A Merkle map: one hash over keyed leaves, and short proofs that one leaf is among them.

Leaves and inner nodes are hashed in different domains (as in RFC 6962), so that no inner node can be passed off
as a leaf. Leaves stand in the order of their keys; a level of odd length hands its last node up unchanged. The
root binds the number of leaves, and with it the shape of the tree, so that a path proves its index too.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bees.core.canonical import Record
from bees.core.errors import ProofError
from bees.core.hashes import digest

if TYPE_CHECKING:
    from collections.abc import Mapping

_LEAVES_LIMIT = 2**63 - 1
_EMPTY_ROOT = digest("merkle empty", b"")


class MerklePath(Record, frozen=True):
    """The way from one leaf up to the root.

    Attributes:
        index: position of the leaf.
        total: how many leaves there are.
        siblings: the hashes beside the way, from the leaf upwards.
    """

    index: int
    total: int
    siblings: tuple[bytes, ...]


@dataclass(frozen=True)
class MerkleMap:
    """Keyed leaves under one root.

    Attributes:
        keys: ascending.
        values: canonical bytes, in the order of the keys.
        levels: hashes from the leaves (first) to the single node on top (last).
    """

    keys: tuple[str, ...]
    values: tuple[bytes, ...]
    levels: tuple[tuple[bytes, ...], ...]

    @classmethod
    def of(cls, leaves: Mapping[str, bytes]) -> MerkleMap:
        """The map over ``leaves``."""
        keys = tuple(sorted(leaves))
        values = tuple(leaves[key] for key in keys)
        level = tuple(_leaf(key, value) for key, value in zip(keys, values, strict=True))
        levels = [level]
        while len(level) > 1:
            level = _parents(level)
            levels.append(level)
        return cls(keys, values, tuple(levels))

    @property
    def root(self) -> bytes:
        """The hash that commits to every key and value, and to how many there are."""
        return _root(len(self.keys), self.levels[-1][0]) if self.keys else _EMPTY_ROOT

    def prove(self, key: str) -> MerklePath:
        """The path of the leaf ``key``.

        Raises:
            ProofError: there is no such leaf.
        """
        if key not in self.keys:
            raise ProofError(f"the state has no leaf {key!r}")
        index = position = self.keys.index(key)
        siblings: list[bytes] = []
        for level in self.levels[:-1]:
            neighbour = position ^ 1
            if neighbour < len(level):
                siblings.append(level[neighbour])
            position //= 2
        return MerklePath(index, len(self.keys), tuple(siblings))


def check_path(root: bytes, key: str, value: bytes, path: MerklePath) -> None:
    """Check that ``value`` is the leaf ``key`` of the map under ``root``.

    Raises:
        ProofError: it is not, or the path is not one.
    """
    if not 0 <= path.index < path.total <= _LEAVES_LIMIT:
        raise ProofError("the leaf's index is outside of the map")
    siblings = list(path.siblings)
    node, position, width = _leaf(key, value), path.index, path.total
    while width > 1:
        neighbour = position ^ 1
        if neighbour < width:
            if not siblings:
                raise ProofError("the Merkle path is too short")
            sibling = siblings.pop(0)
            node = _node(node, sibling) if neighbour > position else _node(sibling, node)
        position, width = position // 2, (width + 1) // 2
    if siblings:
        raise ProofError("the Merkle path is too long")
    if _root(path.total, node) != root:
        raise ProofError("the Merkle path leads to another root")


def merkle_root(items: tuple[bytes, ...]) -> bytes:
    """The root over a list, such as the transactions of a block."""
    return MerkleMap.of({f"{index:08d}": item for index, item in enumerate(items)}).root


def _parents(level: tuple[bytes, ...]) -> tuple[bytes, ...]:
    pairs = [_node(left, right) for left, right in zip(level[::2], level[1::2], strict=False)]
    return (*pairs, level[-1]) if len(level) % 2 else tuple(pairs)


def _leaf(key: str, value: bytes) -> bytes:
    name = key.encode()
    return digest("merkle leaf", struct.pack("<I", len(name)) + name + value)


def _root(leaves: int, top: bytes) -> bytes:
    return digest("merkle root", struct.pack("<Q", leaves), top)


def _node(left: bytes, right: bytes) -> bytes:
    return digest("merkle node", left + right)
