"""``bees node``: run one edge server."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bees.cli.console import err

if TYPE_CHECKING:
    from bees.node.ledger_node import LedgerNode


def node(
    config: Annotated[Path, typer.Option(help="The node's file; docs/deployment.md tells every key.")] = Path(
        "node.toml"
    ),
    log_json: Annotated[bool, typer.Option("--log-json", help="A JSON document per log line.")] = False,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error; else as the file says.")] = None,
) -> None:
    """Run an edge server: its ledger, its duties, and the API that devices talk to.

    It needs a CometBFT beside it, which `bees devnet` starts by itself. SIGTERM or Ctrl-C ends it, exit code 0. Exit
    code 1: its state differs from the chain's, so it must not go on.

    Example: bees node --config node.toml
    """
    needs_extra()
    import asyncio

    from bees.cli.log import start_log
    from bees.core.errors import InputError, did_you_mean
    from bees.node.config import load_config

    levels = ("debug", "info", "warning", "error")
    loaded = load_config(config)
    level = log_level or loaded.log.level
    if level not in levels:
        raise InputError("--log-level", f"{level!r} is no level; {did_you_mean(level, levels)}")
    start_log(as_json=log_json or loaded.log.json, level=level)
    from bees.node.service import serve

    asyncio.run(serve(loaded, _announce))


def needs_extra() -> None:
    """Refuse to go on without the libraries of the extra ``node``.

    Raises:
        MissingExtraError: one is not installed.
    """
    from bees.core.errors import MissingExtraError

    modules = ("aiohttp", "google.protobuf", "prometheus_client", "structlog")
    missing = [name for name in modules if _is_missing(name)]
    if missing:
        problem = f"needs {', '.join(missing)}; install it with: pip install 'bees-edge[node]'"
        raise MissingExtraError("the real network", problem)


def _is_missing(name: str) -> bool:
    from importlib.util import find_spec

    try:
        return find_spec(name) is None
    except ModuleNotFoundError:
        return True


def _announce(ledger: LedgerNode, device_port: int, peer_port: int) -> None:
    genesis = ledger.genesis
    console = err()
    console.print(f"server {ledger.server} of chain {genesis.chain_id.hex()}", soft_wrap=True)
    console.print(f"key {ledger.key.public_key.hex()}", soft_wrap=True)
    console.print(f"devices: port {device_port}; servers: port {peer_port}; CometBFT: {ledger.abci_address}")
    console.print(f"height {ledger.height}, round {ledger.state.round}; waiting for CometBFT", soft_wrap=True)
