"""Very many devices hand in at once to one node of a real network, and no update is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from network_rig import check_chains, states, wait_certified, wait_round

from bees.ledger.genesis import PhaseLengths
from bees.ledger.state import Phase

if TYPE_CHECKING:
    from collections.abc import Callable

    from campaigns.random_network import RandomNetwork

DEVICES = 120
PHASES = PhaseLengths(collect=60, attest=60, publish=20, publish_ranks=4)
"""Each closes as soon as it is complete; where an update is lost, COLLECT takes all of its heights."""


def test_all_updates_of_120_devices_that_know_one_node_are_on_the_ballot(make_network: Callable[..., RandomNetwork]):
    net = make_network(devices=DEVICES, known=[[0]] * DEVICES, phases=PHASES)
    net.start()
    wait_round(net, 2, 0)
    wait_certified(net, 5, *range(4))
    net.close()

    check_chains(net)
    ballots = [state for state in states(net, 0) if state.round == 1 and state.phase is Phase.PUBLISH]
    assert ballots
    assert ballots[0].ballot is not None
    assert [update.device for update in ballots[0].ballot.eligible] == list(range(DEVICES))
    assert ballots[0].attestations.keys() == set(range(4))
