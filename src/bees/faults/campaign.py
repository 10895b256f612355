"""Thousands of histories: in parallel, resumable, and summed up.

A campaign's folder holds its settings, one line of JSON per history as soon as that is over, and a plan for each
history that has broken something. Stopped at any moment, by whatever, it goes on where it was.
"""

from __future__ import annotations

import signal
from collections import deque
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import msgspec
from msgspec import Struct

from bees.core.errors import BeesError, InputError
from bees.core.hashes import digest
from bees.faults.plan import draw_plan
from bees.faults.plan_file import encode_plan
from bees.faults.play import Played, play

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Sequence

    from bees.faults.plan import Plan

SETTINGS = "settings.json"
CODE = "code"
"""Names the code that has played the histories of a folder: others' histories would not be the same ones."""
RESULTS = "results.jsonl"
VIOLATIONS = "violations"
_PLAYED_BY = ("core", "contract", "ledger", "protocol", "engines", "adversary", "faults")
_BESIDE = ("campaign.py", "plan_file.py", "shrink.py", "summary.py")
"""Modules of ``bees.faults`` on which no history depends."""
_CODE_SUFFIXES = (".py", ".wasm", ".json")
_AHEAD = 2
"""How many histories wait for each process, so that none is idle."""


class Settings(Struct, frozen=True, forbid_unknown_fields=True):
    """Which plans a campaign draws.

    Attributes:
        servers, devices: N and K.
        faulty: how many servers are Byzantine, or None for the largest number that N withstands.
        weak_quorum: whether blocks are committed by one signature less than is safe.
    """

    servers: int = 20
    devices: int = 8
    faulty: int | None = None
    weak_quorum: bool = False

    def plan(self, seed: int) -> Plan:
        """The plan of a seed."""
        return draw_plan(
            seed, servers=self.servers, devices=self.devices, faulty=self.faulty, weak_quorum=self.weak_quorum
        )


@dataclass(eq=False)
class CampaignError(BeesError):
    """A campaign cannot go on, though nothing is wrong with what it was given.

    Attributes:
        folder: of the campaign.
        problem: why.
    """

    folder: str
    problem: str

    @property
    def message(self) -> str:
        """What has stopped it, and how to go on."""
        return f"{self.folder}: {self.problem}; go on with --resume {self.folder}"


class Results:
    """What a campaign's folder holds.

    Attributes:
        folder: of the campaign; made, if need be.
        settings: of its plans.
        played: histories by seed.
    """

    def __init__(self, folder: Path, settings: Settings) -> None:
        """Open a folder, new or of a campaign that was stopped.

        Raises:
            InputError: it belongs to a campaign with other settings or of other code, or what it holds is broken.
        """
        self.folder = folder
        self.settings = settings
        folder.mkdir(parents=True, exist_ok=True)
        known = read_settings(folder) if (folder / SETTINGS).exists() else None
        if known is not None and known != settings:
            raise InputError(str(folder), f"is of a campaign with {known}, not {settings}; name another folder")
        if known is None:
            (folder / CODE).write_text(code_digest())
            (folder / SETTINGS).write_bytes(msgspec.json.encode(settings) + b"\n")
        _check_code(folder)
        self.played = _read_results(folder / RESULTS)

    @property
    def broken(self) -> list[Played]:
        """Histories that have broken an invariant, by seed."""
        return [played for _, played in sorted(self.played.items()) if played.result.violation]

    @contextmanager
    def adding(self) -> Generator[Callable[[int, Played], None]]:
        """A function that adds a history, and writes it down at once."""
        with (self.folder / RESULTS).open("ab") as file:

            def add(seed: int, played: Played) -> None:
                self.played[seed] = played
                _write_line(file, played)
                if played.result.violation:
                    self._keep_plan(seed)

            yield add

    def _keep_plan(self, seed: int) -> None:
        home = self.folder / VIOLATIONS
        home.mkdir(exist_ok=True)
        (home / f"seed-{seed}.json").write_bytes(encode_plan(self.settings.plan(seed)))


def code_digest() -> str:
    """A hash of all code that has a part in a history: with the same one, a seed gives the same history."""
    package = Path(__file__).parents[1]
    files = (path for part in _PLAYED_BY for path in (package / part).rglob("*"))
    paths = sorted(path for path in files if path.suffix in _CODE_SUFFIXES and path.name not in _BESIDE)
    content = b"".join(digest(path.relative_to(package).as_posix(), path.read_bytes()) for path in paths)
    return digest("code of histories", content).hex()[:16]


def _check_code(folder: Path) -> None:
    if (folder / CODE).read_text() != code_digest():
        raise InputError(str(folder), "was played by other code than this, whose histories differ; begin a new one")


def read_settings(folder: Path) -> Settings:
    """The settings of a campaign that was begun.

    Raises:
        InputError: the folder is of no campaign.
    """
    try:
        return msgspec.json.decode((folder / SETTINGS).read_bytes(), type=Settings)
    except OSError as error:
        raise InputError(str(folder), f"is of no campaign: its {SETTINGS} cannot be read") from error
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise InputError(str(folder / SETTINGS), f"is broken: {error}") from error


def run_campaign(
    results: Results,
    seeds: Sequence[int],
    *,
    jobs: int = 1,
    stop_after: int | None = None,
    on_history: Callable[[], object] | None = None,
) -> bool:
    """Play the histories of all seeds that the folder does not hold yet.

    Args:
        results: takes them.
        seeds: of the histories; each is played once.
        jobs: processes. What is found does not depend on it.
        stop_after: end early when so many have broken an invariant.
        on_history: called after each one.

    Returns:
        Whether all were played; False when it has ended early.

    Raises:
        CampaignError: a process has died.
    """
    wanted = deque(seed for seed in seeds if seed not in results.played)
    found = sum(bool(results.played[seed].result.violation) for seed in seeds if seed in results.played)
    with results.adding() as add, _players(results, wanted, jobs) as players:
        if stop_after is not None and found >= stop_after:
            return False
        for seed, played in players:
            add(seed, played)
            if on_history is not None:
                on_history()
            found += bool(played.result.violation)
            if stop_after is not None and found >= stop_after:
                return False
    return True


@contextmanager
def _players(results: Results, seeds: deque[int], jobs: int) -> Generator[Iterator[tuple[int, Played]]]:
    settings = results.settings
    if jobs == 1:
        yield ((seed, play(settings.plan(seed))) for seed in seeds)
        return
    # Spawned, not forked: a fork of a process with threads may hang.
    pool = ProcessPoolExecutor(jobs, get_context("spawn"), _ignore_interrupts)
    try:
        yield _as_they_end(pool, settings, seeds, jobs * _AHEAD)
    except BrokenProcessPool as error:
        raise CampaignError(str(results.folder), "a process has died, perhaps for lack of memory") from error
    finally:
        pool.shutdown(cancel_futures=True)


def _as_they_end(
    pool: ProcessPoolExecutor, settings: Settings, seeds: deque[int], ahead: int
) -> Iterator[tuple[int, Played]]:
    running: dict[Future[Played], int] = {}
    while seeds or running:
        while seeds and len(running) < ahead:
            seed = seeds.popleft()
            running[pool.submit(_play_seed, settings, seed)] = seed
        for done in wait(running, return_when=FIRST_COMPLETED).done:
            yield running.pop(done), done.result()


def _play_seed(settings: Settings, seed: int) -> Played:
    return play(settings.plan(seed))


def _ignore_interrupts() -> None:
    """Leave Ctrl-C, which a terminal sends to all processes, to the one that writes the results."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _write_line(file: BinaryIO, played: Played) -> None:
    file.write(msgspec.json.encode(played) + b"\n")
    file.flush()


def _read_results(path: Path) -> dict[int, Played]:
    """The histories of a file, by seed; half a line at its end, which a kill can leave, is cut off."""
    if not path.exists():
        return {}
    data = path.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    if len(whole) < len(data):
        with path.open("r+b") as file:
            file.truncate(len(whole))
    try:
        return {played.result.seed: played for played in _decode_lines(whole.splitlines())}
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise InputError(str(path), f"is broken: {error}") from error


def _decode_lines(lines: Iterable[bytes]) -> Iterator[Played]:
    decoder = msgspec.json.Decoder(Played)
    yield from map(decoder.decode, lines)
