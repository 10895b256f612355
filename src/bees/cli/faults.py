"""``bees faults``: seeded histories of a chain among liars, on a network and on disks that fail."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from bees.cli.console import AsJson, Quiet, out, plain, print_json, progress
from bees.core.errors import InputError

if TYPE_CHECKING:
    from bees.faults.campaign import Settings
    from bees.faults.history import HistoryResult
    from bees.faults.plan import Plan

_VIOLATED = 1


def faults(
    seed: Annotated[int | None, typer.Option(min=0, help="Play the history of this seed. Default: 0.")] = None,
    plan_file: Annotated[Path | None, typer.Option("--plan", help="Play the history of a plan file.")] = None,
    campaign: Annotated[int | None, typer.Option(min=1, metavar="N", help="Play the histories of N seeds.")] = None,
    servers: Annotated[int, typer.Option(help="How many servers there are.")] = 20,
    devices: Annotated[int, typer.Option(help="How many devices there are.")] = 8,
    faulty: Annotated[
        int | None, typer.Option(help="How many servers are Byzantine. Default: the most that must be withstood.")
    ] = None,
    weak_quorum: Annotated[
        bool, typer.Option("--weak-quorum", help="Commit blocks with one signature less than is safe.")
    ] = False,
    twice: Annotated[
        bool, typer.Option("--twice/--once", help="Play a single history again, and compare the hashes.")
    ] = True,
    shrink: Annotated[
        bool, typer.Option("--shrink/--no-shrink", help="Make the plan of a failure as small as it gets.")
    ] = True,
    budget: Annotated[int, typer.Option(min=1, help="Histories to play for shrinking, at most.")] = 300,
    out_file: Annotated[
        Path | None, typer.Option("--out", help="Write the plan here as JSON, shrunk if it failed.")
    ] = None,
    first_seed: Annotated[int, typer.Option(min=0, help="First seed of a campaign.")] = 0,
    jobs: Annotated[int, typer.Option(min=1, help="Processes of a campaign.")] = 1,
    stop_after: Annotated[int | None, typer.Option(min=1, help="End a campaign early after so many failures.")] = None,
    folder: Annotated[
        Path | None,
        typer.Option(help="Folder of a campaign; must not exist. Default: runs/faults-<time>."),
    ] = None,
    resume: Annotated[
        Path | None, typer.Option(help="Folder of a campaign that was stopped: play what is missing.")
    ] = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Play histories in which servers lie, crash and are cut off, and check after every block that nothing is broken.

    One history, twice, with the same hashes; if an invariant breaks, the plan is shrunk:

        bees faults --seed 7

    Many, on two cores; stopped by Ctrl-C, it goes on with --resume:

        bees faults --campaign 1000 --jobs 2 --folder runs/faults-1000

        bees faults --campaign 1000 --jobs 2 --resume runs/faults-1000

    More liars than 20 servers withstand:

        bees faults --campaign 100 --faulty 8 --stop-after 1

    Exit code 0 when all invariants held, 1 when one was broken.
    """
    from bees.faults.campaign import Settings
    from bees.faults.plan_file import check_sizes, read_plan

    _check_choice(seed, plan_file, campaign, resume)
    if plan_file is None:
        check_sizes(servers, devices, faulty)
    settings = Settings(servers, devices, faulty, weak_quorum)
    if campaign is not None or resume is not None:
        if out_file is not None or (folder is not None and resume is not None):
            raise InputError("--out" if out_file else "--folder", "is of no use here; a campaign has one folder")
        seeds = None if campaign is None else range(first_seed, first_seed + campaign)
        _play_many(settings, seeds, folder, resume, jobs, stop_after, quiet=quiet, as_json=as_json)
        return
    plan = settings.plan(seed or 0) if plan_file is None else read_plan(plan_file)
    _play_one(plan, budget if shrink else 0, out_file, twice=twice, quiet=quiet, as_json=as_json)


def _check_choice(seed: int | None, plan_file: Path | None, campaign: int | None, resume: Path | None) -> None:
    many = campaign is not None or resume is not None
    if sum((seed is not None, plan_file is not None, many)) > 1:
        raise InputError("bees faults", "give one of --seed, --plan and --campaign")
    if resume is not None and campaign is None:
        raise InputError("--campaign", "is missing; say how many histories the campaign shall have")


def _play_one(plan: Plan, budget: int, out_file: Path | None, *, twice: bool, quiet: bool, as_json: bool) -> None:
    from bees.faults.play import play

    played = play(plan)
    result = played.result
    repeated = play(plan).result == result if twice else None
    shrunk = _shrink(plan, result.violation, budget, quiet=quiet or as_json) if result.violation and budget else None
    if out_file is not None:
        _write_plan(out_file, shrunk or plan)
    if as_json:
        documents = {"plan": plan, "result": result, "repeated": repeated, "shrunk": shrunk}
        print_json({**msgspec.to_builtins(documents), "cpu_s": round(played.cpu_s, 3)})
    else:
        _tell_history(plan, result, repeated, shrunk)
        if out_file is not None:
            plain(f"{out_file}: plan; play it with: bees faults --plan {out_file}")
    if result.violation or repeated is False:
        raise typer.Exit(_VIOLATED)


def _shrink(plan: Plan, violation: str, budget: int, *, quiet: bool) -> Plan:
    from bees.faults.shrink import shrink

    with progress(quiet) as bar:
        task = bar.add_task("shrinking", total=budget, note="")
        return shrink(
            plan,
            violation,
            budget,
            on_try=lambda played, best: bar.update(task, completed=played, note=_size(best)),
        )


def _size(plan: Plan) -> str:
    return f"{len(plan.liars)} liars, {len(plan.events)} events"


def _write_plan(path: Path, plan: Plan) -> None:
    from bees.faults.plan_file import encode_plan
    from bees.run_folder import new_file

    with new_file(path) as file:
        file.write(encode_plan(plan))


def _tell_history(plan: Plan, result: HistoryResult, repeated: bool | None, shrunk: Plan | None) -> None:
    from bees.faults.plan_file import describe_plan

    for line in describe_plan(plan):
        plain(line)
    plain("")
    injected = ", ".join(f"{name} {count}" for name, count in result.counts.items() if count)
    plain(f"injected: {injected or 'nothing'}")
    plain(
        f"{result.heights} blocks, {result.rounds} rounds of which {result.skipped} skipped, "
        f"{result.deliveries:,} deliveries in {result.virtual_s:.1f} s of virtual time"
    )
    plain(f"convicted: {', '.join(result.convicted) or 'nobody'}")
    again = {None: "", True: ", the same when played again", False: ", ANOTHER one when played again"}[repeated]
    plain(f"digest {result.digest}{again}")
    plain(f"BROKEN: {result.detail}" if result.violation else "all invariants held")
    if shrunk is not None:
        plain("")
        plain("the smallest plan found that breaks the same invariant:")
        for line in describe_plan(shrunk):
            plain(f"  {line}")


def _play_many(
    settings: Settings,
    seeds: range | None,
    folder: Path | None,
    resume: Path | None,
    jobs: int,
    stop_after: int | None,
    *,
    quiet: bool,
    as_json: bool,
) -> None:
    from bees.faults.campaign import Results, run_campaign
    from bees.faults.summary import summarise
    from bees.run_folder import SUMMARY, write_json

    target = _folder(folder, resume)
    seeds = seeds or range(0)
    results = Results(target, settings)
    with progress(quiet or as_json) as bar:
        done = sum(seed in results.played for seed in seeds)
        task = bar.add_task("histories", total=len(seeds), completed=done, note=f"{len(results.broken)} broken")
        run_campaign(
            results,
            seeds,
            jobs=jobs,
            stop_after=stop_after,
            on_history=lambda: bar.update(task, advance=1, note=f"{len(results.broken)} broken"),
        )
    summary = summarise(results, seeds)
    write_json(target, SUMMARY, summary)
    print_json({"folder": str(target), **summary}) if as_json else _tell_campaign(target, summary)
    if summary["violations"]:
        raise typer.Exit(_VIOLATED)


def _folder(folder: Path | None, resume: Path | None) -> Path:
    from bees.faults.campaign import read_settings

    if resume is not None:
        read_settings(resume)
        return resume
    target = folder or Path("runs") / f"faults-{datetime.now(UTC):%Y%m%d-%H%M%S}"
    if target.exists():
        raise InputError(str(target), f"exists already; go on with --resume {target}, or name another folder")
    return target


def _tell_campaign(folder: Path, summary: dict[str, Any]) -> None:
    from rich.table import Table

    table = Table("fault", "times", "histories", title="injected")
    for name, found in summary["faults_injected"].items():
        table.add_row(name, f"{found['times']:,}", f"{found['histories']:,}")
    out().print(table)
    seconds, convictions = summary["cpu_seconds_per_history"], summary["convictions"]
    plain(
        f"{summary['histories']:,} histories: {summary['rounds_closed']:,} rounds, {summary['rounds_skipped']:,} "
        f"of them skipped; {convictions['servers']:,} servers and {convictions['devices']:,} devices were convicted"
    )
    if seconds:
        plain(f"{seconds['median']:.2f} s of a core per history (median), {seconds['largest']:.2f} s at most")
    for name, found in summary["violations"].items():
        plain(f"BROKEN in {found['histories']:,} histories: {name}; seeds {', '.join(map(str, found['first_seeds']))}")
    if not summary["violations"]:
        plain("all invariants held")
    plain(f"Look at {folder}; play one again with: bees faults --seed N")
