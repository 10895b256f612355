"""Lies for a server's or device's own gain, which random histories do not draw: each aims at what BEES rewards.

They are kept out of ``behaviours``, so that the plans of known seeds, and the counterexamples, stay what they are.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, TypeVar

from msgspec.structs import replace

from bees.core.hashes import digest
from bees.core.keys import SigningKey
from bees.ledger.state import Phase
from bees.ledger.transactions import Attest, Publish, Update, sign
from bees.protocol.messages import Gossip

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bees.adversary.protocol.behaviours import Act, Tamper, TamperDevice
    from bees.adversary.protocol.coalition import Liar, LyingDevice
    from bees.ledger.transactions import Signed

Body = TypeVar("Body", Attest, Publish, Update)


def favour_own_devices(liar: Liar, _receiver: int, payload: object) -> tuple[object, ...]:
    """Give the devices of the coalition's servers the best score, and all others the worst."""
    own = _own(liar, payload, Attest)
    if own is None:
        return (payload,)
    devices = tuple(sorted(liar.state.updates))
    best, keys = liar.genesis.evaluation_samples, liar.coalition.keys
    correct = tuple(best if liar.genesis.devices[k].server in keys else 0 for k in devices)
    return _instead(liar, payload, sign(replace(own, devices=devices, correct=correct), liar.key))


def refuse_duties(liar: Liar, _receiver: int, payload: object) -> tuple[object, ...]:
    """Neither attest nor publish, so as to spend nothing, or to drain and rise in Proof of Learning."""
    if _own(liar, payload, Attest) is None and _own(liar, payload, Publish) is None:
        return (payload,)
    return _instead(liar, payload, None)


def falsify_delegated(liar: Liar, _receiver: int, payload: object) -> tuple[object, ...]:
    """Sign another n_k for a device that has offloaded: once, so that nothing contradicts it."""
    own = _own(liar, payload, Update)
    if own is None:
        return (payload,)
    return _instead(liar, payload, sign(replace(own, samples=1), liar.key))


def join_unregistered(liar: Liar) -> list[tuple[int, object]]:
    """Send the update of a device that the genesis does not know, well signed with its own key."""
    state = liar.state
    if state.phase is not Phase.COLLECT:
        return []
    stranger = len(liar.genesis.devices)
    commitment = digest("stranger", bytes([state.round % 256]))
    body = Update(liar.genesis.chain_id, state.round, state.model, stranger, None, commitment, 1)
    gossip = Gossip(sign(body, SigningKey.simulated(0, "stranger", liar.index)))
    return [(receiver, gossip) for receiver in range(len(liar.genesis.servers))]


def overstate_within_cap(device: LyingDevice, _receiver: int, payload: object) -> tuple[object, ...]:
    """Claim as many samples as the genesis allows, whatever there are."""
    if not isinstance(payload, Gossip) or not isinstance(payload.signed.body, Update):
        return (payload,)
    cap = device.coalition.genesis.devices[device.index].sample_cap
    return (Gossip(sign(replace(payload.signed.body, samples=cap), device.key)),)


OWN_TAMPERS: Mapping[str, Tamper] = MappingProxyType(
    {
        "favoured devices": favour_own_devices,
        "refused duties": refuse_duties,
        "falsified delegation": falsify_delegated,
    }
)
OWN_ACTS: Mapping[str, Act] = MappingProxyType({"unregistered device": join_unregistered})
OWN_DEVICE_TAMPERS: Mapping[str, TamperDevice] = MappingProxyType({"samples up to the cap": overstate_within_cap})


def _own(liar: Liar, payload: object, kind: type[Body]) -> Body | None:
    body = payload.signed.body if isinstance(payload, Gossip) else None
    return body if isinstance(body, kind) and body.server == liar.index else None


def _instead(liar: Liar, payload: object, lie: Signed | None) -> tuple[object, ...]:
    """The lie, or nothing, in place of what the honest program has signed; also in blocks that the liar proposes."""
    mempool = liar.find_replica().mempool
    if isinstance(payload, Gossip):
        mempool.pop(payload.signed.signature, None)
    if lie is None:
        return ()
    mempool[lie.signature] = lie
    return (Gossip(lie),)
