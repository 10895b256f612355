"""What processes of a network cost: memory and CPU seconds from ``/proc``, counters from their metrics."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.request import urlopen

if TYPE_CHECKING:
    from campaigns.random_network import RandomNetwork

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_KIB_PER_MIB = 1024


def cpu_s(pid: int) -> float:
    """CPU seconds of a process up to now."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


def written_bytes(pid: int) -> int:
    """What a process has had written to disks up to now."""
    fields = dict(line.split(": ") for line in Path(f"/proc/{pid}/io").read_text().splitlines())
    return int(fields["write_bytes"])


def memory_mib(pid: int) -> tuple[float, float]:
    """What a process holds in memory now, and the most that it held since ``forget_peak``."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    kib = {name: int(value.split()[0]) for name, _, value in (line.partition(":") for line in lines) if "kB" in value}
    return round(kib["VmRSS"] / _KIB_PER_MIB, 1), round(kib["VmHWM"] / _KIB_PER_MIB, 1)


def forget_peak(pid: int) -> None:
    """Have the kernel measure the peak of a process' memory from now on."""
    with suppress(OSError):
        Path(f"/proc/{pid}/clear_refs").write_text("5")


def open_files(pid: int) -> int:
    """How many files and connections a process has open."""
    return len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208  # thousands of names, of which only the number counts


def scrape(url: str) -> dict[str, float]:
    """Metrics by name and labels, as Prometheus writes them."""
    with urlopen(url, timeout=60) as answer:  # noqa: S310  # our own processes
        lines = [line for line in answer.read().decode().splitlines() if line and not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


class ProcessWatch:
    """All nodes and CometBFTs of a network, from the moment when this is made."""

    def __init__(self, net: RandomNetwork) -> None:
        self._pids = {f"node {k}": process.pid for k, process in net.nodes.items()}
        self._pids |= {f"comet {k}": process.pid for k, process in net.comets.items()}
        self._cpu = {name: cpu_s(pid) for name, pid in self._pids.items()}
        for pid in self._pids.values():
            forget_peak(pid)
        self._before = {name: memory_mib(pid)[0] for name, pid in self._pids.items()}

    def memory(self) -> dict[str, dict[str, float]]:
        """For each process MiB before, at most, and now."""
        told: dict[str, dict[str, float]] = {}
        for name, pid in self._pids.items():
            now, peak = memory_mib(pid)
            told[name] = {"before": self._before[name], "peak": max(peak, now), "after": now}
        return told

    def cpu(self) -> dict[str, float]:
        """For each process the CPU seconds since the beginning."""
        return {name: round(cpu_s(pid) - self._cpu[name], 2) for name, pid in self._pids.items()}
