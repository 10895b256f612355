"""``bees devnet`` on the real CometBFT, with real MNIST: what the whole of it must do."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from bees.core.canonical import decode
from bees.core.errors import InputError
from bees.deployment.devnet import Plan, lay
from bees.deployment.processes import load
from bees.deployment.watch import look
from bees.engines.audit import verify_chain
from bees.engines.chain_file import ChainReader
from bees.ledger.block import Block
from bees.ledger.transactions import Delegate, Publish, Update

if TYPE_CHECKING:
    from pathlib import Path

ROUNDS = 10
BEES = [sys.executable, "-c", "import sys; from bees.cli import main; sys.argv[0] = 'bees'; main()"]


def free_base() -> int:
    """The first of 20 ports in a row, enough for four nodes, that are free and stay free while a killed node is away.

    No outgoing connection takes them, nor ``free_ports``, and nobody gets some of those of a network that runs.
    """
    slots = range(30_000, 32_700, 20)
    for base in secrets.SystemRandom().sample(slots, len(slots)):
        with ExitStack() as stack:
            try:
                for port in range(base, base + slots.step):
                    stack.enter_context(socket.socket()).bind(("127.0.0.1", port))
            except OSError:
                continue
            return base
    raise AssertionError("no ports")


def run(*arguments: object, timeout_s: float = 300) -> Any:
    done = subprocess.run([*BEES, *map(str, arguments)], capture_output=True, text=True, timeout=timeout_s, check=False)
    assert done.returncode == 0, done.stderr[-3000:] + done.stdout[-3000:]
    return json.loads(done.stdout)


def test_ten_rounds_of_mnist_on_four_nodes_learn_and_verify(tmp_path: Path, needs_comet: None):
    folder = tmp_path / "net"
    sizes = ("-n", 4, "-k", 12, "--port", free_base(), "--block-time", 0.2)
    report = run("devnet", "up", *sizes, "--rounds", ROUNDS, "--dir", folder, "--json")
    accuracy = [row["accuracy"] for row in report["rounds"]]
    assert len(accuracy) >= ROUNDS - 1  # a quick round may be over before the watch has seen it open
    assert accuracy[0] < 0.75
    assert accuracy[-1] > 0.85
    heights = [_app_hashes(folder / f"node{k}" / "data" / "chain.db") for k in range(4)]
    shortest = min(map(len, heights))
    assert all(own[:shortest] == heights[0][:shortest] for own in heights)
    verdict = verify_chain(folder / "node0" / "data" / "chain.db", expected_genesis=bytes.fromhex(report["chain_id"]))
    assert verdict.valid, verdict.reason
    assert verdict.round >= ROUNDS
    status = run("devnet", "status", "--dir", folder, "--json")
    assert not any(status["processes"].values())
    assert run("devnet", "down", "--dir", folder, "--json") == {"ended": []}


def _app_hashes(path: Path) -> list[bytes]:
    with ChainReader(path) as reader:
        return [decode(row.block, Block).header.app_hash for row in reader.blocks()]


def plan(folder: Path, **changes: Any) -> Plan:
    usual: dict[str, Any] = {
        "folder": folder,
        "servers": 3,
        "devices": 5,
        "scenario": "quick",
        "overrides": (),
        "base_port": free_base(),
        "block_s": 0.2,
        "cometbft": "cometbft",
    }
    return Plan(**{**usual, **changes})


def test_what_is_laid_is_whole_and_private(tmp_path: Path):
    laid = lay(plan(tmp_path / "net"))
    assert len(laid.signed.genesis.devices) == 5
    assert [device.server for device in laid.signed.genesis.devices] == [0, 1, 2, 0, 1]
    for path in (*laid.folder.glob("*/*.key"), *laid.folder.glob("*/comet/config/priv_validator_key.json")):
        assert path.stat().st_mode & 0o077 == 0
    keys = {path.read_text() for path in laid.folder.glob("*/*.key")}
    assert len(keys) == 8


def test_ports_that_are_taken_are_told(tmp_path: Path):
    with socket.socket() as taken:
        base = free_base()
        taken.bind(("127.0.0.1", base + 7))
        taken.listen()
        with pytest.raises(InputError, match=f"port {base + 7} is taken"):
            lay(plan(tmp_path / "net", base_port=base))
    assert not (tmp_path / "net").exists()


def test_a_node_that_is_killed_catches_up_and_no_round_is_lost(tmp_path: Path, needs_comet: None):
    folder = tmp_path / "net"
    sizes = ("-n", 4, "-k", 4, "--port", free_base(), "--block-time", 0.2, "--scenario", "quick")
    waits = ("--set", "ledger.attest_heights=6", "--set", "ledger.publish_heights=3")  # for the one that is killed
    with ExitStack() as stack:
        run("devnet", "up", *sizes, *waits, "--offload", 1, "--detach", "--dir", folder, "--json")
        stack.callback(run, "devnet", "down", "--dir", folder, "--json")
        _wait_for_round(folder, 2, nodes=4)
        (data,) = (folder / "node0" / "data" / "offloaded").glob("*.data")
        assert data.stat().st_mode & 0o077 == 0
        victim = next(process for process in load(folder).processes if process.name == "node1")
        os.kill(victim.pid, signal.SIGKILL)
        alone = _wait_for_round(folder, 1 + _round(folder), nodes=3)
        with (folder / "node1" / "node.log").open("ab") as log:
            again = subprocess.Popen([*BEES, "node", "--config", str(folder / "node1" / "node.toml")], stderr=log)
        stack.callback(again.wait, 30)
        stack.callback(again.terminate)
        _wait_for_round(folder, alone + 2, nodes=4)
        again.terminate()
        assert again.wait(30) == 0
    hashes = [_app_hashes(folder / f"node{k}" / "data" / "chain.db") for k in range(4)]
    assert len(hashes[1]) > alone
    assert all(hashes[1][: len(own)] == own[: len(hashes[1])] for own in hashes)
    outcomes = _skipped(folder / "node0" / "data" / "chain.db")
    assert outcomes
    assert not any(outcomes)
    _check_offloaded(folder / "node0" / "data" / "chain.db")
    assert not data.exists()


def _check_offloaded(path: Path) -> None:
    """Device 0 has delegated rounds; in those its server has signed its updates, and they were selected."""
    with ChainReader(path) as reader:
        bodies = [s.body for row in reader.blocks() for s in decode(row.block, Block).batch.transactions]
    leaves = {body.first_round: body for body in bodies if isinstance(body, Delegate)}
    assert {(body.device, body.server, body.last_round) for body in leaves.values()} == {(0, 0, r) for r in leaves}
    signers = {body.round: body.server for body in bodies if isinstance(body, Update) and body.device == 0}
    selected = {body.round for body in bodies if isinstance(body, Publish) and 0 in body.selected}
    delegated = selected & leaves.keys()
    assert len(delegated) >= 2
    assert {signers[round_] for round_ in delegated} == {0}


def _round(folder: Path) -> int:
    return max(_rounds(folder))


def _rounds(folder: Path) -> list[int]:
    """The open round of each node, 0 where it does not answer."""
    return [seen.told["round"] if seen.told else 0 for seen in asyncio.run(look(load(folder).urls))]


def _wait_for_round(folder: Path, round_: int, nodes: int, timeout_s: float = 120) -> int:
    """Until so many nodes say that they have reached a round; the round of the most advanced."""
    end = time.monotonic() + timeout_s
    told: list[int] = []
    while time.monotonic() < end:
        told = _rounds(folder)
        if sum(one >= round_ for one in told) >= nodes:
            return max(told)
        time.sleep(0.5)
    raise AssertionError(f"round {round_} was not reached by {nodes} nodes: {told}")


def _skipped(path: Path) -> list[bool]:
    """Of each round that the chain closes, whether nobody has published."""
    with ChainReader(path) as reader:
        bodies = [s.body for row in reader.blocks() for s in decode(row.block, Block).batch.transactions]
    published = {body.round for body in bodies if isinstance(body, Publish)}
    return [round_ not in published for round_ in range(1, max(published) + 1)]
