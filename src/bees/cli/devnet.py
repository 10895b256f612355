"""``bees devnet``: a whole network on this machine, with real keys, real data and CometBFT."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bees.cli.console import AsJson, out, plain, print_json
from bees.cli.node import needs_extra

if TYPE_CHECKING:
    from bees.core.fixed_point import Words
    from bees.deployment.devnet import Laid
    from bees.deployment.processes import Network, Started

devnet = typer.Typer(name="devnet", help="A whole network on this machine.", no_args_is_help=True)

Folder = Annotated[Path, typer.Option("--dir", help="Folder of the network.")]
DEFAULT = Path("devnet")


@devnet.command()
def up(
    servers: Annotated[int, typer.Option("-n", "--servers", min=1, max=100, help="Edge servers.")] = 4,
    devices: Annotated[int, typer.Option("-k", "--devices", min=1, max=10_000, help="Devices.")] = 12,
    folder: Folder = DEFAULT,
    rounds: Annotated[
        int | None, typer.Option(min=1, help="End after so many rounds; else go on until Ctrl-C.")
    ] = None,
    scenario: Annotated[str, typer.Option(help="A preset or file: data, split, model, contract.")] = "paper",
    override: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change one knob.")] = None,
    port: Annotated[int, typer.Option(min=1024, max=65000, help="The first of 5 ports per server.")] = 7600,
    block_time: Annotated[float, typer.Option(min=0.05, max=60, help="Seconds between blocks.")] = 0.5,
    device_processes: Annotated[
        int, typer.Option(min=1, help="Processes that share the devices; each takes about 300 MB.")
    ] = 1,
    own_devices: Annotated[
        int, typer.Option(min=0, help="Leave the last so many devices to programs of your own (examples/).")
    ] = 0,
    offload: Annotated[
        int, typer.Option(min=0, help="The first so many devices hand their data to their server, which trains.")
    ] = 0,
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Return when the first block is there.")] = False,
    cometbft: Annotated[str | None, typer.Option(help="The executable; else BEES_COMETBFT, else on the PATH.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make keys, genesis and data, start servers with their CometBFT and devices, and tell blocks as they come.

    Example: bees devnet up -n 4 -k 12 --rounds 10

    Then: bees verify devnet/node0/data/chain.db
    """
    needs_extra()
    from bees.core.errors import InputError
    from bees.deployment.devnet import Plan, lay
    from bees.node.comet_process import find_comet

    if own_devices > devices:
        raise InputError("--own-devices", f"{own_devices} of {devices} devices cannot be your own")
    if offload > devices - own_devices:
        raise InputError("--offload", f"{offload} of {devices - own_devices} devices cannot offload")
    executable = str(find_comet(cometbft).absolute())
    plan = Plan(folder, servers, devices, scenario, tuple(override or ()), port, block_time, executable, offload > 0)
    laid = lay(plan)
    if not as_json:
        _tell_plan(laid)
    network = _start(laid, laid.device_folders[: devices - own_devices], device_processes, offload)
    ends = True
    try:
        report = _follow(laid, network, 0 if detach else rounds, quiet=as_json)
        ends = not detach
    finally:
        if ends:
            _end(network, quiet=as_json)
    if as_json:
        print_json({"folder": str(folder), "chain_id": network.chain_id, "urls": list(network.urls), "rounds": report})
    elif detach:
        plain(f"It goes on; look with: bees devnet status --dir {folder}; end with: bees devnet down --dir {folder}")
    else:
        plain(f"Check it with: bees verify {folder / 'node0' / 'data' / 'chain.db'}")


@devnet.command()
def down(folder: Folder = DEFAULT, as_json: AsJson = False) -> None:
    """End a network's processes; its folder stays.

    Example: bees devnet down
    """
    from bees.deployment.processes import load

    network = load(folder)
    ended = [process.name for process in network.processes if process.is_alive]
    _end(network, quiet=as_json)
    if as_json:
        print_json({"ended": ended})


@devnet.command()
def status(folder: Folder = DEFAULT, as_json: AsJson = False) -> None:
    """Show what each node says: height, round, phase, and the app hash.

    Example: bees devnet status
    """
    needs_extra()
    import asyncio

    from bees.deployment.processes import load
    from bees.deployment.watch import look

    network = load(folder)
    seen = asyncio.run(look(network.urls))
    if as_json:
        rows = [{"url": s.url, "problem": s.problem, **(s.told or {})} for s in seen]
        alive = {process.name: process.is_alive for process in network.processes}
        print_json({"chain_id": network.chain_id, "processes": alive, "nodes": rows})
        return
    plain(f"chain {network.chain_id}")
    for process in network.processes:
        plain(f"{process.name}: {'running' if process.is_alive else 'ended'}, process {process.pid}, {process.log}")
    for s in seen:
        plain(f"{s.url}: {_line(s.told) if s.told else s.problem}")


@devnet.command()
def logs(
    name: Annotated[str | None, typer.Argument(help="Such as node0 or devices0; default: all.")] = None,
    folder: Folder = DEFAULT,
    lines: Annotated[int, typer.Option(min=1, help="How many of the last lines of each.")] = 20,
) -> None:
    """Show the end of the processes' logs.

    Example: bees devnet logs node0 --lines 50
    """
    from bees.core.errors import InputError, did_you_mean
    from bees.deployment.processes import load

    processes = {process.name: process for process in load(folder).processes}
    if name is not None and name not in processes:
        raise InputError(name, f"no such process; {did_you_mean(name, tuple(processes))}")
    for process in processes.values():
        if name in {None, process.name}:
            plain(f"== {process.name} ({process.log})")
            text = Path(process.log).read_text(errors="replace")
            plain("\n".join(text.splitlines()[-lines:]))


def _tell_plan(laid: Laid) -> None:
    genesis = laid.signed.genesis
    plain(f"chain {genesis.chain_id.hex()}")
    plain(f"{len(genesis.servers)} servers, {len(genesis.devices)} devices, {genesis.model.name}")
    for k, (url, record) in enumerate(zip(laid.urls, genesis.servers, strict=True)):
        plain(f"node{k} {url} key {record.public_key.hex()}")
    plain(f"device 0 key {genesis.devices[0].public_key.hex()}; all keys are in {laid.folder}/device*/device.key")


def _start(laid: Laid, device_folders: tuple[Path, ...], device_processes: int, offload: int) -> Network:
    from bees.deployment.processes import Network, save, start

    network = Network(laid.signed.genesis.chain_id.hex(), laid.urls, ())
    started: list[Started] = []

    def add(name: str, arguments: list[str], log: Path) -> None:
        nonlocal network
        started.append(start(name, arguments, log))
        # Written each time, so that a stop in the middle leaves nothing that `down` does not find.
        network = Network(network.chain_id, network.urls, tuple(started))
        save(laid.folder, network)

    for k, folder in enumerate(laid.nodes):
        add(f"node{k}", ["node", "--config", str(folder / "node.toml")], folder / "node.log")
    at_home = device_folders[offload:]
    for number in range(min(device_processes, len(at_home))):
        arguments = _device_arguments(laid, at_home[number::device_processes])
        add(f"devices{number}", arguments, laid.folder / f"devices{number}.log")
    if offload:
        arguments = [*_device_arguments(laid, device_folders[:offload]), "--offload"]
        add("devices-offloading", arguments, laid.folder / "devices-offloading.log")
    return network


def _device_arguments(laid: Laid, folders: tuple[Path, ...]) -> list[str]:
    from bees.deployment.devnet import GENESIS

    learning = laid.scenario.learning
    arguments = ["device", "--genesis", str(laid.folder / GENESIS), "--seed", str(laid.scenario.seed)]
    arguments += ["--epochs", str(learning.epochs), "--batch-size", str(learning.batch_size)]
    arguments += ["--learning-rate", str(learning.learning_rate)]
    for folder in folders:
        arguments += ["--key", str(folder / "device.key"), "--data", str(folder / "data.npz")]
    for url in laid.urls:
        arguments += ["--node", url]
    return arguments


def _follow(laid: Laid, network: Network, rounds: int | None, *, quiet: bool) -> list[dict[str, Any]]:
    import asyncio
    import time

    from bees.core.errors import NetworkError
    from bees.deployment.watch import follow
    from bees.node.config import ScoringSection
    from bees.node.scoring import Scorer

    score = Scorer(laid.signed.genesis, ScoringSection(laid.scenario.learning.dataset))
    report: list[dict[str, Any]] = []
    since = time.monotonic()

    def on_block(told: dict[str, Any]) -> None:
        if not quiet:
            plain(f"block {_line(told)}")

    def on_round(closed: int, words: Words, told: dict[str, Any]) -> None:
        seconds = time.monotonic() - since
        row = {"round": closed, "accuracy": score.accuracy(words), "height": told["height"], "seconds": seconds}
        report.append(row)
        if not quiet:
            out().print(f"round {closed} closed: accuracy [bold]{row['accuracy']:.4f}[/] after {seconds:.1f} s")

    def check() -> None:
        for process in network.processes:
            if not process.is_alive:
                last = Path(process.log).read_text(errors="replace").splitlines()[-1:]
                raise NetworkError(process.name, f"has ended; {process.log} ends with: {''.join(last)[:400]}")

    asyncio.run(follow(network.urls, laid.signed.genesis, rounds, on_block, on_round, check))
    return report


def _end(network: Network, *, quiet: bool) -> None:
    from bees.deployment.processes import stop_all

    # Devices first: they would only complain of nodes that are gone.
    devices = [process for process in network.processes if process.name.startswith("devices")]
    nodes = [process for process in network.processes if process not in devices]
    stubborn = [*stop_all(devices), *stop_all(nodes)]
    if not quiet:
        plain("all processes have ended" + (f"; by force: {', '.join(stubborn)}" if stubborn else ""))


def _line(told: dict[str, Any]) -> str:
    here = f"{told['height']}: round {told['round']}, {told['phase']}, app hash {told['app_hash'][:16]}"
    return f"{here}, {len(told['updates'])} updates, {len(told['attestations'])} attestations"
