"""``bees keys``: private keys of servers and devices."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bees.cli.console import AsJson, plain, print_json

keys = typer.Typer(name="keys", help="Make and show the private keys of servers and devices.", no_args_is_help=True)


@keys.command()
def new(
    path: Annotated[Path, typer.Argument(help="Where to write it; must not exist.")],
    as_json: AsJson = False,
) -> None:
    """Make a key, in a file that only you can read, and print its public key.

    Example: bees keys new server.key
    """
    import secrets

    from bees.key_file import SEED_BYTES, write_key_file

    _print(path, write_key_file(path, secrets.token_bytes(SEED_BYTES)).public_key, as_json)


@keys.command()
def show(path: Annotated[Path, typer.Argument(help="A key file.")], as_json: AsJson = False) -> None:
    """Print the public key that belongs to a private one. Others need it for the genesis.

    Example: bees keys show server.key
    """
    from bees.key_file import read_key_file

    _print(path, read_key_file(path).public_key, as_json)


def _print(path: Path, public_key: bytes, as_json: bool) -> None:
    print_json({"file": str(path), "public_key": public_key.hex()}) if as_json else plain(public_key.hex())
