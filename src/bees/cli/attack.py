"""``bees attack``: every attack on the learning against every defence, in one table."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bees.cli.console import AsJson, ChangesOfEveryRun, Quiet, out, plain, print_json, progress
from bees.core.errors import InputError

if TYPE_CHECKING:
    from bees.study.attack_grid import Cell, Grid
    from bees.study.attack_rows import CellRow, Summary
    from bees.study.attack_table import Panel
    from bees.study.protocol_attacks import ProtocolRow

_FAILED = 1
TABLE = "attacks.md"


def attack(
    grid: Annotated[
        str, typer.Option("--grid", metavar="GRID", help="A packaged grid (quick, default, full), or a TOML file.")
    ] = "default",
    full: Annotated[bool, typer.Option("--full", help="All attacks and defences, several seeds: --grid full.")] = False,
    listed: Annotated[bool, typer.Option("--list", help="Say how large the grids are and how long they take.")] = False,
    show: Annotated[bool, typer.Option("--show", help="Print the packaged grid as TOML, to begin an own one.")] = False,
    path: Annotated[
        Path | None,
        typer.Option(
            "--out", help="A .jsonl file; a grid that was stopped goes on in it.  \\[default: runs/attack-GRID.jsonl]"
        ),
    ] = None,
    figures: Annotated[
        Path | None, typer.Option(help="Where figures and table go.  \\[default: the folder figures beside the file]")
    ] = None,
    with_protocol: Annotated[
        bool,
        typer.Option(
            "--protocol",
            help="Play the attacks on the protocol too; their rows go beside the others, into …-protocol.jsonl.",
        ),
    ] = False,
    jobs: Annotated[
        int | None,
        typer.Option(min=1, help="So many processes at once; rows do not depend on it.  \\[default: one per core]"),
    ] = None,
    override: ChangesOfEveryRun = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Set every attack on the learning against every defence, and say what is left of the accuracy.

    Each cell is a whole run with its chain, whose contract is the defence. Its row is appended as soon as it is
    measured; stopped by Ctrl-C, the same command goes on. Table and heat map are drawn from the rows alone. In
    brackets: of how many marked samples the backdoor makes what it wants.

    Minutes, then the table of docs/security.md:

        bees attack --grid quick

        bees attack

    One's own grid:

        bees attack --show > mine.toml

        bees attack --grid mine.toml --set blocks=10

    Exit code 1 when a run could not go on; its row says why.
    """
    from bees.study.attack_grid import cells_of, load_grid

    if show:
        _print_grid("full" if full else grid)
        return
    if full and grid != "default":
        raise InputError("--full", f"means --grid full; leave it out, or --grid {grid}")
    workers = jobs or _cores()
    if listed:
        _list_grids(grid, override or [], workers, as_json=as_json)
        return
    chosen = load_grid("full" if full else grid, override or [])
    cells = cells_of(chosen)
    rows_file = path or Path("runs") / f"attack-{chosen.name}.jsonl"
    rows = _run(chosen, cells, rows_file, workers, quiet=quiet or as_json)
    played = _play_protocol(rows_file, quiet=quiet or as_json) if with_protocol else []
    _show(chosen, rows, played, rows_file, figures or rows_file.parent / "figures", as_json=as_json)
    if any(row.problem for row in rows):
        raise typer.Exit(_FAILED)


def _run(grid: Grid, cells: list[Cell], path: Path, jobs: int, *, quiet: bool) -> list[CellRow]:
    from bees.study.attacks import check_data, missing_cells, run_grid

    missing = missing_cells(path, cells)
    check_data(grid, missing)
    with progress(quiet) as bar:
        total = sum(cell.scenario.blocks for cell in cells)
        done = total - sum(cell.scenario.blocks for cell in missing)
        task = bar.add_task(f"{len(cells)} cells, blocks", total=total, completed=done, note="")
        return run_grid(path, cells, lambda note: bar.update(task, advance=1, note=note), jobs=jobs)


def _play_protocol(beside: Path, *, quiet: bool) -> list[ProtocolRow]:
    from bees.study.protocol_attacks import measure_protocol_attacks
    from bees.study.protocol_catalogue import all_attacks

    path = beside.with_name(f"{beside.stem}-protocol.jsonl")
    with progress(quiet) as bar:
        task = bar.add_task("attacks on the protocol", total=len(all_attacks()), note="")
        return measure_protocol_attacks(path, on_row=lambda row: bar.update(task, advance=1, note=row.attack))


def _show(
    grid: Grid, rows: list[CellRow], played: list[ProtocolRow], path: Path, folder: Path, *, as_json: bool
) -> None:
    import msgspec

    from bees.report.attack_figures import attack_figures
    from bees.report.style import svg_text
    from bees.run_folder import make_folder, write_text
    from bees.study.attack_rows import summarise
    from bees.study.attack_table import markdown, panels_of, protocol_markdown

    summaries = summarise(rows)
    panels = panels_of(summaries)
    make_folder(folder)
    files = {f"{name}.svg": svg_text(figure) for name, figure in attack_figures(panels).items()}
    files[TABLE] = markdown(panels) + protocol_markdown(played)
    for name, text in files.items():
        write_text(folder, name, text)
    if as_json:
        written = [str(folder / name) for name in files]
        document = {
            "grid": grid.name,
            "rows": str(path),
            "files": written,
            "cells": summaries,
            "runs": rows,
            "protocol": played,
        }
        print_json(msgspec.to_builtins(document))
        return
    for panel in panels:
        _print_panel(panel)
    _print_incidents(summaries)
    _print_protocol(played)
    plain(f"{len(rows)} runs in {path}; table and figures in {folder}")


def _print_panel(panel: Panel) -> None:
    from rich.table import Table
    from rich.text import Text

    from bees.study.attack_table import best_of, cell_text

    plain(panel.title)
    table = Table("attack", box=None, header_style="bold")
    for defence in panel.defences:
        table.add_column(Text(defence.replace("_", " ")), justify="right")
    for attack_name in panel.attacks:
        best = best_of(panel, attack_name)
        texts = [cell_text(panel.cells.get((attack_name, defence))) for defence in panel.defences]
        styled = (Text(text, style="bold" if k in best else "") for k, text in enumerate(texts))
        table.add_row(Text(attack_name), *styled)
    out().print(table)
    plain("")


def _print_protocol(played: list[ProtocolRow]) -> None:
    from rich.table import Table

    from bees.study.attack_table import PROTOCOL_HEADS, protocol_cells

    if not played:
        return
    table = Table(*PROTOCOL_HEADS, box=None, header_style="bold")
    for row in played:
        table.add_row(*protocol_cells(row))
    out().print(table)
    plain("")


def _print_incidents(summaries: list[Summary]) -> None:
    """What the ledger has refused, outvoted and convicted, and what ended runs early; nothing where nothing was."""
    for one in summaries:
        counts = {
            "updates refused": one.refused_updates,
            "updates ineligible": one.ineligible_updates,
            "attestations outvoted": one.outvoted_attestations,
            "rounds skipped": one.skipped_rounds,
        }
        told = [f"{count:g} {name}" for name, count in counts.items() if count]
        told += [f"convicted: {', '.join(one.convicted)}"] if one.convicted else []
        told += one.problems
        if told:
            plain(f"{one.attack} x {one.defence}, {one.fraction:.0%}, {one.heterogeneity}: {'; '.join(told)}")


def _print_grid(name: str) -> None:
    from bees.study.attack_grid_file import grid_names, packaged_text

    if name not in grid_names():
        raise InputError("--show", f"prints a packaged grid: {', '.join(grid_names())}")
    plain(packaged_text(name).rstrip())


def _list_grids(chosen: str, override: list[str], jobs: int, *, as_json: bool) -> None:
    from rich.table import Table
    from rich.text import Text

    from bees.study.attack_grid import cells_of, grid_names, load_grid
    from bees.study.attacks import estimated_seconds

    described: list[dict[str, Any]] = []
    for name in dict.fromkeys((*grid_names(), chosen)):
        grid = load_grid(name, override)
        cells = cells_of(grid)
        seconds = estimated_seconds(grid, cells, jobs)
        described.append(
            {
                "grid": name,
                "cells": len(cells),
                "attacks": len(grid.attacks),
                "defences": len(grid.defences),
                "fractions": [choice.label for choice in grid.fractions],
                "heterogeneity": [choice.label for choice in grid.heterogeneity],
                "seeds": len(grid.seeds),
                "blocks": grid.base.blocks,
                "hours": None if seconds is None else round(seconds / 3600, 2),
            }
        )
    if as_json:
        print_json({"grids": described, "jobs": jobs})
        return
    table = Table(*described[0], box=None, header_style="bold")
    for one in described:
        cells = (", ".join(value) if isinstance(value, list) else value for value in one.values())  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
        table.add_row(*(Text("unknown" if value is None else str(value)) for value in cells))
    out().print(table)
    plain(f"Hours are estimated for {jobs} processes, each with a core of its own.")


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
