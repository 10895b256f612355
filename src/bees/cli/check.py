"""``bees check``: what a device does with a proof, in ``bees.light_client`` alone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bees.cli.console import AsJson, err, plain, print_json
from bees.core.errors import InputError, ProofError, WeightRangeError

if TYPE_CHECKING:
    from bees.light_client import ProvedOutcome, TrustedGenesis

HASH_DIGITS = 64
FLOAT32_EXACT = 2**24
"""float32 holds every whole number up to this, and rounds larger words."""
LONGEST_FILE_BYTES = 2**30
"""Longer files are no proof, genesis or model; a device must not be made to read them."""


def check(
    proof: Annotated[Path, typer.Argument(help="A proof that bees prove has written.")],
    genesis: Annotated[Path, typer.Option(help="The signed genesis that you trust.")],
    expect_genesis: Annotated[
        str | None, typer.Option(help="The chain id that the genesis must have, in hexadecimal.")
    ] = None,
    committee: Annotated[
        Path | None, typer.Option(help="Proofs that lead from the genesis' servers to those that have signed.")
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option(help="Also check that this is w_g(t): a .safetensors file, or raw little-endian int32 words."),
    ] = None,
    device: Annotated[
        int | None, typer.Option(min=0, help="Tell whether the update of this device was selected.")
    ] = None,
    round_: Annotated[int | None, typer.Option("--round", min=1, help="Refuse a proof of another round.")] = None,
    as_json: AsJson = False,
) -> None:
    """Check a proof as a device does: chain id, commit quorum, Merkle path. Nothing else is trusted or needed.

    An old proof stays true: give --round if you want a certain one. Exit code 1 if anything is refused.

    Where the servers were amended, give --committee, written by the same bees prove or answered by a node.

        bees check w3.proof --genesis bees.genesis --round 3 --device 5
    """
    from bees.light_client import RefusedError, check_genesis, check_proof, follow_committee, read_genesis

    proof_bytes, genesis_bytes = _read(proof), _read(genesis)
    committee_bytes = None if committee is None else _read(committee)
    expected = None if expect_genesis is None else _hash(expect_genesis)
    try:
        trusted = read_genesis(genesis_bytes)
        check_genesis(trusted)
        _check_chain_id(trusted, expected)
        _check_device(trusted, device)
        if committee_bytes is not None:
            trusted = follow_committee(trusted, committee_bytes)
        outcome = check_proof(trusted, proof_bytes)
        _check_round(outcome, round_)
        if model is not None:
            _check_model(outcome, model, genesis_bytes)
    except RefusedError as error:
        raise ProofError(str(error)) from error
    report = _describe(trusted, outcome, len(proof_bytes), model, device)
    print_json(report) if as_json else _print(report, trusts_file=expected is None)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(LONGEST_FILE_BYTES + 1)
    except OSError as error:
        raise InputError(str(path), f"cannot be read: {error.strerror or error}") from error
    if len(data) > LONGEST_FILE_BYTES:
        raise InputError(str(path), f"is longer than {LONGEST_FILE_BYTES} bytes")
    return data


def _hash(text: str) -> bytes:
    try:
        value = bytes.fromhex(text)
    except ValueError:
        value = b""
    if 2 * len(value) != HASH_DIGITS:
        raise InputError("--expect-genesis", f"{text!r} is no chain id; it has {HASH_DIGITS} hexadecimal digits")
    return value


def _check_chain_id(trusted: TrustedGenesis, expected: bytes | None) -> None:
    if expected is not None and trusted.chain_id != expected:
        raise ProofError(f"the genesis is that of chain {trusted.chain_id.hex()[:16]}, not the expected one")


def _check_device(trusted: TrustedGenesis, device: int | None) -> None:
    devices = len(trusted.device_keys)
    if device is not None and device >= devices:
        raise InputError("--device", f"the genesis has no device {device}; it registers {devices}, from 0")


def _check_round(outcome: ProvedOutcome, round_: int | None) -> None:
    if round_ is not None and outcome.round != round_:
        raise ProofError(f"it is of round {outcome.round}, not of round {round_}")


def _check_model(outcome: ProvedOutcome, path: Path, genesis_bytes: bytes) -> None:
    from bees.light_client import RefusedError, check_model

    words, is_rounded = _quantised(path, genesis_bytes) if path.suffix == ".safetensors" else (_read(path), False)
    try:
        check_model(outcome, words)
    except RefusedError as error:
        if is_rounded:
            fix = "check the exact words instead, which bees prove --model-out writes"
            raise InputError(str(path), f"its float32 cannot hold all digits of its large weights: {fix}") from error
        raise ProofError(f"{path}: {error}") from error


def _quantised(path: Path, genesis_bytes: bytes) -> tuple[bytes, bool]:
    """The words that the arrays of a .safetensors file stand for, and whether float32 may have rounded them."""
    import numpy as np
    from safetensors import SafetensorError
    from safetensors.numpy import load

    from bees.core.canonical import decode
    from bees.core.fixed_point import quantise, words_to_bytes
    from bees.ledger.genesis import SignedGenesis

    try:
        arrays: dict[str, Any] = load(_read(path))
    except (SafetensorError, ValueError, KeyError) as error:
        raise InputError(str(path), f"is no .safetensors file: {error}") from error
    description = decode(genesis_bytes, SignedGenesis).genesis.model
    shapes = {array.name: array.shape for array in description.arrays}
    if {name: array.shape for name, array in arrays.items()} != shapes:
        raise ProofError(f"{path}: its arrays are not those of {description.name}")
    if any(array.dtype not in (np.float32, np.float64) for array in arrays.values()):
        raise InputError(str(path), "needs arrays of float32 or float64")
    flat = np.concatenate([arrays[name].ravel() for name in shapes])
    try:
        words = quantise(flat, description.exponent)
    except WeightRangeError as error:
        raise ProofError(f"{path}: {error}") from error
    largest = int(np.abs(words.astype(np.int64)).max(initial=0))
    return words_to_bytes(words), flat.dtype == np.float32 and largest > FLOAT32_EXACT


def _describe(
    trusted: TrustedGenesis, outcome: ProvedOutcome, size: int, model: Path | None, device: int | None
) -> dict[str, Any]:
    report: dict[str, Any] = {
        "valid": True,
        "round": outcome.round,
        "model": outcome.model.hex(),
        "selected": list(outcome.selected),
        "main_node": outcome.main_node,
        "skipped": outcome.main_node is None,
        "height": outcome.height,
        "signatures": len(outcome.signers),
        "quorum": trusted.quorum,
        "servers": sum(key is not None for key in trusted.server_keys),
        "committee_height": trusted.height,
        "chain_id": trusted.chain_id.hex(),
        "proof_bytes": size,
    }
    if model is not None:
        report["model_file"] = str(model)
    if device is not None:
        report["device"] = {"index": device, "selected": device in outcome.selected}
    return report


def _print(report: dict[str, Any], *, trusts_file: bool) -> None:
    t = report["round"]
    if trusts_file:
        err().print(
            "the genesis file was trusted as it is; compare its chain id, or give --expect-genesis",
            style="yellow",
            soft_wrap=True,
        )
    plain(f"proved: round {t}, at height {report['height']} of chain {report['chain_id']}")
    plain(f"w_g({t}) {report['model']}")
    if report["skipped"]:
        plain(f"the round was skipped: w_g({t}) is w_g({t - 1})")
    else:
        plain(f"selected devices: {', '.join(map(str, report['selected']))}; main node: server {report['main_node']}")
    plain(f"signed by {report['signatures']} of {report['servers']} servers; {report['quorum']} are needed")
    if "model_file" in report:
        plain(f"{report['model_file']} is w_g({t})")
    if "device" in report:
        was = "was" if report["device"]["selected"] else "was not"
        plain(f"the update of device {report['device']['index']} {was} among those selected in round {t}")
