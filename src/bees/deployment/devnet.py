"""A whole network on one machine: what ``bees devnet up`` writes before it starts anything.

Its keys are drawn at random, its data is the scenario's, split among the devices as in a simulation.
"""

from __future__ import annotations

import secrets
import socket
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np

from bees.core.errors import InputError
from bees.core.fixed_point import words_to_bytes
from bees.deployment.founding import NewDevice, NewMembers, NewServer, draft_genesis, genesis_bytes, network_knobs
from bees.experiment import split_data
from bees.key_file import SEED_BYTES, write_key_file
from bees.ledger.genesis import sign_genesis
from bees.node.comet import CometKey, CometSettings, comet_genesis, write_home
from bees.node.config import (
    CometSection,
    DevicesSection,
    LogSection,
    NodeConfig,
    OffloadingSection,
    PeersSection,
    ScoringSection,
    write_config,
)
from bees.run_folder import new_folder
from bees.scenario_file import load_scenario

if TYPE_CHECKING:
    from pathlib import Path

    from bees.core.keys import SigningKey
    from bees.experiment import SplitData
    from bees.ledger.genesis import Genesis, SignedGenesis
    from bees.scenario import Scenario

GENESIS, MODEL = "bees.genesis", "w0.words"
HOST = "127.0.0.1"
_PORTS = 5
"""Device API, blob plane, CometBFT's peers, its RPC, and ABCI."""

_PROPOSE_S = 2.0
"""How long the others wait for a proposer that is down. On one machine a proposal is there sooner."""


@dataclass(frozen=True)
class Plan:
    """What a network on one machine should be.

    Attributes:
        folder: to make.
        servers: N.
        devices: K.
        scenario: a preset or file; its servers and devices are replaced.
        overrides: ``key=value`` changes of the scenario.
        base_port: the first of five ports for each node.
        block_s: pause between two blocks.
        cometbft: the executable.
        offloading: whether nodes train for devices.
    """

    folder: Path
    servers: int
    devices: int
    scenario: str
    overrides: tuple[str, ...]
    base_port: int
    block_s: float
    cometbft: str
    offloading: bool = False


@dataclass(frozen=True)
class Laid:
    """A network that is ready to start.

    Attributes:
        folder: of the network.
        scenario: of its learning.
        signed: its genesis.
        nodes: folders of the nodes, each with a ``node.toml``.
        device_folders: each with ``device.key`` and ``data.npz``.
        urls: of the nodes' device APIs.
    """

    folder: Path
    scenario: Scenario
    signed: SignedGenesis
    nodes: tuple[Path, ...]
    device_folders: tuple[Path, ...]
    urls: tuple[str, ...]


def lay(plan: Plan) -> Laid:
    """Write keys, genesis, data and configuration of everybody into a new folder.

    Raises:
        InputError: more devices than samples, or ports that are taken.
        OutputError: the folder exists.
        ScenarioError: the scenario contradicts itself.
    """
    scenario = load_scenario(plan.scenario, [*network_knobs(plan.servers, plan.devices), *plan.overrides])
    if scenario.learning.selection_set != "test":
        problem = "a node scores on its dataset's test samples; put the samples to select by there"
        raise InputError("learning.selection_set", problem)
    data = split_data(scenario)
    _check_ports(plan)
    with new_folder(plan.folder) as draft:
        servers = [_new_key(draft / f"node{k}", "server.key") for k in range(plan.servers)]
        devices = [_new_key(draft / f"device{k}", "device.key") for k in range(plan.devices)]
        genesis = _found(draft, scenario, data, servers, devices)
        _write_data(draft, data)
        _write_nodes(draft, plan, genesis.genesis, scenario)
    return Laid(
        folder=plan.folder,
        scenario=scenario,
        signed=genesis,
        nodes=tuple(plan.folder / f"node{k}" for k in range(plan.servers)),
        device_folders=tuple(plan.folder / f"device{k}" for k in range(plan.devices)),
        urls=tuple(_url(plan, k, 0) for k in range(plan.servers)),
    )


def _new_key(folder: Path, name: str) -> SigningKey:
    folder.mkdir()
    return write_key_file(folder / name, secrets.token_bytes(SEED_BYTES))


def _found(
    folder: Path, scenario: Scenario, data: SplitData, servers: list[SigningKey], devices: list[SigningKey]
) -> SignedGenesis:
    members = NewMembers(
        servers=tuple(NewServer(key.public_key.hex()) for key in servers),
        devices=tuple(
            NewDevice(key.public_key.hex(), k % len(servers), int(data.samples[k])) for k, key in enumerate(devices)
        ),
        name=f"devnet of {len(servers)}",
    )
    draft = draft_genesis(scenario, members, data)
    signed = sign_genesis(draft.genesis, tuple(servers))
    (folder / GENESIS).write_bytes(genesis_bytes(signed))
    (folder / MODEL).write_bytes(words_to_bytes(draft.initial_model))
    return signed


def _write_data(folder: Path, data: SplitData) -> None:
    for device in range(len(data.samples)):
        rows = data.partition.samples_of(device)
        np.savez(
            folder / f"device{device}" / "data.npz",
            allow_pickle=False,
            x_train=data.training.x_train[rows],
            y_train=data.training.y_train[rows],
        )


def _write_nodes(folder: Path, plan: Plan, genesis: Genesis, scenario: Scenario) -> None:
    validators = [CometKey.from_seed(secrets.token_bytes(SEED_BYTES)) for _ in range(plan.servers)]
    names = [CometKey.from_seed(secrets.token_bytes(SEED_BYTES)) for _ in range(plan.servers)]
    comet = comet_genesis(genesis, [key.public_key for key in validators], datetime.now(UTC))
    peers = [f"{name.node_id}@{HOST}:{_port(plan, k, 2)}" for k, name in enumerate(names)]
    for k in range(plan.servers):
        abci, rpc = f"tcp://{HOST}:{_port(plan, k, 4)}", f"{HOST}:{_port(plan, k, 3)}"
        settings = CometSettings(
            abci_address=abci,
            p2p_address=f"tcp://{HOST}:{_port(plan, k, 2)}",
            rpc_address=f"tcp://{rpc}",
            peers=tuple(peer for j, peer in enumerate(peers) if j != k),
            moniker=f"bees-{k}",
            commit_s=plan.block_s,
            propose_s=_PROPOSE_S,
            is_local=True,
        )
        write_home(folder / f"node{k}" / "comet", settings, comet, validators[k], names[k])
        config = NodeConfig(
            server=k,
            key="server.key",
            genesis=f"../{GENESIS}",
            initial_model=f"../{MODEL}",
            folder="data",
            # All devices come from one address here.
            devices=DevicesSection(f"{HOST}:{_port(plan, k, 0)}", requests_per_second=5000.0, burst=20_000),
            peers=PeersSection(
                f"{HOST}:{_port(plan, k, 1)}", urls=tuple(_url(plan, j, 1) for j in range(plan.servers))
            ),
            comet=CometSection(rpc=f"http://{rpc}", abci=abci, home="comet", executable=plan.cometbft),
            scoring=ScoringSection(_absolute(scenario.learning.dataset), threads=1),
            offloading=OffloadingSection(accept=plan.offloading),
            log=LogSection(json=True),
        )
        (folder / f"node{k}" / "node.toml").write_text(write_config(config))


def _absolute(dataset: str) -> str:
    from pathlib import Path  # noqa: PLC0415  # only for own data

    return str(Path(dataset).absolute()) if dataset.endswith(".npz") else dataset


def _port(plan: Plan, node: int, which: int) -> int:
    return plan.base_port + _PORTS * node + which


def _url(plan: Plan, node: int, which: int) -> str:
    return f"http://{HOST}:{_port(plan, node, which)}"


def _check_ports(plan: Plan) -> None:
    with ExitStack() as stack:
        for port in range(plan.base_port, plan.base_port + _PORTS * plan.servers):
            trial = stack.enter_context(socket.socket())
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                trial.bind((HOST, port))
            except (OSError, OverflowError) as error:
                problem = f"port {port} is taken ({error}); choose another --port, or end what runs: bees devnet down"
                raise InputError("--port", problem) from None
