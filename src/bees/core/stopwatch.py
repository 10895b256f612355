"""Where the time goes: seconds by name, so that a benchmark can say what a round is spent on."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from time import perf_counter
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType


class PhaseTimer(Protocol):
    """What code that wants to be timed takes: ``with timer("verify"): ...``."""

    def __call__(self, name: str) -> AbstractContextManager[object]:
        """A context whose time counts for ``name``."""
        ...


class Stopwatch:
    """Seconds by name, on a monotonic clock.

    Phases nest, and an inner one stops the outer: each second counts once, and all of them sum to the time
    that was measured. Not for use from several threads.

    Attributes:
        seconds: by name, in order of first use.
    """

    def __init__(self, clock: Callable[[], float] = perf_counter) -> None:
        """Start at zero; ``clock`` tells the seconds since some fixed moment."""
        self.seconds: dict[str, float] = {}
        self._clock = clock
        self._running: list[str] = []
        self._since = 0.0
        self._phases: dict[str, _Phase] = {}

    def __call__(self, name: str) -> AbstractContextManager[object]:
        """A context whose time counts for ``name``."""
        phase = self._phases.get(name)
        if phase is None:
            phase = self._phases[name] = _Phase(self, name)
        return phase

    def enter(self, name: str) -> None:
        """Stop the running phase, and start ``name``."""
        self._book()
        self._running.append(name)

    def leave(self) -> None:
        """Stop the running phase, and go on with the one around it."""
        self._book()
        self._running.pop()

    def _book(self) -> None:
        now = self._clock()
        if self._running:
            name = self._running[-1]
            self.seconds[name] = self.seconds.get(name, 0.0) + now - self._since
        self._since = now


class _Phase:
    """Reusable, because a phase keeps no state of its own."""

    def __init__(self, watch: Stopwatch, name: str) -> None:
        self._watch = watch
        self._name = name

    def __enter__(self) -> None:
        self._watch.enter(self._name)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._watch.leave()


_NOTHING: AbstractContextManager[object] = nullcontext()


def untimed(name: str) -> AbstractContextManager[object]:  # noqa: ARG001  # the no-op takes what the real one takes
    """The timer that measures nothing."""
    return _NOTHING
