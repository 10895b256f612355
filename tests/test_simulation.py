from __future__ import annotations

from io import BytesIO
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import bees
from bees.core.errors import NoDeviceLeftError
from bees.core.fixed_point import words_to_bytes
from bees.core.stopwatch import untimed
from bees.edge.physics import simulate_physics
from bees.engines.audit import export_chain, verify_chain
from bees.experiment import lay_groundwork, open_experiment, prepare, prepare_learning
from bees.ledger.commitments import hash_model
from bees.protocol.server import _InOrder
from bees.simulation import _Scores, simulate
from bees.study.learning_only import learning_rounds

if TYPE_CHECKING:
    from pathlib import Path

    from bees.engines.local_chain import LocalChain
    from bees.ledger.state import State
    from bees.results import RunResult

SHORT = ["blocks=3"]


def run(*changes: str, preset: str = "quick", **options: Any) -> RunResult:
    return bees.run(bees.load_scenario(preset, [*SHORT, *changes]), **options)


def hashes(result: RunResult) -> list[str]:
    return [row.model for row in result.rounds]


@pytest.fixture(scope="module")
def usual() -> RunResult:
    return run()


def test_the_same_scenario_and_seed_give_the_same_models(usual: RunResult):
    assert hashes(run()) == hashes(usual)


def test_another_seed_gives_other_models(usual: RunResult):
    assert not set(hashes(run("seed=1"))) & set(hashes(usual))


def test_replicas_that_do_everything_themselves_give_the_same_models(usual: RunResult):
    assert hashes(run(share_checks=False)) == hashes(usual)


def test_the_model_learns():
    result = run("blocks=8")
    assert result.accuracy[-1] > result.accuracy[0] + 0.1


def test_a_search_without_ledger_finds_the_very_models_of_the_full_run(usual: RunResult):
    scenario = bees.load_scenario("quick", SHORT)
    learning = prepare_learning(scenario)
    curve = list(learning_rounds(scenario, learning))
    assert [accuracy for accuracy, _ in curve] == list(usual.accuracy)
    exponent = learning.model.description.exponent
    assert np.array_equal(np.ldexp(curve[-1][1].astype(np.float64), -exponent).astype(np.float32), usual.weights)


def test_a_search_without_ledger_spells_updates_as_the_full_run_does(tmp_path: Path):
    """And the chain of a run whose updates are differences verifies, also where servers do everything themselves."""
    own = ["learning.update_encoding=delta8", *SHORT]
    scenario = bees.load_scenario("quick", own)
    with prepare(scenario, chain_file=tmp_path / "chain.db", share_checks=False) as experiment:
        rows = [one.row for one in simulate(experiment)]
    curve = list(learning_rounds(scenario, prepare_learning(scenario)))
    assert [hash_model(words_to_bytes(words)).hex() for _, words in curve] == [row.model for row in rows]
    verdict = verify_chain(tmp_path / "chain.db")
    assert verdict.valid
    assert verdict.model == rows[-1].model


@pytest.mark.parametrize("blocks", [3, 4, 5, 8])
def test_a_run_that_goes_on_finds_again_what_its_updates_have_left_unsaid(tmp_path: Path, blocks: int):
    """Stopped between rounds or within one, after so many ledger blocks: rows and chain are those of one run."""
    scenario = bees.load_scenario("quick", ["learning.update_encoding=delta8", *SHORT])
    whole, cut = tmp_path / "whole.db", tmp_path / "cut.db"
    with prepare(scenario, chain_file=whole) as experiment:
        rows = [one.row for one in simulate(experiment)]
    with prepare(scenario, chain_file=cut) as experiment:
        stop_after(experiment.chain, blocks)
        with pytest.raises(Stopped):
            list(simulate(experiment))
    with open_experiment(lay_groundwork(scenario), chain_file=cut, resumes=True) as experiment:
        assert [one.row for one in simulate(experiment)] == rows
    assert export_of(cut) == export_of(whole)


class Stopped(Exception):  # noqa: N818  # it is what a test does, and no error
    """Stands for a process that ends between two ledger blocks."""


def stop_after(chain: LocalChain, blocks: int) -> None:
    go_on = chain.next_block

    def next_block() -> State:
        if chain.state.height == blocks:
            raise Stopped
        return go_on()

    chain.next_block = next_block


def export_of(chain: Path) -> bytes:
    out = BytesIO()
    export_chain(chain, out)
    return out.getvalue()


def test_each_spelling_of_updates_and_of_what_they_leave_unsaid_gives_other_models(usual: RunResult):
    finals = {hashes(usual)[-1]}
    for encoding in ("delta16", "delta8"):
        for fate in ("fed_back", "dropped"):
            result = run(f"learning.update_encoding={encoding}", f"learning.quantisation_error={fate}")
            finals.add(hashes(result)[-1])
            assert abs(result.accuracy[-1] - usual.accuracy[-1]) < 0.1
    assert len(finals) == 5
    assert hashes(run("learning.quantisation_error=dropped")) == hashes(usual)


def test_a_ue_pays_for_the_bytes_that_its_update_has():
    own = ["radio.update_reading=encoded", "blocks=1"]
    words, short = (run(*own, f"learning.update_encoding={name}").rounds[0] for name in ("words", "delta8"))
    devices = words.active_devices
    assert words.uplink_bytes == devices * 490 * 4
    assert short.uplink_bytes == devices * (490 + 1)
    assert words.downlink_bytes == short.downlink_bytes == devices * 490 * 4
    assert short.transmission_energy_j == pytest.approx(words.transmission_energy_j * 491 / 1960)


def test_physics_alone_gives_the_very_numbers_of_the_full_run(usual: RunResult):
    scenario = bees.load_scenario("quick", SHORT)
    learning = prepare_learning(scenario)
    physics = simulate_physics(scenario, learning.samples, sample_bytes=learning.sample_bytes)
    assert [row.energy_j for row in usual.rounds] == list(physics.energy_j)
    assert [row.latency_s for row in usual.rounds] == list(physics.latency_s)


def test_bytes_samples_and_survivors_of_a_row_are_those_of_physics_alone():
    changes = ["offloading.policy=offload", "radio.raw_data_reading=actual", "backhaul.model=full_mesh"]
    changes += ["battery.device_capacity_j=0.75", "blocks=4"]
    rows = run(*changes).rounds
    scenario = bees.load_scenario("quick", [*SHORT, *changes])
    learning = prepare_learning(scenario)
    physics = simulate_physics(scenario, learning.samples, sample_bytes=learning.sample_bytes)
    for column in ("uplink_bytes", "downlink_bytes", "backhaul_bytes", "raw_bytes", "raw_samples_shared"):
        assert [getattr(row, column) for row in rows] == list(getattr(physics, column)), column
    assert [row.server_energy_j for row in rows] == list(physics.server_energy_j)
    survivors = list(zip(physics.charged, physics.participated, physics.arrived, strict=True))
    assert [(r.charged_devices, r.participating_devices, r.active_devices) for r in rows] == survivors
    assert rows[-1].charged_devices < scenario.topology.devices
    assert 0 < rows[-1].raw_samples_shared <= learning.samples.sum()


def test_every_round_is_published_by_an_elected_server_and_aggregates_the_best(usual: RunResult):
    scenario = usual.scenario
    for row in usual.rounds:
        assert row.main_node in range(scenario.topology.servers)
        assert len(row.selected) == scenario.ledger.top_m
        assert row.eligible_updates == scenario.topology.devices


def test_b_ei_shares_one_model():
    result = run(preset="quick-b-ei")
    assert all(len(row.selected) == 1 for row in result.rounds)
    assert all(row.accuracy <= row.best_local_accuracy + 1e-9 for row in result.rounds)


@pytest.mark.parametrize("pol", ["capacity_over_battery", "capacity_times_battery", "loss_reduction", "round_robin"])
def test_each_reading_of_proof_of_learning_elects(pol: str):
    assert all(row.main_node is not None for row in run(f"ledger.pol={pol}", "blocks=2").rounds)


def test_offloading_devices_delegate_and_their_servers_sign():
    scenario = bees.load_scenario("quick", ["blocks=1", "offloading.policy=offload"])
    with prepare(scenario) as experiment:
        from bees.simulation import simulate  # noqa: PLC0415

        rows = [one.row for one in simulate(experiment)]
    assert rows[0].offloading_devices == scenario.topology.devices
    assert rows[0].eligible_updates == scenario.topology.devices
    assert rows[0].computation_energy_j == 0


def test_devices_that_run_empty_drop_out_and_rounds_go_on():
    result = run("battery.device_capacity_j=4.0", "battery.device_initial_min=0.2", "blocks=3")
    active = [row.active_devices for row in result.rounds]
    assert 0 < active[-1] < active[0]
    assert all(row.main_node is not None for row in result.rounds)


def test_a_run_without_any_device_left_says_at_which_block():
    with pytest.raises(NoDeviceLeftError, match=r"no device left at block \d+"):
        run("battery.device_capacity_j=0.2", "blocks=200")


def test_harvest_brings_drained_devices_back_and_rounds_without_anybody_are_skipped():
    empty = ["battery.device_initial_min=0", "battery.device_initial_max=0", "battery.harvest_w=3"]
    result = run(*empty, "blocks=3")
    first, *later = result.rounds
    assert (first.active_devices, first.main_node, first.selected) == (0, None, ())
    assert all(row.active_devices > 0 and row.main_node is not None for row in later)
    assert later[0].model != first.model


def test_stragglers_spend_energy_and_their_updates_do_not_count(usual: RunResult):
    times_s = usual.devices.compute_time_s[0] + usual.devices.transmit_time_s[0]
    late = run(f"timing.deadline_s={float(np.median(times_s))}", "blocks=1")
    assert late.rounds[0].active_devices == late.rounds[0].eligible_updates == len(times_s) // 2
    assert late.rounds[0].energy_j == usual.rounds[0].energy_j
    assert late.rounds[0].latency_s == float(np.median(times_s))


def test_own_policy_and_own_data(usual: RunResult):
    from bees.learning.datasets import load_dataset  # noqa: PLC0415

    result = run(policy=lambda choices: choices.charge_j > 0, dataset=load_dataset("mnist-7x7"))
    assert hashes(result) == hashes(usual), "where a UE trains does not change what it learns"
    assert all(row.offloading_devices == row.active_devices for row in result.rounds)


def test_servers_that_hold_the_same_updates_share_one_evaluation(monkeypatch: pytest.MonkeyPatch):
    counted: list[list[bytes]] = []

    def count(updates: list[bytes]) -> list[int]:
        counted.append(updates)
        return [len(update) for update in updates]

    experiment: Any = SimpleNamespace(timer=untimed)
    scores = _Scores(experiment)
    monkeypatch.setattr(scores, "_count", count)
    for _ in range(3):
        assert scores.of(_InOrder({0: b"a", 1: b"bc"})) == [1, 2]
    assert counted == [[b"a", b"bc"]]
