from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING, Any, get_args

import pytest
import tomli_w
from hypothesis import given, settings
from hypothesis import strategies as st

from bees.contract.library import contract_names
from bees.core.errors import BeesError, GridError, ScenarioError
from bees.scenario import AttackName
from bees.scenario_file import load_scenario
from bees.study import attack_grid
from bees.study.attack_grid import Cell, cells_of, grid_names, load_grid
from bees.study.attack_rows import key_of

if TYPE_CHECKING:
    from pathlib import Path

SMALL: dict[str, Any] = {
    "base": "quick",
    "blocks": 2,
    "seeds": [0, 1],
    "fractions": [0.0, 0.25],
    "heterogeneity": ["iid", "dirichlet 0.5"],
    "attacks": [{"name": "sign_flip"}, {"name": "alie", "strength": 1.5}],
    "defences": [{"contract": "fedavg", "top_m": 4, "label": "BEES"}, {"contract": "fedavg", "top_m": "all"}],
}


def grid_file(folder: Path, **changes: Any) -> str:
    table = {key: value for key, value in {**SMALL, **changes}.items() if value is not None}
    path = folder / "mine.toml"
    path.write_text(tomli_w.dumps(table))
    return str(path)


def test_each_cell_is_the_base_with_what_the_axes_say(tmp_path: Path):
    cells = cells_of(load_grid(grid_file(tmp_path)))
    # 2 seeds x 2 partitions x 2 defences x (nobody + 2 attacks)
    assert len(cells) == 2 * 2 * 2 * 3
    assert len({key_of(cell.knobs) for cell in cells}) == len(cells)
    last = cells[-1]
    assert (last.attack, last.defence, last.fraction, last.heterogeneity) == (
        "alie, strength 1.5",
        "fedavg",
        0.25,
        "dirichlet 0.5",
    )
    changes = ["blocks=2", "seed=1", "attack.name=alie", "attack.strength=1.5", "attack.fraction=0.25"]
    assert last.scenario == load_scenario("quick", [*changes, "ledger.top_m=12", "learning.dirichlet_alpha=0.5"])


def test_where_nobody_attacks_one_cell_stands_for_all_attacks(tmp_path: Path):
    nobody = [cell for cell in cells_of(load_grid(grid_file(tmp_path))) if not cell.fraction]
    assert {cell.attack for cell in nobody} == {"none"}
    assert {cell.scenario.attack.name for cell in nobody} == {"none"}
    assert len(nobody) == 2 * 2 * 2


def test_all_cells_of_the_first_seed_come_first(tmp_path: Path):
    seeds = [cell.scenario.seed for cell in cells_of(load_grid(grid_file(tmp_path)))]
    assert seeds == sorted(seeds)


def test_the_key_of_a_cell_names_only_what_differs_from_the_defaults(tmp_path: Path):
    path = grid_file(tmp_path, base="paper", heterogeneity=["dirichlet 0.5"], seeds=[0])
    knobs = [cell.knobs for cell in cells_of(load_grid(path))]
    assert knobs[0] == {"blocks": 2, "ledger.top_m": 4}
    assert knobs[2] == {"blocks": 2, "ledger.top_m": 4, "attack.name": "sign_flip", "attack.fraction": 0.25}


@pytest.mark.parametrize("name", grid_names())
def test_the_packaged_grids_are_valid(name: str):
    grid = load_grid(name)
    cells = cells_of(grid)
    assert len({key_of(cell.knobs) for cell in cells}) == len(cells)
    assert grid.core_seconds_per_block


def test_the_default_grid_is_the_one_that_is_promised():
    grid = load_grid("default")
    assert (len(grid.attacks), len(grid.defences), grid.base.blocks) == (8, 8, 30)
    assert [choice.label for choice in grid.fractions] == ["0", "0.2", "0.4"]
    assert (grid.base.topology.devices, grid.base.learning.dataset) == (100, "mnist")
    assert len(cells_of(grid)) == 8 * 8 * 2 + 8


def test_the_full_grid_holds_every_attack_and_every_contract():
    grid = load_grid("full")
    assert {choice.table["attack"]["name"] for choice in grid.attacks} == {*get_args(AttackName)} - {"none"}
    assert {choice.table["ledger"]["contract"] for choice in grid.defences} == set(contract_names())


def test_the_packaged_grids_are_all_named():
    files = {file.name for file in resources.files("bees.study").joinpath("grids").iterdir()}
    assert files == {f"{name}.toml" for name in grid_names()}


REFUSALS: list[tuple[dict[str, Any], str, str]] = [
    ({"sedes": [1]}, "sedes", "did you mean 'seeds'"),
    ({"blocks": 0}, "blocks", "at least 1"),
    ({"blocks": "many"}, "blocks", "whole number"),
    ({"seeds": []}, "seeds", "at least one entry"),
    ({"seeds": [-1]}, "seeds[0]", "at least 0"),
    ({"seeds": [1, 1]}, "seeds[1]", "twice"),
    ({"seeds": 3}, "seeds", "a list"),
    ({"fractions": [0.2, 0.9]}, "fractions[1]", "at most 0.5"),
    ({"fractions": [True]}, "fractions[0]", "number"),
    ({"fractions": [float("nan")]}, "fractions[0]", "finite"),
    ({"fractions": [0.2, 0.2]}, "fractions[1]", "twice"),
    ({"heterogeneity": ["dirichlett 0.5"]}, "heterogeneity[0]", "did you mean 'dirichlet'"),
    ({"heterogeneity": ["dirichlet"]}, "heterogeneity[0]", "'dirichlet 0.5'"),
    ({"heterogeneity": ["dirichlet 0"]}, "heterogeneity[0]", "greater than 0"),
    ({"heterogeneity": ["dirichlet x"]}, "heterogeneity[0]", "no number"),
    ({"heterogeneity": ["iid 1"]}, "heterogeneity[0]", "no number after"),
    ({"heterogeneity": ["iid", "iid"]}, "heterogeneity[1]", "twice"),
    ({"heterogeneity": [5]}, "heterogeneity[0]", "text"),
    ({"attacks": []}, "attacks", "at least one entry"),
    ({"attacks": [{"name": "sign_flop"}]}, "attacks[0].name", "did you mean 'sign_flip'"),
    ({"attacks": [{"strength": 1.0}]}, "attacks[0]", "'name' is missing"),
    ({"attacks": [{"name": "alie", "stregth": 1.0}]}, "attacks[0].stregth", "did you mean 'strength'"),
    ({"attacks": [{"name": "alie", "fraction": 0.1}]}, "attacks[0].fraction", "no such key here"),
    ({"attacks": [{"name": "alie", "strength": -1}]}, "attacks[0].strength", "at least 0"),
    ({"attacks": [{"name": "alie", "first_block": 3}]}, "attack.first_block", "attacks[0]"),
    ({"attacks": [{"name": "none"}]}, "attacks[0].name", "fraction 0"),
    ({"attacks": ["alie"]}, "attacks[0]", "must be a table"),
    ({"attacks": [{"name": "alie"}, {"name": "alie", "label": "again"}]}, "cell", "same cell twice"),
    ({"attacks": [{"name": "alie", "label": "a\nb"}]}, "attacks[0].label", "printable"),
    ({"attacks": [{"name": "alie", "label": "a"}, {"name": "ipm", "label": "a"}]}, "attacks[1]", "twice"),
    ({"defences": [{"contract": "fedavgg", "top_m": 1}]}, "defences[0].contract", "did you mean 'fedavg'"),
    ({"defences": [{"contract": "gone.wasm", "top_m": 1}]}, "defences[0].contract", "gone.wasm"),
    ({"defences": [{"contract": "fedavg"}]}, "defences[0]", '"top_m" is missing'),
    ({"defences": [{"contract": "fedavg", "top_m": 13}]}, "ledger.top_m", "only 12 devices"),
    ({"defences": [{"contract": "fedavg", "top_m": "most"}]}, "defences[0].top_m", "whole number"),
    ({"defences": [{"contract": "fedavg", "top_m": 12}, {"contract": "fedavg", "top_m": "all"}]}, "defences[1]", "tw"),
    ({"base": "papre"}, "base", "did you mean 'paper'"),
    ({"base": 3}, "base", "a preset"),
    ({"changes": "blocks=1"}, "changes", "a list"),
    ({"changes": ["blocks"]}, "changes", "key=value"),
    ({"changes": ["radio.bandwith_hz=1"]}, "changes", "did you mean 'bandwidth_hz'"),
    ({"changes": ["seed=1"]}, "changes", "change seeds in the grid"),
    ({"core_seconds_per_block": 0}, "core_seconds_per_block", "greater than 0"),
]


@pytest.mark.parametrize(("changes", "key", "problem"), REFUSALS, ids=[str(case[0])[:60] for case in REFUSALS])
def test_a_refusal_names_file_key_and_problem(tmp_path: Path, changes: dict[str, Any], key: str, problem: str):
    path = grid_file(tmp_path, **changes)
    with pytest.raises(GridError) as caught:
        cells_of(load_grid(path))
    assert caught.value.key == key
    assert path in str(caught.value)
    assert problem in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("key", list(SMALL))
def test_a_missing_key_is_named(tmp_path: Path, key: str):
    with pytest.raises(GridError, match=f"'{key}' is missing"):
        load_grid(grid_file(tmp_path, **{key: None}))


def test_far_too_many_cells_are_refused_before_they_are_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(attack_grid, "CELL_LIMIT", 10)
    with pytest.raises(GridError, match="cells; 10 are the most"):
        cells_of(load_grid(grid_file(tmp_path)))


def test_an_override_changes_every_cell_but_no_axis(tmp_path: Path):
    path = grid_file(tmp_path)
    assert {cell.scenario.blocks for cell in cells_of(load_grid(path, ["blocks=1"]))} == {1}
    with pytest.raises(ScenarioError, match=r"--set: .*change fractions in the grid"):
        load_grid(path, ["attack.fraction=0.1"])
    with pytest.raises(ScenarioError, match="--set"):
        load_grid(path, ["blocks=0"])


def test_a_base_is_found_beside_the_grid(tmp_path: Path):
    (tmp_path / "world.toml").write_text('extends = "quick"\n[topology]\ndevices = 10\n')
    grid = load_grid(grid_file(tmp_path, base="world.toml"))
    assert grid.base.topology.devices == 10


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"\xff\xfe", "not UTF-8"),
        (b"base = ", "malformed TOML"),
        (b"a = " + b"[" * 5000, "nested too deeply|malformed"),
        (b"seeds = [" + b"9" * 5000 + b"]", "thousands of digits"),
        (b"#" * 70_000, "64 KiB"),
        (b"", "'base' is missing"),
        (b"\0", "malformed TOML"),
    ],
)
def test_hostile_files_are_refused_in_one_line(tmp_path: Path, data: bytes, problem: str):
    path = tmp_path / "grid.toml"
    path.write_bytes(data)
    with pytest.raises(GridError, match=problem) as caught:
        load_grid(str(path))
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("name", ["no.toml", "", "\0", "."])
def test_what_is_no_file_is_refused(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(GridError):
        load_grid(name)


def test_a_misspelt_grid_is_guessed():
    with pytest.raises(GridError, match="did you mean 'default'"):
        load_grid("defualt")


TEXT = resources.files("bees.study").joinpath("grids", "quick.toml").read_bytes()
VALUES = st.recursive(
    st.none().map(lambda _: 0) | st.booleans() | st.integers(-3, 10**20) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)


@settings(deadline=None, max_examples=60)
@given(key=st.sampled_from([*SMALL, "changes", "core_seconds_per_block"]), value=VALUES, cut=st.integers(0, len(TEXT)))
def test_whatever_stands_in_a_file_it_is_a_grid_or_a_refusal(
    tmp_path_factory: pytest.TempPathFactory, key: str, value: Any, cut: int
):
    path = tmp_path_factory.mktemp("grid") / "grid.toml"
    for text in (TEXT[:cut], tomli_w.dumps({**SMALL, key: value}).encode("utf-8", "ignore")):
        path.write_bytes(text)
        found = cells_or_refusal(str(path))
        if isinstance(found, BeesError):
            assert "\n" not in str(found)
            assert found.exit_code == 2
        else:
            assert len({key_of(cell.knobs) for cell in found}) == len(found) > 0


def cells_or_refusal(path: str) -> list[Cell] | BeesError:
    try:
        return cells_of(load_grid(path))
    except BeesError as error:
        return error
