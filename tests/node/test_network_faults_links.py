"""Servers that are cut off from one another and healed, without being told of either.

Where this machine permits it, each server is a host of its own: a network namespace with a cable to a switch, and a cut
moves cables to another switch. Everywhere else TCP proxies stand between the processes of each two servers, and hold
back all bytes while they are cut off; ``BEES_TEST_PROXIES=1`` asks for them here as well. In namespaces devices lose
their server with it; beside the proxies they still reach each server, as devices do that stand at its side.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest
from network_rig import (
    Namespaces,
    Proxies,
    certified_height,
    check_chains,
    told_round,
    transactions,
    wait_certified,
    wait_round,
)

from bees.ledger.transactions import Evidence, Publish

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from network_rig import Links

    from campaigns.random_network import RandomNetwork


@pytest.fixture(params=["namespaces", "proxies"])
def links(request: pytest.FixtureRequest, needs_comet: None) -> Iterator[Links]:
    if request.param == "namespaces" and (reason := Namespaces.missing()):
        pytest.skip(f"no network namespaces here, so the proxies must do: {reason}")
    if request.param == "proxies" and not Namespaces.missing() and not os.environ.get("BEES_TEST_PROXIES"):
        pytest.skip("there are network namespaces here; BEES_TEST_PROXIES=1 asks for the proxies as well")
    made = Namespaces(4) if request.param == "namespaces" else Proxies(4)
    try:
        yield made
    finally:
        made.close()


def test_one_cut_off_catches_up_and_two_against_two_halt_without_a_fork(
    make_network: Callable[..., RandomNetwork], links: Links
):
    net = make_network(links)
    net.start()
    wait_round(net, 2, 0, 1, 2, 3)

    # One cut off: three go on, and their blocks are certified as they come.
    links.cut(3)
    alone = certified_height(net, 3)
    open_round = max(told["round"] for k in range(3) if (told := told_round(net, k)))
    wait_round(net, open_round + 1, 0, 1, 2)
    lag = {k: (told_round(net, k) or {})["height"] - certified_height(net, k) for k in range(3)}
    assert certified_height(net, 3) <= alone + 2
    assert max(lag.values()) <= 3
    links.heal()
    net.wait(lambda: certified_height(net, 3) >= certified_height(net, 0) - 1, "server 3 catches up")

    # Two against two: nobody goes on.
    links.cut(2, 3)
    time.sleep(1.5)  # what was on its way
    halted = [certified_height(net, k) for k in range(4)]
    time.sleep(2)
    assert [certified_height(net, k) for k in range(4)] == halted
    assert max(halted) - min(halted) <= 2
    links.heal()
    wait_certified(net, max(halted) + 3, 0, 1, 2, 3)
    stood_at = max(told["round"] for k in range(4) if (told := told_round(net, k)))
    wait_round(net, stood_at + 1, 0, 1, 2, 3)
    net.close()

    check_chains(net)
    bodies = [signed.body for signed in transactions(net.chain(0))]
    published = [body.round for body in bodies if isinstance(body, Publish)]
    assert published == list(range(1, published[-1] + 1))
    assert not any(isinstance(body, Evidence) for body in bodies)
