"""``kill -9`` at random moments of a long run: the resumed chain is that of an uninterrupted run, hash by hash.

A *history* is one run in one folder: started, killed, resumed, killed again, until it ends well; then a new one begins.
Moments are drawn from a seed, in three kinds: by the clock from the start of the process (interpreter, imports,
catching up), by a row of ``rounds.jsonl`` that has just been announced (while blocks are written), and by the last row
(the end: closing the chain, summary, report). A row is written when its blocks are committed and synced, so it is what
the process has promised.

What is checked after each kill, against the file alone:

* the chain verifies up to its tip;
* its blocks are the first blocks of the uninterrupted run, hash by hash;
* no block is lost: it holds all blocks that a row announced, and all that it held after the kill before.

When a history ends, its ``rounds.jsonl`` and its canonical export must be those of the uninterrupted run.

SIGKILL stops a process and not the machine. What a power cut may leave of the write-ahead log is tried byte by byte in
``tests/engines/test_crash.py``.

Example: ``python -m campaigns.kills --kills 200``
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic, sleep
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from bees.cli.console import Quiet, plain, progress
from bees.core.canonical import encode
from bees.core.hashes import digest
from bees.core.seeds import generator
from bees.engines.audit import export_chain, iter_chain, verify_chain
from bees.run_folder import CHAIN, ROUNDS, read_rounds
from campaigns.evidence import write_evidence

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.random import Generator

Moment = Literal["clock", "row", "end"]

BEES = Path(sys.executable).with_name("bees")
POLL_S = 0.001
PATIENCE_S = 300.0
"""A process that takes longer hangs."""
SHARES: dict[Moment, float] = {"clock": 0.35, "row": 0.53, "end": 0.12}
"""How often each kind of moment is drawn. A history ends with a kill at its end, so it has about eight."""


@dataclass(frozen=True)
class Whole:
    """The uninterrupted run.

    Attributes:
        blocks: a hash of each block and its commit, by height from 1.
        rows: ``rounds.jsonl``.
        export: the chain in its canonical bytes.
        first_row_s: from the start of its process to its first row.
        rows_s: from its first row to its last.
        end_s: from its last row to the end of its process.
    """

    blocks: tuple[bytes, ...]
    rows: bytes
    export: bytes
    first_row_s: float
    rows_s: float
    end_s: float

    @property
    def rounds(self) -> int:
        """How many communication rounds it has."""
        return self.rows.count(b"\n")


@dataclass(frozen=True)
class Kill:
    """One SIGKILL, and what it left.

    Attributes:
        moment: how it was drawn.
        phase: what the process was at.
        height: of the chain that it left; 0 where there is none.
        lost: blocks that were promised, or there before, and are not there.
        divergent: blocks that are not those of the uninterrupted run.
        problem: why the chain does not verify; empty if it does.
    """

    moment: Moment
    phase: str
    height: int
    lost: int
    divergent: int
    problem: str


@dataclass
class Tally:
    """What a campaign has found.

    Attributes:
        kills: all that were dealt.
        failures: what processes said that failed though nobody killed them.
        outran: processes that ended before their kill came.
        histories: runs that were killed and resumed until they ended.
        unlike: histories whose rows or export are not those of the uninterrupted run.
    """

    kills: list[Kill] = field(default_factory=list[Kill])
    failures: list[str] = field(default_factory=list[str])
    outran: int = 0
    histories: int = 0
    unlike: int = 0

    @property
    def holds(self) -> bool:
        """Whether nothing was lost, nothing diverged, and every run ended as if nobody had killed it."""
        unharmed = not any(kill.lost or kill.divergent or kill.problem for kill in self.kills)
        return unharmed and not self.failures and not self.unlike

    def as_results(self) -> dict[str, Any]:
        """The numbers, for the evidence."""
        return {
            "kills": len(self.kills),
            "kills_by_phase": Counter(kill.phase for kill in self.kills),
            "kills_by_moment": Counter(kill.moment for kill in self.kills),
            "different_heights_hit": len({kill.height for kill in self.kills}),
            "blocks_lost": sum(kill.lost for kill in self.kills),
            "divergent_hashes": sum(kill.divergent for kill in self.kills),
            "chains_not_valid": [kill.problem for kill in self.kills if kill.problem],
            "failures": self.failures,
            "processes_that_outran_their_kill": self.outran,
            "histories": self.histories,
            "histories_unlike_the_uninterrupted_run": self.unlike,
            "holds": self.holds,
        }


class CampaignError(Exception):
    """The uninterrupted run itself does not end well, so there is nothing to compare with."""


def deal_kills(
    kills: int, rounds: int, seed: int, scratch: Path, on_kill: Callable[[Kill], object] = lambda _kill: None
) -> tuple[Whole, Tally]:
    """Run once in peace; then kill and resume, history after history, until so many kills are dealt.

    Args:
        kills: how many.
        rounds: communication rounds of each run, of the preset ``quick``.
        seed: of the moments.
        scratch: an empty folder.
        on_kill: progress.

    Raises:
        CampaignError: the uninterrupted run does not end well.
    """
    start = ["run", "quick", "--set", f"blocks={rounds}"]
    whole = run_whole(start, scratch)
    tally, draw = Tally(), generator(seed, "kills")
    while len(tally.kills) < kills and not tally.failures:
        _History(start, scratch, whole, tally, draw).play(kills, on_kill)
    return whole, tally


def run_whole(start: list[str], scratch: Path) -> Whole:
    """The uninterrupted run, and how long its parts take.

    Raises:
        CampaignError: it does not end well.
    """
    run, began = scratch / "whole", monotonic()
    process = _start([*start, "--out", str(run)], scratch)
    first_s, last_s = (_wait_for_rows(process, run / ROUNDS, count) for count in (1, _rounds_of(start)))
    _, told = process.communicate(timeout=PATIENCE_S)
    if process.returncode != 0:
        raise CampaignError(f"the uninterrupted run failed: {told.decode()}")
    return Whole(
        blocks=_block_hashes(run / CHAIN),
        rows=(run / ROUNDS).read_bytes(),
        export=_export(run / CHAIN),
        first_row_s=first_s - began,
        rows_s=last_s - first_s,
        end_s=monotonic() - last_s,
    )


class _History:
    """One run that is killed and resumed until a kill hits its end; then it is left in peace."""

    def __init__(self, start: list[str], scratch: Path, whole: Whole, tally: Tally, draw: Generator) -> None:
        self._start, self._scratch, self._whole, self._tally, self._draw = start, scratch, whole, tally, draw
        self._run = scratch / f"history-{tally.histories}"
        self._height = self._promised = 0

    def play(self, kills: int, on_kill: Callable[[Kill], object]) -> None:
        moment: Moment = "clock"
        while moment != "end" and len(self._tally.kills) < kills:
            moment = self._draw.choice(list(SHARES), p=list(SHARES.values()))
            process = self._go_on()
            self._wait(process, moment)
            process.send_signal(signal.SIGKILL)
            _, told = process.communicate(timeout=PATIENCE_S)
            if process.returncode not in {0, -signal.SIGKILL}:
                self._tally.failures.append(told.decode())
                return
            if process.returncode == 0:
                self._tally.outran += 1
                break
            self._tally.kills.append(self._look(moment))
            on_kill(self._tally.kills[-1])
        self._end()

    def _go_on(self) -> subprocess.Popen[bytes]:
        arguments = (
            ["run", "--resume", str(self._run)] if self._run.exists() else [*self._start, "--out", str(self._run)]
        )
        return _start(arguments, self._scratch)

    def _wait(self, process: subprocess.Popen[bytes], moment: Moment) -> None:
        """Until the moment comes, or the process ends."""
        whole, rows = self._whole, self._run / ROUNDS
        if moment == "clock":
            delay_s = self._draw.uniform(0.0, whole.first_row_s)
        elif moment == "row":
            done = len(read_rounds(self._run)) if rows.exists() else 0
            last = min(whole.rounds, done + max(2, whole.rounds // 8))
            _wait_for_rows(process, rows, int(self._draw.integers(max(1, done - 3), last + 1)))
            delay_s = self._draw.uniform(0.0, 3 * whole.rows_s / whole.rounds)
        else:
            _wait_for_rows(process, rows, whole.rounds)
            delay_s = self._draw.uniform(0.0, whole.end_s)
        _wait_until(process, monotonic() + delay_s)

    def _look(self, moment: Moment) -> Kill:
        """What the kill has left, found from the files alone."""
        chain, before = self._run / CHAIN, self._height
        hashes = _block_hashes(chain) if chain.exists() else ()
        verdict = verify_chain(chain) if chain.exists() else None
        rows = read_rounds(self._run) if (self._run / ROUNDS).exists() else ()
        self._promised = max(self._promised, before, *(row.height for row in rows[-1:]))
        self._height = len(hashes)
        known = self._whole.blocks
        return Kill(
            moment=moment,
            phase=self._phase(before),
            height=self._height,
            lost=max(0, self._promised - self._height),
            divergent=sum(own != other for own, other in zip(hashes, known, strict=False))
            + max(0, len(hashes) - len(known)),
            problem="" if verdict is None or verdict.valid else verdict.reason,
        )

    def _phase(self, before: int) -> str:
        if not self._run.exists():
            return "before the folder"
        if not (self._run / CHAIN).exists():
            return "before the chain file"
        if self._height == len(self._whole.blocks):
            return "after the last block"
        return "while blocks are written" if self._height > before else "while starting or catching up"

    def _end(self) -> None:
        """Let the run end, and compare it with the uninterrupted one."""
        process = self._go_on()
        _, told = process.communicate(timeout=PATIENCE_S)
        if process.returncode != 0:
            self._tally.failures.append(told.decode())
            return
        same_rows = (self._run / ROUNDS).read_bytes() == self._whole.rows
        self._tally.unlike += not (same_rows and _export(self._run / CHAIN) == self._whole.export)
        self._tally.histories += 1
        shutil.rmtree(self._run)


def _start(arguments: list[str], scratch: Path) -> subprocess.Popen[bytes]:
    """A process of its own that remembers what JAX compiles: otherwise start-up takes the campaign's time."""
    remember = {
        "JAX_COMPILATION_CACHE_DIR": str(scratch / "compiled"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    command = [str(BEES), *arguments, "--quiet"]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env={**os.environ, **remember})


def _wait_for_rows(process: subprocess.Popen[bytes], rows: Path, count: int) -> float:
    """Wait until so many rows are announced, or the process ends; returns when that was."""
    end = monotonic() + PATIENCE_S
    while process.poll() is None and monotonic() < end:
        if rows.exists() and rows.read_bytes().count(b"\n") >= count:
            break
        sleep(POLL_S)
    return monotonic()


def _wait_until(process: subprocess.Popen[bytes], end: float) -> None:
    while process.poll() is None and monotonic() < end:
        sleep(min(POLL_S, max(0.0, end - monotonic())))


def _rounds_of(start: list[str]) -> int:
    return int(start[-1].partition("=")[2])


def _block_hashes(chain: Path) -> tuple[bytes, ...]:
    entries = iter_chain(chain)
    return tuple(digest("block and commit", encode(entry.block) + encode(entry.commit)) for entry in entries)


def _export(chain: Path) -> bytes:
    out = BytesIO()
    export_chain(chain, out)
    return out.getvalue()


def main(
    kills: Annotated[int, typer.Option(min=1, help="How many processes to kill.")] = 200,
    rounds: Annotated[int, typer.Option(min=2, help="Communication rounds of each run.")] = 100,
    seed: Annotated[int, typer.Option(min=0, help="Of the moments.")] = 0,
    quiet: Quiet = False,
) -> None:
    """Kill runs at random moments, resume them, and compare them with an uninterrupted one."""
    began = monotonic()
    with TemporaryDirectory(prefix="bees-kills-") as scratch, progress(quiet) as bar:
        task = bar.add_task("kills", total=kills, note="the uninterrupted run")
        whole, tally = deal_kills(
            kills,
            rounds,
            seed,
            Path(scratch),
            lambda kill: bar.update(task, advance=1, note=f"{kill.phase}, height {kill.height}"),
        )
    results = {
        **tally.as_results(),
        "preset": "quick",
        "rounds": rounds,
        "blocks": len(whole.blocks),
        "seed": seed,
        "uninterrupted_run_s": round(whole.first_row_s + whole.rows_s + whole.end_s, 3),
        "seconds": round(monotonic() - began, 1),
    }
    path = write_evidence(
        "kills", f"python -m campaigns.kills --kills {kills} --rounds {rounds} --seed {seed}", results
    )
    plain(
        f"{results['kills']} kills, {results['blocks_lost']} blocks lost, {results['divergent_hashes']} divergent"
        f" hashes, {results['histories']} runs resumed to their end, {results['seconds']:.0f} s: {path}"
    )
    if not tally.holds:
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
