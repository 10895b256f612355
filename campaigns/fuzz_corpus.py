"""The small corpus that is kept in the repository, and replayed by the tests."""

from __future__ import annotations

import hashlib
import sys
from typing import TYPE_CHECKING

from campaigns.evidence import ROOT
from campaigns.fuzz_targets import run_target

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path
    from types import FrameType, TracebackType
    from typing import Self

    from _typeshed import TraceFunction

KEPT = ROOT / "tests" / "fuzz" / "corpus"
BUDGET_BYTES = 9_500
"""For one target; with nineteen of them the corpus stays under 200 KB."""
FOUND = "found-"
"""Starts the names of inputs that once did harm."""
LARGER_BUDGETS_BYTES = {"chain_file": 28_000}

_SOURCES = f"{ROOT / 'src' / 'bees'}/"


def kept_inputs(target: str, folder: Path = KEPT) -> dict[str, bytes]:
    """The kept inputs of a target, by file name."""
    return {path.name: path.read_bytes() for path in sorted((folder / target).glob("*")) if path.is_file()}


def minimise(target: str, inputs: Iterable[bytes], budget_bytes: int | None = None) -> list[bytes]:
    """Few small inputs that reach what all of them reach: smaller ones first, each that takes a new step in ``bees``.

    Args:
        target: by name.
        inputs: to choose from.
        budget_bytes: of all that are chosen; by default what the repository has room for.
    """
    chosen: list[bytes] = []
    seen: set[tuple[str, int, int]] = set()
    left = LARGER_BUDGETS_BYTES.get(target, BUDGET_BYTES) if budget_bytes is None else budget_bytes
    # The first input also reaches what is made only once, such as the chain to fuzz against.
    run_target(target, b"")
    for data in sorted(set(inputs), key=lambda data: (len(data), data)):
        if len(data) > left:
            break
        with _Steps() as steps:
            run_target(target, data)
        if steps.taken - seen:
            seen |= steps.taken
            chosen.append(data)
            left -= len(data)
    return chosen


def replace_kept(target: str, inputs: Iterable[bytes], folder: Path = KEPT) -> None:
    """Put few of these inputs in place of those that are kept; what once was a finding stays."""
    for path in (folder / target).glob("*"):
        if not path.name.startswith(FOUND):
            path.unlink()
    keep(target, minimise(target, inputs), folder)


def keep(target: str, inputs: Iterable[bytes], folder: Path = KEPT) -> list[Path]:
    """Add inputs to the kept corpus; each file is named by its content."""
    home = folder / target
    home.mkdir(parents=True, exist_ok=True)
    paths: list[Path] = []
    for data in inputs:
        path = home / hashlib.sha256(data).hexdigest()[:16]
        path.write_bytes(data)
        paths.append(path)
    return paths


class _Steps:
    """The steps from line to line that a piece of code takes in ``bees``."""

    def __init__(self) -> None:
        self.taken: set[tuple[str, int, int]] = set()

    def __enter__(self) -> Self:
        sys.settrace(self._enter)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        sys.settrace(None)

    def _enter(self, frame: FrameType, event: str, argument: object) -> TraceFunction | None:  # noqa: ARG002  # settrace's signature
        name = frame.f_code.co_filename
        if not name.startswith(_SOURCES):
            return None
        last = frame.f_code.co_firstlineno

        def step(frame: FrameType, event: str, argument: object) -> TraceFunction:  # noqa: ARG001  # likewise
            nonlocal last
            if event == "line":
                self.taken.add((name, last, frame.f_lineno))
                last = frame.f_lineno
            return step

        return step
