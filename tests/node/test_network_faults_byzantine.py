"""One of four whole nodes is Byzantine: what it says on real CometBFT and HTTP, and what the honest ones make of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from network_rig import (
    certified_height,
    check_chains,
    states,
    told_metrics,
    transactions,
    wait_certified,
    wait_round,
)

from bees.ledger.state import Phase
from bees.ledger.transactions import Attest, Evidence, Publish

if TYPE_CHECKING:
    from collections.abc import Callable

    from campaigns.random_network import RandomNetwork

BYZANTINE_NODE = Path(__file__).with_name("byzantine_node.py")
LIAR = 2
"""The first to publish in round 2."""


@pytest.mark.parametrize("lie", ["wrong publish", "two publishes"])
def test_whoever_publishes_wrong_or_twice_is_convicted_by_the_others_and_rounds_go_on(
    make_network: Callable[..., RandomNetwork], lie: str
):
    net = make_network()
    honest = [k for k in range(4) if k != LIAR]
    net.start_node(LIAR, entry=BYZANTINE_NODE, options=[lie])
    net.start(*honest)
    net.start_comet(LIAR)
    wait_round(net, 5, *honest)
    wait_certified(net, max(certified_height(net, k) for k in honest), *honest)
    convicted = [told_metrics(net, k)["bees_convicted"] for k in honest]
    accusers = [told_metrics(net, k).get('bees_duties_total{kind="Evidence"}', 0) for k in honest]
    net.close()

    check_chains(net, honest)
    assert convicted == [1, 1, 1]
    assert any(accusers)
    bodies = [signed.body for signed in transactions(net.chain(0))]
    (evidence,) = (body for body in bodies if isinstance(body, Evidence))
    assert evidence.server in honest
    shown = [statement.body for statement in (evidence.first, evidence.second) if statement is not None]
    assert len(shown) == (1 if lie == "wrong publish" else 2)
    assert all(isinstance(body, Publish) and (body.server, body.round) == (LIAR, 2) for body in shown)
    published = {body.round: body.server for body in bodies if isinstance(body, Publish)}
    assert list(published) == list(range(1, max(published) + 1))
    # The right one of two results may stand, if a block has taken it before the evidence came; a wrong one never does.
    assert published[2] != LIAR or lie == "two publishes"


def test_false_attestations_are_outvoted_and_withheld_bytes_are_had_elsewhere_or_count_for_nothing(
    make_network: Callable[..., RandomNetwork],
):
    # Devices 2 and 6 are nearest to the liar. Device 2 gives its updates to server 0, device 6 to the liar alone.
    known = [[k % 4, (k + 1) % 4] for k in range(8)]
    known[2], known[6] = [0], [LIAR]
    net = make_network(devices=8, known=known)
    honest = [k for k in range(4) if k != LIAR]
    net.start_node(LIAR, entry=BYZANTINE_NODE, options=["false attestation, withheld bytes"])
    net.start(*honest)
    net.start_comet(LIAR)
    wait_round(net, 5, *honest)
    metrics = [told_metrics(net, k) for k in honest]
    net.close()

    check_chains(net, honest)
    attested = [s.body for s in transactions(net.chain(0)) if isinstance(s.body, Attest)]
    lies = [body for body in attested if body.server == LIAR]
    assert any(6 in body.devices for body in lies)
    assert all(set(body.correct) == {net.world.genesis.evaluation_samples} for body in lies)
    rounds = _ballots(net)
    assert len(rounds) >= 4
    for round_, scores in rounds.items():
        truth = {
            device: count
            for body in attested
            if body.round == round_ and body.server != LIAR
            for device, count in zip(body.devices, body.correct, strict=True)
        }
        assert scores == {device: truth[device] for device in scores}
        assert 6 not in scores
        assert 6 not in truth
    assert any(2 in scores for scores in rounds.values())
    assert all(own[f'bees_outvoted_attestations_total{{server="{LIAR}"}}'] > 0 for own in metrics)
    assert all(own[f'bees_pulls_total{{result="failed",server="{LIAR}"}}'] > 0 for own in metrics)
    assert any(own.get(f'bees_withheld_blobs_total{{server="{LIAR}"}}', 0) > 0 for own in metrics)
    for own in metrics:
        assert sum(own.get(f'bees_outvoted_attestations_total{{server="{k}"}}', 0) for k in honest) == 0
        assert own["bees_convicted"] == 0  # what cannot be proved is outvoted, and convicts nobody


def _ballots(net: RandomNetwork) -> dict[int, dict[int, int]]:
    """For each round that came to PUBLISH, the score of each eligible update."""
    return {
        state.round: {update.device: update.correct for update in state.ballot.eligible}
        for state in states(net, 0)
        if state.phase is Phase.PUBLISH and state.ballot is not None
    }
