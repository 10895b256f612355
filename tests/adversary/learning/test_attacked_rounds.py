"""Attacks through the real protocol: who is touched, what comes of it, and that a resumed run tells the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import bees
from bees.adversary.learning.lies import claimed_samples, draw_lying_servers, misjudge
from bees.adversary.learning.registry import ATTACKS
from bees.core.errors import ScenarioError
from bees.experiment import prepare
from bees.ledger.state import Attestation, EligibleUpdate
from bees.run_folder import read_rounds
from bees.runner import run_into_folder
from bees.scenario import Attack, Scenario
from bees.scenario_file import dump_scenario, load_scenario
from bees.scenario_knobs import knobs_by_key
from bees.simulation import outvoted_attestations, simulate

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from bees.results import RoundRow, RunResult
    from bees.scenario import ServerLie


def scenario(*changes: str) -> Scenario:
    return bees.load_scenario("quick", ["blocks=2", *changes])


def run(*changes: str) -> RunResult:
    return bees.run(scenario(*changes))


def commitments(one: Scenario) -> Mapping[int, bytes]:
    """What each device has committed to in round 1."""
    with prepare(one) as experiment:
        next(simulate(experiment))
        assert experiment.chain.closing_state is not None
        return {device: update.commitment for device, update in experiment.chain.closing_state.updates.items()}


@pytest.fixture(scope="module")
def honest() -> Mapping[int, bytes]:
    return commitments(scenario())


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_changes_the_attackers_updates_and_no_others(name: str, honest: Mapping[int, bytes]):
    one = scenario(f"attack.name={name}", "attack.fraction=0.25")
    with prepare(one) as experiment:
        attackers = set(experiment.learning.adversary.attackers.tolist())
    changed = {device for device, commitment in commitments(one).items() if commitment != honest[device]}
    assert len(attackers) == 3
    assert changed == attackers


def test_without_attackers_all_is_as_in_an_honest_run():
    rows = [run(*changes).rounds for changes in ((), ("attack.name=alie", "attack.fraction=0"))]
    assert rows[0] == rows[1]


def test_whose_server_trains_sends_what_the_server_has_trained():
    def sent(*changes: str) -> Mapping[int, bytes]:
        return commitments(scenario("offloading.policy=offload", "attack.fraction=0.25", *changes))

    def attacking(name: str) -> int:
        return (
            run("offloading.policy=offload", "attack.fraction=0.25", f"attack.name={name}").rounds[0].attacking_devices
        )

    assert sent("attack.name=sign_flip") == sent()
    assert sent("attack.name=label_flip") != sent()
    assert [attacking(name) for name in ("sign_flip", "label_flip")] == [0, 3]


def test_flipped_steps_destroy_a_plain_average_that_learns_without():
    plain = ("blocks=8", "ledger.top_m=12", "learning.partition=iid")
    honest, attacked = run(*plain), run(*plain, "attack.name=scaling", "attack.fraction=0.3", "attack.strength=100")
    assert honest.accuracy[-1] > 0.5
    assert attacked.accuracy[-1] < 0.25
    assert [row.attackers_selected for row in attacked.rounds] == [3] * 8
    assert all(row.attacking_devices == 0 and row.backdoor_success is None for row in honest.rounds)


def test_a_backdoor_is_learnt_and_counted():
    row = run("blocks=3", "attack.name=model_replacement", "attack.fraction=0.5", "ledger.top_m=12").rounds[-1]
    assert row.backdoor_success is not None
    assert row.backdoor_success > 0.8
    assert row.attackers_selected == row.attacking_devices == 6


@pytest.mark.parametrize("name", ["gaussian", "scaling"])
@pytest.mark.parametrize("encoding", ["words", "delta16", "delta8"])
def test_no_strength_ends_a_run(name: str, encoding: str):
    wild = run(
        f"attack.name={name}",
        "attack.strength=1e6",
        f"learning.update_encoding={encoding}",
        "ledger.top_m=12",
        "blocks=3",
    )
    assert len(wild.rounds) == 3


@pytest.mark.parametrize(
    "changes", [("attack.name=alie",), ("attack.name=overfit_selection", "learning.update_encoding=delta8")]
)
def test_a_resumed_run_tells_the_same(tmp_path: Path, changes: tuple[str, ...]):
    one = scenario("attack.fraction=0.25", "attack.server_lie=inflate", *changes)
    whole = run_into_folder(one, tmp_path / "whole", command="test")

    def stop(row: RoundRow) -> None:
        if row.block == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_into_folder(one, tmp_path / "cut", command="test", on_round=stop)
    resumed = run_into_folder(one, tmp_path / "cut", command="test", resumes=True)
    assert resumed.rounds == whole.rounds == read_rounds(tmp_path / "cut") == bees.run(one).rounds


# Servers that lie


def test_one_liar_of_four_is_outvoted_and_changes_nothing():
    truth = run()
    for lie in ("inflate", "deflate", "promote", "withhold"):
        lied = run(f"attack.server_lie={lie}")
        assert [row.outvoted_attestations for row in lied.rounds] == [1, 1]
        assert [row.model for row in lied.rounds] == [row.model for row in truth.rounds]


def test_two_liars_of_four_outvote_the_truth():
    """With N = 4, f = 1: two are more than the protocol withstands, and the attackers are selected as they please."""
    row = run(
        "attack.name=sign_flip", "attack.fraction=0.25", "attack.server_lie=promote", "attack.lying_servers=2"
    ).rounds[-1]
    assert row.attackers_selected == 3


def test_updates_that_too_few_hold_are_not_eligible():
    row = run("attack.server_lie=withhold", "attack.lying_servers=2").rounds[-1]
    assert (row.eligible_updates, row.ineligible_updates, row.main_node) == (0, 12, None)


def test_an_overstated_n_k_is_refused_and_an_understated_one_believed():
    lies = ("overstate", "understate", "none")
    more, less, truth = (run("offloading.policy=offload", f"attack.server_lie={lie}") for lie in lies)
    assert more.rounds[0].refused_updates > 0
    assert more.rounds[0].eligible_updates + more.rounds[0].refused_updates == 12
    assert less.rounds[0].refused_updates == truth.rounds[0].refused_updates == 0
    assert less.rounds[-1].model != truth.rounds[-1].model


def test_who_does_nothing_spares_no_battery():
    def batteries(*changes: str) -> list[int]:
        with prepare(scenario("attack.lying_servers=1", *changes)) as experiment:
            next(simulate(experiment))
            idle = experiment.lying_servers or {0}
            return [experiment.chain.state.servers[server].battery_mj for server in idle]

    full = round(Scenario().battery.server_capacity_j * 1000)
    assert max(batteries("attack.server_lie=idle")) <= full - round(Scenario().ledger.attest_cost_j * 1000)


def test_before_the_first_block_nobody_lies():
    rows = run("attack.server_lie=inflate", "attack.first_block=2").rounds
    assert [row.outvoted_attestations for row in rows] == [0, 1]


def test_lying_servers_are_drawn_and_fewer_are_among_more():
    few, more = (draw_lying_servers(Attack(lying_servers=n, server_lie="idle"), 20, 0) for n in (3, 6))
    assert len(few) == 3
    assert few < more
    assert draw_lying_servers(Attack(lying_servers=3), 20, 0) == frozenset()


@pytest.mark.parametrize(
    ("lie", "said"),
    [("inflate", [50, 2, 3]), ("deflate", [1, 0, 0]), ("promote", [0, 50, 0]), ("idle", [1, 2, 3])],
)
def test_what_a_liar_attests(lie: ServerLie, said: list[int]):
    lying = misjudge(lie, lambda _: [1, 2, 3], [7, 8, 9], 50, own={7}, friends={8})
    assert lying([b"a", b"b", b"c"]) == said
    assert misjudge(lie, lambda _: [], [], 50, own={7}, friends={8})([]) == []


def test_what_a_liar_claims_of_n_k():
    assert [claimed_samples(lie, 60) for lie in ("overstate", "understate", "inflate")] == [600, 1, 60]


def test_attestations_are_held_against_what_stands():
    eligible = [EligibleUpdate(0, b"", 1, 5), EligibleUpdate(2, b"", 1, 7)]
    said = [
        Attestation((0, 1, 2), (5, 9, 7)),
        Attestation((0, 2), (5, 8)),
        Attestation((2,), (7,)),
    ]
    assert outvoted_attestations(said, eligible) == 2
    assert outvoted_attestations(said, []) == 0


# What a scenario may say


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ("attack.name=alei", "attack.name"),
        ("attack.fraction=0.6", "attack.fraction"),
        ("attack.fraction=-0.1", "attack.fraction"),
        ("attack.strength=inf", "attack.strength"),
        ("attack.strength=-1", "attack.strength"),
        ("attack.knowledge=some", "attack.knowledge"),
        ("attack.first_block=0", "attack.first_block"),
        ("attack.server_lie=lie", "attack.server_lie"),
        ("attack.lying_servers=-1", "attack.lying_servers"),
        ("attack.poisoned_fraction=2", "attack.poisoned_fraction"),
    ],
)
def test_an_impossible_value_is_refused_in_one_line(change: str, key: str):
    with pytest.raises(ScenarioError, match=key) as refusal:
        scenario(change)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        (("attack.name=alie", "attack.first_block=3"), "attack.first_block"),
        (("attack.server_lie=idle", "attack.first_block=3"), "attack.first_block"),
        (("attack.server_lie=idle", "attack.lying_servers=5"), "attack.lying_servers"),
    ],
)
def test_an_attack_that_cannot_be_is_refused(changes: tuple[str, ...], key: str):
    with pytest.raises(ScenarioError, match=key):
        scenario(*changes)


@pytest.mark.parametrize("change", ["attack.target_label=10", "attack.trigger_pixels=8"])
def test_a_trigger_beyond_the_data_is_refused(change: str):
    with pytest.raises(ScenarioError, match=change.partition("=")[0]):
        bees.run(scenario("attack.name=backdoor", change))


def test_a_scenario_with_an_attack_comes_back_from_toml(tmp_path: Path):
    one = scenario("attack.name=min_max", "attack.strength=1.5", "attack.server_lie=idle", "attack.knowledge=own")
    (tmp_path / "one.toml").write_text(dump_scenario(one))
    assert load_scenario(tmp_path / "one.toml") == one


def test_every_name_has_its_attack():
    assert {"none", *ATTACKS} == set(knobs_by_key()["attack.name"].choices)
