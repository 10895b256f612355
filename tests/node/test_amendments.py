"""A real network whose members are amended while it runs: a server's keys, a server's removal, devices."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace
from network_rig import check_chains, states, told_round, transactions, wait_round

from bees.cli.main import run_command
from bees.core.errors import NotAMemberError
from bees.core.keys import SigningKey
from bees.device.client import AsyncDevice
from bees.engines.audit import verify_chain
from bees.key_file import write_key_file
from bees.ledger.membership import Change, ValidatorChange
from bees.ledger.transactions import Attest
from bees.node.comet_client import CometClient
from bees.node.comet_process import find_comet
from bees.node.config import load_config, write_config
from bees.node.submitting import hand_in
from bees.node.validator_key import installed_key, write_validator_key
from bees.protocol import amendment
from campaigns.random_world import SAMPLE_CAP, drawn_update

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from campaigns.random_network import RandomNetwork

REPLACED, REMOVED = 3, 2
_PATIENCE_S = 60
SERVER_SEED, VALIDATOR_SEED, DEVICE_SEED = b"3" * 32, b"v" * 32, b"d" * 32
NEW_SERVER, NEW_DEVICE = SigningKey.from_seed(SERVER_SEED), SigningKey.from_seed(DEVICE_SEED)


class Servers:
    """What the servers of a network agree on, and who holds their keys now."""

    def __init__(self, network: RandomNetwork) -> None:
        self.network = network
        self.keys = [SigningKey.from_seed(seed) for seed in network.world.server_seeds]
        self.amended = 0

    def amend(self, changes: Sequence[Change], approvers: Sequence[int], consents: Sequence[SigningKey | None]) -> None:
        """Agree on these changes, hand them in at server 0's CometBFT, and wait for the round after."""
        for change, consenting in zip(changes, consents, strict=True):
            asked = (self.network.world.genesis.chain_id, self.amended, change)
            committee = states(self.network, 0)[-1].members.committee
            approvals = [amendment.approve(asked[0], committee, *asked[1:], self.keys[k]) for k in approvers]
            consent = None if consenting is None else amendment.consent(*asked, consenting)
            signed = amendment.assemble(asked[0], committee, *asked[1:], consent, approvals, self.keys[approvers[0]])
            rpc = f"http://127.0.0.1:{self.network.addresses[0].rpc}"
            asyncio.run(hand_in(rpc, signed.encoding, _PATIENCE_S))
            self.amended += 1
        now = told_round(self.network, 0)
        assert now is not None
        wait_round(self.network, now["round"] + 1, *approvers)


def validator_of(network: RandomNetwork, server: int) -> bytes:
    return installed_key(network.home(server) / "comet").public_key


def voters(network: RandomNetwork) -> set[bytes]:
    """Who votes on the next block, as server 0's CometBFT says."""

    async def ask() -> set[bytes]:
        async with CometClient(f"http://127.0.0.1:{network.addresses[0].rpc}") as comet:
            return set(await comet.validators())

    return asyncio.run(ask())


def give_next_keys(network: RandomNetwork) -> bytes:
    """Server 3 gets its next keys before it starts, and runs its CometBFT itself; returns its next validator's key."""
    home = network.home(REPLACED)
    write_key_file(home / "next.key", SERVER_SEED)
    validator = write_validator_key(home / "next_validator.json", VALIDATOR_SEED)
    config = load_config(home / "node.toml")
    comet = replace(
        config.comet,
        home=str(home / "comet"),
        executable=str(find_comet()),
        next_validator=str(home / "next_validator.json"),
    )
    (home / "node.toml").write_text(write_config(replace(config, next_key=str(home / "next.key"), comet=comet)))
    return validator.public_key


async def take_part_from_genesis(network: RandomNetwork) -> tuple[int, bool | None, AsyncDevice]:
    """Device 1, with its new key and nothing but the genesis, hands in an update."""
    world, urls = network.world, [network.urls[k] for k in (1, 0, REPLACED)]
    journal = network.folder / "new.db"
    async with AsyncDevice(urls, NEW_DEVICE, world.signed, journal, index=1) as device:
        while True:
            opened = await device.next_round()
            update = drawn_update(1, opened.round, len(world.initial_model))
            receipt = await device.submit(opened, [update], SAMPLE_CAP)
            if receipt.accepted:
                return opened.round, receipt.accepted, device


async def take_part_removed(network: RandomNetwork) -> None:
    """Device 2, which was removed."""
    world = network.world
    key = SigningKey.from_seed(world.device_seeds[2])
    urls = [network.urls[k] for k in (0, 1, REPLACED)]
    async with AsyncDevice(urls, key, world.signed, network.folder / "removed.db") as device:
        opened = await device.next_round()
        await device.submit(opened, [drawn_update(2, opened.round, len(world.initial_model))], SAMPLE_CAP)


def check_by_command(chain: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """``bees verify``, ``prove`` and ``check`` on the chain file."""

    def run(*arguments: object) -> dict[str, Any]:
        code = run_command([*map(str, arguments), "--json"])
        return {"code": code, **json.loads(capsys.readouterr().out)}

    told = run("verify", chain)
    assert (told["code"], told["servers"], told["amendments"]) == (0, [0, 1, 3], 4)
    proof, servers, genesis = (chain.with_name(name) for name in ("proof", "servers", "genesis"))
    proved = run("prove", chain, "--out", proof, "--committee-out", servers, "--genesis-out", genesis)
    assert (proved["code"], proved["committee_changes"]) == (0, 2)
    checked = run("check", proof, "--genesis", genesis, "--committee", servers)
    assert (checked["code"], checked["round"], checked["servers"], checked["quorum"]) == (0, proved["round"], 3, 3)
    assert run("check", proof, "--genesis", genesis)["code"] == 1


def test_members_are_amended_while_the_network_runs(
    make_network: Callable[..., RandomNetwork], capsys: pytest.CaptureFixture[str]
):
    network = make_network()
    next_validator = give_next_keys(network)
    first_validators = [validator_of(network, k) for k in range(4)]
    network.start(0, 1, REMOVED)
    network.start_node(REPLACED)
    wait_round(network, 2, 0, 1, REMOVED, REPLACED)
    servers = Servers(network)

    validator = ValidatorChange(first_validators[REPLACED], next_validator)
    servers.amend([Change("server", REPLACED, NEW_SERVER.public_key, validator)], (0, 1, 2), [NEW_SERVER])
    servers.keys[REPLACED] = NEW_SERVER
    network.wait(lambda: validator_of(network, REPLACED) == next_validator, "CometBFT has its next key")
    expected = {*first_validators[:3], next_validator}
    network.wait(lambda: voters(network) == expected, "server 0 counts it too, perhaps a block later")

    validator = ValidatorChange(first_validators[REMOVED], None)
    servers.amend([Change("server", REMOVED, None, validator)], (0, 1, REPLACED), [None])
    assert network.nodes[REMOVED].wait(_PATIENCE_S) == 2
    assert "the servers have removed it from the chain" in (network.home(REMOVED) / "node.log").read_text()
    network.wait(lambda: voters(network) == {*first_validators[:2], next_validator}, "CometBFT has three validators")

    device_changes = [Change("device", 1, NEW_DEVICE.public_key, None), Change("device", 2, None, None)]
    servers.amend(device_changes, (0, 1, REPLACED), [NEW_DEVICE, None])
    round_, accepted, device = asyncio.run(take_part_from_genesis(network))
    assert accepted
    assert device._committees.proved.newest == states(network, 0)[-1].members.committee
    assert len(device._committees.proved.changes) == 2
    with pytest.raises(NotAMemberError, match="device 2 takes no part any more"):
        asyncio.run(take_part_removed(network))
    wait_round(network, round_ + 1, 0, 1, REPLACED)
    network.close()

    check_chains(network, (0, 1, REPLACED))
    check_by_command(network.chain(0), capsys)
    verdict = verify_chain(network.chain(0), expected_genesis=network.world.genesis.chain_id)
    assert (verdict.amendments, verdict.servers, verdict.devices) == (4, (0, 1, 3), (0, 1, 3))
    replayed = states(network, 0)
    assert replayed[-1].members.committee.keys[REPLACED] == NEW_SERVER.public_key
    attested = [signed.body for signed in transactions(network.chain(0)) if isinstance(signed.body, Attest)]
    last = replayed[-1].round - 1
    assert {body.server for body in attested if body.round == last} == {0, 1, 3}
    outcomes = {state.outcome.round: state.outcome for state in replayed if state.outcome is not None}
    assert not outcomes[last].is_skipped
