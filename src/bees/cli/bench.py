"""``bees bench``: what a round costs on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from bees.cli.console import AsJson, Quiet, Threads, limit_threads, out, print_json, progress

if TYPE_CHECKING:
    from bees.scenario import Scenario


def bench(
    scenario: Annotated[str, typer.Argument(help="A preset, or the path of a TOML file.")] = "paper",
    rounds: Annotated[int, typer.Option(min=1, help="Rounds to measure, after two that warm up.")] = 10,
    compare: Annotated[
        bool,
        typer.Option(
            help="Also run the same learning as plain JAX vmap and, where torch is installed, as a plain loop."
        ),
    ] = False,
    override: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change one knob.")] = None,
    threads: Threads = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Measure seconds per round by phase, the ledger's share, one replica's price, peak memory, and the contracts.

    All in one run: replicas that share identical checks, and replicas that each do everything; every server verifying,
    the paper's main node alone, and no ledger at all.
    """
    limit_threads(threads)
    from bees.bench import WARM_UP_ROUNDS, bench_contracts, price_verification
    from bees.bench import bench as measure
    from bees.scenario_file import load_scenario

    needed = WARM_UP_ROUNDS + rounds
    chosen = load_scenario(scenario, [*(override or []), f"blocks={needed}"])
    with progress(quiet or as_json) as bar:
        task = bar.add_task("rounds", total=4 * needed, note="")
        report = measure(chosen, lambda: bar.update(task, advance=1))
        report["verification"] = price_verification(chosen, report, lambda: bar.update(task, advance=1))
    report["contracts"] = bench_contracts()
    if compare:
        report["comparisons"] = _compare(chosen, rounds)
    print_json(report) if as_json else _print(report)


def _compare(scenario: Scenario, rounds: int) -> dict[str, Any]:
    from bees.bench import compare_learning

    return compare_learning(scenario, rounds)


def _print(report: dict[str, Any]) -> None:
    table = Table("seconds per round", "shared checks", "own checks", box=None, header_style="bold")
    shared, own = report["shared_checks"], report["own_checks"]
    for phase in sorted({*shared["phases"], *own["phases"]}):
        table.add_row(phase, *(f"{side['phases'].get(phase, 0.0):.4f}" for side in (shared, own)))
    table.add_row("whole round", *(f"[bold]{side['round_s']:.4f}[/]" for side in (shared, own)))
    out().print(table)
    out().print(
        f"{report['devices']} devices, {report['servers']} servers, median of {report['rounds']} rounds: the ledger "
        f"takes [bold]{report['ledger_share']:.1%}[/] of a round with all replicas, and [bold]"
        f"{report['ledger_ms_per_replica']:.1f} ms[/] per replica on its own; peak memory "
        f"{report['peak_memory_mb']:.0f} MB"
    )
    price = Table("who verifies", "s per round", "ledger", "ms per replica", box=None, header_style="bold")
    for reading, cost in report["verification"].items():
        price.add_row(
            reading, f"{cost['round_s']:.4f}", f"{cost['ledger_share']:.1%}", f"{cost['ledger_ms_per_replica']:.1f}"
        )
    out().print(price)
    out().print(_contract_table(report["contracts"]))
    for name, seconds in report.get("comparisons", {}).items():
        result = f"{seconds:.3f} s per round" if isinstance(seconds, float) else seconds
        out().print(f"the same learning without any ledger, {name}: {result}", markup=False, soft_wrap=True)


def _contract_table(report: dict[str, Any]) -> Table:
    """Every contract beside NumPy's mean, which is neither metered nor the same on every machine."""
    of = f"{report['updates']} updates of {report['parameters']:,} words"
    table = Table(of, "ms", "GB/s", "fuel", "of the limit", box=None, header_style="bold")
    for name, one in report["contracts"].items():
        share = f"{one['fuel'] / report['fuel_limit']:.1%}"
        table.add_row(name, f"{1e3 * one['seconds']:.2f}", f"{one['gb_per_s']:.2f}", f"{one['fuel']:,}", share)
    numpy = report["numpy_mean"]
    table.add_row("a mean by NumPy", f"{1e3 * numpy['seconds']:.2f}", f"{numpy['gb_per_s']:.2f}", "", "")
    return table
