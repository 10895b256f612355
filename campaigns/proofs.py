"""What a proof of w_g(t) costs a device, and that no forged one passes: ``python -m campaigns.proofs``.

A chain of 20 servers and 100 devices is made by real training. Its proofs are checked by the file that devices copy
and by the ledger's own check, which must always agree.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter, thread_time
from typing import TYPE_CHECKING, Any

from bees.core.canonical import decode, encode
from bees.core.errors import BeesError
from bees.core.keys import is_signed_by
from bees.engines.prove import prove_from_file
from bees.experiment import lay_groundwork, open_experiment
from bees.ledger.proofs import ModelProof, check_model_proof
from bees.light_client import RefusedError, check_genesis, check_proof, read_genesis
from bees.scenario_file import load_scenario
from bees.simulation import simulate
from campaigns.evidence import write_evidence
from campaigns.forgeries import flipped_bits, forgeries

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from bees.founding import Founding
    from bees.ledger.genesis import Genesis
    from bees.light_client import TrustedGenesis

ROUNDS = 3
CHANGES = (
    f"blocks={ROUNDS}",
    "topology.servers=20",
    "topology.devices=100",
    "topology.devices_per_server_min=3",
    "topology.devices_per_server_max=7",
    "learning.clients_per_chunk=50",
    "ledger.top_m=10",
)
REPETITIONS = 1000


def main() -> None:
    """Measure, write the evidence, and print it in short."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "chain.db"
        founding = _make_chain(path)
        proofs = [prove_from_file(path, round_=t).proof for t in range(1, ROUNDS + 1)]
    genesis, genesis_bytes = founding.genesis.genesis, encode(founding.genesis)
    trusted = read_genesis(genesis_bytes)
    results = {
        "scenario": {"preset": "quick", "changes": list(CHANGES)},
        "sizes": _sizes(proofs, genesis_bytes, genesis.committee.quorum),
        "times": _times(genesis, genesis_bytes, trusted, encode(proofs[-1])),
        "forgeries": _count_refusals(genesis, trusted, founding, proofs[-1]),
    }
    file = write_evidence("proofs", "python -m campaigns.proofs", results)
    forged = results["forgeries"]
    print(f"proof: {results['sizes']['proof_bytes']} bytes; check: {results['times']['light_client_ms']} ms")
    print(f"forged: {forged['tried']}, accepted: {forged['accepted']}, verdicts apart: {forged['verdicts_apart']}")
    print(file.name)
    if forged["accepted"] or forged["verdicts_apart"]:
        raise SystemExit(1)


def _make_chain(path: Path) -> Founding:
    groundwork = lay_groundwork(load_scenario("quick", CHANGES))
    with open_experiment(groundwork, chain_file=path) as experiment:
        for _ in simulate(experiment):
            pass
    return groundwork.founding


def _sizes(proofs: list[ModelProof], genesis_bytes: bytes, quorum: int) -> dict[str, Any]:
    last = proofs[-1]
    parts = {name: len(encode(getattr(last, name))) for name in last.__struct_fields__}
    return {
        "proof_bytes": max(len(encode(proof)) for proof in proofs),
        "proof_bytes_by_round": [len(encode(proof)) for proof in proofs],
        "part_bytes": parts,
        "selected_devices": len(last.outcome.selected),
        "signatures": len(last.commit.signatures),
        "quorum": quorum,
        "signed_genesis_bytes": len(genesis_bytes),
    }


def _times(genesis: Genesis, genesis_bytes: bytes, trusted: TrustedGenesis, proof: bytes) -> dict[str, Any]:
    vote = decode(proof, ModelProof).commit.signatures[0]
    key = genesis.servers[vote.server].public_key
    tasks: dict[str, Callable[[], object]] = {
        "light_client_ms": lambda: check_proof(trusted, proof),
        "ledger_ms": lambda: check_model_proof(genesis, decode(proof, ModelProof), is_signed_by),
        "one_signature_ms": lambda: is_signed_by(key, b"a message as long as a vote" * 5, vote.signature),
        "genesis_once_ms": lambda: check_genesis(read_genesis(genesis_bytes)),
    }
    # In turn, so that whatever else the machine does meets all of them alike.
    laps: dict[str, list[tuple[float, float]]] = {name: [] for name in tasks}
    for _ in range(REPETITIONS):
        for name, task in tasks.items():
            since, cpu_since = perf_counter(), thread_time()
            task()
            laps[name].append((1e3 * (perf_counter() - since), 1e3 * (thread_time() - cpu_since)))
    return {"repetitions": REPETITIONS, **{name: _spread(lap) for name, lap in laps.items()}}


def _spread(laps: list[tuple[float, float]]) -> dict[str, float]:
    """Wall-clock time, and the processor's, which other programs on the machine disturb less."""
    wall, cpu = (sorted(times) for times in zip(*laps, strict=True))
    late = len(wall) * 95 // 100
    found = {"median": median(wall), "fastest": wall[0], "95th_percentile": wall[late], "median_processor": median(cpu)}
    return {name: round(milliseconds, 4) for name, milliseconds in found.items()}


def _count_refusals(genesis: Genesis, trusted: TrustedGenesis, founding: Founding, proof: ModelProof) -> dict[str, Any]:
    right = encode(proof)
    if not (_light_accepts(trusted, right) and _ledger_accepts(genesis, right)):
        raise SystemExit("the proof itself is refused, so refusals would mean nothing")
    tried, accepted, apart = Counter[str](), Counter[str](), Counter[str]()
    flipped: Iterable[tuple[str, bytes]] = (("one bit flipped", data) for data in flipped_bits(right))
    for forged in (forgeries(proof, founding.server_keys), flipped):
        for kind, data in forged:
            light, ledger = _light_accepts(trusted, data), _ledger_accepts(genesis, data)
            tried[kind] += 1
            accepted[kind] += light or ledger
            apart[kind] += light != ledger
    return {
        "tried": tried.total(),
        "refused": tried.total() - accepted.total(),
        "accepted": accepted.total(),
        "verdicts_apart": apart.total(),
        "tried_by_kind": dict(tried),
    }


def _light_accepts(trusted: TrustedGenesis, proof: bytes) -> bool:
    try:
        check_proof(trusted, proof)
    except RefusedError:
        return False
    return True


def _ledger_accepts(genesis: Genesis, proof: bytes) -> bool:
    try:
        check_model_proof(genesis, decode(proof, ModelProof), is_signed_by)
    except BeesError:
        return False
    return True


if __name__ == "__main__":
    main()
