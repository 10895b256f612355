"""``bees report``: draw the figures and the report of a run again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bees.cli.console import AsJson, plain, print_json


def report(
    run: Annotated[Path, typer.Argument(help="A run's folder, or a reproduction's.")],
    as_json: AsJson = False,
) -> None:
    """Write figures/ and report.html from what the folder holds. The report opens offline."""
    from bees.report.folder import write_report

    path = write_report(run)
    print_json({"report": str(path)}) if as_json else plain(str(path))
