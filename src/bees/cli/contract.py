"""``bees contract``: write a rule of one's own, build it, try it, and have the servers change to it."""

from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from bees.cli.console import AsJson, err, out, plain, print_json
from bees.cli.contract_deploy import approve, deploy, load_code, propose
from bees.core.errors import CompileError, ContractError, InputError

if TYPE_CHECKING:
    from bees.contract.try_out import Trial

contract = typer.Typer(
    name="contract",
    help="Write a rule of your own, build it, try it, and have the servers of a chain change to it.",
    epilog="Start with: bees contract new rule.c; bees contract build rule.c; bees contract test rule.wasm",
    no_args_is_help=True,
)
contract.command("propose")(propose)
contract.command("approve")(approve)
contract.command("deploy")(deploy)

_DEFINE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=[ -~]*")


@contract.command("new")
def new(file: Annotated[Path, typer.Argument(metavar="FILE.c", help="Where to write it; must not exist.")]) -> None:
    """Write the template of a contract: a small rule that works, with what to change.

    Example: bees contract new rule.c
    """
    from bees.contract.source import read_template
    from bees.run_folder import new_file

    _require_suffix(file, ".c")
    with new_file(file) as written:
        written.write(read_template().encode())
    plain(f"{file}: change it, then: bees contract build {file}")


@contract.command("build")
def build(
    file: Annotated[Path, typer.Argument(metavar="FILE.c", help="The C source.")],
    target: Annotated[Path | None, typer.Option("--out", help="The code; by default FILE.wasm.")] = None,
    define: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="A macro, such as a parameter of the rule.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compile a contract by the pinned compiler and flags, and see that a chain would take it.

    The same source gives the same code on every machine, so others can check what they approve by its hash.

    Example: bees contract build rule.c --define TRIM=2
    """
    from bees.contract.build import check_compiler, compile_contract
    from bees.contract.description import describe_virtual_machine
    from bees.contract.library import hash_code
    from bees.contract.vm import VirtualMachine
    from bees.run_folder import write_bytes

    _require_suffix(file, ".c")
    target = target or file.with_suffix(".wasm")
    _require_suffix(target, ".wasm")
    for one in define or []:
        if not _DEFINE.fullmatch(one):
            raise InputError("--define", f"{one!r} is no NAME=VALUE")
    if not file.is_file():
        raise InputError(str(file), "there is no such file; write one with: bees contract new FILE.c")
    check_compiler()
    try:
        code = compile_contract(file, define or [])
    except CompileError as error:
        if not as_json:
            err().print(error.output, markup=False, soft_wrap=True)
        raise
    VirtualMachine(describe_virtual_machine()).load(code)
    write_bytes(target.parent, target.name, code)
    report = {"code": str(target), "bytes": len(code), "hash": hash_code(code), "defines": define or []}
    print_json(report) if as_json else plain(f"{target}: {len(code)} bytes, {report['hash']}")


@contract.command("test")
def try_contract(
    name: Annotated[str, typer.Argument(metavar="FILE.wasm|NAME", help="A contract's code, or a packaged one.")],
    devices: Annotated[int, typer.Option(min=1, max=100_000, help="K, the updates of a round.")] = 100,
    parameters: Annotated[int, typer.Option(min=1, max=2**28, help="P; the default is the paper's model.")] = 19_885,
    top_m: Annotated[int, typer.Option("--top-m", min=1, max=2**31, help="M, how many are selected.")] = 10,
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Of all inputs.")] = 0,
    fuel: Annotated[
        int, typer.Option(min=1, max=100_000_000_000, help="Limit of one call, as ledger.fuel.")
    ] = 1_000_000_000,
    as_json: AsJson = False,
) -> None:
    """Try a contract on ordinary and hostile rounds, under the rules of a chain.

    Fails (exit code 1) what every chain demands: no trap, no call beyond its fuel, indices that ascend. Tells besides
    what it costs, which rounds it refuses, whether the order of devices matters, and what one wild update does.

    Example: bees contract test rule.wasm --devices 20 --top-m 5
    """
    from bees.contract.description import describe_virtual_machine
    from bees.contract.library import hash_code
    from bees.contract.trial_inputs import TrialSizes
    from bees.contract.try_out import try_out

    code = load_code(name)
    sizes = TrialSizes(devices, parameters, top_m)
    try:
        trial = try_out(code, sizes, describe_virtual_machine(fuel_limit=fuel), seed)
    except ContractError as error:
        raise InputError(name, f"is no contract: {error}") from error
    if as_json:
        print_json(
            {"contract": name, "hash": hash_code(code), **asdict(sizes), "seed": seed, "passed": trial.passed}
            | asdict(trial)
        )
    else:
        _print_trial(name, trial, seed)
    if not trial.passed:
        raise typer.Exit(1)


@contract.command("list")
def list_packaged(as_json: AsJson = False) -> None:
    """List the packaged contracts: name, what it does, size, hash and source.

    Example: bees run quick --set ledger.contract=argmax
    """
    from msgspec.structs import asdict as struct_fields

    from bees.contract.library import load_contract_code, packaged_contracts
    from bees.contract.source import purpose

    listed = packaged_contracts().contracts
    sizes = {known.name: len(load_contract_code(known.name)) for known in listed}
    if as_json:
        rows = (
            {**struct_fields(known), "bytes": sizes[known.name], "purpose": purpose(known.source)} for known in listed
        )
        print_json(list(rows))
        return
    table = Table("name", "bytes", "hash", "what it does", box=None, header_style="bold")
    for known in listed:
        table.add_row(known.name, str(sizes[known.name]), known.hash[:16], Text(purpose(known.source)))
    out().print(table)


def _require_suffix(file: Path, suffix: str) -> None:
    if file.suffix != suffix:
        raise InputError(str(file), f"the name must end in {suffix}")


def _print_trial(name: str, trial: Trial, seed: int) -> None:
    table = Table("round", "selected", "fuel of select", "fuel of aggregate", "", box=None, header_style="bold")
    for one in trial.rounds:
        told = f"{one.failure}: {one.problem}" if one.failure else "refused" if one.refused else "ok"
        table.add_row(one.name, str(one.selected), f"{one.select_fuel:,}", f"{one.aggregate_fuel:,}", Text(told))
    out().print(table)
    share = trial.most_fuel / trial.fuel_limit
    plain(f"at most {trial.most_fuel:,} of {trial.fuel_limit:,} units of fuel ({share:.1%})")
    plain(f"{trial.memory_bytes / 1e6:.1f} MB of memory, {trial.seconds * 1e3:.2f} ms, {trial.gb_per_s:.2f} GB/s")
    ties = _yes(trial.order_matters_at_ties)
    plain(f"the order of devices matters: {_yes(trial.order_matters)}; at equal scores: {ties}")
    _print_attackers(trial)
    for one in trial.refusals:
        plain(f"refused, so that the round is skipped: {one.name} (seed {seed})")
    for one in trial.failures:
        plain(f"failed: {one.name} (seed {seed}): {one.failure}: {one.problem}")
    if not trial.complete:
        plain("the rest was not tried: each call might burn as much")
    verdict = "[green]passed[/]" if trial.passed else "[red]failed[/]"
    out().print(f"{verdict}: ", end="")
    out().print(f"{name}, what every chain demands of a contract", markup=False)


def _print_attackers(trial: Trial) -> None:
    if trial.honest_share_outside is not None:
        plain(f"outside of the range of honest updates, with no attacker: {trial.honest_share_outside:.1%} of w_g")
    for one in trial.attackers:
        chosen = "selected" if one.selected else "not selected"
        plain(f"  with one that sends {one.sends}, {chosen}: {one.share_outside:.1%}")


def _yes(holds: bool | None) -> str:
    return "no result" if holds is None else "yes" if holds else "no"
