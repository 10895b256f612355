"""Runs tests against mutants, each in a process of its own that dies with what the mutant has done.

A mutant of a function costs one fork: the session has imported and collected everything, the child puts the mutated
code into the function object that all of the program shares, and runs the tests that pass over the changed lines,
the fastest first, until one fails. A mutant of what runs at import costs an import: the child has seen nothing of
the program yet, is given the mutated source in place of the module, and runs all tests. A mutant that no test passes
over, or whose code stands nowhere that a fork could find, takes the second way too. What only a slow test would
notice counts as survived.

Time limits count processor time, so that a busy machine kills no mutant.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import importlib.abc
import importlib.util
import json
import os
import resource
import select
import signal
import sys
import time
from dataclasses import dataclass
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Any, TextIO

import hypothesis
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from importlib.machinery import ModuleSpec
    from pathlib import Path
    from types import FrameType, ModuleType

    from campaigns.mutations import Mutant

    Send = Callable[[Any], None]
    Run = Callable[[Send], None]

_CPU_LIMIT_S, _LIMIT_FACTOR = 10, 3
_WALL_FACTOR = 12  # for a mutant that waits instead of working, on a machine that others keep busy
_QUICK_S = 0.5
_SURVIVED = "survived"
_DATA_LIMIT_BYTES = 4 * 2**30
_ARGUMENTS = (
    *("-x", "-q", "-s", "-p", "no:cacheprovider", "-p", "no:faulthandler", "--hypothesis-seed=0"),
    *("-W", "ignore::pytest.PytestAssertRewriteWarning"),  # what is imported before the fork is not rewritten
)


@dataclass(frozen=True)
class Target:
    """A module and the tests that should kill its mutants.

    Attributes:
        name: dotted.
        path: of its source.
        tests: test files.
    """

    name: str
    path: Path
    tests: tuple[Path, ...]


@dataclass(frozen=True)
class CleanRun:
    """The tests against the module as it is.

    Attributes:
        seconds: processor time of each test, by node id, ascending.
        lines: of the module, that each test passes over.
    """

    seconds: Mapping[str, float]
    lines: Mapping[str, frozenset[int]]

    def over(self, mutant: Mutant) -> list[str]:
        """Tests that pass over a changed line, the fastest first; slow ones only where there is no other."""
        changed = range(mutant.line, mutant.last_line + 1)
        found = [test for test in self.seconds if not self.lines[test].isdisjoint(changed)]
        return [test for test in found if test in self.quick] or found

    @property
    def quick(self) -> list[str]:
        """Tests that take no more than half a second. The others would cost hours, since a survivor runs them all."""
        return [test for test, seconds in self.seconds.items() if seconds <= _QUICK_S]

    def limit_s(self, tests: Sequence[str]) -> int:
        """Processor time for these tests: three times what they took, at least 10 s."""
        return max(_CPU_LIMIT_S, round(_LIMIT_FACTOR * sum(self.seconds[test] for test in tests)))


@dataclass(frozen=True)
class Verdict:
    """What became of a mutant.

    Attributes:
        mutant: its place in the list that was asked for.
        fate: "killed", "timed out" or "survived".
        by: the test that failed, or what else ended the run.
        seconds: that it took.
    """

    mutant: int
    fate: str
    by: str
    seconds: float


class CleanRunError(Exception):
    """The tests fail without any mutant, so they can say nothing about mutants."""


def run_mutants(target: Target, mutants: Sequence[Mutant]) -> Iterator[Verdict]:
    """Run the tests against each mutant; yields the verdicts as they come, those of functions first.

    Raises:
        CleanRunError: the tests fail on the module as it is.
    """
    _prepare()
    clean: CleanRun | None = None
    later: list[int] = []
    for message in _messages_of(lambda send: _run_session(target, mutants, send)):
        match message:
            case {"seconds": seconds, "lines": lines}:
                clean = CleanRun(seconds, {test: frozenset(found) for test, found in lines.items()})
            case {"later": index}:
                later.append(index)
            case _:
                yield Verdict(**message)
    if clean is None:
        raise CleanRunError(f"the tests of {target.name} fail without any mutant; run them by hand")
    tests = clean.quick
    for index in later:
        yield _judge(index, lambda send, i=index: _run_afresh(target, mutants[i], tests, send), clean.limit_s(tests))


def _prepare() -> None:
    """Import what tests and program need of others, once; and let hypothesis neither shrink nor remember."""
    for name in ("blake3", "msgspec", "nacl.bindings", "numpy", "wasmtime"):
        importlib.import_module(name)
    phases = (hypothesis.Phase.explicit, hypothesis.Phase.generate)
    checks = tuple(hypothesis.HealthCheck)  # they find slowness, which here is the machine's
    hypothesis.settings.register_profile(
        "mutants", database=None, phases=phases, deadline=None, suppress_health_check=checks
    )
    hypothesis.settings.load_profile("mutants")


def _run_session(target: Target, mutants: Sequence[Mutant], send: Send) -> None:
    pytest.main([*_ARGUMENTS, *map(str, target.tests)], plugins=[_Session(target, mutants, send)])


def _run_afresh(target: Target, mutant: Mutant, tests: list[str], send: Send) -> None:
    sys.meta_path.insert(0, _MutantFinder(target, mutant))
    watch = _Watch(send, tests)
    code = pytest.main([*_ARGUMENTS, *map(str, target.tests)], plugins=[watch])
    if code == pytest.ExitCode.OK:
        send(_SURVIVED)
    elif not watch.failed:
        send("import")


class _Watch:
    """Tells which test failed, and lets the tests run in the order that is given."""

    def __init__(self, send: Send, order: Sequence[str] = ()) -> None:
        self._send, self._order = send, {test: at for at, test in enumerate(order)}
        self.failed = False

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = sorted((i for i in items if i.nodeid in self._order), key=lambda item: self._order[item.nodeid])

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and not self.failed:
            self.failed = True
            self._send(report.nodeid)


class _Session:
    """Takes the place of pytest's loop over the collected tests: the clean run, then a fork for every mutant."""

    def __init__(self, target: Target, mutants: Sequence[Mutant], send: Send) -> None:
        self._target, self._mutants, self._send = target, mutants, send

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        if session.testsfailed:
            return True
        messages = list(_messages_of(lambda send: self._run_clean(session, send)))
        if not messages or set(messages[0]["seconds"]) != {item.nodeid for item in session.items}:
            return True
        clean = CleanRun(
            messages[0]["seconds"], {test: frozenset(found) for test, found in messages[0]["lines"].items()}
        )
        self._send(messages[0])
        functions = _functions_of(self._target.path)
        items = {item.nodeid: item for item in session.items}
        for index, mutant in enumerate(self._mutants):
            tests = clean.over(mutant)
            code = _mutated_code(self._target.path, mutant)
            if not tests or code is None or _name(code) not in functions:
                self._send({"later": index})
                continue
            found = functions[_name(code)]
            chosen = [items[test] for test in tests]
            verdict = _judge(
                index,
                lambda send, found=found, code=code, chosen=chosen: _run_swapped(session, found, code, chosen, send),
                clean.limit_s(tests),
            )
            self._send(vars(verdict))
        return True

    def _run_clean(self, session: pytest.Session, send: Send) -> None:
        path = str(self._target.path)
        seconds: dict[str, float] = {}
        lines: dict[str, list[int]] = {}
        for item, following in _with_next(session.items):
            passed_over: set[int] = set()
            before = time.process_time()
            sys.settrace(_tracer(path, passed_over))
            item.ihook.pytest_runtest_protocol(item=item, nextitem=following)
            sys.settrace(None)
            if session.testsfailed:
                return
            seconds[item.nodeid] = time.process_time() - before
            lines[item.nodeid] = sorted(passed_over)
        send({"seconds": dict(sorted(seconds.items(), key=lambda pair: pair[1])), "lines": lines})


def _run_swapped(
    session: pytest.Session,
    functions: Sequence[FunctionType],
    code: CodeType,
    items: Sequence[pytest.Item],
    send: Send,
) -> None:
    for function in functions:
        function.__code__ = code
    session.config.pluginmanager.register(_Watch(send))
    for item, following in _with_next(items):
        item.ihook.pytest_runtest_protocol(item=item, nextitem=following)
        if session.testsfailed:
            return
    send(_SURVIVED)


def _judge(index: int, run: Run, limit_s: int) -> Verdict:
    """Run tests in a child within a time limit, and tell how it ended."""
    before = time.perf_counter()
    child, lines = _fork(run, limit_s)
    deadline = time.monotonic() + _WALL_FACTOR * limit_s
    said: list[str] = []
    with lines:
        while select.select([lines], [], [], max(0.0, deadline - time.monotonic()))[0]:
            line = lines.readline()
            if not line:
                break
            said.append(json.loads(line))
        else:
            os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    seconds = round(time.perf_counter() - before, 2)
    if os.WIFSIGNALED(status):
        is_late = os.WTERMSIG(status) in {signal.SIGXCPU, signal.SIGKILL}
        return Verdict(index, "timed out" if is_late else "killed", f"signal {os.WTERMSIG(status)}", seconds)
    if said == [_SURVIVED]:
        return Verdict(index, "survived", "", seconds)
    return Verdict(index, "killed", said[0] if said else "the end of the process", seconds)


def _messages_of(run: Run) -> Iterator[Any]:
    """What ``run`` sends from a forked child, as it comes."""
    child, lines = _fork(run)
    with lines:
        yield from map(json.loads, lines)
    os.waitpid(child, 0)


def _fork(run: Run, limit_s: int | None = None) -> tuple[int, TextIO]:
    """Run in a child, and give its process id and what it sends, a JSON value in each line."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _live_and_die(run, writing, limit_s)
    os.close(writing)
    return child, os.fdopen(reading, encoding="utf-8")


def _live_and_die(run: Run, writing: int, limit_s: int | None) -> None:
    silence = os.open(os.devnull, os.O_RDWR)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if limit_s is not None:
        resource.setrlimit(resource.RLIMIT_CPU, (limit_s, limit_s + 1))
        resource.setrlimit(resource.RLIMIT_DATA, (_DATA_LIMIT_BYTES, _DATA_LIMIT_BYTES))
    # What a mutant raises is no concern of the parent's; the end of the pipe says that it is over.
    with contextlib.suppress(BaseException):
        run(lambda message: _write(writing, message))
    os._exit(0)  # nothing that the parent has prepared may be torn down twice


def _write(writing: int, message: object) -> None:
    data = (json.dumps(message) + "\n").encode()
    while data:
        data = data[os.write(writing, data) :]


def _tracer(path: str, lines: set[int]) -> Callable[[FrameType, str, object], Any]:
    def trace_lines(frame: FrameType, _event: str, _argument: object) -> Any:  # noqa: ANN401  # as sys.settrace has it
        lines.add(frame.f_lineno)
        return trace_lines

    def trace_calls(frame: FrameType, _event: str, _argument: object) -> Any:  # noqa: ANN401  # likewise
        return trace_lines(frame, "call", None) if frame.f_code.co_filename == path else None

    return trace_calls


def _with_next(items: Sequence[pytest.Item]) -> Iterator[tuple[pytest.Item, pytest.Item | None]]:
    return zip(items, [*items[1:], None], strict=True)


def _name(code: CodeType) -> tuple[str, int]:
    return code.co_qualname, code.co_firstlineno


def _functions_of(path: Path) -> dict[tuple[str, int], list[FunctionType]]:
    """All functions of a source file that live in this process, by name and line."""
    found: dict[tuple[str, int], list[FunctionType]] = {}
    for thing in gc.get_objects():
        if type(thing) is FunctionType and thing.__code__.co_filename == str(path):
            found.setdefault(_name(thing.__code__), []).append(thing)
    return found


def _mutated_code(path: Path, mutant: Mutant) -> CodeType | None:
    """The mutated code of the function that holds the mutant; None for the code of modules and classes."""
    if not mutant.place:
        return None
    source = mutant.apply(path.read_text(encoding="utf-8"))
    found = [
        code
        for code in _codes_in(compile(source, str(path), "exec", dont_inherit=True))
        if code.co_qualname == mutant.place and code.co_firstlineno <= mutant.line
    ]
    return max(found, key=lambda code: code.co_firstlineno, default=None)


def _codes_in(code: CodeType) -> Iterator[CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            yield from _codes_in(constant)


class _MutantFinder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Gives the mutated source in place of the module."""

    def __init__(self, target: Target, mutant: Mutant) -> None:
        self._target, self._mutant = target, mutant

    def find_spec(self, fullname: str, _path: object = None, _target: object = None) -> ModuleSpec | None:
        if fullname != self._target.name:
            return None
        return importlib.util.spec_from_file_location(fullname, self._target.path, loader=self)

    def exec_module(self, module: ModuleType) -> None:
        source = self._mutant.apply(self._target.path.read_text(encoding="utf-8"))
        exec(compile(source, str(self._target.path), "exec", dont_inherit=True), vars(module))  # noqa: S102  # the point
