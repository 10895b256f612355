"""Networks that a test starts, and that end with it."""

from __future__ import annotations

import logging
import shutil
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import structlog

# Tests are no package; this lets them share the modules that stand beside them.
sys.path.insert(0, str(Path(__file__).parent))

from tiny_net import TinyNet

from bees.ledger.genesis import PhaseLengths
from campaigns.random_network import Devices, RandomNetwork, direct, local_addresses
from campaigns.random_world import random_world

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from network_rig import Links

PHASES = PhaseLengths(collect=8, attest=5, publish=3, publish_ranks=4)
"""Every round of a network in which somebody is missing takes so long, and most of these tests are such rounds."""


@pytest.fixture
def make_net(needs_comet: None) -> Iterator[Callable[..., TinyNet]]:
    nets: list[TinyNet] = []
    # A unix socket's path must be short, which pytest's own folders are not.
    folder = Path(tempfile.mkdtemp(prefix="bees-"))

    def make(servers: int, **options: Any) -> TinyNet:
        nets.append(TinyNet(folder / f"n{len(nets)}", servers, **options))
        return nets[-1]

    try:
        yield make
    finally:
        for net in nets:
            net.close()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def make_network(needs_comet: None) -> Iterator[Callable[..., RandomNetwork]]:
    """Makes networks of whole nodes with devices, and ends them."""
    with ExitStack() as stack:
        # Devices complain of every node that does not answer, which is what these tests are about.
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
        stack.callback(structlog.reset_defaults)
        folder = Path(tempfile.mkdtemp(prefix="bees-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)

        def make(
            links: Links | None = None, devices: int = 4, known: Sequence[Sequence[int]] | None = None, **world: Any
        ) -> RandomNetwork:
            addresses = links.addresses if links else local_addresses(4)
            route = links.route if links else direct(addresses)
            drawn = random_world(4, devices, 256, **{"phases": PHASES, **world})
            net = RandomNetwork(folder / "net", drawn, addresses, route)
            stack.callback(net.close)
            stack.callback(Devices(net, known).close)
            return net

        yield make
