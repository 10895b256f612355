"""The table of ``docs/deployment.md`` from the evidence of ``campaigns.network``.

Example: ``python -m campaigns.network_table``
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from bees.cli.console import plain
from campaigns.evidence import EVIDENCE

if TYPE_CHECKING:
    from collections.abc import Mapping

_HEAD = (
    "servers × model",
    "round, s",
    "COLLECT, ATTEST, PUBLISH, s",
    "uploads, pulls, models, MB",
    "CometBFT, MB",
    "CPU of nodes, of CometBFTs, s",
    "written to disk, MB",
    "loop at work",
    "longest stall, s",
)
_MB = 10**6


def network_table(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """The rows in Markdown; bytes and seconds are of all servers together, per round."""
    lines = [_HEAD, ("---",) * len(_HEAD), *(_cells(row) for row in sorted(rows.values(), key=_order))]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _order(row: Mapping[str, Any]) -> tuple[float, ...]:
    return row["servers"], row["model_bytes"], row["commit_s"]


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    name = f"{row['servers']} × {_mb(row['model_bytes'])} MB"
    if row["commit_s"] != 0.2:  # noqa: PLR2004  # as the others
        name += f", pause {row['commit_s']:g} s"
    if "failed" in row:
        return (name, f"failed in {row['reached']}: {row['failed']}", *("",) * (len(_HEAD) - 2))
    took, phases, spent, cpu = row["round_s"], row["phase_s"], row["bytes_per_round"], row["cpu_s_per_round"]
    return (
        name,
        f"**{took['median']}** ({took['min']} to {took['max']})",
        ", ".join(f"{phases[phase]:.1f}" for phase in ("collect", "attest", "publish")),
        ", ".join(_mb(spent[kind]) for kind in ("uploads", "pulls", "models")),
        _mb(spent["comet"]),
        f"{cpu['nodes']:.1f}, {cpu['comets']:.1f}",
        _mb(row["disk_bytes_per_round"]),
        f"{row['loop_cpu_s_per_round'] / took['median']:.0%}",
        f"{row['longest_stall_s']:.2f}",
    )


def _mb(size: float) -> str:
    return f"{size / _MB:,.0f}" if size >= 10 * _MB else f"{size / _MB:.3g}"


if __name__ == "__main__":
    evidence = json.loads((EVIDENCE / "network_faults.json").read_text())["results"]
    for part in ("before", "rows"):
        plain(f"{part}:\n\n{network_table(evidence.get(part, {}))}\n")
