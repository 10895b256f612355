"""How commands speak: results on standard output, progress and errors on standard error."""

from __future__ import annotations

import json
import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from bees.core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Generator

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]
Threads = Annotated[
    int | None,
    typer.Option(min=1, help="Use at most this many cores for training. Results do not depend on it."),
]
ChangesOfEveryRun = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change one knob of every run.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar.")]

EXIT_CODES = "Exit codes: 0 done; 1 a check failed, or the run could not go on; 2 bad input; 130 interrupted by Ctrl-C."


def out() -> Console:
    """The console of standard output."""
    # Tables that are read from a file or a log need no narrow window.
    return _Pipe(highlight=False, width=None if sys.stdout.isatty() else 140)


def err() -> Console:
    """The console of standard error."""
    return Console(stderr=True, highlight=False)


class _Pipe(Console):
    """A console that leaves it to the command line what a closed pipe means."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def print_json(document: object) -> None:
    """Print a JSON document on standard output."""
    sys.stdout.write(json.dumps(document, indent=2, allow_nan=False) + "\n")


def plain(text: str) -> None:
    """Print a line as it is: no markup, no wrapping."""
    sys.stdout.write(text + "\n")


@contextmanager
def progress(quiet: bool = False) -> Generator[Progress]:
    """A progress bar with the time left, on standard error."""
    columns: list[Any] = [
        TextColumn("[bold]{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}", markup=False),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    ]
    with Progress(*columns, console=err(), disable=quiet or not sys.stderr.isatty()) as bar:
        yield bar


def limit_threads(threads: int | None) -> None:
    """Confine this process, and so JAX, to ``threads`` cores. Must come before JAX is loaded.

    Raises:
        InputError: this system cannot confine a process to cores.
    """
    if threads is None:
        return
    if not hasattr(os, "sched_setaffinity"):
        raise InputError("--threads", "this system cannot confine a process to cores; leave it out")
    allowed = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, allowed[:threads])
