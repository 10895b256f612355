"""``bees run``: run one experiment, from a preset or a scenario file."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from bees.cli.console import AsJson, Quiet, Threads, err, limit_threads, out, plain, print_json, progress
from bees.core.errors import InputError, OutputError, StorageError


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
    from bees.run_folder import SCENARIO, default_folder, read_scenario, summarise
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
    # What is wrong with the command is told before JAX is loaded.
    from bees.runner import run_into_folder

    # With a folder that was there before, a refusal to write may be what saved it: nothing to go on with then.
    goes_on = resume is not None or not target.exists()
    try:
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
        # Drawing has much to load: a run need not wait for it.
        from bees.report.folder import write_report

        write_report(target)
    except (OutputError, StorageError) as error:
        if goes_on and target.exists():
            error.problem += f"; then go on with: bees run --resume {shlex.quote(str(target))}"
        raise
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
