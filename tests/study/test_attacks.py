from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from bees.contract.library import load_contract_code
from bees.core.errors import InputError, OutputError, WordRangeError
from bees.runner import run
from bees.study import attacks
from bees.study.attack_grid import Cell, Grid, cells_of, load_grid
from bees.study.attack_rows import CellRow, Spread, summarise
from bees.study.attack_table import best_of, cell_text, markdown, panels_of, protocol_markdown
from bees.study.attacks import check_data, estimated_seconds, make_row, measure, missing_cells, rows_of, run_grid
from bees.study.rows import append_row

if TYPE_CHECKING:
    from pathlib import Path

GRID = """
base = "quick"
changes = ["learning.hidden=4"]
blocks = 2
seeds = [0]
fractions = [0.0, 0.25]
heterogeneity = ["iid"]
attacks = [{ name = "gaussian", strength = 5.0 }]
defences = [{ contract = "fedavg", top_m = "all" }]
"""


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> tuple[Grid, list[Cell]]:
    path = tmp_path_factory.mktemp("grid") / "tiny.toml"
    path.write_text(GRID)
    grid = load_grid(str(path))
    return grid, cells_of(grid)


@pytest.fixture(scope="module")
def measured(tiny: tuple[Grid, list[Cell]], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[CellRow]]:
    path = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    return path, run_grid(path, tiny[1], [].append)


def made_up_row(**changes: Any) -> CellRow:
    row = CellRow(
        knobs={"seed": 0},
        attack="alie",
        defence="median",
        fraction=0.2,
        heterogeneity="iid",
        seed=0,
        blocks=2,
        accuracy=(0.5, 0.25),
        backdoor_success=None,
        selected=10.0,
        attackers_selected=2.0,
        refused_updates=1,
        ineligible_updates=2,
        outvoted_attestations=3,
        convicted=("device 1",),
        skipped_rounds=0,
        model="ab",
        problem=None,
        seconds=4.0,
    )
    return msgspec.structs.replace(row, **changes)


def test_a_cell_is_a_real_run_with_its_chain(tiny: tuple[Grid, list[Cell]], measured: tuple[Path, list[CellRow]]):
    honest, attacked = measured[1]
    result = run(tiny[1][1].scenario)
    assert attacked.accuracy == tuple(result.accuracy)
    assert attacked.model == result.rounds[-1].model
    assert (honest.attack, honest.fraction, honest.attackers_selected) == ("none", 0.0, 0.0)
    # 3 of 12 devices attack, and FedAvg takes all updates.
    assert (attacked.attack, attacked.selected, attacked.attackers_selected) == ("gaussian, strength 5.0", 12.0, 3.0)
    assert honest.problem is None
    assert attacked.final_accuracy == attacked.accuracy[-1] < honest.accuracy[-1]


def test_known_cells_are_not_run_again(
    tiny: tuple[Grid, list[Cell]], measured: tuple[Path, list[CellRow]], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(attacks, "run", None)
    notes: list[str] = []
    assert run_grid(measured[0], tiny[1], notes.append) == measured[1]
    assert notes == []
    assert missing_cells(measured[0], tiny[1]) == []


def test_a_line_that_was_cut_is_run_again_and_comes_out_the_same(
    tiny: tuple[Grid, list[Cell]], measured: tuple[Path, list[CellRow]], tmp_path: Path
):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(measured[0].read_bytes()[:-20])
    again = run_grid(path, tiny[1], [].append)
    assert [row.deterministic() for row in again] == [row.deterministic() for row in measured[1]]
    assert again[0] == measured[1][0]
    assert path.read_bytes().count(b"\n") == 2


def test_two_processes_find_the_same(
    tiny: tuple[Grid, list[Cell]], measured: tuple[Path, list[CellRow]], tmp_path: Path
):
    notes: list[str] = []
    rows = run_grid(tmp_path / "rows.jsonl", tiny[1], notes.append, jobs=2)
    assert [row.deterministic() for row in rows] == [row.deterministic() for row in measured[1]]
    assert len(notes) == 4


def test_rows_take_the_names_that_the_grid_has_today(
    tiny: tuple[Grid, list[Cell]], measured: tuple[Path, list[CellRow]], tmp_path: Path
):
    path = tmp_path / "rows.jsonl"
    append_row(path, made_up_row())
    for row in measured[1]:
        append_row(path, msgspec.structs.replace(row, attack="of old"))
    assert rows_of(path, tiny[1]) == measured[1]


def test_a_broken_line_is_named(tiny: tuple[Grid, list[Cell]], tmp_path: Path):
    path = tmp_path / "rows.jsonl"
    path.write_text("{}\n")
    with pytest.raises(InputError, match="line 1"):
        run_grid(path, tiny[1], [].append)


def test_a_file_that_cannot_be_written_is_found_out_at_once(tiny: tuple[Grid, list[Cell]], tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        run_grid(tmp_path / "file" / "rows.jsonl", tiny[1], [].append)


def test_what_is_wrong_with_the_data_is_found_before_the_first_run(tiny: tuple[Grid, list[Cell]]):
    grid, cells = tiny
    check_data(grid, cells)
    learning = msgspec.structs.replace(cells[0].scenario.learning, dataset="gone.npz")
    broken = Cell("none", "x", 0.0, "iid", msgspec.structs.replace(cells[0].scenario, learning=learning))
    with pytest.raises(InputError, match=r"tiny\.toml, iid: .*gone\.npz"):
        check_data(grid, [broken])


def test_what_ends_a_run_early_is_a_fact_of_its_cell(tiny: tuple[Grid, list[Cell]], monkeypatch: pytest.MonkeyPatch):
    def wrecked(scenario: object, *, on_round: Any) -> None:
        raise WordRangeError(3, 2**40)

    monkeypatch.setattr(attacks, "run", wrecked)
    row = measure(tiny[1][0], [].append)
    assert row.problem is not None
    assert "WordRangeError: word 3" in row.problem
    assert (row.final_accuracy, row.best_accuracy, row.accuracy) == (None, None, ())


def test_what_says_nothing_of_a_cell_stops_the_grid(tiny: tuple[Grid, list[Cell]], monkeypatch: pytest.MonkeyPatch):
    def refused(scenario: object, *, on_round: Any) -> None:
        raise InputError("disk", "is gone")

    monkeypatch.setattr(attacks, "run", refused)
    with pytest.raises(InputError, match="disk"):
        measure(tiny[1][0], [].append)


def test_a_row_counts_over_all_rounds(tiny: tuple[Grid, list[Cell]]):
    first, second = run(tiny[1][0].scenario).rounds
    more = {"refused_updates": 2, "ineligible_updates": 1, "outvoted_attestations": 5, "attackers_selected": 3}
    changed = msgspec.structs.replace(first, main_node=None, **more)
    row = make_row(tiny[1][0], [changed, msgspec.structs.replace(second, convicted=("server 2",), **more)], None, 1.0)
    assert (row.refused_updates, row.ineligible_updates, row.outvoted_attestations) == (4, 2, 10)
    assert (row.attackers_selected, row.skipped_rounds, row.convicted) == (3.0, 1, ("server 2",))


def test_a_grid_takes_what_it_says_of_a_block_on_no_more_cores_than_cells(tiny: tuple[Grid, list[Cell]]):
    grid, cells = tiny
    assert estimated_seconds(grid, cells, 1) is None
    timed = replace(grid, core_seconds_per_block=2.0)
    assert estimated_seconds(timed, cells, 1) == 4 * 2.0
    assert estimated_seconds(timed, cells, 8) == 4 * 2.0 / 2


# Summary and table, from rows that were made up.


def test_a_summary_holds_mean_least_and_most_over_the_seeds():
    rows = [made_up_row(seed=seed, accuracy=(0.75, final)) for seed, final in enumerate((0.25, 0.5, 0.75))]
    (one,) = summarise(rows)
    assert one.seeds == 3
    assert one.final_accuracy == Spread(0.5, 0.25, 0.75)
    assert one.best_accuracy == Spread(0.75, 0.75, 0.75)
    assert (one.attackers_selected, one.refused_updates, one.convicted, one.seconds) == (2.0, 1.0, ("device 1",), 12.0)


def test_a_run_that_ended_early_counts_as_failed_not_as_accurate():
    rows = [made_up_row(seed=0), made_up_row(seed=1, accuracy=(0.99,), problem="NoDeviceLeftError: gone")]
    (one,) = summarise(rows)
    assert one.final_accuracy == Spread(0.25, 0.25, 0.25)
    assert cell_text(one) == "25.0, 1 failed"
    assert cell_text(summarise(rows[1:])[0]) == "failed"


def test_a_panel_for_each_fraction_has_the_row_in_which_nobody_attacks():
    rows = [
        made_up_row(attack="none", fraction=0.0, accuracy=(0.9,)),
        made_up_row(fraction=0.4, accuracy=(0.3,)),
        made_up_row(fraction=0.2, accuracy=(0.8,), backdoor_success=0.5),
        made_up_row(fraction=0.2, accuracy=(0.85,), defence="krum|x", backdoor_success=0.25),
    ]
    low, high = panels_of(summarise(rows))
    assert (low.fraction, high.fraction) == (0.2, 0.4)
    assert low.attacks == high.attacks == ("none", "alie")
    assert (low.backdoors, high.backdoors) == (("alie",), ())
    assert best_of(low, "alie") == {1}
    text = markdown([low])
    assert "| none | **90.0** |  |" in text
    assert "| alie | 80.0 (50.0) | **85.0 (25.0)** |" in text
    assert "krum\\|x" in text


def test_nobody_attacking_anywhere_is_a_panel_of_one_row():
    (panel,) = panels_of(summarise([made_up_row(attack="none", fraction=0.0)]))
    assert panel.attacks == ("none",)
    assert panel.title == "Nobody attacks, iid"


def test_the_spread_of_nothing_is_nothing():
    assert Spread.of([None, None]) is None


@dataclass(frozen=True)
class Played:
    attack: str
    by: str
    liars: int
    rounds: int
    skipped: int
    outcome: str
    convicted: dict[str, int] = field(default_factory=dict[str, int])


def test_attacks_on_the_protocol_stand_below_the_table():
    told = protocol_markdown(
        [
            Played("replay", "devices", 1, 5, 0, "refused"),
            Played("wrong aggregate", "servers", 6, 5, 2, "convicted", {"server 1": 1, "server 2": 2}),
        ]
    )
    assert "| replay | 1 device | refused | nobody | 0 of 5 |" in told
    assert "| wrong aggregate | 6 servers | convicted | 2 of 6 | 2 of 5 |" in told
    assert protocol_markdown([]) == ""


def test_a_contract_that_was_built_anew_is_another_cell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Somebody who works on a rule must not be shown what the rule of yesterday has come to."""
    monkeypatch.chdir(tmp_path)
    code, grid = tmp_path / "rule.wasm", tmp_path / "own.toml"
    grid.write_text(GRID.replace('"fedavg"', '"rule.wasm"').replace("[0.0, 0.25]", "[0.25]"))
    keys: list[object] = []
    for name in ("median", "krum"):
        code.write_bytes(load_contract_code(name))
        (cell,) = cells_of(load_grid(str(grid)))
        keys.append(cell.knobs)
    assert keys[0] != keys[1]
    append_row(tmp_path / "rows.jsonl", made_up_row(knobs=keys[0]))
    assert missing_cells(tmp_path / "rows.jsonl", [cell]) == [cell]
    code.write_bytes(load_contract_code("median"))
    with pytest.raises(InputError, match="was built anew while the grid ran"):
        measure(cell, [].append)


def test_the_key_of_a_packaged_contract_holds_its_name_alone(tiny: tuple[Grid, list[Cell]]):
    assert not any(key.endswith("code") for cell in tiny[1] for key in cell.knobs)
