"""``bees reproduce``: the paper's figures and claims, measured."""

from __future__ import annotations

import shlex
import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from bees.cli.console import AsJson, ChangesOfEveryRun, Quiet, Threads, limit_threads, out, plain, print_json, progress
from bees.core.errors import BeesError, RunFolderError

if TYPE_CHECKING:
    from bees.reproduce.curves import Reproduction


def reproduce(
    seeds: Annotated[int, typer.Option(min=1, help="Seeds 0 to N-1; with several, figures have bands.")] = 1,
    folder: Annotated[
        Path | None,
        typer.Option("--out", help="Folder for the reproduction; must not exist. Default: runs/<time>-reproduce."),
    ] = None,
    resume: Annotated[
        Path | None, typer.Option(help="Folder of a reproduction that was stopped; what it has is not run again.")
    ] = None,
    override: ChangesOfEveryRun = None,
    threads: Threads = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Measure Figures 3 to 8 of the paper, and every number that it claims, published beside measured.

    Each claim gets a verdict: reproduced; fitted (constants were chosen to meet it); not reproduced, with the reason.
    """
    limit_threads(threads)
    from bees.reproduce.runner import CURVES, jobs_of, measure
    from bees.scenario_file import load_scenario

    if resume is not None and not (resume / CURVES).is_dir():
        raise RunFolderError(str(resume), f"is no reproduction: it has no {CURVES}/")
    changes = override or []
    blocks = load_scenario("paper", changes).blocks
    target = resume or folder or Path("runs") / f"{datetime.now(UTC):%Y%m%d-%H%M%S}-reproduce"
    command = shlex.join(["bees", *sys.argv[1:]])
    if resume is None:
        _begin(target, command)
    with progress(quiet or as_json) as bar:
        task = bar.add_task("reproduce", total=len(jobs_of(range(seeds))) * blocks, note="")
        try:
            measured = measure(
                target,
                range(seeds),
                command,
                lambda name, new: bar.update(task, advance=new, note=name),
                changes,
            )
        except BeesError:
            if resume is None:
                _remove_what_holds_nothing(target)
            raise
    _conclude(target, measured, as_json=as_json)


def _begin(folder: Path, command: str) -> None:
    from bees.reproduce.runner import CURVES
    from bees.run_folder import ENVIRONMENT, environment, new_folder, write_json

    with new_folder(folder) as draft:
        (draft / CURVES).mkdir()
        write_json(draft, ENVIRONMENT, environment(command))


def _remove_what_holds_nothing(folder: Path) -> None:
    """Leave no folder behind when the very first run was refused, so that the same command can be given again."""
    from bees.reproduce.runner import CURVES
    from bees.run_folder import ENVIRONMENT

    if {path.name for path in folder.iterdir()} == {CURVES, ENVIRONMENT} and not any((folder / CURVES).iterdir()):
        shutil.rmtree(folder, ignore_errors=True)


def _conclude(folder: Path, measured: Reproduction, *, as_json: bool) -> None:
    from bees.report.folder import REPRODUCTION, is_finished, write_report
    from bees.reproduce.claims import claims_of, summary
    from bees.reproduce.reasons import FITTED, REASONS
    from bees.reproduce.tables import claims_table
    from bees.run_folder import SUMMARY, write_json, write_text

    write_text(folder, REPRODUCTION, msgspec.json.encode(measured).decode())
    facts = summary(measured, REASONS, FITTED)
    write_json(folder, SUMMARY, facts)
    page = write_report(folder)
    for run in filter(is_finished, sorted((folder / "runs").glob("*"))):
        write_report(run)
    if as_json:
        print_json({"folder": str(folder), **facts})
        return
    out().print(claims_table(claims_of(measured, REASONS, FITTED)))
    plain(f"{measured.seconds:.0f} s of computation. Look at {page}")
