"""A run in which the servers change the contract: from the next round on, w_g is what the new contract makes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

import bees
from bees.cli.main import run_command
from bees.contract.library import load_contract_code
from bees.contract.vm import VirtualMachine
from bees.core.errors import ScenarioError
from bees.core.fixed_point import dequantise, quantise, words_to_bytes
from bees.engines.audit import verify_chain
from bees.engines.inspect import describe_block, describe_chain
from bees.experiment import prepare, prepare_learning
from bees.ledger.commitments import hash_contract, hash_model
from bees.runner import run_into_folder
from bees.simulation import simulate

if TYPE_CHECKING:
    from pathlib import Path

    from bees.results import RunResult

BLOCKS = ["blocks=4"]
DEPLOY = [*BLOCKS, "ledger.deploy_contract=argmax", "ledger.deploy_block=2"]


def hash_of(name: str) -> str:
    return hash_contract(load_contract_code(name)).hex()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("deploy") / "run"


@pytest.fixture(scope="module")
def changed(folder: Path) -> RunResult:
    return run_into_folder(bees.load_scenario("quick", DEPLOY), folder, command="test")


def test_the_rows_say_which_contract_was_in_force(changed: RunResult):
    assert [row.contract for row in changed.rounds] == 2 * [hash_of("fedavg")] + 2 * [hash_of("argmax")]
    assert [len(row.selected) for row in changed.rounds] == [4, 4, 1, 1]


def test_nothing_changes_before_the_contract_does(changed: RunResult):
    """The same rounds as without a Deploy, to the last word, and no block more."""
    usual = bees.run(bees.load_scenario("quick", BLOCKS))
    assert [row.contract for row in usual.rounds] == 4 * [hash_of("fedavg")]
    assert changed.rounds[:2] == usual.rounds[:2]
    assert changed.rounds[2].model != usual.rounds[2].model
    assert [row.height for row in changed.rounds] == [row.height for row in usual.rounds]


def test_from_the_next_round_on_every_word_is_what_the_new_contract_makes_of_the_same_updates(changed: RunResult):
    """Trained, scored, selected and combined here once more, without a chain."""
    scenario = bees.load_scenario("quick", DEPLOY)
    learning = prepare_learning(scenario)
    exponent = learning.model.description.exponent
    with prepare(scenario) as experiment:
        machine = VirtualMachine(experiment.chain.state.genesis.virtual_machine)
        words = [one.words for one in simulate(experiment)]
    everybody = np.arange(scenario.topology.devices)
    contracts = {row.block: "fedavg" if row.block <= 2 else "argmax" for row in changed.rounds}
    w_g = learning.initial_words
    for row in changed.rounds:
        contract = machine.load(load_contract_code(contracts[row.block]))
        updates = quantise(learning.trainer.train(dequantise(w_g, exponent), row.block, everybody), exponent)
        correct = [int(count) for count in learning.score(dequantise(updates, exponent))]
        samples = [int(count) for count in learning.samples]
        picked = contract.select(correct, samples, scenario.ledger.top_m)
        assert picked == row.selected
        of_picked = [[column[k] for k in picked] for column in (correct, samples)]
        w_g = contract.aggregate(*of_picked, [updates[k] for k in picked], w_g)
        assert np.array_equal(w_g, words[row.block - 1])
        assert hash_model(words_to_bytes(w_g)).hex() == row.model


def test_the_audit_replays_the_change(changed: RunResult, folder: Path, capsys: pytest.CaptureFixture[str]):
    verdict = verify_chain(folder / "chain.db")
    assert (verdict.valid, verdict.reason) == (True, "")
    assert (verdict.contract, verdict.deploys) == (hash_of("argmax"), 1)
    assert verdict.model == changed.rounds[-1].model
    assert run_command(["verify", str(folder)]) == 0
    assert f"contract {hash_of('argmax')}, changed 1 times" in capsys.readouterr().out


def test_the_chain_tells_of_the_deploy(changed: RunResult, folder: Path, capsys: pytest.CaptureFixture[str]):
    first_of_round_2 = changed.rounds[0].height + 1
    (told,) = [line for line in describe_chain(folder / "chain.db") if line["deploys"]]
    assert (told["height"], told["deploys"]) == (first_of_round_2, [f"argmax {hash_of('argmax')[:16]}"])
    block = describe_block(folder / "chain.db", first_of_round_2)
    assert block is not None
    deploy = block["transactions"][0]
    assert (deploy["type"], deploy["contract"], deploy["code"]) == ("Deploy", "argmax", hash_of("argmax"))
    assert (deploy["approved_by"], deploy["nonce"]) == ([0, 1, 2, 3], 0)
    assert deploy["code_bytes"] == len(load_contract_code("argmax"))
    assert run_command(["chain", str(folder)]) == 0
    assert "from the next round on: argmax" in capsys.readouterr().out


def test_a_contract_of_the_users_own_can_be_deployed_by_its_path(tmp_path: Path):
    path = tmp_path / "own.wasm"
    path.write_bytes(load_contract_code("argmax"))
    own = [f'ledger.deploy_contract="{path}"', "blocks=2"]
    result = bees.run(bees.load_scenario("quick", own))
    assert [row.contract for row in result.rounds] == [hash_of("fedavg"), hash_of("argmax")]


@pytest.mark.parametrize(
    ("changes", "key", "named"),
    [
        (["ledger.deploy_contract=argmax", "ledger.deploy_block=4"], "ledger.deploy_block", "no round"),
        (["ledger.deploy_contract=argmix"], "ledger.deploy_contract", "argmax"),
        (["ledger.deploy_contract=nowhere.wasm"], "ledger.deploy_contract", "No such file"),
    ],
)
def test_what_cannot_be_deployed_is_refused_before_anything_runs(changes: list[str], key: str, named: str):
    with pytest.raises(ScenarioError, match=named) as refusal:
        bees.run(bees.load_scenario("quick", [*BLOCKS, *changes]))
    assert refusal.value.key == key


def test_a_deploy_block_says_nothing_where_nothing_is_deployed():
    assert bees.load_scenario("quick", ["ledger.deploy_block=99"]).ledger.deploy_contract == "none"
