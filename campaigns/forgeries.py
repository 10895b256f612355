"""Forged proofs of every kind that we could think of, each of which a device must refuse."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

import msgspec
from msgspec.structs import replace

from bees.core.canonical import Record, encode
from bees.core.keys import SigningKey
from bees.ledger.block import Commit, CommitSignature, Header, VoteKind, block_id, vote_bytes
from bees.ledger.merkle import MerkleMap
from bees.ledger.proofs import ModelProof

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    Votes = Callable[[bytes, int, int, VoteKind, bytes | None], bytes]

_FIXED_ARRAY_LIMIT = 16
_FIRST_SIGNED_TAG = 0xD0


def commit_of(header: Header, keys: Sequence[SigningKey], servers: Sequence[int], says: Votes = vote_bytes) -> Commit:
    """A commit in which these servers sign what ``says`` makes of the header; servers beyond the keys share them."""
    message = says(header.chain_id, header.height, 0, "precommit", block_id(header))
    votes = tuple(CommitSignature(k, keys[k % len(keys)].sign(message)) for k in servers)
    return Commit(header.height, 0, block_id(header), votes)


def forgeries(proof: ModelProof, keys: Sequence[SigningKey]) -> Iterator[tuple[str, bytes]]:
    """Forged proofs by kind.

    Args:
        proof: one that holds.
        keys: of all servers of its genesis, which the forger is lent where more than a quorum must lie.
    """
    quorum = 2 * len(keys) // 3 + 1
    for name, commit in forged_commits(proof.header, keys, quorum):
        yield f"commit: {name}", encode(replace(proof, commit=commit))
    for header in _swapped_headers(proof.header):
        yield "header: hashes swapped", encode(replace(proof, header=header))
    for changed in mutations(proof):
        if changed != proof:
            yield "a field changed", encode(changed)
    for name, path in _forged_paths(proof):
        yield f"path: {name}", encode(replace(proof, path=path))
    for leaf in ("ballot", "outcome ", "outcom", "Outcome", "server/000000"):
        tree = MerkleMap.of({leaf: encode(proof.outcome), "chain": b"", "round": b""})
        header = replace(proof.header, app_hash=tree.root)
        other = ModelProof(header, commit_of(header, keys, range(quorum)), proof.outcome, tree.prove(leaf))
        yield "another leaf under a true quorum", encode(other)
    right = encode(proof)
    yield from (("cut short", right[:end]) for end in range(len(right)))
    yield from (("bytes added", right + more) for more in (b"\0", b"\xc0", right[-1:], right))
    plain: Any = msgspec.msgpack.decode(right)
    yield from (("another spelling", other) for other in dict.fromkeys(spellings(plain)) if other != right)


def flipped_bits(right: bytes) -> Iterator[bytes]:
    """The bytes with one bit flipped, for every bit."""
    for at, byte in enumerate(right):
        for bit in range(8):
            yield right[:at] + bytes([byte ^ 1 << bit]) + right[at + 1 :]


def forged_commits(header: Header, keys: Sequence[SigningKey], quorum: int) -> Iterator[tuple[str, Commit]]:
    """Commits that do not show that a quorum stands behind this header."""
    enough, too_few = range(quorum), range(quorum - 1)
    strangers = [SigningKey.simulated(99, "stranger", k) for k in range(len(keys))]
    yield "fewer signatures", commit_of(header, keys, too_few)
    yield "no signature", commit_of(header, keys, ())
    yield "a signer twice", commit_of(header, keys, (0, *too_few))
    yield "signers out of order", commit_of(header, keys, (*range(1, quorum), 0))
    yield "a signer out of range", commit_of(header, keys, (*too_few, len(keys)))
    yield "a signer far out of range", commit_of(header, keys, (*too_few, 2**63 - 1))
    yield "strangers", commit_of(header, strangers, enough)
    yield "one stranger", commit_of(header, [strangers[0], *keys[1:]], enough)
    other_votes: dict[str, Votes] = {
        "prevotes": lambda c, h, r, _, b: vote_bytes(c, h, r, "prevote", b),
        "votes for nothing": lambda c, h, r, k, _: vote_bytes(c, h, r, k, None),
        "votes for another block": lambda c, h, r, k, _: vote_bytes(c, h, r, k, bytes(32)),
        "votes at another height": lambda c, h, r, k, b: vote_bytes(c, h + 1, r, k, b),
        "votes in another round": lambda c, h, r, k, b: vote_bytes(c, h, r + 1, k, b),
        "votes on another chain": lambda _, h, r, k, b: vote_bytes(bytes(32), h, r, k, b),
    }
    for name, says in other_votes.items():
        yield name, commit_of(header, keys, enough, says)
    good = commit_of(header, keys, enough)
    yield "it names another height", replace(good, height=header.height + 1)
    yield "it names another round", replace(good, consensus_round=1)
    yield "it names another block", replace(good, block_id=bytes(32))
    turned = [*good.signatures[1:], good.signatures[0]]
    votes = tuple(CommitSignature(k, vote.signature) for k, vote in enumerate(turned))
    yield "signatures of one another", replace(good, signatures=votes)


def mutations(value: object) -> Iterator[Any]:
    """The value with one thing in it changed, for every thing in it."""
    if isinstance(value, Record):
        for name in value.__struct_fields__:
            yield from (replace(value, **{name: other}) for other in mutations(getattr(value, name)))
    elif isinstance(value, tuple):
        items = cast("tuple[Any, ...]", value)
        yield from (items[:-1], items[1:], items[::-1], (*items, *items[:1]), ())
        for at, item in enumerate(items):
            yield from ((*items[:at], other, *items[at + 1 :]) for other in mutations(item))
    elif isinstance(value, bytes):
        yield from (bytes([value[0] ^ 1]) + value[1:], value[:-1] + bytes([value[-1] ^ 0x80]), bytes(len(value)))
        yield from (value[:-1], value + b"\0", b"")
    elif isinstance(value, int):
        yield from (value + 1, value + 2**32, 2**63 - 1, value - 1, -1, 0, None)
    else:
        yield 0


def spellings(value: Any) -> Iterator[bytes]:  # noqa: ANN401  # whatever MessagePack holds
    """The canonical bytes of plain MessagePack first, then all others in which one thing is spelled longer or oddly."""
    match value:
        case None:
            yield from (b"\xc0", b"\xc2", b"\xc3", b"\x80", b"\xd4\x01\x00")
        case int():
            yield encode(value)
            for tag, size in ((0xCC, 1), (0xCD, 2), (0xCE, 4), (0xCF, 8), (0xD0, 1), (0xD1, 2), (0xD2, 4), (0xD3, 8)):
                with suppress(OverflowError):
                    yield bytes([tag]) + value.to_bytes(size, "big", signed=tag >= _FIRST_SIGNED_TAG)
            yield from (msgspec.msgpack.encode(float(value)), msgspec.msgpack.encode(str(value)))
        case bytes():
            for tag, size in ((0xC4, 1), (0xC5, 2), (0xC6, 4), (0xD9, 1), (0xDA, 2), (0xDB, 4)):
                if len(value) < 256**size:
                    yield bytes([tag]) + len(value).to_bytes(size, "big") + value
        case _:
            yield from _array_spellings(value)


def _array_spellings(items: list[Any]) -> Iterator[bytes]:
    parts = [list(spellings(item)) for item in items]
    body = b"".join(part[0] for part in parts)
    heads = [bytes([0x90 + len(items)])] if len(items) < _FIXED_ARRAY_LIMIT else []
    heads += [bytes([tag]) + len(items).to_bytes(size, "big") for tag, size in ((0xDC, 2), (0xDD, 4))]
    yield from (head + body for head in heads)
    for at, others in enumerate(parts):
        before, after = (b"".join(part[0] for part in side) for side in (parts[:at], parts[at + 1 :]))
        yield from (heads[0] + before + other + after for other in others[1:])


def _swapped_headers(header: Header) -> Iterator[Header]:
    names = ("chain_id", "previous_block", "transactions", "app_hash")
    for at, one in enumerate(names):
        for other in names[at + 1 :]:
            yield replace(header, **{one: getattr(header, other), other: getattr(header, one)})


def _forged_paths(proof: ModelProof) -> Iterator[tuple[str, Any]]:
    path = proof.path
    yield "shorter", replace(path, siblings=path.siblings[:-1])
    yield "longer", replace(path, siblings=(*path.siblings, bytes(32)))
    yield "none", replace(path, index=0, total=1, siblings=())
    for index in range(path.total + 1):
        if index != path.index:
            yield "another index", replace(path, index=index)
    for total in (*range(1, 2 * path.total), 2**32, 2**63 - 1, 2**63, 2**64 - 1):
        if total != path.total:
            yield "another total", replace(path, total=total)
