"""``bees study``: what the paper leaves open, measured: its readings, and when a device should offload."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from bees.cli.console import AsJson, ChangesOfEveryRun, Quiet, Threads, limit_threads, out, print_json, progress

study = typer.Typer(name="study", help="Measure what the paper leaves open.", no_args_is_help=True)


@study.command()
def readings(
    path: Annotated[Path, typer.Option("--out", help="A .jsonl file; a study that was stopped goes on in it.")] = Path(
        "runs/readings.jsonl"
    ),
    seeds: Annotated[int, typer.Option(min=1, help="Seeds 0 to N-1 for every setting.")] = 3,
    override: ChangesOfEveryRun = None,
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


@study.command()
def offloading(
    path: Annotated[Path, typer.Option("--out", help="A .jsonl file; a study that was stopped goes on in it.")] = Path(
        "runs/offloading.jsonl"
    ),
    figures: Annotated[
        Path | None, typer.Option(help="Where figures go.  \\[default: the folder figures beside the file]")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Seeds 0 to N-1 for every policy and training.")] = 1,
    jobs: Annotated[int, typer.Option(min=1, help="So many processes at once. Rows do not depend on it.")] = 1,
    override: ChangesOfEveryRun = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Answer when a device should offload: phase diagrams, every policy in every world, and what is learnt.

    Diagrams and physics take seconds, the trainings a few minutes. Each row is appended as soon as it is measured;
    start the command again to go on. The figures are drawn from the rows alone.

    Example: bees study offloading --jobs 2
    """
    from bees.report.offloading_figures import offloading_figures
    from bees.report.style import svg_text
    from bees.run_folder import make_folder, write_text
    from bees.study.offloading import PolicyRow, planned, study_offloading, summarise

    with progress(quiet or as_json) as bar:
        task = bar.add_task("offloading", total=planned(range(seeds)), note="")
        rows = study_offloading(
            path,
            range(seeds),
            lambda note: bar.update(task, advance=1, note=note),
            jobs=jobs,
            changes=override or [],
        )
        bar.update(task, completed=planned(range(seeds)), note="")
    folder = figures or path.parent / "figures"
    make_folder(folder)
    drawn = offloading_figures(rows)
    for name, figure in drawn.items():
        write_text(folder, f"{name}.svg", svg_text(figure))
    if as_json:
        document = {"rows": str(path), "figures": [str(folder / f"{name}.svg") for name in drawn]}
        print_json({**document, "policies": summarise(rows)})
        return
    table = Table("world", "policy", "s", "J", "servers, J", "arrived", "alive", "samples shared", "accuracy", box=None)
    for row in summarise(rows):
        table.add_row(*("" if value is None else str(value) for value in row.values()))
    out().print(table)
    out().print(f"{sum(isinstance(row, PolicyRow) for row in rows)} policies in worlds; figures in {folder}")


@study.command()
def network(
    path: Annotated[Path, typer.Option("--out", help="A .jsonl file; a study that was stopped goes on in it.")] = Path(
        "runs/network.jsonl"
    ),
    figure: Annotated[
        Path | None, typer.Option(help="Where the figure goes.  \\[default: network_bytes.svg beside the file]")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Seeds 0 to N-1 for every spelling.")] = 1,
    override: ChangesOfEveryRun = None,
    threads: Threads = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Count the bytes on every link, and what 16 or 8 bits for each parameter of an update cost and buy.

    Each row is a whole run, appended when it is done; start the command again to go on.

    Example: bees study network --set blocks=10
    """
    limit_threads(threads)
    from bees.report.network_figures import network_bytes
    from bees.report.style import svg_text
    from bees.run_folder import write_text
    from bees.scenario_file import load_scenario
    from bees.study.network import PRESET, SPELLINGS, measure, summarise_rows

    changes = override or []
    with progress(quiet or as_json) as bar:
        total = len(SPELLINGS) * seeds * load_scenario(PRESET, changes).blocks
        task = bar.add_task("network", total=total, note="")
        rows = measure(path, SPELLINGS, range(seeds), lambda note: bar.update(task, advance=1, note=note), changes)
    drawn = figure or path.parent / "network_bytes.svg"
    write_text(drawn.parent, drawn.name, svg_text(network_bytes(rows)))
    summaries = summarise_rows(rows)
    if as_json:
        print_json({"rows": str(path), "figure": str(drawn), "spellings": summaries})
        return
    table = Table(*summaries[0], box=None, header_style="bold")
    for summary in summaries:
        table.add_row(*(f"{value:,.3f}" if isinstance(value, float) else str(value) for value in summary.values()))
    out().print(table)
