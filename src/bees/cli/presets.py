"""``bees presets``: which presets there are, and what every knob means."""

from __future__ import annotations

from typing import Annotated

import msgspec
import typer
from rich.table import Table

from bees.cli.console import AsJson, out, plain, print_json


def presets(
    name: Annotated[str | None, typer.Argument(help="Print this preset, or this file, with every knob.")] = None,
    knobs: Annotated[bool, typer.Option("--knobs", help="List every knob: what it means, its default.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the presets, print one as TOML to start an own scenario from, or list the knobs.

    Example: bees presets paper > mine.toml; edit mine.toml; bees run mine.toml
    """
    from bees.scenario_file import describe_knobs, dump_scenario, load_scenario, preset_names

    if name is not None and as_json:
        print_json(msgspec.to_builtins(load_scenario(name)))
    elif name is not None:
        plain(dump_scenario(load_scenario(name)).rstrip())
    elif as_json:
        print_json({"presets": list(preset_names()), "knobs": [knob.as_dict() for knob in describe_knobs()]})
    elif knobs:
        table = Table("knob", "type", "default", "meaning", box=None, header_style="bold")
        for knob in describe_knobs():
            table.add_row(knob.key, knob.kind, str(knob.default), knob.meaning)
        out().print(table)
    else:
        plain("\n".join(preset_names()))
