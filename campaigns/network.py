"""Round time and bytes on the wire of a real network: n servers and models of several sizes, on one machine.

Only the network and the ledger are measured. Compute is left out: updates are drawn, not trained, and scores are drawn
from an update's bytes, not evaluated. All else is real: ``bees node`` and CometBFT as processes, devices by
``bees.device``, uploads, pulls, contracts, blocks, certificates, disks.

Each row is one network, which runs from its genesis until enough rounds are over; the first is not counted. Rows are
written down one by one: interrupted, the same command goes on where it was. What a network cannot do on this machine is
a row as well, which says how far it came and why it ended. Rows of an earlier revision may stand beside them as
``before``.

Example: ``python -m campaigns.network --servers 4 --model-kb 80 --model-kb 1000 --rounds 5``
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
import tempfile
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Annotated, Any
from urllib.request import urlopen

import structlog
import typer

from bees.cli.console import plain
from bees.ledger.genesis import PhaseLengths
from campaigns.evidence import EVIDENCE, ROOT, revision, write_evidence
from campaigns.process_watch import ProcessWatch, cpu_s, scrape, written_bytes
from campaigns.random_network import Devices, RandomNetwork, direct, local_addresses
from campaigns.random_world import random_world

if TYPE_CHECKING:
    from collections.abc import Mapping

PROFILED_NODE = ROOT / "campaigns" / "profiled_node.py"
PHASES = PhaseLengths(collect=400, attest=200, publish=100, publish_ranks=4)
"""Long enough for the slowest: a phase closes as soon as it is complete."""

_WORD_BYTES = 4
_PHASES = ("collect", "attest", "publish")
_PAUSE_S = 0.02


def main(
    servers: Annotated[list[int], typer.Option(min=1, help="n; may be given more than once.")] = [4, 7, 13],  # noqa: B006
    model_kb: Annotated[list[int], typer.Option(min=1, help="Size of the model, in KB of 1000 bytes.")] = [  # noqa: B006
        80,
        1000,
        25_000,
    ],
    devices: Annotated[int, typer.Option(min=1, help="K.")] = 12,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds that are counted.")] = 5,
    commit_s: Annotated[float, typer.Option(min=0, help="CometBFT's pause after a block.")] = 0.2,
    patience_s: Annotated[float, typer.Option(min=1, help="For a row, before it is given up.")] = 600,
    folder: Annotated[Path | None, typer.Option(help="Keeps rows. Default: runs/network-<commit>.")] = None,
    before: Annotated[Path | None, typer.Option(help="A folder of rows of an earlier revision.")] = None,
    evidence: Annotated[Path, typer.Option(help="Where the evidence is written.")] = EVIDENCE,
) -> None:
    """Measure all rows that are not measured yet, and write the evidence."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    folder = folder or ROOT / "runs" / f"network-{str(revision()['commit'])[:12]}"
    folder.mkdir(parents=True, exist_ok=True)
    rows: dict[str, Any] = {}
    for kilobytes in model_kb:
        for count in servers:
            name = f"n{count}-k{devices}-{kilobytes}kb-c{commit_s:g}s-r{rounds}"
            path = folder / f"{name}.json"
            if not path.exists():
                row = measure(count, devices, kilobytes, rounds, commit_s, patience_s, path.with_suffix(".log"))
                draft = path.with_suffix(".part")
                draft.write_text(json.dumps(row, indent=2, sort_keys=True))
                draft.replace(path)
            rows[name] = json.loads(path.read_text())
            plain(f"{name}: {_said(rows[name])}")
    command = shlex.join(["python", "-m", "campaigns.network", *sys.argv[1:]])
    told = "updates are drawn and scores too: only the network and the ledger are measured, without training or scoring"
    # Rows of other sizes, measured in other runs into the same folder, belong to them.
    rows = {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("n*.json"))}
    results: dict[str, Any] = {"left_out": told, "rows": rows}
    if before is not None:
        results["before"] = {path.stem: json.loads(path.read_text()) for path in sorted(before.glob("*.json"))}
    file = write_evidence("network_faults", command, results, evidence)
    plain(str(file.name))


def measure(
    servers: int, devices: int, kilobytes: int, rounds: int, commit_s: float, patience_s: float, log: Path
) -> dict[str, Any]:
    """One row: a network from its genesis until ``rounds`` rounds after the first are closed.

    Args:
        servers: N.
        devices: K.
        kilobytes: of a model.
        rounds: that are counted.
        commit_s: CometBFT's pause after a block.
        patience_s: for the first of them, and for all others together.
        log: gets the ends of all logs if it fails.
    """
    load_before, pressure_before = os.getloadavg(), _pressure_s()
    world = random_world(servers, devices, kilobytes * 1000 // _WORD_BYTES, phases=PHASES)
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="bees-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        addresses = local_addresses(servers)
        times: dict[str, Any] = {"commit_s": commit_s, "propose_s": 30, "peers_timeout_s": 60}
        net = RandomNetwork(folder / "net", world, addresses, direct(addresses), **times)
        stack.callback(net.close)
        net.start(entry=PROFILED_NODE)
        taking_part = Devices(net)
        stack.callback(taking_part.close)
        seen, processes = PhaseWatch(net), ProcessWatch(net)
        try:
            row = _rounds(net, taking_part, seen, rounds, patience_s)
        except OSError as error:
            log.write_text(f"{error}\n{net.logs(6000)}\n{taking_part.refused[-20:]}")
            row = {"failed": str(error).splitlines()[0], "reached": seen.reached}
        return row | {
            "servers": servers,
            "devices": devices,
            "rounds": rounds,
            "commit_s": commit_s,
            "model_bytes": world.genesis.model.model_bytes,
            "peak_memory_mb": _peaks(processes),
            "load_average": {"before": round(load_before[0], 1), "after": round(os.getloadavg()[0], 1)},
            "refused_updates": len(taking_part.refused),
            "pressure_s": {name: round(s - pressure_before[name], 1) for name, s in _pressure_s().items()},
        }


def _rounds(net: RandomNetwork, devices: Devices, seen: PhaseWatch, rounds: int, patience_s: float) -> dict[str, Any]:
    """What the counted rounds took.

    Raises:
        OSError: they have not come in time, or a process has ended.
    """
    # In PUBLISH all bytes of a round are where they must be, and none of the next has left.
    seen.until(1, "publish", patience_s)
    before, began = _snapshot(net, devices), time.monotonic()
    seen.until(1 + rounds, "publish", patience_s)
    took_s, after = time.monotonic() - began, _snapshot(net, devices)
    seen.until(2 + rounds, "collect", patience_s)
    spent = {name: value - before.get(name, 0.0) for name, value in after.items()}
    return {
        "round_s": seen.lengths(rounds),
        "blocks": seen.height[2 + rounds] - seen.height[2],
        "phase_s": seen.phases(rounds),
        "bytes_per_round": _bytes(spent, rounds),
        "cpu_s_per_round": _grouped(spent, "cpu", rounds),
        "disk_bytes_per_round": int(spent["disk.written"] / rounds),
        "node_parts_s_per_round": _grouped(spent, "busy", rounds, len(net.addresses)),
        "loop_cpu_s_per_round": round(spent["loop.cpu"] / rounds / len(net.addresses), 3),
        "longest_stall_s": round(max(value for name, value in after.items() if name.startswith("stall.")), 3),
        "cores_busy": round(sum(value for name, value in spent.items() if name.startswith("cpu.")) / took_s, 2),
        "busiest": _busiest(spent, took_s),
    }


class PhaseWatch:
    """When each round and phase begins, as server 0 tells."""

    def __init__(self, net: RandomNetwork) -> None:
        self.height: dict[int, int] = {}
        self._net = net
        self._begins: list[tuple[float, int, str]] = []

    def until(self, round_: int, phase: str, patience_s: float) -> None:
        """Watch until a phase of a round is open.

        Raises:
            TimeoutError: it is not, within the patience.
            ChildProcessError: a process of the network has ended.
        """
        deadline, goal = time.monotonic() + patience_s, (round_, _PHASES.index(phase))
        while not self._begins or (self._begins[-1][1], _PHASES.index(self._begins[-1][2])) < goal:
            if time.monotonic() > deadline:
                raise TimeoutError(
                    f"{phase} of round {round_} has not come within {patience_s:g} s\n{self._net.logs()}"
                )
            _check_all_live(self._net)
            told = _told(self._net)
            if told and (not self._begins or self._begins[-1][1:] != (told["round"], told["phase"])):
                self._begins.append((time.monotonic(), told["round"], told["phase"]))
                self.height.setdefault(told["round"], told["height"])
            time.sleep(_PAUSE_S)

    @property
    def reached(self) -> str:
        """The last phase that was seen."""
        return f"{self._begins[-1][2]} of round {self._begins[-1][1]}" if self._begins else "nothing"

    def lengths(self, rounds: int) -> dict[str, float]:
        """Of the counted rounds."""
        first: dict[int, float] = {}
        for at, round_, _ in self._begins:
            first.setdefault(round_, at)
        each = [first[t + 1] - first[t] for t in range(2, 2 + rounds)]
        return {"median": round(median(each), 2), "min": round(min(each), 2), "max": round(max(each), 2)}

    def phases(self, rounds: int) -> dict[str, float]:
        """Mean length of each phase."""
        total: dict[str, float] = {}
        for (at, round_, phase), (end, *_) in zip(self._begins, self._begins[1:], strict=False):
            if 2 <= round_ < 2 + rounds:  # noqa: PLR2004  # the first is not counted
                total[phase] = total.get(phase, 0.0) + end - at
        return {phase: round(seconds / rounds, 2) for phase, seconds in total.items()}


def _check_all_live(net: RandomNetwork) -> None:
    for kind, processes in (("node", net.nodes), ("CometBFT", net.comets)):
        for server, process in processes.items():
            code = process.poll()
            if code is not None:
                raise ChildProcessError(f"{kind} {server} has ended with code {code}\n{net.logs()}")


def _told(net: RandomNetwork) -> dict[str, Any] | None:
    try:
        with urlopen(f"{net.urls[0]}/v1/round", timeout=20) as answer:  # noqa: S310  # our own node
            return json.load(answer)
    except OSError:
        return None


def _snapshot(net: RandomNetwork, devices: Devices) -> dict[str, float]:
    """What all nodes and CometBFTs have counted: bytes, CPU seconds, and where the nodes were busy.

    Raises:
        OSError: one does not answer.
    """
    counted: dict[str, float] = {}

    def add(name: str, value: float) -> None:
        counted[name] = counted.get(name, 0.0) + value

    for k, address in enumerate(net.addresses):
        for name, value in scrape(f"{address.url}/metrics").items():
            counter = f"stall.{k}" if name == "profiled_longest_stall_seconds" else _counter(name)
            if counter is not None:
                add(counter, value)
        for name, value in scrape(f"http://{address.host}:{address.metrics}/metrics").items():
            if name.startswith("cometbft_p2p_message_send_bytes_total"):
                add("bytes.comet", value)
        add("cpu.nodes", cpu_s(net.nodes[k].pid))
        add("cpu.comets", cpu_s(net.comets[k].pid))
        add("disk.written", written_bytes(net.nodes[k].pid) + written_bytes(net.comets[k].pid))
    add("cpu.devices", sum(os.times()[:2]))
    add("bytes.models", len(devices.opened) * net.world.genesis.model.model_bytes)
    return counted


def _counter(name: str) -> str | None:
    """Under which name a node's metric is summed up."""
    match name.partition("{")[0]:
        case "bees_uploaded_bytes_total":
            return "bytes.uploads"
        case "bees_peer_bytes_total" if 'direction="sent"' in name:
            return "bytes.pulls" if 'kind="update"' in name else "bytes.signatures"
        case "profiled_seconds_total":
            return f"busy.{name.split(chr(34))[1]}"
        case "profiled_loop_cpu_seconds":
            return "loop.cpu"
        case _:
            return None


def _bytes(spent: Mapping[str, float], rounds: int) -> dict[str, int]:
    kinds = {name.partition(".")[2]: int(v / rounds) for name, v in spent.items() if name.startswith("bytes.")}
    return {**kinds, "total": sum(kinds.values())}


def _grouped(spent: Mapping[str, float], kind: str, rounds: int, share: int = 1) -> dict[str, float]:
    prefix = f"{kind}."
    return {n.removeprefix(prefix): round(v / rounds / share, 4) for n, v in spent.items() if n.startswith(prefix)}


def _peaks(processes: ProcessWatch) -> dict[str, float]:
    """The most that one node and one CometBFT have held in memory, and all of them together if at once."""
    peaks = {name: told["peak"] for name, told in processes.memory().items()}
    by_kind = {kind: [v for name, v in peaks.items() if name.startswith(kind)] for kind in ("node", "comet")}
    return {**{kind: max(values) for kind, values in by_kind.items()}, "all": round(sum(peaks.values()), 1)}


def _pressure_s() -> dict[str, float]:
    """For how long up to now some process of this machine has waited for a CPU, for memory, for a disk."""
    told: dict[str, float] = {}
    for name in ("cpu", "memory", "io"):
        with suppress(OSError):
            told[name] = int(Path(f"/proc/pressure/{name}").read_text().split()[4].removeprefix("total=")) / 1e6
    return told


def _said(row: Mapping[str, Any]) -> str:
    if "failed" in row:
        return f"failed in {row['reached']}: {row['failed']}"
    return f"{row['round_s']['median']} s per round, {row['busiest']}"


def _busiest(spent: Mapping[str, float], took_s: float) -> str:
    """Which processes had most of the CPU, and how much of all cores was busy with this network."""
    cpu = {name: value for name, value in spent.items() if name.startswith("cpu.")}
    first = max(cpu, key=lambda name: cpu[name])
    share = sum(cpu.values()) / took_s / (os.cpu_count() or 1)
    return f"{first.removeprefix('cpu.')} use most CPU; the network uses {share:.0%} of the machine"


if __name__ == "__main__":
    typer.run(main)
