"""The ``bees`` command and how it fails: one clear line, and an exit code that scripts can rely on."""

from __future__ import annotations

import os
import signal
import sys
import threading
from importlib.metadata import version
from typing import Annotated

import typer

from bees.cli.amend import amend
from bees.cli.attack import attack
from bees.cli.bench import bench
from bees.cli.chain import chain
from bees.cli.check import check
from bees.cli.console import EXIT_CODES, err, plain, print_json
from bees.cli.contract import contract
from bees.cli.device import device
from bees.cli.devnet import devnet
from bees.cli.doctor import doctor
from bees.cli.faults import faults
from bees.cli.genesis import genesis
from bees.cli.keys import keys
from bees.cli.node import node
from bees.cli.presets import presets
from bees.cli.prove import prove
from bees.cli.report import report
from bees.cli.reproduce import reproduce
from bees.cli.run import run
from bees.cli.study import study
from bees.cli.submit import submit
from bees.cli.verify import verify
from bees.core.errors import BeesError

INTERRUPTED = 130

app = typer.Typer(
    name="bees",
    help="Federated learning on a shared ledger at the wireless edge.\n\nStart with: bees run quick",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(run)
app.command()(reproduce)
app.add_typer(study)
app.command()(attack)
app.command()(verify)
app.command()(chain)
app.command()(prove)
app.command()(check)
app.command()(faults)
app.add_typer(contract)
app.command()(report)
app.command()(bench)
app.command()(presets)
app.add_typer(devnet)
app.command()(node)
app.command()(device)
app.add_typer(keys)
app.add_typer(genesis)
app.add_typer(amend)
app.command()(submit)
app.command()(doctor)


def _print_version(wanted: bool) -> None:
    if wanted:
        plain(f"bees {version('bees-edge')}")
        raise typer.Exit


@app.callback()
def _root(  # pyright: ignore[reportUnusedFunction]  # typer calls it
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line and exit."""
    if sys.stdout is None:  # pyright: ignore[reportUnnecessaryComparison]  # it is, where a shell has closed it
        sys.exit(2)
    sys.exit(run_command(sys.argv[1:]))


def run_command(arguments: list[str]) -> int:
    """Run one command and return its exit code; errors are printed as one line, never as a traceback."""
    if threading.current_thread() is threading.main_thread():
        # Whoever stops a service sends SIGTERM; a run then ends as by Ctrl-C, and says so in its status.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        code = app(arguments, standalone_mode=False)
        sys.stdout.flush()
    except (BeesError, typer.TyperException, typer.Abort, KeyboardInterrupt, OSError, SystemExit) as error:
        return _fail(error, as_json="--json" in arguments)
    if code == INTERRUPTED:
        return _fail(KeyboardInterrupt(), as_json="--json" in arguments)
    return code if isinstance(code, int) else 0


def _fail(error: BaseException, *, as_json: bool) -> int:
    match error:
        case BeesError():
            report, code = error.as_dict(), error.exit_code
        case typer.TyperException():
            report, code = {"error": "UsageError", "message": f"{error.format_message()} (try --help)"}, 2
        case BrokenPipeError() | SystemExit():
            # Whoever read our output has gone; silence is what a shell expects, also when Python closes the stream.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        case OSError():
            report, code = {"error": "OSError", "message": _told(error)}, 2
        case _:
            report, code = {"error": "Interrupted", "message": "interrupted"}, INTERRUPTED
    if not (as_json and _printed(report)):
        err().print(f"bees: {report['message']}", style="red", markup=False, soft_wrap=True)
    return code


def _told(error: OSError) -> str:
    from bees.engines.disk import explain

    return f"{error.filename or 'output'}: {explain(error)}"


def _printed(report: object) -> bool:
    """Whether standard output has taken the report; a full disk does not."""
    try:
        print_json(report)
        sys.stdout.flush()
    except OSError:
        # What Python could not write, it would try to write again at its end, and complain of it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return False
    return True
