"""``bees study``: searches over what the paper leaves open."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from bees.cli.console import AsJson, Quiet, Threads, limit_threads, out, print_json, progress

study = typer.Typer(name="study", help="Search over what the paper leaves open.", no_args_is_help=True)


@study.command()
def readings(
    path: Annotated[Path, typer.Option("--out", help="A .jsonl file; a study that was stopped goes on in it.")] = Path(
        "runs/readings.jsonl"
    ),
    seeds: Annotated[int, typer.Option(min=1, help="Seeds 0 to N-1 for every setting.")] = 3,
    override: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change one knob of every run.")
    ] = None,
    threads: Threads = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Find the partition, epochs, batch, learning rate and selection that come nearest to the four accuracies.

    Each row is a setting and a seed, appended as soon as it is measured; start the command again to go on.
    """
    limit_threads(threads)
    from bees.study.readings import CURVES_PER_ROW, default_grid, search, summarise_rows

    settings = default_grid()
    with progress(quiet or as_json) as bar:
        task = bar.add_task("readings", total=len(settings) * seeds * CURVES_PER_ROW, note="")
        rows = search(path, settings, range(seeds), lambda note: bar.update(task, advance=1, note=note), override or [])
    summaries = summarise_rows(rows)
    if as_json:
        print_json({"rows": str(path), "settings": summaries})
        return
    columns = list(summaries[0])
    table = Table(*columns, box=None, header_style="bold")
    for summary in summaries:
        table.add_row(*(f"{value:.3f}" if isinstance(value, float) else str(value) for value in summary.values()))
    out().print(table)
