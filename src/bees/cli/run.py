"""``bees run``: run one experiment, from a preset or a scenario file."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from bees.cli.console import AsJson, Quiet, Threads, err, limit_threads, out, plain, print_json, progress
from bees.core.errors import InputError


def run(
    scenario: Annotated[
        str | None, typer.Argument(help="A preset (see: bees presets), or the path of a TOML file.")
    ] = None,
    override: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change one knob, such as --set learning.epochs=2."),
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of everything that is drawn.")] = None,
    folder: Annotated[
        Path | None,
        typer.Option("--out", help="Folder for the run; must not exist. Default: runs/<time>-<name>-s<seed>."),
    ] = None,
    resume: Annotated[
        Path | None, typer.Option(help="Folder of a run that was stopped: go on from the end of its chain.")
    ] = None,
    threads: Threads = None,
    share_checks: Annotated[
        bool,
        typer.Option(
            help="Replicas of one process do identical checks once. Off: each does everything itself; same hashes."
        ),
    ] = True,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Train with real data, real signatures and a real ledger, and keep everything in a folder.

    Example: bees run quick; bees run paper --seed 3 --set offloading.policy=energy --out runs/energy

    A run that was stopped, by Ctrl-C or worse, goes on with: bees run --resume runs/energy
    """
    limit_threads(threads)
    from bees.report.folder import write_report
    from bees.run_folder import SCENARIO, default_folder, read_scenario, summarise
    from bees.runner import run_into_folder
    from bees.scenario_file import load_scenario

    changes = [*(override or []), *([] if seed is None else [f"seed={seed}"])]
    if resume is not None:
        if scenario is not None or folder is not None or changes:
            raise InputError(
                "--resume", "goes on with the folder's own scenario; give no other, no --out, --set or --seed"
            )
        chosen, target, source = read_scenario(resume), resume, str(resume / SCENARIO)
    elif scenario is not None:
        chosen = load_scenario(scenario, changes)
        target = folder or default_folder(chosen)
        source = f"{scenario} with --set" if changes else scenario
    else:
        raise InputError("bees run", "name a preset or a file; try: bees run quick")
    with progress(quiet or as_json) as bar:
        task = bar.add_task(chosen.name, total=chosen.blocks, note="preparing")
        result = run_into_folder(
            chosen,
            target,
            command=shlex.join(["bees", *sys.argv[1:]]),
            source=source,
            resumes=resume is not None,
            share_checks=share_checks,
            on_round=lambda row: bar.update(task, completed=row.block, note=f"accuracy {row.accuracy:.3f}"),
        )
    write_report(target)
    summary = {"folder": str(target), **summarise(result)}
    if as_json:
        print_json(summary)
        return
    out().print(
        f"[bold]{chosen.name}[/]: accuracy [bold]{summary['accuracy']:.4f}[/] after {summary['blocks']} blocks, "
        f"{summary['latency_s']:.2f} s and {summary['energy_j']:.0f} J of simulated time and energy, "
        f"{summary['seconds_per_round']:.2f} s per round on this machine"
    )
    if summary["skipped_rounds"]:
        err().print(f"[yellow]{summary['skipped_rounds']} rounds were skipped[/]: nobody could publish a result")
    plain(f"Look at {target}/report.html; check with: bees verify {target}")
