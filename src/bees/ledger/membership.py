"""Who takes part in a chain now: the keys of the genesis, as the servers have amended them since.

An index is never given to another participant. A key is replaced or removed from the first block of the next round on,
so within a round everybody's keys stay what they were. Whoever is removed has no duties, no vote and no say; what the
old key of a participant has signed proves nothing any more, as the reason to replace it may be that it was stolen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from msgspec.structs import replace

from bees.core.canonical import Record, encode
from bees.ledger.committee import Committee, PublicKey
from bees.ledger.genesis import Genesis, Natural
from bees.ledger.refusals import AmendError

if TYPE_CHECKING:
    from typing import Any


class ValidatorChange(Record, frozen=True):
    """What changes for the engine that orders blocks, where its validators have keys of their own, as CometBFT's do.

    Attributes:
        old: public key of the server's validator so far.
        new: its next one, or None where the server is removed.
    """

    old: PublicKey
    new: PublicKey | None


class Change(Record, frozen=True):
    """What an Amend changes.

    Attributes:
        kind: of the participant.
        index: of the participant in the genesis.
        public_key: its next key, or None to remove it.
        validator: what changes for the engine, or None; always None for a device.
    """

    kind: Literal["server", "device"]
    index: Natural
    public_key: PublicKey | None
    validator: ValidatorChange | None


class Members(Record, frozen=True):
    """Everybody who takes part.

    Attributes:
        committee: the servers.
        devices: public key of each device of the genesis, or None for one that was removed.
        validator_changes: what has changed for the engine since genesis, in order.
    """

    committee: Committee
    devices: tuple[PublicKey | None, ...]
    validator_changes: tuple[ValidatorChange, ...]

    @classmethod
    def of(cls, genesis: Genesis) -> Members:
        """Whom a chain begins with."""
        return cls(genesis.committee, tuple(device.public_key for device in genesis.devices), ())

    def keys_of(self, kind: str) -> tuple[PublicKey | None, ...]:
        """The keys of all servers, or of all devices."""
        return self.committee.keys if kind == "server" else self.devices


def amendment_bytes(chain_id: bytes, nonce: int, change: Change) -> bytes:
    """What a server signs to approve a change of the members."""
    return b"bees amendment\0" + encode((chain_id, nonce, change))


def consent_bytes(chain_id: bytes, nonce: int, change: Change) -> bytes:
    """What a new key signs, to show that somebody holds it."""
    return b"bees consent\0" + encode((chain_id, nonce, change))


def amend(members: Members, change: Change) -> Members:
    """The members after a change.

    Raises:
        AmendError: there is no such participant, not any more, or nobody would be left; or a key is in use already.
    """
    _check_participant(members, change)
    _check_key(members, change)
    _check_validator(members, change)
    keys = list(members.keys_of(change.kind))
    keys[change.index] = change.public_key
    if change.kind == "device":
        return replace(members, devices=tuple(keys))
    changes = (*members.validator_changes, *([] if change.validator is None else [change.validator]))
    return replace(members, committee=Committee(tuple(keys)), validator_changes=changes)


def _check_participant(members: Members, change: Change) -> None:
    keys = members.keys_of(change.kind)
    if change.index >= len(keys):
        raise AmendError(f"no {change.kind} {change.index} in the genesis")
    if keys[change.index] is None:
        raise AmendError(f"{change.kind} {change.index} is removed already")
    if change.public_key is None and sum(key is not None for key in keys) == 1:
        raise AmendError(f"{change.kind} {change.index} is the last one")


def _check_key(members: Members, change: Change) -> None:
    if change.public_key is not None and change.public_key in {*members.committee.keys, *members.devices}:
        raise AmendError("its new key is in use already")


def _check_validator(members: Members, change: Change) -> None:
    validator = change.validator
    if validator is None:
        return
    if change.kind == "device":
        raise AmendError("a device has no validator")
    if (validator.new is None) is not (change.public_key is None):
        raise AmendError("server and validator are replaced together, or removed together")
    gone: set[Any] = {known.old for known in members.validator_changes}
    known: set[Any] = gone | {known.new for known in members.validator_changes}
    if validator.old in gone or validator.new in known or validator.new == validator.old:
        raise AmendError("its validator's keys contradict an earlier change")
