"""``bees keys``: private keys of servers and devices."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bees.cli.console import AsJson, plain, print_json
from bees.cli.node import needs_extra

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
def server(
    folder: Annotated[Path, typer.Argument(help="The server's folder, to make.")],
    host: Annotated[str, typer.Option(help="Name or address by which the other servers reach this host.")],
    comet_port: Annotated[int, typer.Option(min=1, max=65535, help="Of CometBFT, for the other CometBFTs.")] = 26656,
    peer_port: Annotated[int, typer.Option(min=1, max=65535, help="Of the node, for the other nodes.")] = 7601,
    plain_http: Annotated[
        bool, typer.Option("--http", help="No TLS between the nodes: only in a network of your own.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make the folder of a server with all its private keys, and the card that the other servers need.

    Hand server.toml to whoever drafts the genesis: it holds public keys and addresses, nothing that is secret.

    Example: bees keys server /var/lib/bees --host edge0.example.org
    """
    needs_extra()
    from bees.deployment.host import CARD, card_of, new_host

    shown = f"[{host}]" if ":" in host else host
    url = f"{'http' if plain_http else 'https'}://{shown}:{peer_port}"
    card = card_of(new_host(folder, f"{shown}:{comet_port}", url))
    if as_json:
        print_json({"folder": str(folder), **card})
    else:
        plain(f"{folder}: private keys, which stay here, and {folder / CARD}, which all may see:")
        plain((folder / CARD).read_text().rstrip())


@keys.command()
def validator(
    path: Annotated[Path, typer.Argument(help="Where to write it; must not exist.")],
    as_json: AsJson = False,
) -> None:
    """Make the next key with which a server's CometBFT votes, and print its public half.

    The servers agree on it by bees amend, together with the server's own next key; comet.next_validator in node.toml
    names the file, and the node puts it in place when the chain has changed to it.

    Example: bees keys validator priv_validator_key.next.json
    """
    needs_extra()
    import secrets

    from bees.key_file import SEED_BYTES
    from bees.node.validator_key import write_validator_key

    _print(path, write_validator_key(path, secrets.token_bytes(SEED_BYTES)).public_key, as_json)


@keys.command()
def show(path: Annotated[Path, typer.Argument(help="A key file.")], as_json: AsJson = False) -> None:
    """Print the public key that belongs to a private one, of BEES or (.json) of CometBFT. It is no secret.

    Example: bees keys show server.key > server.pub
    """
    from bees.key_file import read_key_file

    if path.suffix == ".json":
        needs_extra()
        from bees.node.comet import read_key

        _print(path, read_key(path).public_key, as_json)
    else:
        _print(path, read_key_file(path).public_key, as_json)


def _print(path: Path, public_key: bytes, as_json: bool) -> None:
    print_json({"file": str(path), "public_key": public_key.hex()}) if as_json else plain(public_key.hex())
