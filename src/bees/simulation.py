"""One communication round after the other, in the words of the paper's Algorithm 1.

BEES, B-EI and plain FedAvg are this one loop: they differ in the scenario (contract, M, policy, sharing).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bees.adversary.learning.lies import claimed_samples, held_by_liar, misjudge
from bees.core.fixed_point import dequantise, quantise
from bees.edge.battery import is_charged
from bees.edge.physics import advance, refuse_the_end, sense
from bees.edge.state import EdgeState
from bees.ledger.commitments import hash_contract
from bees.ledger.state import Phase
from bees.protocol.deployment import approve, assemble
from bees.protocol.device import OpenRound, check_global_model, commit_update, delegate_round
from bees.protocol.server import attest, held_updates, publish
from bees.results import RoundRow

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from bees.core.fixed_point import Words
    from bees.edge.consequences import BlockPhysics
    from bees.experiment import Experiment
    from bees.ledger.state import Attestation, EligibleUpdate, Participant, State
    from bees.ledger.transactions import Signed
    from bees.protocol.server import Evaluate


@dataclass(frozen=True)
class Round:
    """What one communication round has brought.

    Attributes:
        row: for rounds.jsonl.
        physics: per-UE arrays.
        charge_j: what the batteries hold after it, shape (K,).
        words: of w_g(t), shape (P,).
    """

    row: RoundRow
    physics: BlockPhysics
    charge_j: NDArray[np.float64]
    words: Words


def simulate(experiment: Experiment) -> Iterator[Round]:
    """Algorithm 1: while sensors sense data, train locally, elect, verify, aggregate by contract, share w_g.

    A round that a resumed chain holds already is taken from there, and its row is computed again.

    Args:
        experiment: data, model, world and chain.

    Yields:
        each communication round, after its block is committed by every server.

    Raises:
        NoDeviceLeftError: every battery is empty, and nothing charges it.
    """
    w_g, edge_state = experiment.learning.initial_words, EdgeState.start(experiment.initial_charge_j)
    spent = (0.0, 0.0)
    convicted: frozenset[Participant] = frozenset()
    for t in range(1, experiment.scenario.blocks + 1):
        with experiment.timer("sense"):
            physics = sense(experiment.edge, t, edge_state)
            before, edge_state = edge_state, advance(experiment.edge, t, edge_state, physics)
            refuse_the_end(experiment.edge, t, physics, edge_state)
        experiment.chain.catch_up(t)
        if experiment.chain.state.round == t:
            w_l = local_training(experiment, w_g, t, physics)
            deploy_contract(experiment, t)
            collect(experiment, w_g, w_l, physics)
            attest_updates(experiment, t)
            publish_global_model(experiment, t)
        elif experiment.speller.remembers:
            # What a resumed round has left unsaid is nowhere but in its training.
            local_training(experiment, w_g, t, physics)
        w_g = experiment.chain.global_model
        spent = (spent[0] + physics.latency_s, spent[1] + physics.total_energy_j)
        convicted |= _convicted(experiment)
        known = {**_physics_columns(physics, before, edge_state), **_attack_columns(experiment, t, physics, w_g)}
        known["convicted"] = tuple(f"{kind} {index}" for kind, index in sorted(convicted))
        yield Round(_row(experiment, t, known, spent, w_g), physics, edge_state.charge_j, w_g)


def local_training(experiment: Experiment, w_g: Words, t: int, physics: BlockPhysics) -> dict[int, bytes]:
    """``w_l^i <- LocalTraining(i, w_g)`` for each i whose update arrives, all at once; the updates' bytes by device."""
    participants = np.flatnonzero(physics.arrives)
    exponent = experiment.learning.model.description.exponent
    adversary, global_model = experiment.learning.adversary, dequantise(w_g, exponent)
    with experiment.timer("train"):
        weights = experiment.learning.trainer.train(global_model, t, adversary.rows(participants, t))
    if adversary.attack is not None:
        with experiment.timer("attack"):
            offloads = physics.decision[participants].astype(np.bool_)
            participants, weights = adversary.strike(global_model, weights, participants, offloads, t)
    with experiment.timer("quantise"):
        words = quantise(weights, exponent)
        return {
            int(device): experiment.speller.spell(int(device), own, w_g, offloads=bool(physics.decision[device]))
            for device, own in zip(participants, words, strict=True)
        }


def deploy_contract(experiment: Experiment, t: int) -> None:
    """In the round that the scenario names, every server approves another contract, and the first one carries it."""
    chain, code = experiment.chain, experiment.next_contract
    if code is None or t != experiment.scenario.ledger.deploy_block or chain.state.deploys:
        return
    keys = [signer.key for signer in experiment.server_signers]
    with experiment.timer("sign"):
        chain_id, committee = chain.state.genesis.chain_id, chain.state.members.committee
        approvals = [approve(chain_id, committee, 0, code, key) for key in keys]
        signed = assemble(chain_id, committee, 0, code, approvals, keys[0])
    chain.submit([signed])


def collect(experiment: Experiment, w_g: Words, w_l: dict[int, bytes], physics: BlockPhysics) -> None:
    """COLLECT: each device checks w_g(t-1) and commits to its update; when the phase is over, bytes are revealed.

    A device that offloads delegates first; its server signs the update when the chain holds the delegation. The
    devices hold the same w_g(t-1) and its proof, so one check of them stands for all.
    """
    chain = experiment.chain
    open_round = OpenRound.of(chain.state)
    with experiment.timer("verify"):
        check_global_model(chain.state.genesis, open_round, w_g, chain.model_proof(), chain.verify)
    if chain.state.phase is Phase.COLLECT:
        missing = [device for device in w_l if device not in chain.state.updates]
        offloading = [device for device in missing if physics.decision[device]]
        with experiment.timer("sign"):
            undecided = [device for device in offloading if device not in chain.state.delegations]
            delegations = [_delegation(experiment, open_round, device) for device in undecided]
            own = [_update(experiment, open_round, d, w_l[d]) for d in missing if not physics.decision[d]]
        chain.submit([*delegations, *own])
        if delegations:
            chain.next_block()
        with experiment.timer("sign"):
            delegated = {d: _delegated_update(experiment, open_round, d, w_l[d]) for d in offloading}
        by_liars = {d for d in offloading if _lies(experiment, _server_of(experiment, d), open_round.round)}
        chain.submit([signed for device, signed in delegated.items() if device not in by_liars])
        chain.offer([delegated[device] for device in offloading if device in by_liars])
    while chain.state.phase is Phase.COLLECT and chain.state.round == open_round.round:
        chain.next_block()
    for device, accepted in chain.state.updates.items():
        chain.blobs.keep(accepted.commitment, open_round.round, w_l[device])


def attest_updates(experiment: Experiment, t: int) -> None:
    """ATTEST: each server checks the bytes that it was sent, scores the models, and signs what it found."""
    chain = experiment.chain
    while chain.state.phase is Phase.ATTEST and chain.state.round == t:
        state = chain.state
        scores = _Scores(experiment)
        held: dict[int, bytes] | None = None
        transactions: list[Signed] = []
        for server, signer in enumerate(experiment.server_signers):
            with experiment.timer("hold"):
                if held is None or not experiment.share_checks:
                    held = held_updates(state, chain.blobs.get, chain.global_model)
            with experiment.timer("sign"):
                if _lies(experiment, server, t):
                    signed = _attest_falsely(experiment, server, state, held, scores.of)
                else:
                    signed = attest(signer, server, state, held, scores.of)
            transactions += [] if signed is None else [signed]
        chain.submit(transactions)
        chain.next_block()


def publish_global_model(experiment: Experiment, t: int) -> None:
    """PUBLISH: the main node, elected by Proof of Learning, publishes the contract's result."""
    chain = experiment.chain
    while chain.state.phase is Phase.PUBLISH and chain.state.round == t:
        state = chain.state
        if state.main_node is not None and not (_lies(experiment, state.main_node, t) and _is_idle(experiment)):
            signer = experiment.server_signers[state.main_node]
            with experiment.timer("contract"):
                signed = publish(signer, state.main_node, state, chain.executor)
            chain.submit([] if signed is None else [signed])
        chain.next_block()


def _lies(experiment: Experiment, server: int, t: int) -> bool:
    return server in experiment.lying_servers and t >= experiment.scenario.attack.first_block


def _is_idle(experiment: Experiment) -> bool:
    return experiment.scenario.attack.server_lie == "idle"


def _attest_falsely(
    experiment: Experiment, server: int, state: State, held: dict[int, bytes], evaluate: Evaluate
) -> Signed | None:
    """What a lying server attests, by the same protocol as all others."""
    if _is_idle(experiment):
        return None
    lie = experiment.scenario.attack.server_lie
    shown = held_by_liar(lie, held)
    own = frozenset(np.flatnonzero(experiment.edge.world.server_of_device == server).tolist())
    friends = frozenset(experiment.learning.adversary.attackers.tolist())
    samples = state.genesis.evaluation_samples
    lying = misjudge(lie, evaluate, tuple(shown), samples, own=own, friends=friends)
    return attest(experiment.server_signers[server], server, state, shown, lying)


def _server_of(experiment: Experiment, device: int) -> int:
    return int(experiment.edge.world.server_of_device[device])


def _update(experiment: Experiment, open_round: OpenRound, device: int, update: bytes) -> Signed:
    samples = int(experiment.learning.samples[device])
    return commit_update(experiment.device_signers[device], open_round, device, samples, update)


def _delegation(experiment: Experiment, open_round: OpenRound, device: int) -> Signed:
    server = _server_of(experiment, device)
    return delegate_round(experiment.device_signers[device], open_round, device, server)


def _delegated_update(experiment: Experiment, open_round: OpenRound, device: int, update: bytes) -> Signed:
    samples = int(experiment.learning.samples[device])
    server = _server_of(experiment, device)
    if _lies(experiment, server, open_round.round):
        samples = claimed_samples(experiment.scenario.attack.server_lie, samples)
    return commit_update(experiment.server_signers[server], open_round, device, samples, update, server)


class _Scores:
    """One evaluation of the round's updates, shared by honest servers: they would all count the same."""

    def __init__(self, experiment: Experiment) -> None:
        self._experiment = experiment
        self._known: tuple[list[bytes], list[int]] | None = None

    def of(self, updates: Sequence[bytes]) -> list[int]:
        """How many evaluation samples each update's model gets right."""
        given = list(updates)  # what is only looked at through a view would equal nothing
        if self._known is None or self._known[0] != given:
            with self._experiment.timer("evaluate"):
                self._known = (given, self._count(given))
        return self._known[1]

    def _count(self, updates: Sequence[bytes]) -> list[int]:
        learning = self._experiment.learning
        model, w_g = self._experiment.speller.model, self._experiment.chain.global_model
        words = np.stack([model.read_update(update, w_g) for update in updates])
        return [int(count) for count in learning.score(dequantise(words, model.exponent))]


def _row(
    experiment: Experiment,
    t: int,
    of_physics: dict[str, Any],
    spent: tuple[float, float],
    w_g: Words,
) -> RoundRow:
    state = experiment.chain.state
    with experiment.timer("evaluate"):
        accuracy = experiment.learning.test_accuracy(w_g)
    frozen = experiment.chain.ballot
    eligible = frozen[1].eligible if frozen is not None and frozen[0] == t else ()
    of_samples = state.genesis.evaluation_samples
    scores = [update.correct / of_samples for update in eligible] or [0.0]
    outcome = state.outcome
    return RoundRow(
        block=t,
        accuracy=accuracy,
        best_local_accuracy=max(scores),
        mean_local_accuracy=sum(scores) / len(scores),
        total_latency_s=spent[0],
        total_energy_j=spent[1],
        eligible_updates=len(eligible),
        selected=outcome.selected if outcome else (),
        main_node=outcome.main_node if outcome else None,
        model=state.model.hex(),
        height=state.height,
        contract=hash_contract(experiment.chain.closing_contract).hex(),
        **of_physics,
    )


def _attack_columns(experiment: Experiment, t: int, physics: BlockPhysics, w_g: Words) -> dict[str, Any]:
    """What attackers and lying servers have come to, by the names of a row; all of it is read off the chain."""
    adversary, chain = experiment.learning.adversary, experiment.chain
    outcome, closing = chain.state.outcome, chain.closing_state
    arrived, offloads = np.flatnonzero(physics.arrives), physics.decision.astype(np.bool_)
    selected = np.array(outcome.selected if outcome else (), dtype=np.int64)
    with experiment.timer("evaluate"):
        success = experiment.learning.backdoor_success(w_g)
    columns = {
        "attacking_devices": int(adversary.harming(arrived, offloads[arrived], t).sum()),
        "attackers_selected": int(adversary.harming(selected, offloads[selected], t).sum()),
        "backdoor_success": success,
    }
    if closing is None or closing.round != t:
        return columns
    eligible = closing.ballot.eligible if closing.ballot else ()
    return {
        **columns,
        "refused_updates": len(arrived) - len(closing.updates),
        "ineligible_updates": len(closing.updates) - len(eligible),
        "outvoted_attestations": outvoted_attestations(closing.attestations.values(), eligible),
    }


def outvoted_attestations(attestations: Iterable[Attestation], eligible: Sequence[EligibleUpdate]) -> int:
    """How many servers attest another score for an eligible update than stands, or not to hold it."""
    standing = {update.device: update.correct for update in eligible}
    said = [dict(zip(one.devices, one.correct, strict=True)) for one in attestations]
    return sum(any(of.get(device) != correct for device, correct in standing.items()) for of in said)


def _convicted(experiment: Experiment) -> frozenset[Participant]:
    closing = experiment.chain.closing_state
    return frozenset([*experiment.chain.state.convictions, *(closing.convictions if closing else ())])


def _physics_columns(physics: BlockPhysics, before: EdgeState, after: EdgeState) -> dict[str, Any]:
    """What the edge world alone says of a round, by the names of a row."""
    return {
        "latency_s": physics.latency_s,
        "energy_j": physics.total_energy_j,
        "computation_energy_j": float(physics.compute_energy_j.sum()),
        "transmission_energy_j": float(physics.transmit_energy_j.sum()),
        "server_energy_j": physics.server_energy_j,
        "charged_devices": int(is_charged(before.charge_j).sum()),
        "participating_devices": int(physics.participates.sum()),
        "active_devices": int(physics.arrives.sum()),
        "offloading_devices": int((physics.decision & physics.arrives).sum()),
        "uplink_bytes": float(physics.uplink_bytes.sum()),
        "downlink_bytes": float(physics.downlink_bytes.sum()),
        "backhaul_bytes": physics.backhaul_bytes,
        "raw_bytes": float(physics.raw_bytes_sent.sum()),
        "raw_samples_shared": int(after.samples_shared.sum()),
    }
