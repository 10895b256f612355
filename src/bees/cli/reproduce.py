"""``bees reproduce``: the paper's figures and claims, measured."""

from __future__ import annotations

import json
import shlex
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from bees.cli.console import AsJson, Quiet, Threads, limit_threads, out, print_json, progress


def reproduce(
    seeds: Annotated[int, typer.Option(min=1, help="Seeds 0 to N-1; with several, figures have bands.")] = 1,
    folder: Annotated[
        Path | None,
        typer.Option("--out", help="Folder for the reproduction; must not exist. Default: runs/<time>-reproduce."),
    ] = None,
    resume: Annotated[
        Path | None, typer.Option(help="Folder of a reproduction that was stopped; what it has is not run again.")
    ] = None,
    override: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change one knob of every run.")
    ] = None,
    threads: Threads = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Measure Figures 3 to 8 of the paper, and every number that it claims, published beside measured.

    Each claim gets a verdict: reproduced; fitted (constants were chosen to meet it); not reproduced, with the reason.
    """
    limit_threads(threads)
    from bees.reproduce.runner import jobs_of, measure
    from bees.run_folder import make_new_folder
    from bees.scenario_file import load_scenario

    target = resume or folder or Path("runs") / f"{datetime.now(UTC):%Y%m%d-%H%M%S}-reproduce"
    if resume is None:
        make_new_folder(target)
    changes = override or []
    blocks = load_scenario("paper", changes).blocks
    with progress(quiet or as_json) as bar:
        task = bar.add_task("reproduce", total=len(jobs_of(range(seeds))) * blocks, note="")
        measured = measure(
            target,
            range(seeds),
            shlex.join(["bees", *sys.argv[1:]]),
            lambda name, new: bar.update(task, advance=new, note=name),
            changes,
        )
    _write_and_print(target, measured, as_json=as_json)
