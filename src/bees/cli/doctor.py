"""``bees doctor``: whether this machine has what BEES needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from bees.cli.console import AsJson, out, print_json
from bees.core.errors import BeesError, EngineError, VirtualMachineError
from bees.core.fixed_point import dequantise

if TYPE_CHECKING:
    from collections.abc import Callable


def doctor(as_json: AsJson = False) -> None:
    """Check the packaged data, the contract machine, signatures, training and the disk, and name what is wrong."""
    results = [_try(name, check) for name, check in _checks().items()]
    healthy = all(result["ok"] for result in results)
    if as_json:
        print_json({"healthy": healthy, "checks": results})
    else:
        for result in results:
            mark = "[green]ok  [/]" if result["ok"] else "[red]FAIL[/]"
            out().print(f"{mark} {result['check']}: ", end="")
            out().print(str(result["detail"]), markup=False, soft_wrap=True)
    if not healthy:
        raise typer.Exit(1)


def _try(name: str, check: Callable[[], str]) -> dict[str, object]:
    try:
        return {"check": name, "ok": True, "detail": check()}
    except (BeesError, OSError, ImportError) as error:
        return {"check": name, "ok": False, "detail": str(error)}


def _checks() -> dict[str, Callable[[], str]]:
    return {
        "versions": _versions,
        "packaged data": _data,
        "contracts": _contracts,
        "contract machine": _machine,
        "signatures": _signatures,
        "training": _training,
        "disk": _disk,
    }


def _versions() -> str:
    from bees.run_folder import environment

    facts = environment("")
    libraries = ", ".join(f"{name} {number}" for name, number in facts["libraries"].items())
    return f"bees {facts['bees']}, Python {facts['python']}, {facts['cores']} cores, {libraries}"


def _data() -> str:
    from bees.learning.datasets import load_dataset

    mnist = load_dataset("mnist")
    return f"MNIST, {len(mnist.x_train)} training and {len(mnist.x_test)} test samples, checksums match"


def _contracts() -> str:
    from bees.contract.library import contract_names, load_contract_code

    return ", ".join(f"{name} ({len(load_contract_code(name))} bytes)" for name in contract_names())


def _machine() -> str:
    from bees.contract.description import describe_virtual_machine
    from bees.contract.vm import VirtualMachine

    description = describe_virtual_machine()
    VirtualMachine(description).self_test()
    return f"{description.runtime} {description.runtime_version}: fuel, memory limit and NaNs behave as pinned"


def _signatures() -> str:
    from bees.core.keys import SigningKey, is_signed_by

    key = SigningKey.from_seed(bytes(32))
    signature = key.sign(b"bees")
    if not is_signed_by(key.public_key, b"bees", signature) or is_signed_by(key.public_key, b"wasps", signature):
        raise VirtualMachineError("Ed25519 does not tell right from wrong on this machine")
    return "Ed25519 signs and refuses"


def _training() -> str:
    from bees.experiment import prepare_learning
    from bees.scenario_file import load_scenario

    learning = prepare_learning(load_scenario("quick"))
    everybody = list(range(len(learning.samples)))
    before = learning.test_accuracy(learning.initial_words)
    start = dequantise(learning.initial_words, learning.model.description.exponent)
    weights = learning.trainer.train(start, 1, everybody)
    after = max(learning.score(weights)) / len(learning.selection.evaluation_set)
    if after <= before:
        raise EngineError(f"a round of training takes the best device from {before:.2f} to {after:.2f}; it should gain")
    return f"a round takes the best of {len(everybody)} devices from {before:.2f} to {after:.2f}"


def _disk() -> str:
    import shutil
    from pathlib import Path

    free_gb = shutil.disk_usage(Path.cwd()).free / 1e9
    if free_gb < 1:
        raise OSError(f"only {free_gb:.1f} GB free; a reproduction takes up to 1 GB")
    return f"{free_gb:.0f} GB free"
