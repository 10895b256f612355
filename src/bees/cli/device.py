"""``bees device``: take part with own data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bees.cli.console import AsJson, plain, print_json
from bees.cli.node import needs_extra

if TYPE_CHECKING:
    from bees.device.fleet import Handed


def device(
    node: Annotated[
        list[str],
        typer.Option(help="URL of a node's device API; give several of which others are asked when one fails."),
    ],
    key: Annotated[list[Path], typer.Option(help="The device's key file; several devices may share a process.")],
    data: Annotated[list[Path], typer.Option(help="Folder with the device's data, one for each key.")],
    genesis: Annotated[Path, typer.Option(help="The genesis that you trust.")],
    index: Annotated[
        list[int] | None,
        typer.Option(help="The device's index in the genesis, one for each key, where the servers replaced its key."),
    ] = None,
    rounds: Annotated[int | None, typer.Option(min=1, help="End after so many updates; else go on for ever.")] = None,
    epochs: Annotated[int, typer.Option(min=1, help="Local epochs per round.")] = 1,
    batch_size: Annotated[int, typer.Option(min=1, help="Samples per mini-batch.")] = 10,
    learning_rate: Annotated[float, typer.Option(min=1e-9, help="Of local SGD.")] = 0.01,
    seed: Annotated[int, typer.Option(min=0, help="Of the shuffling of samples.")] = 0,
    model: Annotated[str, typer.Option(help="Your own model, as package.module:name.")] = "",
    authority: Annotated[str | None, typer.Option(help="PEM file of the authority of the nodes' certificates.")] = None,
    offload: Annotated[
        bool, typer.Option("--offload", help="Hand the raw data to your server, once, and have it train in your place.")
    ] = False,
    offload_rounds: Annotated[
        int | None, typer.Option(min=1, help="For so many rounds; else until this ends, when it deletes the data.")
    ] = None,
    offload_to: Annotated[
        int | None, typer.Option(min=0, help="To this server of the genesis; else to the device's nearest.")
    ] = None,
    insecure_offload: Annotated[
        bool, typer.Option("--insecure-offload", help="Let the data go by plain http to another host.")
    ] = False,
    log_json: Annotated[bool, typer.Option("--log-json", help="A JSON document per log line.")] = False,
    as_json: AsJson = False,
) -> None:
    """Train on your own data, round after round. What leaves is the trained model, and raw data only with --offload.

    A folder holds one .npz file with x_train and y_train, or two IDX files (images and labels). What was signed is
    remembered in a journal beside the key, so stop and start again as you like. Exit code 2 if the servers of the chain
    have removed the device, or replaced its key by another.

    Example: bees device --node http://edge1:7600 --key my.key --data my-data --genesis bees.genesis
    """
    needs_extra()
    import threading

    from bees.cli.log import start_log
    from bees.core.errors import InputError
    from bees.device.fleet import Fleet, Member
    from bees.device.offloading import Terms
    from bees.scenario import Learning
    from bees.transport.offloading import TrainingSettings

    if len(key) != len(data):
        raise InputError("--data", f"{len(data)} folders for {len(key)} keys; each --key needs its --data")
    start_log(as_json=log_json)
    learning = Learning(epochs=epochs, batch_size=batch_size, learning_rate=learning_rate, clients_per_chunk=1)
    terms = None
    if offload:
        settings = TrainingSettings(epochs, batch_size, learning_rate, seed)
        terms = Terms(settings, offload_rounds, offload_to, insecure_offload)
    elif offload_rounds is not None or offload_to is not None or insecure_offload:
        raise InputError("--offload", "is missing; the other options about offloading need it")
    if index and len(index) != len(key):
        raise InputError("--index", f"{len(index)} for {len(key)} keys; give none, or one for each --key")
    members = [Member(*one) for one in zip(key, data, index or [None] * len(key), strict=True)]
    fleet = Fleet(
        members,
        node,
        genesis,
        learning,
        seed=seed,
        own_model=model,
        authority=authority,
        offload=terms,
    )
    handed: list[Handed] = []
    lock = threading.Lock()

    def on_update(update: Handed) -> None:
        with lock:
            handed.append(update)
            if not as_json:
                fate = {True: "is on the chain", False: "came too late", None: "is handed in"}[update.accepted]
                plain(f"round {update.round}: the update of device {update.device}{_trained_by(update)} {fate}")

    try:
        fleet.run(rounds, on_update)
    finally:
        fleet.close()
    if as_json:
        print_json([_row(update) for update in handed])


def _trained_by(update: Handed) -> str:
    done = update.delegated
    return (
        "" if done is None else f", trained by server {done.server} on {done.samples} samples in {done.seconds:.1f} s,"
    )


def _row(update: Handed) -> dict[str, object]:
    done = update.delegated
    row: dict[str, object] = {"device": update.device, "round": update.round, "accepted": update.accepted}
    return row if done is None else {**row, "server": done.server, "samples": done.samples, "seconds": done.seconds}
