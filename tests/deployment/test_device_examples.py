"""The examples of devices take part in a real network as they stand."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from test_devnet import BEES, free_base, run

if TYPE_CHECKING:
    from collections.abc import Iterator

EXAMPLES = Path(__file__).parents[2] / "examples"
EXAMPLE_OF = {"jax": "jax", "torch": "pytorch"}
LIBRARIES = [library for library in EXAMPLE_OF if find_spec(library)]
ROUNDS, ACCEPTED = 3, 2
"""The first round may be missed: a library that is used for the first time takes its time."""


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory, needs_comet: None) -> Iterator[Path]:
    """Four servers and two devices that run; a COLLECT is over at once when the examples hand in as well."""
    folder = tmp_path_factory.mktemp("devnet") / "net"
    own = len(LIBRARIES)
    sizes = ("-n", 4, "-k", 2 + own, "--own-devices", own, "--port", free_base(), "--block-time", 0.2)
    try:
        run("devnet", "up", *sizes, "--scenario", "quick", "--detach", "--dir", folder, "--json")
        yield folder
    finally:
        subprocess.run([*BEES, "devnet", "down", "--dir", str(folder)], capture_output=True, check=False)


@pytest.mark.parametrize("library", EXAMPLE_OF)
def test_an_example_hands_in_updates_that_the_chain_takes(net: Path, library: str):
    if library not in LIBRARIES:
        pytest.skip(f"{library} is not installed")
    name, device = EXAMPLE_OF[library], 2 + LIBRARIES.index(library)
    own = net / f"device{device}"
    url = json.loads((net / "network.json").read_text())["urls"][device % 4]
    program = [sys.executable, str(EXAMPLES / f"device_{name}.py"), url, str(own / "device.key")]
    program += [str(net / "bees.genesis"), str(own / "data.npz"), str(ROUNDS)]
    done = subprocess.run(program, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("on the chain: ") == ROUNDS, done.stdout
    assert done.stdout.count("on the chain: True") >= ACCEPTED, done.stdout
