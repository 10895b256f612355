"""Seeded histories by the thousand, and counterexamples beyond the bounds: two files in ``docs/evidence``.

* The campaign: 20 servers of which 6 lie, 8 devices, faults of all kinds; no history may break an invariant.
* The proof that this could be seen: with 7 liars, blocks stall and a median is controlled; with 8, or with a quorum of
  13 at 6, the chain forks. Each is found, shrunk and explained, and its plan is kept in
  ``docs/evidence/counterexamples``, from where the tests play it again.

Every history is written down when it is over. Interrupted at any moment, the same command goes on where it was.

Example: ``python -m campaigns.faults --histories 10000 --jobs 2``
"""

from __future__ import annotations

import shlex
import signal
import sys
from pathlib import Path  # noqa: TC003  # typer reads annotations at run time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bees.cli.console import Quiet, plain, progress
from bees.faults.campaign import RESULTS, Results, Settings, code_digest, run_campaign
from bees.faults.summary import summarise
from campaigns.counterexamples import HUNTS, hunt_down, write_counterexample
from campaigns.evidence import EVIDENCE, ROOT, write_evidence

if TYPE_CHECKING:
    from rich.progress import Progress

MIXED = Settings(servers=20, devices=8, faulty=6)
_SEEDS_REPLAYED = 20


def main(
    histories: Annotated[int, typer.Option(min=1, help="Seeds 0 to N-1 with 6 liars of 20.")] = 10_000,
    jobs: Annotated[int, typer.Option(min=1, help="Processes.")] = 2,
    search: Annotated[
        int, typer.Option(min=0, help="Random histories to play for each counterexample before directed ones.")
    ] = 200,
    budget: Annotated[int, typer.Option(min=1, help="Histories to play for shrinking each counterexample.")] = 300,
    folder: Annotated[
        Path | None, typer.Option(help="Keeps what was played. Default: runs/faults-<hash of the code>.")
    ] = None,
    evidence: Annotated[Path, typer.Option(help="Where the evidence is written.")] = EVIDENCE,
    counterexamples_only: Annotated[
        bool, typer.Option("--counterexamples-only", help="Find these again, and play no other histories.")
    ] = False,
    histories_only: Annotated[
        bool, typer.Option("--histories-only", help="Leave the counterexamples as they are in the evidence.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Play all histories, find and shrink the counterexamples, and write the evidence."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    folder = folder or ROOT / "runs" / f"faults-{code_digest()}"
    with progress(quiet) as bar:
        counterexamples = {
            hunt.name: _hunt(bar, index, folder / hunt.name, search, jobs, budget, evidence / "counterexamples")
            for index, hunt in enumerate(() if histories_only else HUNTS)
        }
        command = shlex.join(["python", "-m", "campaigns.faults", *sys.argv[1:]])
        if not histories_only:
            write_evidence("counterexamples", command, counterexamples, evidence)
        if counterexamples_only:
            raise typer.Exit(0 if _all_broken(counterexamples) else 1)
        mixed = _play_mixed(bar, folder / "mixed", histories, jobs)
    file = write_evidence("faults", command, {"settings": _described(MIXED), "histories": mixed}, evidence)
    plain(f"{mixed['histories']} histories, broken: {mixed['violations'] or 'none'}; {file.name}")
    if mixed["violations"] or not mixed["replayed_alike"] or not _all_broken(counterexamples):
        raise typer.Exit(1)


def _hunt(bar: Progress, index: int, folder: Path, search: int, jobs: int, budget: int, kept: Path) -> dict[str, Any]:
    hunt = HUNTS[index]
    task = bar.add_task(hunt.name, total=None, note="")
    found = hunt_down(hunt, folder, search, jobs, lambda: bar.update(task, advance=1))
    bar.update(task, note=f"found by a {found.way} plan; shrinking")
    told = write_counterexample(hunt, found, budget, kept)
    bar.update(task, total=1, completed=1, note=f"shrunk in {told['shrunk_in_histories']} histories")
    return told


def _play_mixed(bar: Progress, folder: Path, histories: int, jobs: int) -> dict[str, Any]:
    results = Results(folder, MIXED)
    seeds = range(histories)
    done = sum(seed in results.played for seed in seeds)
    task = bar.add_task("histories", total=histories, completed=done, note=f"{len(results.broken)} broken")
    run_campaign(
        results, seeds, jobs=jobs, on_history=lambda: bar.update(task, advance=1, note=f"{len(results.broken)} broken")
    )
    return {**summarise(results, seeds), **_replay(results, histories, jobs)}


def _replay(results: Results, histories: int, jobs: int) -> dict[str, Any]:
    """Play some of them once more, by the code as it is now: histories that were kept must still be those."""
    seeds = range(0, histories, max(1, histories // _SEEDS_REPLAYED))
    again = Results(results.folder / "again", results.settings)
    again.played.clear()
    (again.folder / RESULTS).unlink(missing_ok=True)
    run_campaign(again, seeds, jobs=jobs)
    alike = all(again.played[seed].result == results.played[seed].result for seed in seeds)
    return {"replayed": len(seeds), "replayed_alike": alike}


def _described(settings: Settings) -> dict[str, Any]:
    return {
        "servers": settings.servers,
        "devices": settings.devices,
        "byzantine_servers": settings.faulty,
        "signatures_per_block": 2 * settings.servers // 3 + 1,
    }


def _all_broken(counterexamples: dict[str, dict[str, Any]]) -> bool:
    return all(told["broken_again"] for told in counterexamples.values())


if __name__ == "__main__":
    typer.run(main)
