"""``bees chain``: what is in a block, in words; or the whole chain in its canonical bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from bees.cli.console import AsJson, out, plain, print_json
from bees.core.errors import InputError


def chain(
    run: Annotated[Path, typer.Argument(help="A run's folder, or a chain file.")],
    height: Annotated[int | None, typer.Argument(min=0, help="Height of a block; 0 is the genesis.")] = None,
    export: Annotated[Path | None, typer.Option(help="Write the canonical bytes of the whole chain here.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the blocks, show one with its transactions, or export the chain.

    Two chain files that hold the same chain export the same bytes.
    """
    from bees.engines.audit import export_chain
    from bees.engines.inspect import describe_block, describe_chain, describe_genesis
    from bees.run_folder import chain_of, new_file

    path = chain_of(run)
    if export is not None:
        with new_file(export) as file:
            blocks = export_chain(path, file)
        print_json({"export": str(export), "blocks": blocks}) if as_json else plain(f"{export}: {blocks} blocks")
        return
    if height is None:
        listed = describe_chain(path)
        print_json(listed) if as_json else _print_blocks(listed)
        return
    document = describe_genesis(path) if height == 0 else describe_block(path, height)
    if document is None:
        raise InputError(str(run), f"has no block {height}; list them with: bees chain {run}")
    print_json(document) if as_json else out().print_json(data=document)


def _print_blocks(blocks: list[dict[str, Any]]) -> None:
    table = Table("height", "transactions", "signatures", "block id", "app hash", box=None, header_style="bold")
    for block in blocks:
        kinds = ", ".join(f"{count} {kind}" for kind, count in block["transactions"].items()) or "none"
        agreed = [*block["deploys"][-1:], *block["amendments"]]
        if agreed:
            kinds += f" (from the next round on: {', '.join(agreed)})"
        table.add_row(
            str(block["height"]), kinds, str(block["signatures"]), block["block_id"][:16], block["app_hash"][:16]
        )
    out().print(table)
