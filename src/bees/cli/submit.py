"""``bees submit``: hand a signed transaction to a running network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bees.cli.console import AsJson, plain, print_json
from bees.cli.node import needs_extra
from bees.core.errors import InputError

if TYPE_CHECKING:
    from bees.ledger.transactions import Signed

_LARGEST_BYTES = 64 * 2**20


def submit(
    file: Annotated[Path, typer.Argument(help="The transaction, from bees contract deploy or bees amend sign.")],
    rpc: Annotated[
        str | None, typer.Option(help="Where a server's CometBFT answers, such as http://127.0.0.1:26657.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="Or a node.toml that says where.")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Until it is in a block.")] = False,
    timeout_s: Annotated[float, typer.Option("--timeout", min=1, max=86400, help="Seconds to wait at most.")] = 60.0,
    as_json: AsJson = False,
) -> None:
    """Hand in a signed transaction, such as a Deploy or an Amend. Exit code 1 where the network refuses it.

    What the servers have agreed on is in force from the next round on.

    Example: bees submit amend.transaction --config /var/lib/bees/node.toml --wait
    """
    needs_extra()
    import asyncio

    from bees.node.submitting import hand_in

    signed, url = _read(file), _address(rpc, config)
    height = asyncio.run(hand_in(url, signed.encoding, timeout_s if wait else None))
    kind = type(signed.body).__name__
    if as_json:
        print_json({"transaction": signed.hash.hex(), "type": kind, "rpc": url, "height": height})
    else:
        where = "handed in; --wait tells the block" if height is None else f"in block {height}"
        plain(f"{kind} {signed.hash.hex()}: {where}")


def _read(file: Path) -> Signed:
    from bees.chain_source import read_bounded
    from bees.core.canonical import decode
    from bees.core.errors import CodecError
    from bees.ledger.transactions import Signed

    try:
        return decode(read_bounded(file, _LARGEST_BYTES), Signed)
    except CodecError as error:
        raise InputError(str(file), f"is no signed transaction: {error}") from error


def _address(rpc: str | None, config: Path | None) -> str:
    from bees.node.config import load_config

    if (rpc is None) is (config is None):
        raise InputError("--rpc", "say where to hand it in: --rpc URL, or --config node.toml")
    if config is not None:
        return load_config(config).comet.rpc
    url = (rpc or "").rstrip("/")
    if not url.startswith(("http://", "https://")):
        raise InputError("--rpc", f"{url[:80]!r} is no URL, such as http://127.0.0.1:26657")
    return url
