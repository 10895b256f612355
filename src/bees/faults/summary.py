"""What a campaign has found, in numbers."""

from __future__ import annotations

from collections import Counter, defaultdict
from statistics import median
from typing import TYPE_CHECKING, Any

from bees.core.hashes import digest

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from bees.faults.campaign import Results
    from bees.faults.play import Played

_SEEDS_NAMED = 20


def summarise(results: Results, seeds: Iterable[int]) -> dict[str, Any]:
    """The numbers of those seeds' histories that were played.

    All but ``cpu_seconds_per_history`` depends on the seeds alone, and not on the machine or the number of processes.
    """
    all_played = [results.played[seed] for seed in sorted(seeds) if seed in results.played]
    histories = [played.result for played in all_played]
    return {
        "histories": len(histories),
        "first_seed": min((h.seed for h in histories), default=None),
        "last_seed": max((h.seed for h in histories), default=None),
        "digest_of_all": _digest_of(all_played),
        "violations": _violations(all_played),
        "faults_injected": _faults(all_played),
        "heights": _spread([h.heights for h in histories]),
        "rounds_closed": sum(h.rounds for h in histories),
        "rounds_skipped": sum(h.skipped for h in histories),
        "histories_with_skipped_rounds": sum(h.skipped > 0 for h in histories),
        "deliveries": _spread([h.deliveries for h in histories]),
        "virtual_seconds": _spread([h.virtual_s for h in histories]),
        "convictions": _convictions(results, all_played),
        "cpu_seconds_per_history": _spread([played.cpu_s for played in all_played]),
    }


def _violations(all_played: Sequence[Played]) -> dict[str, Any]:
    seeds: dict[str, list[int]] = defaultdict(list)
    for played in all_played:
        if played.result.violation:
            seeds[played.result.violation].append(played.result.seed)
    return {
        name: {"histories": len(found), "first_seeds": found[:_SEEDS_NAMED]} for name, found in sorted(seeds.items())
    }


def _faults(all_played: Sequence[Played]) -> dict[str, dict[str, int]]:
    """How often each fault was injected, and in how many histories it was at least once."""
    times, histories = Counter[str](), Counter[str]()
    for played in all_played:
        for name, count in played.result.counts.items():
            times[name] += count
            histories[name] += count > 0
    return {name: {"times": times[name], "histories": histories[name]} for name in sorted(times)}


def _convictions(results: Results, all_played: Sequence[Played]) -> dict[str, Any]:
    """How many liars were convicted, and for each behaviour how many of those that had it, beside whatever else."""
    lied, convicted = Counter[str](), Counter[str]()
    kinds = Counter[str]()
    for played in all_played:
        kinds.update(name.partition(" ")[0] for name in played.result.convicted)
        plan = results.settings.plan(played.result.seed)
        for kind, liars in (("server", plan.liars), ("device", plan.lying_devices)):
            for liar in liars:
                names = [f"{kind}: {behaviour}" for behaviour in liar.behaviours]
                lied.update(names)
                convicted.update(names if f"{kind} {liar.index}" in played.result.convicted else [])
    return {
        "histories": sum(bool(played.result.convicted) for played in all_played),
        "servers": kinds["server"],
        "devices": kinds["device"],
        "by_behaviour": {name: {"had_it": lied[name], "convicted": convicted[name]} for name in sorted(lied)},
    }


def _digest_of(all_played: Sequence[Played]) -> str:
    """One hash over the hashes of all histories, by which two campaigns are compared."""
    lines = "".join(f"{p.result.seed} {p.result.digest} {p.result.violation}\n" for p in all_played)
    return digest("campaign", lines.encode()).hex()


def _spread(values: Sequence[float]) -> dict[str, float]:
    if not values:
        return {}
    ordered = sorted(values)
    found = {
        "total": sum(ordered),
        "median": median(ordered),
        "95th_percentile": ordered[(len(ordered) - 1) * 95 // 100],
        "largest": ordered[-1],
    }
    return {name: round(value, 4) for name, value in found.items()}
