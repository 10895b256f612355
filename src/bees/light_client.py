"""Checks w_g(t) on a device. One file to copy: it needs Python, ``blake3`` and ``nacl`` (PyNaCl), and nothing of BEES.

A device trusts its genesis and nothing else. A proof shows that more than 2N/3 of the servers have committed a header,
and that the state which the header names says how a round ended: which devices' updates were selected, and the hash of
w_g(t). An old proof stays true, so compare the round with the one that you want.

Which servers count, the genesis says, until they replace a key or remove one of them. Then follow them, and keep what
you get: who has the replaced keys of more than 2N/3 of a former committee can deceive whoever still believes that one.

Usage::

    genesis = read_genesis(genesis_bytes)       # compare genesis.chain_id with the one that you were told
    check_genesis(genesis)                      # once: every server has signed it
    genesis = follow_committee(genesis, proofs) # what a node answers to GET /v1/committee?after=<genesis.height>
    outcome = check_proof(genesis, proof_bytes)
    check_model(outcome, words)                 # raw little-endian int32
    mine = my_index in outcome.selected

Whatever the bytes are, the answer is an outcome or ``RefusedError``. Everything is MessagePack in its one canonical
spelling: arrays by position, numbers in their shortest form. Of a genesis, only these positions are relied upon, and
all else is only hashed::

    signed genesis: 0 genesis, 1 signatures in the order of the servers
    genesis: 1 servers, 2 devices
    server, device: 0 public key
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from itertools import pairwise

from blake3 import blake3
from nacl.bindings import crypto_sign_open
from nacl.exceptions import CryptoError

_HASH_BYTES = _KEY_BYTES = 32
_SIGNATURE_BYTES = 64
_LARGEST = 2**63 - 1


class RefusedError(Exception):
    """The bytes do not prove what they should."""


@dataclass(frozen=True)
class TrustedGenesis:
    """What a device keeps of its genesis.

    Attributes:
        chain_id: hash of the genesis.
        server_keys: Ed25519 public keys of s_1 to s_N; None for a server that was removed.
        device_keys: of u_1 to u_K, as the genesis names them.
        signatures: under the genesis, in the order of the servers.
        height: of the block after which these are the servers' keys; 0 for those of the genesis.
        block: hash of its header; empty at first.
        former_keys: of the servers before, who have committed that block, and count for it alone.
    """

    chain_id: bytes
    server_keys: tuple[bytes | None, ...]
    device_keys: tuple[bytes, ...]
    signatures: tuple[bytes, ...]
    height: int = 0
    block: bytes = b""
    former_keys: tuple[bytes | None, ...] = ()

    @property
    def quorum(self) -> int:
        """The fewest signatures that commit a block: more than 2N/3 of the servers that are left."""
        return _quorum(self.server_keys)


@dataclass(frozen=True)
class ProvedOutcome:
    """How a round ended.

    Attributes:
        round: t.
        model: hash of w_g(t).
        selected: the devices whose updates the contract selected, ascending; empty when the round was skipped.
        main_node: the server that published, or None when the round was skipped and w_g(t) = w_g(t-1).
        height: of the committed block whose state says so.
        signers: servers that committed it, ascending.
    """

    round: int
    model: bytes
    selected: tuple[int, ...]
    main_node: int | None
    height: int
    signers: tuple[int, ...]


def read_genesis(signed: bytes) -> TrustedGenesis:
    """Find the chain id and the public keys in the bytes of a signed genesis. Checks no signature.

    Raises:
        RefusedError: they are no signed genesis.
    """
    reader = _Reader(signed)
    reader.array(2)
    start = reader.at
    fields = reader.array()
    reader.skip(1)
    server_keys, device_keys = _read_public_keys(reader), _read_public_keys(reader)
    reader.skip(fields - 3)
    chain_id = _hash("genesis", signed[start : reader.at])
    signatures = tuple(reader.binary(_SIGNATURE_BYTES) for _ in range(reader.array()))
    reader.end()
    return TrustedGenesis(chain_id, server_keys, device_keys, signatures)


def check_genesis(genesis: TrustedGenesis) -> None:
    """Check that every server has signed the genesis: enough to do once, when a device first gets it.

    Who the servers are, no signature can tell: compare the chain id with the one that you were told.

    Raises:
        RefusedError: a signature is missing or not valid, or two servers share a key.
    """
    keys = genesis.server_keys
    if not keys or len(set(keys)) != len(keys) or len(genesis.signatures) != len(keys):
        raise RefusedError("the genesis needs servers with different keys, and a signature of each")
    for server, (key, signature) in enumerate(zip(keys, genesis.signatures, strict=True)):
        if key is None or not _is_signed_by(key, b"bees genesis\0" + genesis.chain_id, signature):
            raise RefusedError(f"server {server} has not signed this genesis")


def follow_committee(genesis: TrustedGenesis, proofs: bytes) -> TrustedGenesis:
    """The genesis with the servers that count now, each change of them proved by the servers that counted before.

    Args:
        genesis: with the newest servers that are known.
        proofs: of the changes since, in order, as a node answers ``GET /v1/committee?after=<genesis.height>``. It
            answers at most 64, so ask again until the height stays the same.

    Raises:
        RefusedError: no proofs; or one is of another chain, has no quorum, a Merkle path that leads elsewhere, or does
            not go on from what is known.
    """
    reader = _Reader(proofs)
    for _ in range(reader.array()):
        reader.array(4)
        height, block, app_hash, _signers = _check_header(genesis, reader)
        if height <= genesis.height:
            raise RefusedError(f"it is of block {height}, and the servers of block {genesis.height} are known")
        start = reader.at
        reader.array(1)
        keys = tuple(reader.binary_or_nil(_KEY_BYTES) for _ in range(reader.array()))
        if keys == genesis.server_keys:
            raise RefusedError(f"block {height} has changed nothing")
        _check_path(app_hash, "committee", reader.since(start), reader)
        former = genesis.server_keys
        genesis = replace(genesis, server_keys=keys, height=height, block=block, former_keys=former)
    reader.end()
    return genesis


def check_proof(genesis: TrustedGenesis, proof: bytes) -> ProvedOutcome:
    """What a proof shows, from the genesis alone.

    Raises:
        RefusedError: not a proof, another chain, no quorum, or a Merkle path that leads elsewhere.
    """
    reader = _Reader(proof)
    reader.array(4)
    height, _block, app_hash, signers = _check_header(genesis, reader)
    start = reader.at
    reader.array(4)
    round_, model, selected = reader.integer(), reader.binary(), tuple(reader.integer() for _ in range(reader.array()))
    main_node = reader.integer_or_nil()
    _check_path(app_hash, "outcome", reader.since(start), reader)
    reader.end()
    return ProvedOutcome(round_, model, selected, main_node, height, signers)


def check_model(outcome: ProvedOutcome, words: bytes) -> None:
    """Check that a downloaded model is the proved w_g(t).

    Args:
        outcome: what a proof has shown.
        words: all parameters as raw little-endian int32.

    Raises:
        RefusedError: it is another model.
    """
    if _hash("model", words) != outcome.model:
        raise RefusedError(f"the model is not w_g({outcome.round})")


def _read_public_keys(reader: _Reader) -> tuple[bytes, ...]:
    keys: list[bytes] = []
    for _ in range(reader.array()):
        fields = reader.array()
        keys.append(reader.binary(_KEY_BYTES))
        reader.skip(fields - 1)
    return tuple(keys)


def _check_header(genesis: TrustedGenesis, reader: _Reader) -> tuple[int, bytes, bytes, tuple[int, ...]]:
    """Height, hash, app hash and signers of a header that is committed."""
    start = reader.at
    reader.array(5)
    chain_id, height = reader.binary(_HASH_BYTES), reader.natural(least=1)
    _previous_block, _transactions, app_hash = (reader.binary(_HASH_BYTES) for _ in range(3))
    if chain_id != genesis.chain_id:
        raise RefusedError("its header belongs to another chain")
    block = _hash("header", reader.since(start))
    return height, block, app_hash, _check_commit(genesis, reader, height, block)


def _check_commit(genesis: TrustedGenesis, reader: _Reader, height: int, block: bytes) -> tuple[int, ...]:
    reader.array(4)
    start = reader.at
    committed_height, _consensus_round = reader.natural(), reader.natural()
    height_and_round = reader.since(start)
    if reader.binary(_HASH_BYTES) != block or committed_height != height:
        raise RefusedError("it commits another block")
    votes: list[tuple[int, bytes]] = []
    for _ in range(reader.array()):
        reader.array(2)
        votes.append((reader.natural(), reader.binary(_SIGNATURE_BYTES)))
    signers = tuple(server for server, _ in votes)
    ascending = all(left < right for left, right in pairwise(signers))
    counting = genesis.former_keys if block == genesis.block else genesis.server_keys
    keys = dict(enumerate(counting))
    if not ascending or any(keys.get(server) is None for server in signers):
        raise RefusedError("the signing servers do not ascend, or are unknown")
    if len(signers) < _quorum(counting):
        raise RefusedError(f"{len(signers)} signatures, {_quorum(counting)} are needed")
    # The canonical array (chain id, height, consensus round, "precommit", block id), as servers sign it.
    vote = b"bees vote\0\x95\xc4\x20" + genesis.chain_id + height_and_round + b"\xa9precommit\xc4\x20" + block
    for server, signature in votes:
        key = keys.get(server)
        if key is None or not _is_signed_by(key, vote, signature):
            raise RefusedError(f"the signature of server {server} is not valid")
    return signers


def _quorum(keys: tuple[bytes | None, ...]) -> int:
    return 2 * sum(key is not None for key in keys) // 3 + 1


def _check_path(root: bytes, key: str, value: bytes, reader: _Reader) -> None:
    reader.array(3)
    index, total, siblings = reader.integer(), reader.integer(), [reader.binary() for _ in range(reader.array())]
    if not 0 <= index < total <= _LARGEST:
        raise RefusedError("the leaf's index is outside of the map")
    node = _hash("merkle leaf", struct.pack("<I", len(key)) + key.encode() + value)
    position, width, rest = index, total, iter(siblings)
    while width > 1:
        # The last node of a level of odd length has no neighbour, and goes up as it is.
        if position ^ 1 < width:
            sibling = next(rest, None)
            if sibling is None:
                raise RefusedError("the Merkle path is too short")
            node = _hash("merkle node", sibling + node if position % 2 else node + sibling)
        position, width = position // 2, (width + 1) // 2
    if next(rest, None) is not None:
        raise RefusedError("the Merkle path is too long")
    if _hash("merkle root", struct.pack("<Q", total) + node) != root:
        raise RefusedError("the Merkle path leads to another root")


def _hash(domain: str, data: bytes) -> bytes:
    return blake3(data, derive_key_context=f"bees v1 {domain}").digest()


def _is_signed_by(public_key: bytes, message: bytes, signature: bytes) -> bool:
    try:
        crypto_sign_open(signature + message, public_key)
    except CryptoError:
        return False
    return True


# Values and lengths that stand in the tag itself.
_SHORT = {
    **{number: ("integer", number) for number in range(0x80)},
    **{0x90 + length: ("array", length) for length in range(16)},
    **{0xA0 + length: ("text", length) for length in range(32)},
    **{0x100 + number: ("integer", number) for number in range(-32, 0)},
    0xC0: ("nil", 0),
}
# Tag: what it is, the format of the number or length that follows, and the numbers that need a form so long.
_FORMS = {
    0xC4: ("bytes", ">B", range(2**8)),
    0xC5: ("bytes", ">H", range(2**8, 2**16)),
    0xC6: ("bytes", ">I", range(2**16, 2**32)),
    0xCC: ("integer", ">B", range(2**7, 2**8)),
    0xCD: ("integer", ">H", range(2**8, 2**16)),
    0xCE: ("integer", ">I", range(2**16, 2**32)),
    0xCF: ("integer", ">Q", range(2**32, 2**64)),
    0xD0: ("integer", ">b", range(-(2**7), -(2**5))),
    0xD1: ("integer", ">h", range(-(2**15), -(2**7))),
    0xD2: ("integer", ">i", range(-(2**31), -(2**15))),
    0xD3: ("integer", ">q", range(-(2**63), -(2**31))),
    0xD9: ("text", ">B", range(2**5, 2**8)),
    0xDA: ("text", ">H", range(2**8, 2**16)),
    0xDB: ("text", ">I", range(2**16, 2**32)),
    0xDC: ("array", ">H", range(2**4, 2**16)),
    0xDD: ("array", ">I", range(2**16, 2**32)),
}


class _Reader:
    """Reads canonical MessagePack from front to back; its work and memory are bounded by the length of the bytes."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.at = 0

    def since(self, start: int) -> bytes:
        return self._data[start : self.at]

    def end(self) -> None:
        if self.at != len(self._data):
            raise RefusedError("more bytes follow than belong to it")

    def array(self, size: int | None = None) -> int:
        found = self._expect("array")
        if size is not None and found != size:
            raise RefusedError(f"an array has {found} elements, not {size}")
        return found

    def binary(self, size: int | None = None) -> bytes:
        found = self._expect("bytes")
        if size is not None and found != size:
            raise RefusedError(f"{found} bytes stand where {size} should")
        return self._take(found)

    def integer(self) -> int:
        return self._expect("integer")

    def integer_or_nil(self) -> int | None:
        kind, value = self._head()
        if kind not in {"integer", "nil"}:
            raise RefusedError(f"{kind} stands where an integer or nil should")
        return value if kind == "integer" else None

    def binary_or_nil(self, size: int) -> bytes | None:
        kind, found = self._head()
        if kind == "nil":
            return None
        if (kind, found) != ("bytes", size):
            raise RefusedError(f"{kind} of {found} stand where {size} bytes or nil should")
        return self._take(size)

    def natural(self, least: int = 0) -> int:
        value = self.integer()
        if not least <= value <= _LARGEST:
            raise RefusedError(f"{value} is out of range")
        return value

    def skip(self, values: int) -> None:
        """Pass over whole values. Counts them instead of descending, so that no nesting is too deep."""
        if values < 0:
            raise RefusedError("an array is too short")
        while values:
            kind, size = self._head()
            values -= 1
            if kind == "array":
                values += size
            elif kind in {"bytes", "text"}:
                self._take(size)

    def _expect(self, kind: str) -> int:
        found, value = self._head()
        if found != kind:
            raise RefusedError(f"{found} stands where {kind} should")
        return value

    def _head(self) -> tuple[str, int]:
        """What comes next, and its number (of an integer) or length (of anything else)."""
        tag = self._take(1)[0]
        if tag in _FORMS:
            kind, form, needing = _FORMS[tag]
            (value,) = struct.unpack(form, self._take(struct.calcsize(form)))
            if value not in needing:
                raise RefusedError(f"{kind} is not in its shortest form")
            return kind, value
        if tag in _SHORT:
            return _SHORT[tag]
        raise RefusedError(f"tag {tag:#x} has no place here")

    def _take(self, size: int) -> bytes:
        end = self.at + size
        if end > len(self._data):
            raise RefusedError("the bytes end too early")
        taken, self.at = self._data[self.at : end], end
        return taken
