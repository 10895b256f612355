"""``bees verify``: replay a chain from its genesis and see that nobody cheated."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from bees.cli.console import AsJson, err, out, print_json
from bees.core.errors import InputError
from bees.core.hashes import HASH_BYTES


def verify(
    run: Annotated[Path, typer.Argument(help="A run's folder, or a chain file.")],
    genesis: Annotated[
        str | None, typer.Option(help="The chain id that you trust, in hexadecimal; else the file's own is taken.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Replay the chain file alone: signatures, rounds, Proof of Learning, contract, hashes.

    Nothing that the file says of itself is believed; everything is computed again from the genesis. The first
    bad block is named, with the reason. Exit code 1 if there is one.

    A chain that was cut after some block is still a chain. Compare the height and the chain id that are printed
    with what you expect.
    """
    from bees.engines.audit import verify_chain
    from bees.run_folder import chain_of

    verdict = verify_chain(chain_of(run), expected_genesis=None if genesis is None else _hash(genesis))
    if as_json:
        print_json(asdict(verdict))
    elif verdict.valid:
        if verdict.warning:
            err().print(verdict.warning, style="yellow", markup=False, soft_wrap=True)
        out().print(f"[green]valid[/]: {verdict.blocks} blocks, {verdict.round} rounds")
        out().print(f"chain {verdict.chain_id}\nmodel {verdict.model}")
        changes = f", changed {verdict.deploys} times by more than 2N/3 servers" if verdict.deploys else ""
        out().print(f"contract {verdict.contract}{changes}", soft_wrap=True)
        if verdict.amendments:
            told = f"members amended {verdict.amendments} times by more than 2N/3 servers; now servers"
            out().print(f"{told} {_ranges(verdict.servers)} and devices {_ranges(verdict.devices)}", soft_wrap=True)
    else:
        where = "the file" if verdict.first_bad is None else f"block {verdict.first_bad}"
        out().print("[red]not valid[/]: ", end="")
        out().print(f"{where}: {verdict.reason}", markup=False, soft_wrap=True)
    if not verdict.valid:
        raise typer.Exit(1)


def _ranges(indices: tuple[int, ...]) -> str:
    """Ascending indices in short: 0-2, 4."""
    parts: list[list[int]] = []
    for index in indices:
        if parts and parts[-1][-1] == index - 1:
            parts[-1].append(index)
        else:
            parts.append([index])
    return ", ".join(str(part[0]) if len(part) == 1 else f"{part[0]}-{part[-1]}" for part in parts)


def _hash(text: str) -> bytes:
    try:
        value = bytes.fromhex(text)
    except ValueError:
        value = b""
    if len(value) != HASH_BYTES:
        raise InputError("--genesis", f"{text!r} is no chain id; it has {2 * HASH_BYTES} hexadecimal digits")
    return value
