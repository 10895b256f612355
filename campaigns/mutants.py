"""Mutation testing: does some test notice each small change of the code that judges, elects and counts?

    nice python -m campaigns.mutants                              # all modules; goes on where it was interrupted
    nice python -m campaigns.mutants --module bees.ledger.rounds  # one of them
    python -m campaigns.mutants --evidence                        # write docs/evidence/mutants.json

Verdicts are kept in ``build/mutants.jsonl`` by the text of module and tests: a mutant is run again when its module
has changed, a survivor also when the module's tests have. Why a survivor may live stands in ``survivors.toml``.

Why no library: mutmut 3.8 leaves out every decorated function, and so the properties that hold quorums, turns and
duties, and all that runs at import, such as the tables of the contract loader; it removes no statements. cosmic-ray
8.7 has no such gap but writes mutants into the working tree and starts an interpreter for each, which took
over 2 s against 0.2 s here.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
import tomllib
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from campaigns.evidence import ROOT, write_evidence
from campaigns.mutant_runs import Target, run_mutants
from campaigns.mutations import Mutant, find_mutants

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_RESULTS = ROOT / "build" / "mutants.jsonl"
_SURVIVORS = Path(__file__).with_name("survivors.toml")
_PROGRESS_S = 10.0

GROUPS: dict[str, tuple[str, ...]] = {
    "election": ("bees.ledger.election",),
    "state transition": (
        "bees.ledger.rounds",
        "bees.ledger.transition",
        "bees.ledger.evidence",
        "bees.ledger.state",
        "bees.ledger.application",
        "bees.ledger.aggregation",
    ),
    "blocks and proofs": ("bees.ledger.merkle", "bees.ledger.proofs", "bees.ledger.replay"),
    "quorum checks": ("bees.ledger.genesis", "bees.ledger.block", "bees.engines.tally", "bees.engines.tendermint"),
    "virtual machine": ("bees.contract.structure", "bees.contract.vm", "bees.contract.runtime"),
}

_ROUNDS = ("ledger/test_rounds", "ledger/test_transition", "ledger/test_verification", "ledger/test_evidence")
_CHAIN = ("ledger/test_application", "ledger/test_replay")
_CONTRACT = ("contract/test_vm", "contract/test_probes", "contract/test_fedavg")
TESTS: dict[str, tuple[str, ...]] = {
    "bees.ledger.election": ("ledger/test_election", *_ROUNDS),
    "bees.ledger.rounds": (*_ROUNDS, *_CHAIN),
    "bees.ledger.transition": ("ledger/test_transition", *_ROUNDS, *_CHAIN),
    "bees.ledger.evidence": ("ledger/test_evidence", "ledger/test_transition"),
    "bees.ledger.state": ("ledger/test_state", *_ROUNDS, *_CHAIN),
    "bees.ledger.application": (*_CHAIN, "ledger/test_transition"),
    "bees.ledger.aggregation": ("ledger/test_aggregation", "ledger/test_replay"),
    "bees.ledger.merkle": ("ledger/test_merkle", "ledger/test_proofs"),
    "bees.ledger.proofs": ("ledger/test_proofs",),
    "bees.ledger.replay": ("ledger/test_replay",),
    "bees.ledger.genesis": ("ledger/test_genesis", "ledger/test_block", "ledger/test_records"),
    "bees.ledger.block": ("ledger/test_block", "ledger/test_proofs", "ledger/test_replay"),
    "bees.engines.tally": ("engines/test_tally", "engines/test_tendermint"),
    "bees.engines.tendermint": ("engines/test_tendermint", "engines/test_tendermint_listens"),
    "bees.contract.structure": ("contract/test_structure",),
    "bees.contract.vm": _CONTRACT,
    "bees.contract.runtime": ("contract/test_runtime", *_CONTRACT),
}
"""The module's own tests first, then its neighbours'."""


def target_of(module: str) -> Target:
    """The module, its source and its tests."""
    path = ROOT / "src" / Path(*module.split(".")).with_suffix(".py")
    return Target(module, path, tuple(ROOT / "tests" / f"{name}.py" for name in dict.fromkeys(TESTS[module])))


def open_mutants(target: Target, mutants: Sequence[Mutant], kept: Iterable[dict[str, Any]]) -> list[Mutant]:
    """Mutants that have no verdict yet that still holds."""
    source, tests = _hash(target.path), _hash(*target.tests)
    holding = {_key(v) for v in kept if v["source"] == source and (v["fate"] != "survived" or v["tests"] == tests)}
    return [mutant for mutant in mutants if (mutant.place, mutant.start, mutant.end, mutant.text) not in holding]


def run_module(module: str, results: Path, functions: Sequence[str] = (), *, own_tests_only: bool = False) -> None:
    """Run what is open of one module, or of some of its functions only, and keep each verdict at once.

    With the module's own tests only, who survives them is not judged.
    """
    target = target_of(module)
    mutants = open_mutants(target, find_mutants(target.path.read_text(encoding="utf-8")), _read(results, module))
    if functions:
        mutants = [mutant for mutant in mutants if mutant.place in functions]
    if not mutants:
        print(f"{module}: nothing new", flush=True)
        return
    about = {"module": module, "source": _hash(target.path), "tests": _hash(*target.tests)}
    ran = replace(target, tests=target.tests[:1]) if own_tests_only else target
    counts: Counter[str] = Counter()
    begun = told = time.monotonic()
    results.parent.mkdir(parents=True, exist_ok=True)
    with results.open("a", encoding="utf-8") as file:
        for verdict in run_mutants(ran, mutants):
            counts[verdict.fate] += 1
            if ran == target or verdict.fate != "survived":
                _keep(file, {**about, **vars(mutants[verdict.mutant]), **vars(verdict)})
            if time.monotonic() - told > _PROGRESS_S:
                told = time.monotonic()
                _tell(module, counts, len(mutants), told - begun)
    _tell(module, counts, len(mutants), time.monotonic() - begun)


def summarize(results: Path, survivors: Path = _SURVIVORS) -> dict[str, Any]:
    """The evidence: per group and module, how many mutants there are, what became of them, and who survived and why."""
    reasons = tomllib.loads(survivors.read_text(encoding="utf-8")).get("survivor", [])
    groups: dict[str, Any] = {}
    for group, modules in GROUPS.items():
        parts = {module: _summarize_module(module, results, reasons) for module in modules}
        parts = {module: part for module, part in parts.items() if part}
        counted = ("mutants", "killed", "timed_out", "survived", "survived_with_reason", "not_run")
        total: dict[str, Any] = {name: sum(part[name] for part in parts.values()) for name in counted}
        total["killed_share"] = _share(total)
        groups[group] = {**total, "modules": parts}
    return groups


def _summarize_module(module: str, results: Path, reasons: list[dict[str, str]]) -> dict[str, Any]:
    target = target_of(module)
    source = _hash(target.path)
    last = {_key(v): v for v in _read(results, module) if v["source"] == source}
    mutants = find_mutants(target.path.read_text(encoding="utf-8"))
    survivors = [_survivor(v, module, reasons) for v in last.values() if v["fate"] == "survived"]
    ends = Counter(v["fate"] for v in last.values())
    part: dict[str, Any] = {
        "mutants": len(mutants),
        "killed": ends["killed"] + ends["timed out"],
        "timed_out": ends["timed out"],
        "survived": ends["survived"],
        "survived_with_reason": sum(bool(survivor["reason"]) for survivor in survivors),
        "not_run": len(mutants) - len(last),
        "kinds": dict(Counter(mutant.kind for mutant in mutants)),
        "tests": [str(path.relative_to(ROOT)) for path in target.tests],
        "survivors": sorted(survivors, key=lambda s: (s["line"], s["mutated"])),
    }
    part["killed_share"] = _share(part)
    return part


def _survivor(verdict: dict[str, Any], module: str, reasons: list[dict[str, str]]) -> dict[str, Any]:
    found = {name: verdict[name] for name in ("line", "place", "original", "mutated")}
    about = (module, verdict["place"], verdict["original"], verdict["mutated"])
    why = [r["reason"] for r in reasons if (r["module"], r["place"], r["original"], r["mutated"]) == about]
    return {"file": f"src/{module.replace('.', '/')}.py", **found, "reason": why[0] if why else ""}


def _share(counts: dict[str, Any]) -> float | None:
    run = counts["killed"] + counts["survived"]
    return round(counts["killed"] / run, 4) if run else None


def _key(verdict: dict[str, Any]) -> tuple[Any, ...]:
    return verdict["place"], verdict["start"], verdict["end"], verdict["text"]


def _read(results: Path, module: str) -> list[dict[str, Any]]:
    if not results.exists():
        return []
    lines = results.read_text(encoding="utf-8").splitlines()
    verdicts = [json.loads(line) for line in lines if line.endswith("}")]  # the last may be cut short
    return [verdict for verdict in verdicts if verdict["module"] == module]


def _keep(file: TextIO, verdict: dict[str, Any]) -> None:
    file.write(json.dumps(verdict) + "\n")
    file.flush()


def _hash(*paths: Path) -> str:
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in paths)).hexdigest()[:16]


def _tell(module: str, counts: Counter[str], total: int, seconds: float) -> None:
    done = counts.total()
    left = seconds / done * (total - done) if done else 0.0
    ends = ", ".join(f"{counts[end]} {end}" for end in ("killed", "timed out", "survived"))
    print(f"{module}: {done} of {total} ({ends}); {seconds:.0f} s, {left:.0f} s left", flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the campaign."""
    parser = argparse.ArgumentParser(prog="python -m campaigns.mutants", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--module", action="append", choices=sorted(TESTS), help="only this one; may be repeated")
    parser.add_argument(
        "--function", action="append", default=[], help="only this one, as Class.method; may be repeated"
    )
    parser.add_argument("--own-tests-only", action="store_true", help="without the neighbours' tests; keeps kills only")
    parser.add_argument("--evidence", action="store_true", help="run nothing, write docs/evidence/mutants.json")
    parser.add_argument("--results", type=Path, default=_RESULTS, help="where verdicts are kept")
    asked = parser.parse_args(arguments)
    if not asked.evidence:
        for module in asked.module or [name for modules in GROUPS.values() for name in modules]:
            run_module(module, asked.results, asked.function, own_tests_only=asked.own_tests_only)
    path = write_evidence("mutants", "python -m campaigns.mutants", summarize(asked.results))
    print(f"wrote {path.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
