"""``bees prove``: write the proof of w_g(t), and the genesis by which a device checks it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bees.cli.console import AsJson, plain, print_json
from bees.core.errors import InputError

if TYPE_CHECKING:
    from bees.ledger.proofs import ModelProof


def prove(
    run: Annotated[Path, typer.Argument(help="A run's folder, or a chain file.")],
    height: Annotated[
        int | None, typer.Option(min=1, help="Prove the round that is the last closed one at this height.")
    ] = None,
    round_: Annotated[int | None, typer.Option("--round", min=1, help="Prove this round.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write the proof here.")] = None,
    genesis_out: Annotated[Path | None, typer.Option(help="Write the signed genesis here.")] = None,
    committee_out: Annotated[
        Path | None, typer.Option(help="Write the proofs of the servers here, by which the proof is checked.")
    ] = None,
    model_out: Annotated[Path | None, typer.Option(help="Write w_g(t) here, as raw little-endian int32 words.")] = None,
    as_json: AsJson = False,
) -> None:
    """Prove how a round ended: which w_g(t) it is, and which devices' updates were selected.

    The chain is replayed up to the height, by default the last one.

    A device needs the genesis once, and then one proof per round:

        bees prove RUN --round 3 --out w3.proof --genesis-out bees.genesis

        bees check w3.proof --genesis bees.genesis --device 5

    Where the servers have replaced a key or removed one of them, those that counted before its block have signed a
    proof: --committee-out leads to them from the genesis.
    """
    from bees.core.canonical import encode
    from bees.engines.prove import prove_from_file, read_signed_genesis
    from bees.run_folder import chain_of

    _check_options(height, round_, (out, genesis_out, committee_out, model_out))
    path = chain_of(run)
    report: dict[str, Any] = {}
    files: list[tuple[str, Path, bytes]] = []
    if out is not None or committee_out is not None or model_out is not None:
        proved = prove_from_file(path, height=height, round_=round_)
        report |= {**_describe(proved.proof), "committee_changes": len(proved.committees)}
        if out is not None:
            files.append(("proof", out, encode(proved.proof)))
        if committee_out is not None:
            files.append(("committee", committee_out, encode(proved.committees)))
        if model_out is not None:
            files.append(("model", model_out, _words(run, proved.words)))
    if genesis_out is not None:
        signed = read_signed_genesis(path)
        report["chain_id"] = signed.genesis.chain_id.hex()
        files.append(("genesis", genesis_out, encode(signed)))
    for what, target, data in files:
        report |= _write(what, target, data)
    print_json(report) if as_json else _print(report)


def _check_options(height: int | None, round_: int | None, outputs: tuple[Path | None, ...]) -> None:
    if height is not None and round_ is not None:
        raise InputError("--round", "is an alternative to --height; give one of them")
    if not any(outputs):
        raise InputError(
            "--out", "is missing; say where to write the proof (or use --genesis-out, --committee-out or --model-out)"
        )
    named = [path.resolve() for path in outputs if path]
    if len(set(named)) < len(named):
        raise InputError("--out", "each file needs a name of its own")


def _write(what: str, path: Path, data: bytes) -> dict[str, Any]:
    from bees.run_folder import new_file

    with new_file(path) as file:
        file.write(data)
    return {f"{what}_file": str(path), f"{what}_bytes": len(data)}


def _describe(proof: ModelProof) -> dict[str, Any]:
    outcome = proof.outcome
    return {
        "chain_id": proof.header.chain_id.hex(),
        "height": proof.header.height,
        "round": outcome.round,
        "model": outcome.model.hex(),
        "selected": list(outcome.selected),
        "main_node": outcome.main_node,
        "skipped": outcome.is_skipped,
    }


def _words(run: Path, words: bytes | None) -> bytes:
    if words is None:
        raise InputError(str(run), "its replay does not yield the words of w_g(t), only their hash")
    return words


def _print(report: dict[str, Any]) -> None:
    if "round" in report:
        chosen = ", ".join(map(str, report["selected"])) or "none"
        plain(f"round {report['round']}, proved at height {report['height']}{', skipped' * report['skipped']}")
        plain(f"w_g({report['round']}) {report['model']}")
        plain(f"selected devices: {chosen}")
        if report["committee_changes"]:
            told = f"the servers were amended {report['committee_changes']} times before"
            plain(f"{told}; whoever checks it needs --committee-out as well")
    plain(f"chain {report['chain_id']}")
    for what in ("proof", "genesis", "committee", "model"):
        if f"{what}_file" in report:
            plain(f"{report[f'{what}_file']}: {what}, {report[f'{what}_bytes']:,} bytes")
