"""Lies of a device: two updates, bytes that it withholds or falsifies, stolen commitments, false sample counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from bees.core.hashes import digest
from bees.ledger.commitments import commit_to_update
from bees.ledger.transactions import Delegate, Update, sign
from bees.protocol.messages import GiveUpdate, Gossip

if TYPE_CHECKING:
    from bees.adversary.protocol.coalition import LyingDevice

_GARBAGE = b"no model"


def update_twice(device: LyingDevice, receiver: int, payload: object) -> tuple[object, ...]:
    """Commit to one update at some servers, and to another at the others."""
    own = _own(device, payload)
    if own is None or receiver in device.coalition.left:
        return (payload,)
    return (_gossip(device, replace(own, samples=own.samples - 1)),)


def delegate_twice(device: LyingDevice, receiver: int, payload: object) -> tuple[object, ...]:
    """Delegate to one server in what some are told, and to the next one in what the others are told."""
    if not isinstance(payload, Gossip) or not isinstance(payload.signed.body, Update | Delegate):
        return (payload,)
    body, genesis = payload.signed.body, device.coalition.genesis
    round_ = body.round if isinstance(body, Update) else body.first_round
    home = genesis.devices[device.index].server
    server = home if receiver in device.coalition.left else (home + 1) % len(genesis.servers)
    return (Gossip(sign(Delegate(genesis.chain_id, device.index, server, round_, round_), device.key)),)


def withhold_bytes(_device: LyingDevice, receiver: int, payload: object) -> tuple[object, ...]:
    """Reveal the bytes to liars and a few others only, so that servers disagree about who holds them."""
    if isinstance(payload, GiveUpdate) and receiver % 3:
        return ()
    return (payload,)


def give_garbage(_device: LyingDevice, _receiver: int, payload: object) -> tuple[object, ...]:
    """Reveal other bytes than were committed to."""
    if not isinstance(payload, GiveUpdate):
        return (payload,)
    return (GiveUpdate(payload.commitment, digest("garbage", payload.data)[: len(payload.data)]),)


def commit_to_no_model(device: LyingDevice, _receiver: int, payload: object) -> tuple[object, ...]:
    """Commit to bytes that are no model, and reveal exactly those."""
    own = _own(device, payload)
    if own is not None:
        return (_gossip(device, replace(own, commitment=commit_to_update(device.index, own.round, _GARBAGE))),)
    if isinstance(payload, GiveUpdate):
        return (GiveUpdate(payload.commitment, _GARBAGE),)
    return (payload,)


def steal_commitment(device: LyingDevice, _receiver: int, payload: object) -> tuple[object, ...]:
    """Claim the update of another device by its commitment, and send nothing before one is heard."""
    own = _own(device, payload)
    if own is None:
        return (payload,)
    other = device.coalition.update_of_another(device.index, own.round)
    return () if other is None else (_gossip(device, replace(own, commitment=other.commitment)),)


def overstate_samples(device: LyingDevice, _receiver: int, payload: object) -> tuple[object, ...]:
    """Claim more samples than are registered."""
    own = _own(device, payload)
    cap = device.coalition.genesis.devices[device.index].sample_cap
    return (payload,) if own is None else (_gossip(device, replace(own, samples=cap + 1)),)


def build_on_another_model(device: LyingDevice, _receiver: int, payload: object) -> tuple[object, ...]:
    """Send an update that starts from another model, or is for another round."""
    own = _own(device, payload)
    if own is None:
        return (payload,)
    return (
        _gossip(device, replace(own, previous_model=digest("another model", b""))),
        _gossip(device, replace(own, round=own.round + 1)),
    )


def update_for_others(device: LyingDevice, _receiver: int, payload: object) -> tuple[object, ...]:
    """Send an update in the name of the next device."""
    own = _own(device, payload)
    if own is None:
        return (payload,)
    victim = (device.index + 1) % len(device.coalition.genesis.devices)
    return (payload, _gossip(device, replace(own, device=victim)))


def _own(device: LyingDevice, payload: object) -> Update | None:
    if not isinstance(payload, Gossip):
        return None
    body = payload.signed.body
    return body if isinstance(body, Update) and body.device == device.index else None


def _gossip(device: LyingDevice, body: Update) -> Gossip:
    return Gossip(sign(body, device.key))
