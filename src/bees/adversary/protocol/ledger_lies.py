"""Lies on the ledger: wrong and double results, false attestations, forged, replayed and hostile transactions."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from msgspec.structs import replace

from bees.contract.library import load_contract_code
from bees.core.hashes import digest
from bees.ledger.commitments import hash_contract
from bees.ledger.state import Phase
from bees.ledger.transactions import (
    Amend,
    Approval,
    Attest,
    Deploy,
    Evidence,
    Publish,
    Signed,
    Statement,
    Update,
    approval_bytes,
    sign,
)
from bees.protocol.device import OpenRound
from bees.protocol.messages import GiveUpdate, Gossip, RoundNews, WantUpdate

if TYPE_CHECKING:
    from bees.adversary.protocol.coalition import Liar

Body = TypeVar("Body", Publish, Attest)
Sends = list[tuple[int, object]]

_ENDLESS_LOOP = bytes.fromhex("0061736d01000000010401600000030201000a09010700034000 0c000b0b".replace(" ", ""))
_OTHER_CONTRACT = "argmax"
_ASKED_FOR = 2
"""How many updates a liar asks everybody for after each block."""


def publish_wrong(liar: Liar, _receiver: int, payload: object) -> tuple[object, ...]:
    """Publish another model than the contract's."""
    own = _own(liar, payload, Publish)
    if own is None:
        return (payload,)
    return (_in_place_of(liar, payload, replace(own, model=digest("wrong model", own.model))),)


def publish_twice(liar: Liar, receiver: int, payload: object) -> tuple[object, ...]:
    """Publish the right result to some, and another to the others and in the own block."""
    changed = publish_wrong(liar, receiver, payload)
    return (payload,) if liar.is_left(receiver) else changed


def attest_falsely(liar: Liar, _receiver: int, payload: object) -> tuple[object, ...]:
    """Claim to hold every update, and give all of them the best or the worst score, as the coalition has agreed."""
    own = _own(liar, payload, Attest)
    if own is None:
        return (payload,)
    devices = tuple(sorted(liar.state.updates))
    score = liar.genesis.evaluation_samples if liar.coalition.inflates else 0
    return (_in_place_of(liar, payload, replace(own, devices=devices, correct=(score,) * len(devices))),)


def attest_twice(liar: Liar, receiver: int, payload: object) -> tuple[object, ...]:
    """Attest one thing to some and another to the others and in the own block."""
    own = _own(liar, payload, Attest)
    if own is None:
        return (payload,)
    lie = _in_place_of(liar, payload, replace(own, devices=(), correct=()))
    return (payload,) if liar.is_left(receiver) else (lie,)


def withhold_bytes(_liar: Liar, _receiver: int, payload: object) -> tuple[object, ...]:
    """Give nobody the bytes of updates."""
    return () if isinstance(payload, GiveUpdate) else (payload,)


def give_garbage(_liar: Liar, _receiver: int, payload: object) -> tuple[object, ...]:
    """Give other bytes than were asked for."""
    if not isinstance(payload, GiveUpdate):
        return (payload,)
    return (GiveUpdate(payload.commitment, digest("garbage", payload.data)[: len(payload.data)]),)


def lie_to_devices(liar: Liar, _receiver: int, payload: object) -> tuple[object, ...]:
    """Give devices another global model, or one that is out of date, or speak of a round that is not open."""
    if not isinstance(payload, RoundNews):
        return (payload,)
    match int(liar.coalition.rng.integers(3)):
        case 0:
            return (payload._replace(words=payload.words + 1),)
        case 1:
            return (payload._replace(open_round=replace_round(payload, payload.open_round.round + 1)),)
        case _:
            return (payload._replace(proof=None, open_round=replace_round(payload, payload.open_round.round + 7)),)


def replace_round(news: RoundNews, round_: int) -> OpenRound:
    """The open round with another number."""
    return OpenRound(news.open_round.chain_id, round_, news.open_round.previous_model)


def forge(liar: Liar) -> Sends:
    """Send transactions in the name of others, signed with the own key or not at all."""
    state, rng = liar.state, liar.coalition.rng
    device = int(rng.integers(len(liar.genesis.devices)))
    commitment = digest("forged", rng.bytes(8))
    update = Update(liar.genesis.chain_id, state.round, state.model, device, None, commitment, 1)
    victim = int(rng.integers(len(liar.genesis.servers)))
    attestation = Attest(liar.genesis.chain_id, state.round, state.model, victim, (), ())
    return _to_all(liar, sign(update, liar.key), Signed(update, bytes(64)), sign(attestation, liar.key))


def copy_signature(liar: Liar) -> Sends:
    """Send other words under a signature that their author has given for something else."""
    signed, other = liar.coalition.any_heard(), liar.coalition.any_heard()
    if signed is None or other is None:
        return []
    forgeries = [Signed(signed.body, other.signature)] if other.signature != signed.signature else []
    match signed.body:
        case Update():
            forgeries.append(Signed(replace(signed.body, samples=signed.body.samples + 1), signed.signature))
        case Attest():
            forgeries.append(Signed(replace(signed.body, devices=(), correct=()), signed.signature))
        case Publish():
            wrong = digest("wrong model", signed.body.model)
            forgeries.append(Signed(replace(signed.body, model=wrong), signed.signature))
        case _:
            pass
    return _to_all(liar, *forgeries)


def ask_early(liar: Liar) -> Sends:
    """Ask everybody for the bytes of updates before COLLECT is over, when others could still claim them."""
    state = liar.state
    if state.phase is not Phase.COLLECT:
        return []
    receivers = range(len(liar.genesis.servers) + len(liar.genesis.devices))
    wanted = [
        WantUpdate(liar.index, commitment) for commitment in liar.coalition.commitments_of(state.round)[:_ASKED_FOR]
    ]
    return [(receiver, one) for one in wanted for receiver in receivers]


def answer_late(liar: Liar) -> Sends:
    """Contradict the own Attest of the round before, and report lies and truths of that round."""
    state = liar.state
    round_ = state.round - 1
    if round_ < 1 or state.phase is not Phase.COLLECT or state.outcome is None:
        return []
    other = Attest(liar.genesis.chain_id, round_, digest("late", bytes([liar.index])), liar.index, (), ())
    wrong = Publish(liar.genesis.chain_id, round_, state.model, liar.index, (), digest("late", state.model))
    signed = sign(wrong, liar.key)
    shown = [Statement(wrong, signed.signature)]
    true = liar.coalition.publish_of(round_)
    if true is not None and isinstance(true.body, Publish):
        shown.append(Statement(true.body, true.signature))
    accusations = [sign(Evidence(liar.genesis.chain_id, liar.index, one, None), liar.key) for one in shown]
    return _to_all(liar, sign(other, liar.key), *accusations)


def replay(liar: Liar) -> Sends:
    """Send again what was heard before."""
    signed = liar.coalition.any_heard()
    return [] if signed is None else _to_all(liar, signed)


def lie_about_delegation(liar: Liar) -> Sends:
    """Sign for a device that has not asked for it; and twice for one that has."""
    state = liar.state
    if state.phase is not Phase.COLLECT:
        return []
    device = int(liar.coalition.rng.integers(len(liar.genesis.devices)))
    delegated = [d for d, delegation in state.delegations.items() if delegation.server == liar.index]
    bodies = [
        Update(liar.genesis.chain_id, state.round, state.model, d, liar.index, digest("lie", bytes([d, k])), 1 + k)
        for d in {device, *delegated}
        for k in range(2)
    ]
    return _to_all(liar, *(sign(body, liar.key) for body in bodies))


def accuse_falsely(liar: Liar) -> Sends:
    """Report honest participants with what proves nothing."""
    signed = liar.coalition.any_heard()
    other = liar.coalition.any_heard()
    if signed is None or other is None or isinstance(signed.body, Amend | Deploy | Evidence):
        return []
    shown = Statement(signed.body, signed.signature)
    accusations = [Evidence(liar.genesis.chain_id, liar.index, shown, None)]
    accusations.append(Evidence(liar.genesis.chain_id, liar.index, shown, shown))
    if isinstance(signed.body, Update):
        forged = Statement(replace(signed.body, samples=signed.body.samples + 1), signed.signature)
        accusations.append(Evidence(liar.genesis.chain_id, liar.index, shown, forged))
    if not isinstance(other.body, Amend | Deploy | Evidence):
        unrelated = Statement(other.body, other.signature)
        accusations.append(Evidence(liar.genesis.chain_id, liar.index, shown, unrelated))
    return _to_all(liar, *(sign(body, liar.key) for body in accusations))


def deploy_hostile_contract(liar: Liar) -> Sends:
    """Try to put an endless loop, or a contract that is right in itself, in force with the approvals of liars alone."""
    few, padded = (
        _approvals(liar, _ENDLESS_LOOP),
        (_approvals(liar, _ENDLESS_LOOP) * 4)[: liar.genesis.committee.quorum],
    )
    other = load_contract_code(_OTHER_CONTRACT)
    bodies = [
        Deploy(liar.genesis.chain_id, liar.index, liar.state.deploys, code, tuple(chosen))
        for code, chosen in (
            (_ENDLESS_LOOP, few),
            (_ENDLESS_LOOP, sorted(padded, key=lambda approval: approval.server)),
            (other, _approvals(liar, other)),
        )
    ]
    return _to_all(liar, *(sign(body, liar.key) for body in bodies))


def _approvals(liar: Liar, code: bytes) -> list[Approval]:
    message = approval_bytes(liar.genesis.chain_id, liar.state.deploys, hash_contract(code))
    return [Approval(k, key.sign(message)) for k, key in sorted(liar.coalition.keys.items())]


def _own(liar: Liar, payload: object, kind: type[Body]) -> Body | None:
    """The liar's own transaction of this kind, if that is what the payload is."""
    if not isinstance(payload, Gossip):
        return None
    body = payload.signed.body
    return body if isinstance(body, kind) and body.server == liar.index else None


def _in_place_of(liar: Liar, payload: object, lie: Publish | Attest) -> Gossip:
    """The lie, signed. A liar that proposes must not put the truth of its honest program into its own block."""
    signed = sign(lie, liar.key)
    if isinstance(payload, Gossip):
        mempool = liar.find_replica().mempool
        mempool.pop(payload.signed.signature, None)
        mempool[signed.signature] = signed
    return Gossip(signed)


def _to_all(liar: Liar, *signed: Signed) -> Sends:
    return [(receiver, Gossip(one)) for one in signed for receiver in range(len(liar.genesis.servers))]
