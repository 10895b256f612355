"""Coverage-guided fuzzing of everything that reads bytes from outside: ``python -m campaigns.fuzz --minutes 60``.

The targets take turns in short slices, each a libFuzzer process (atheris) on a corpus that grows from slice to slice.
After each slice ``docs/evidence/fuzz.json`` is written, so an interrupted campaign leaves what it has found. At the end
the inputs that reach something new are added to the kept corpus, which the tests replay.
"""

from __future__ import annotations

import argparse
import re
import resource
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from campaigns.evidence import EVIDENCE, ROOT, write_evidence
from campaigns.fuzz_corpus import KEPT, keep, kept_inputs, replace_kept
from campaigns.fuzz_seeds import seeds
from campaigns.fuzz_targets import TARGETS

if TYPE_CHECKING:
    from collections.abc import Sequence

SLICE_S = 105
HANG_S = 30
MEMORY_MB = 2048
_LONGEST_INPUT_BYTES = 4096
_START_LIMIT_S = 900  # on a busy machine the start alone takes a minute

_PROGRESS = re.compile(r"cov: (\d+) ft: (\d+)")
_DONE = re.compile(r"stat::number_of_executed_units:\s*(\d+)")
_SECONDS = re.compile(r"^Done \d+ runs in (\d+) second", re.MULTILINE)
_PEAK = re.compile(r"stat::peak_rss_mb:\s*(\d+)")
_EXCEPTION = re.compile(
    r"Uncaught Python exception: ===\n(?:.*\n)*?((?:[\w.]+)(?:Error|Exception|Warning|Interrupt)\b.*)"
)


@dataclass
class Slice:
    """What one libFuzzer process has done.

    Attributes:
        executions: inputs that were run.
        seconds: that it fuzzed.
        coverage: edges of the instrumented code that were reached.
        features: edges with how often they were taken.
        peak_mb: largest resident memory.
        problem: why it ended early, or empty.
    """

    executions: int
    seconds: float
    coverage: int
    features: int
    peak_mb: int
    problem: str


@dataclass
class Tally:
    """What has been done to one target so far; units as in ``Slice``."""

    executions: int = 0
    seconds: float = 0.0
    coverage: int = 0
    features: int = 0
    peak_mb: int = 0
    corpus_files: int = 0
    findings: list[dict[str, str]] = field(default_factory=list[dict[str, str]])

    def add(self, done: Slice) -> None:
        """Count a slice."""
        self.executions += done.executions
        self.seconds = round(self.seconds + done.seconds, 1)
        self.coverage = max(self.coverage, done.coverage)
        self.features = max(self.features, done.features)
        self.peak_mb = max(self.peak_mb, done.peak_mb)


class Campaign:
    """The corpora and findings of a work folder, and the numbers of this campaign."""

    def __init__(
        self, work: Path, targets: Sequence[str], command: str, evidence: Path = EVIDENCE, name: str = "fuzz"
    ) -> None:
        """Fill the corpora with the seeds and the kept inputs.

        Args:
            work: a folder whose corpora are taken over where there are some.
            targets: their names.
            command: that started it, for the evidence.
            evidence: folder to write to.
            name: of the file there, without its ending.
        """
        self._work, self._command, self._evidence, self._name = work, command, evidence, name
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        self._cpu_before_s = before.ru_utime + before.ru_stime
        self.tallies = {target: Tally() for target in targets}
        for target in targets:
            keep(target, [*seeds()[target], *kept_inputs(target).values()], work / "corpus")
            (work / "findings" / target).mkdir(parents=True, exist_ok=True)

    def run_slice(self, name: str, seconds: int) -> None:
        """Fuzz a target for some seconds, and write the evidence again."""
        before, started = self._findings(name), time.monotonic()
        done = self._fuzz(name, seconds, started)
        tally = self.tallies[name]
        tally.add(done)
        tally.corpus_files = len(list(self._corpus(name).iterdir()))
        fresh = sorted(self._findings(name) - before)
        tally.findings += [{"input": path, "problem": done.problem or "unknown"} for path in fresh]
        if done.problem and not fresh:
            tally.findings.append({"input": "", "problem": done.problem})
        self.write()

    def write(self) -> None:
        """Write the evidence."""
        tallies = self.tallies.values()
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        results = {
            "cpu_seconds": round(used.ru_utime + used.ru_stime - self._cpu_before_s, 1),
            "executions": sum(tally.executions for tally in tallies),
            "findings": sum(len(tally.findings) for tally in tallies),
            "fuzzer": f"atheris {version('atheris')} (libFuzzer)",
            "hang_limit_s": HANG_S,
            "memory_limit_mb": MEMORY_MB,
            "seconds": round(sum(tally.seconds for tally in tallies), 1),
            "targets": {name: asdict(tally) for name, tally in self.tallies.items()},
        }
        write_evidence(self._name, self._command, results, self._evidence)

    def renew_kept_corpus(self, folder: Path = KEPT) -> None:
        """Replace the kept inputs of each target by few that reach all that its corpus reaches."""
        for name in self.tallies:
            corpus = [path.read_bytes() for path in self._corpus(name).iterdir()]
            replace_kept(name, corpus, folder)

    def _corpus(self, name: str) -> Path:
        return self._work / "corpus" / name

    def _findings(self, name: str) -> set[str]:
        return {str(path.relative_to(self._work)) for path in (self._work / "findings" / name).iterdir()}

    def _fuzz(self, name: str, seconds: int, started: float) -> Slice:
        longest = max(map(len, seeds()[name]))
        options = [
            f"-max_total_time={seconds}",
            f"-timeout={HANG_S}",
            f"-rss_limit_mb={MEMORY_MB}",
            f"-max_len={max(_LONGEST_INPUT_BYTES, 2 * longest)}",
            f"-artifact_prefix={self._work / 'findings' / name}/",
            "-print_final_stats=1",
        ]
        command = [sys.executable, "-m", "campaigns.fuzz_process", name, *options, str(self._corpus(name))]
        try:
            ended = subprocess.run(
                command,
                cwd=ROOT,
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
                timeout=seconds + _START_LIMIT_S,
            )
        except subprocess.TimeoutExpired as expired:
            (self._work / f"{name}.log").write_bytes(expired.stderr or b"")
            return Slice(0, seconds, 0, 0, 0, "the process did not end, not even by libFuzzer's own limit")
        (self._work / f"{name}.log").write_text(ended.stderr + ended.stdout, encoding="utf-8")
        return read_log(ended.stderr + ended.stdout, ended.returncode, time.monotonic() - started)


def read_log(log: str, returncode: int, elapsed_s: float) -> Slice:
    """What libFuzzer's log tells of a slice.

    Args:
        log: standard error of the process.
        returncode: of the process, 0 when it ended by its time limit.
        elapsed_s: wall-clock time of the process, for one that did not come to say its own.
    """
    progress, counted = _PROGRESS.findall(log), _DONE.search(log)
    seconds, peak = _SECONDS.search(log), _PEAK.search(log)
    coverage, features = map(int, progress[-1]) if progress else (0, 0)
    return Slice(
        executions=int(counted[1]) if counted else 0,
        seconds=float(seconds[1]) if seconds else round(elapsed_s, 1),
        coverage=coverage,
        features=features,
        peak_mb=int(peak[1]) if peak else 0,
        problem="" if returncode == 0 else _problem(log, returncode),
    )


def _problem(log: str, returncode: int) -> str:
    raised = _EXCEPTION.search(log)
    if raised:
        return raised[1][:300]
    for line in log.splitlines():
        if line.startswith("==") and "ERROR" in line:
            return line.partition("ERROR: ")[2][:300]
    return f"the process ended with {returncode}: {(log.splitlines() or ['no output'])[-1][:200]}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a campaign; returns 1 when something was found."""
    parser = argparse.ArgumentParser(prog="python -m campaigns.fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0, help="of fuzzing, starting the processes not counted")
    parser.add_argument("--target", action="append", choices=sorted(TARGETS), help="only this one; may be repeated")
    parser.add_argument("--jobs", type=int, default=1, help="processes at a time")
    parser.add_argument("--work", type=Path, default=ROOT / "runs" / "fuzz", help="keeps corpora between campaigns")
    parser.add_argument("--slice-seconds", type=int, default=SLICE_S, help="of one target's turn")
    parser.add_argument("--evidence", default="fuzz", help="name of the file in docs/evidence, without its ending")
    options = parser.parse_args(arguments)
    names: list[str] = options.target or list(TARGETS)
    given = " ".join(sys.argv[1:] if arguments is None else arguments)
    campaign = Campaign(
        options.work.resolve(), names, f"python -m campaigns.fuzz {given}".strip(), name=options.evidence
    )
    slice_s = min(options.slice_seconds, max(1, round(60 * options.minutes * options.jobs / len(names))))
    with ThreadPoolExecutor(options.jobs) as pool:
        while (left_s := 60 * options.minutes - _fuzzed_s(campaign) / options.jobs) > 0:
            turn_s = max(1, min(slice_s, round(left_s * options.jobs / len(names)) or 1))
            list(pool.map(partial(_run_and_tell, campaign, turn_s), names))
    campaign.renew_kept_corpus()
    campaign.write()
    return 1 if any(tally.findings for tally in campaign.tallies.values()) else 0


def _fuzzed_s(campaign: Campaign) -> float:
    return sum(tally.seconds for tally in campaign.tallies.values())


def _run_and_tell(campaign: Campaign, seconds: int, name: str) -> None:
    campaign.run_slice(name, seconds)
    tally = campaign.tallies[name]
    print(
        f"{name}: {tally.executions} executions in {tally.seconds:.0f} s, coverage {tally.coverage},"
        f" {tally.corpus_files} inputs, {len(tally.findings)} findings",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
