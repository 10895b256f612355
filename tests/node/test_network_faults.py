"""Whole nodes (ledger, duties, HTTP, CometBFT) that are killed or go wrong, with devices that hand in updates."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

from network_rig import (
    blocks,
    certified_height,
    check_chains,
    told_json,
    told_metrics,
    told_round,
    transactions,
    wait_certified,
    wait_round,
)

from bees.ledger.transactions import Evidence, Publish
from bees.node.comet_process import find_comet

if TYPE_CHECKING:
    from collections.abc import Callable

    from campaigns.random_network import RandomNetwork

BYZANTINE_NODE = Path(__file__).with_name("byzantine_node.py")


def test_two_of_four_killed_halt_the_network_without_a_fork_and_it_goes_on_when_one_returns(
    make_network: Callable[..., RandomNetwork],
):
    net = make_network()
    net.start()
    wait_round(net, 2, 0, 1, 2, 3)

    net.kill(1, 2)
    kept = {k: blocks(net.chain(k)) for k in range(4)}
    time.sleep(1.5)  # what was on its way
    halted = {k: told_round(net, k) for k in (0, 3)}
    certified = {k: certified_height(net, k) for k in (0, 3)}
    time.sleep(2.5)
    for k in (0, 3):
        assert told_json(f"{net.urls[k]}/healthz") == {"status": "alive"}
        assert told_round(net, k) == halted[k]
        assert certified_height(net, k) == certified[k]
    stood_at = max(told["round"] for told in halted.values() if told)

    net.start(1)
    wait_round(net, stood_at + 1, 0, 1, 3)
    net.start(2)
    wait_certified(net, certified_height(net, 0), 2)
    wait_round(net, stood_at + 2, 0, 1, 2, 3)
    convicted = [told_metrics(net, k)["bees_convicted"] for k in range(4)]
    net.close()

    chains = check_chains(net)
    for k, before in kept.items():
        assert chains[k][: len(before)] == before
    bodies = [signed.body for signed in transactions(net.chain(0))]
    published = [body.round for body in bodies if isinstance(body, Publish)]
    assert published == list(range(1, published[-1] + 1))  # no round is lost
    assert published[-1] >= stood_at
    assert not any(isinstance(body, Evidence) for body in bodies)  # nobody has answered a duty twice
    assert convicted == [0] * 4


def test_a_node_whose_app_hash_differs_stops_by_itself_and_says_so_in_a_line(
    make_network: Callable[..., RandomNetwork],
):
    net = make_network()
    net.start_node(3, entry=BYZANTINE_NODE, options=["another state"])
    net.start(0, 1, 2)
    net.start_comet(3)
    assert net.nodes[3].wait(60) == 1, net.logs()
    assert net.comets[3].wait(60) is not None  # it does not go on without its ledger
    log = (net.home(3) / "node.log").read_text()
    (line,) = [line for line in log.splitlines() if line.startswith("bees: ")]
    assert line.startswith("bees: block 7: app hash differs from the chain's: servers ")
    assert "Traceback" not in log
    stood_at = told_round(net, 0)
    assert stood_at is not None

    # What the message says puts it right. The wrong header that it has signed keeps it from signing that height again.
    subprocess.run([find_comet(), "reset-state", "--home", net.home(3) / "comet"], check=True, capture_output=True)
    for path in net.home(3).glob("data/chain.db*"):
        path.unlink()
    net.start(3)
    wait_round(net, stood_at["round"] + 1, 0, 1, 2, 3)
    net.close()
    check_chains(net)
    assert "this server has signed another header before" in (net.home(3) / "node.log").read_text()
