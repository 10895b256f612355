"""A thousand devices that all hand in to one node of a real network, and clients that mean harm beside them.

Nodes and CometBFTs are real processes with the limits that ``node.toml`` has by default, and the phases and the pace of
blocks that ``bees genesis new`` gives, COLLECT apart. Devices are ``bees.device`` clients in one process, each at an
address of its own. Updates and scores are drawn, not trained. What counts is read from the chain file afterwards: which
updates are on the chain, and which are eligible, so that they count.

Each row is one network. Rows are written down one by one: interrupted, the same command goes on where it was.

Example: ``python -m campaigns.load --servers 4 --devices 1000 --rounds 2``
"""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.request import urlopen

import structlog
import typer

from bees.cli.console import plain
from bees.contract.vm import VirtualMachine
from bees.engines.audit import verify_chain
from bees.engines.chain_file import ChainReader
from bees.ledger.aggregation import ContractExecutor
from bees.ledger.replay import replay
from bees.ledger.state import Phase
from campaigns.evidence import EVIDENCE, ROOT, revision, write_evidence
from campaigns.hostile_clients import HOSTILE_DEVICES, KINDS
from campaigns.load_devices import PHASES, Crowd
from campaigns.process_watch import ProcessWatch, scrape
from campaigns.random_network import RandomNetwork, direct, local_addresses
from campaigns.random_world import random_world

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from campaigns.load_devices import Tally
    from campaigns.random_world import RandomWorld

BLOCK_S, PROPOSE_S = 1.0, 6.0
"""As a host's home has them."""

_ATTACK_S = 5.0
_HEAD_START_S = 5.0
_WORD_BYTES = 4
_POLL_S = 0.1
_ENTRY = 0
"""The node to which all devices hand in."""


def main(
    servers: Annotated[int, typer.Option(min=1, help="N.")] = 4,
    devices: Annotated[int, typer.Option(min=1, help="Devices that are honest.")] = 1000,
    rounds: Annotated[int, typer.Option(min=1)] = 2,
    model_kb: Annotated[int, typer.Option(min=1, help="Size of the model, in KB of 1000 bytes.")] = 80,
    folder: Annotated[Path | None, typer.Option(help="Keeps rows. Default: runs/load-<commit>.")] = None,
    evidence: Annotated[Path, typer.Option(help="Where the evidence is written.")] = EVIDENCE,
) -> None:
    """Measure all rows that are not measured yet, and write the evidence after each."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    folder = folder or ROOT / "runs" / f"load-{str(revision()['commit'])[:12]}"
    folder.mkdir(parents=True, exist_ok=True)
    honest = Load(servers, devices, 0, model_kb, rounds)
    attacked = replace(honest, hostile=HOSTILE_DEVICES, rounds=1)
    measures: dict[str, Callable[[], dict[str, Any]]] = {
        "own addresses": lambda: measure(honest),
        "hostile beside": lambda: measure(attacked),
        "hostile alone": lambda: attack_alone(attacked),
        "one address": lambda: measure(replace(honest, one_address=True)),
    }
    rows: dict[str, Any] = {}
    for name, make in measures.items():
        path = folder / f"n{servers}-k{devices}-{model_kb}kb-r{rounds}-{name.replace(' ', '-')}.json"
        if not path.exists():
            load_before, row = os.getloadavg()[0], make()
            row["load_average"] = {"before": round(load_before, 1), "after": round(os.getloadavg()[0], 1)}
            draft = path.with_suffix(".part")
            draft.write_text(json.dumps(row, indent=2, sort_keys=True))
            draft.replace(path)
        rows[name] = json.loads(path.read_text())
        plain(f"{name}: {[(one['on_chain'], one['eligible']) for one in rows[name].get('rounds', [])]}")
        command = shlex.join(["python", "-m", "campaigns.load", *sys.argv[1:]])
        told = "updates and scores are drawn; the machine had other work, so times are upper bounds: see load_average"
        write_evidence("load", command, {"left_out": told, "rows": rows}, evidence)


@dataclass(frozen=True)
class Load:
    """One network.

    Attributes:
        servers: N.
        devices: that are honest, and all hand in to one node.
        hostile: further devices of the chain, whose keys attackers have; none, and nobody attacks.
        kilobytes: of the model.
        rounds: that are played.
        one_address: whether all devices come from one address, as behind a gateway; else each has its own.
    """

    servers: int
    devices: int
    hostile: int
    kilobytes: int
    rounds: int
    one_address: bool = False

    @property
    def world(self) -> RandomWorld:
        """What the servers agree on."""
        return random_world(self.servers, self.devices + self.hostile, self._parameters, phases=PHASES)

    def attack(self, url: str, seconds: float, kinds: Sequence[str]) -> subprocess.Popen[bytes]:
        """A process that attacks a node."""
        host, _, port = url.removeprefix("http://").partition(":")
        world = f"{self.servers},{self.devices + self.hostile},{self._parameters}"
        options = ["--host", host, "--port", port, "--seconds", str(seconds), "--world", world]
        command = [sys.executable, "-m", "campaigns.hostile_clients", *options]
        command += [word for kind in kinds for word in ("--kind", kind)]
        path = os.pathsep.join((str(ROOT / "src"), str(ROOT)))
        environment = {**os.environ, "PYTHONPATH": path}
        return subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, env=environment)

    @property
    def _parameters(self) -> int:
        return self.kilobytes * 1000 // _WORD_BYTES


@contextmanager
def started(load: Load) -> Generator[RandomNetwork]:
    """The network, laid but not started; and its end."""
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="bees-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        addresses = local_addresses(load.servers)
        net = RandomNetwork(
            folder / "net",
            load.world,
            addresses,
            direct(addresses),
            commit_s=BLOCK_S,
            propose_s=PROPOSE_S,
            peers_timeout_s=30,
            limits={},
        )
        stack.callback(net.close)
        yield net


def measure(load: Load) -> dict[str, Any]:
    """One row: a network in which all honest devices hand in to one node, round by round."""
    with started(load) as net, ExitStack() as stack:
        # In memory: a thousand devices do not share one disk.
        journals = Path(tempfile.mkdtemp(prefix="bees-", dir=_memory()))
        stack.callback(shutil.rmtree, journals, ignore_errors=True)
        played = asyncio.run(_play(load, net, journals))
        net.close()
        counted = _count(load.world, net.chain(_ENTRY))
        verdict = verify_chain(net.chain(_ENTRY), expected_genesis=load.world.genesis.chain_id)
    return {
        **_described(load),
        "rounds": [{**one, **counted.get(one["round"], {})} for one in played],
        "chain_verifies": verdict.valid,
    }


def attack_alone(load: Load) -> dict[str, Any]:
    """One row: what each kind of attack costs a node that has nothing else to do."""
    kinds: dict[str, Any] = {}
    with started(load) as net:
        net.start()
        _await_blocks(net)
        url = net.urls[_ENTRY]
        watch = ProcessWatch(net)
        time.sleep(_ATTACK_S)
        idle = watch.cpu()["node 0"] / _ATTACK_S
        for kind in KINDS:
            watch, began = ProcessWatch(net), time.monotonic()
            # A body has 60 seconds to come; all else is over sooner.
            output, _ = load.attack(url, 5 if kind == "slow bodies" else _ATTACK_S, [kind]).communicate()
            took_s = time.monotonic() - began
            outcomes: dict[str, int] = json.loads(output)[kind]
            spent = watch.cpu()["node 0"] - idle * took_s
            kinds[kind] = {
                "outcomes": outcomes,
                "took_s": round(took_s, 1),
                "node_cpu_s": round(spent, 2),
                "node_cpu_ms_each": round(1000 * spent / max(1, sum(outcomes.values())), 2),
                "node_memory_mib": watch.memory()["node 0"],
            }
    return {**_described(load), "idle_node_cpu_share": round(idle, 3), "attacks": kinds}


def _await_blocks(net: RandomNetwork) -> None:
    net.wait(lambda: _told(net.urls[_ENTRY]).get("height", 0) > 0, "blocks come")


def _described(load: Load) -> dict[str, Any]:
    genesis = load.world.genesis
    return {
        "servers": load.servers,
        "devices": load.devices,
        "hostile_devices": load.hostile,
        "addresses": 1 if load.one_address else load.devices,
        "model_bytes": genesis.model.model_bytes,
        "phases_heights": {"collect": PHASES.collect, "attest": PHASES.attest, "publish": PHASES.publish},
        "block_s": BLOCK_S,
    }


async def _play(load: Load, net: RandomNetwork, journals: Path) -> list[dict[str, Any]]:
    played: list[dict[str, Any]] = []
    url = net.urls[_ENTRY]
    async with Crowd(net.world, load.devices, [url], journals, one_address=load.one_address) as crowd:
        net.start()
        await asyncio.to_thread(_await_blocks, net)
        phases = PhaseTimes(net.urls[-1])
        try:
            for _ in range(load.rounds):
                attack = load.attack(url, PHASES.collect, list(KINDS)) if load.hostile else None
                before, watch = _bytes(net), ProcessWatch(net)
                if attack is not None:
                    await asyncio.sleep(_HEAD_START_S)
                opened = await crowd.open_round()
                fetched = crowd.fresh_tally()
                own_cpu, began = sum(os.times()[:2]), time.monotonic()
                receipts = await crowd.hand_in(opened)
                took_s = time.monotonic() - began
                round_ = opened[0].round
                await asyncio.to_thread(phases.wait, round_ + 1)
                tally = crowd.fresh_tally()
                played.append(
                    {
                        "round": round_,
                        "accepted": sum(receipt is not None and receipt.accepted is True for receipt in receipts),
                        "gave_up": {"count": len(tally.problems), "first": tally.problems[:5]},
                        "confirmed_after_s": round(took_s, 1),
                        "phase_s": phases.of(round_),
                        "requests": _requests(fetched, tally),
                        "memory_mib": watch.memory(),
                        "cpu_s": {**watch.cpu(), "devices": round(sum(os.times()[:2]) - own_cpu, 2)},
                        "bytes": {name: int(value - before[name]) for name, value in _bytes(net).items()},
                    }
                )
                if attack is not None:
                    output, _ = await asyncio.to_thread(attack.communicate)
                    played[-1]["attacks"] = json.loads(output)
        finally:
            phases.close()
    return played


class PhaseTimes:
    """When each phase of each round begins, as a node tells that is not the entry."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._begins: list[tuple[float, int, str]] = []
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._run, name="phases")
        self._thread.start()

    def of(self, round_: int) -> dict[str, float]:
        """How long each phase of a round took."""
        pairs = zip(self._begins, self._begins[1:], strict=False)
        return {phase: round(end - at, 1) for (at, t, phase), (end, *_) in pairs if t == round_}

    def wait(self, round_: int) -> None:
        """Until a round has begun."""
        while not self._ends.is_set() and not any(t >= round_ for _, t, _ in tuple(self._begins)):
            time.sleep(_POLL_S)

    def close(self) -> None:
        """Ask no more."""
        self._ends.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ends.wait(_POLL_S):
            told = _told(self._url)
            if told and (not self._begins or self._begins[-1][1:] != (told["round"], told["phase"])):
                self._begins.append((time.monotonic(), told["round"], told["phase"]))


def _told(url: str) -> dict[str, Any]:
    """The open round as a node tells it; empty where it does not answer."""
    try:
        with urlopen(f"{url}/v1/round", timeout=20) as answer:  # noqa: S310  # our own node
            return json.load(answer)
    except OSError:
        return {}


def _count(world: RandomWorld, chain: Path) -> dict[int, dict[str, Any]]:
    """For each round: updates on the chain, eligible and selected ones, and the heights that its phases took."""
    found: dict[int, dict[str, Any]] = {}
    with ChainReader(chain) as reader:
        executor = ContractExecutor(VirtualMachine(world.genesis.virtual_machine), reader.blob, world.initial_model)
        rows = [(row.block, row.commit) for row in reader.blocks()]
        for audited in replay(world.signed, rows, executor):
            state = audited.state
            one = found.setdefault(state.round, {"on_chain": 0, "eligible": 0, "selected": 0, "heights": {}})
            one["heights"][str(state.phase)] = one["heights"].get(str(state.phase), 0) + 1
            one["on_chain"] = max(one["on_chain"], len(state.updates))
            if state.phase is Phase.PUBLISH and state.ballot is not None:
                one["eligible"] = len(state.ballot.eligible)
            if state.outcome is not None and state.outcome.round in found:
                found[state.outcome.round]["selected"] = len(state.outcome.selected)
    return found


def _requests(*tallies: Tally) -> dict[str, Any]:
    told: dict[str, Any] = {}
    for tally in tallies:
        for path, statuses in tally.statuses.items():
            told.setdefault(path, {"statuses": {}})["statuses"] |= dict(statuses)
            if seconds := sorted(tally.seconds.get(path, [])):
                told[path]["latency_s"] = _percentiles(seconds)
    return told


def _percentiles(ordered: Sequence[float]) -> dict[str, float]:
    def at(share: float) -> float:
        return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 3)

    return {"p50": at(0.5), "p90": at(0.9), "p99": at(0.99), "max": round(ordered[-1], 3)}


def _bytes(net: RandomNetwork) -> dict[str, float]:
    counted = {"uploads": 0.0, "pulls": 0.0, "signatures": 0.0, "comet": 0.0}
    for address in net.addresses:
        metrics = scrape(f"{address.url}/metrics")
        counted["uploads"] += metrics["bees_uploaded_bytes_total"]
        for kind, name in (("update", "pulls"), ("signature", "signatures")):
            counted[name] += metrics.get(f'bees_peer_bytes_total{{direction="sent",kind="{kind}"}}', 0.0)
        told = scrape(f"http://{address.host}:{address.metrics}/metrics")
        counted["comet"] += sum(v for name, v in told.items() if name.startswith("cometbft_p2p_message_send_bytes"))
    return counted


def _memory() -> str | None:
    return "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108  # journals of devices, for a while


if __name__ == "__main__":
    typer.run(main)
