"""The transactions of a round, each signed by whom it binds, each bound to chain, round and w_g(t-1)."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from bees.core.canonical import Record, encode
from bees.core.hashes import digest
from bees.ledger.genesis import Hash, Natural, PublicKey, Signature
from bees.ledger.membership import Change, Members
from bees.ledger.refusals import RemovedError, UnknownParticipantError

if TYPE_CHECKING:
    from bees.core.keys import Signs


class Delegate(Record, frozen=True, tag="delegate"):
    """A device hands its duty of training and signing to a server, because it offloads (d_k = 1).

    Attributes:
        chain_id: of the genesis.
        device: who delegates, and signs.
        server: who may sign Updates for it.
        first_round: the open round, which is the first for which it may. It binds the transaction to this round,
            so that a delegation that was replaced cannot be replayed into force.
        last_round: last round for which it may.
    """

    chain_id: Hash
    device: Natural
    server: Natural
    first_round: Natural
    last_round: Natural


class Update(Record, frozen=True, tag="update"):
    """A device commits to its updated weights w_k(t).

    Attributes:
        chain_id: of the genesis.
        round: t.
        previous_model: hash of w_g(t-1), from which it trained.
        device: u_k.
        server: who signs in the device's place under a Delegate, or None.
        commitment: BLAKE3(device, round, update bytes).
        samples: n_k.
    """

    chain_id: Hash
    round: Natural
    previous_model: Hash
    device: Natural
    server: Natural | None
    commitment: Hash
    samples: Natural


class Attest(Record, frozen=True, tag="attest"):
    """A server says of which updates it holds the bytes, and how many samples each gets right.

    Attributes:
        chain_id: of the genesis.
        round: t.
        previous_model: hash of w_g(t-1).
        server: who signs.
        devices: whose updates it holds, ascending.
        correct: for each of them, how many of the T evaluation samples its model gets right.
    """

    chain_id: Hash
    round: Natural
    previous_model: Hash
    server: Natural
    devices: tuple[Natural, ...]
    correct: tuple[Natural, ...]


class Publish(Record, frozen=True, tag="publish"):
    """The main node publishes the contract's result.

    Attributes:
        chain_id: of the genesis.
        round: t.
        previous_model: hash of w_g(t-1).
        server: the main node, who signs.
        selected: the devices in M, ascending.
        model: hash of w_g(t).
    """

    chain_id: Hash
    round: Natural
    previous_model: Hash
    server: Natural
    selected: tuple[Natural, ...]
    model: Hash


class Approval(Record, frozen=True):
    """A server's signature under a change of the contract or of the members."""

    server: Natural
    signature: Signature


class Deploy(Record, frozen=True, tag="deploy"):
    """The servers change the contract, from the next round on.

    Attributes:
        chain_id: of the genesis.
        server: who carries it, and signs.
        nonce: how many Deploys came before it.
        code: the WebAssembly module.
        approvals: of more than 2N/3 servers, ascending.
    """

    chain_id: Hash
    server: Natural
    nonce: Natural
    code: bytes
    approvals: tuple[Approval, ...]


class Amend(Record, frozen=True, tag="amend"):
    """The servers replace the key of a participant, or remove it, from the next round on.

    Attributes:
        chain_id: of the genesis.
        server: who carries it, and signs.
        nonce: how many Amends came before it.
        change: what changes.
        consent: signature of the new key, or None where the participant is removed.
        approvals: of more than 2N/3 of the servers in force, ascending.
    """

    chain_id: Hash
    server: Natural
    nonce: Natural
    change: Change
    consent: Signature | None
    approvals: tuple[Approval, ...]


Duty = Delegate | Update | Attest | Publish
"""What a participant answers at most once in a round."""


class Statement(Record, frozen=True):
    """What somebody has signed, held against its author. It need not be on the chain."""

    body: Duty
    signature: Signature


class Evidence(Record, frozen=True, tag="evidence"):
    """A server shows that a participant has lied in a way that its own signature proves.

    Attributes:
        chain_id: of the genesis.
        server: who reports, and signs.
        first: a Publish that is not the contract's result, or one of two answers to a single duty.
        second: the other answer, which has the larger encoding; None where the first is wrong by itself.
    """

    chain_id: Hash
    server: Natural
    first: Statement
    second: Statement | None


Transaction = Delegate | Update | Attest | Publish | Deploy | Amend | Evidence

_ORDER = {Evidence: 0, Amend: 1, Deploy: 2, Delegate: 3, Update: 4, Attest: 5, Publish: 6}


class Signed(Record, frozen=True, dict=True):
    """A transaction and the signature of its author. What is derived from them is computed once and kept."""

    body: Transaction
    signature: Signature

    @cached_property
    def message(self) -> bytes:
        """What the author signs."""
        return signing_bytes(self.body)

    @cached_property
    def hash(self) -> bytes:
        """Names the transaction."""
        return digest("transaction", self.encoding)

    @cached_property
    def encoding(self) -> bytes:
        """Canonical bytes of the whole."""
        return encode(self)


def sign(body: Transaction, key: Signs) -> Signed:
    """The transaction, signed."""
    return Signed(body, key.sign(signing_bytes(body)))


def signing_bytes(body: Transaction) -> bytes:
    """What the author of a transaction signs."""
    return b"bees transaction\0" + encode(body)


def approval_bytes(chain_id: bytes, nonce: int, code_hash: bytes) -> bytes:
    """What a server signs to approve a change of contract."""
    return b"bees approval\0" + encode((chain_id, nonce, code_hash))


def author_key(members: Members, body: Transaction) -> PublicKey:
    """The key that must have signed the transaction.

    Raises:
        UnknownParticipantError: its author, or the device that it speaks for, is not in the genesis.
        RemovedError: it takes no part any more.
    """
    match body:
        case Delegate():
            return _key(members, "device", body.device)
        case Update():
            device_key = _key(members, "device", body.device)
            return device_key if body.server is None else _key(members, "server", body.server)
        case Attest() | Publish() | Deploy() | Amend() | Evidence():
            return _key(members, "server", body.server)


def canonical_order(signed: Signed) -> tuple[int, int]:
    """Sort key of a proposal's transactions: rights before duties, then by author."""
    body = signed.body
    author = body.device if isinstance(body, Delegate | Update) else body.server
    return _ORDER[type(body)], author


def _key(members: Members, kind: str, index: int) -> bytes:
    keys = members.keys_of(kind)
    if not 0 <= index < len(keys):
        raise UnknownParticipantError(kind, index)
    key = keys[index]
    if key is None:
        raise RemovedError(kind, index)
    return key
