"""Makes a plan that breaks an invariant smaller, until nothing can be left out: delta debugging.

After Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing Input" (2002): try to leave out halves, then
quarters, down to single items, and keep whatever still breaks the same invariant. What is tried, and in which order,
depends on the plan alone, so the same plan is always shrunk to the same one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from msgspec.structs import replace

from bees.faults.plan import SECOND_US, Crash, Liar, Offline, Partition, Plan, SlowDisk
from bees.faults.plan_file import problems
from bees.faults.play import violation_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bees.faults.plan import Event

Judge = Callable[[Plan], str]
"""The invariant that a plan breaks, or an empty string."""

_FEWEST_SERVERS = 5
"""One of them runs empty, as in every history; the other four withstand one liar."""
_DELAYS_US = (2_000, 20_000)
_HEALINGS_US = (0, SECOND_US, 2 * SECOND_US, 3 * SECOND_US)


class OnTry(Protocol):
    """Called after each history that was played."""

    def __call__(self, played: int, best: Plan) -> object:
        """Take note of how many histories were played, and of the smallest plan so far."""
        ...


def shrink(plan: Plan, violation: str, budget: int, judge: Judge = violation_of, on_try: OnTry | None = None) -> Plan:
    """A smaller plan that breaks the same invariant.

    Servers are left out only while the liars stay so few that the rest should withstand them: a plan that shows what
    happens beyond that, or with a weak quorum, keeps all of its servers.

    Args:
        plan: breaks the invariant.
        violation: the invariant, by name.
        budget: how many histories may be played.
        judge: plays a history.
        on_try: progress.

    Returns:
        The smallest plan that was found; ``plan`` itself if nothing can be left out, or the budget is 0.
    """
    search = _Search(plan, violation, budget, judge, on_try)
    before = None
    while before != search.best and search.left > 0:
        before = search.best
        for step in _STEPS:
            step(search)
    return search.best


@dataclass
class _Search:
    """The smallest plan so far, and how many histories may still be played."""

    best: Plan
    violation: str
    left: int
    judge: Judge
    on_try: OnTry | None
    played: int = 0
    known: dict[Plan, bool] = field(default_factory=dict[Plan, bool])

    def accept(self, plan: Plan) -> bool:
        """Make a plan the best one, if it breaks the invariant as well."""
        if plan == self.best or any(problems(plan)) or not self._breaks(plan):
            return False
        self.best = plan
        return True

    def _breaks(self, plan: Plan) -> bool:
        if plan not in self.known:
            if self.left <= 0:
                return False
            self.left -= 1
            self.played += 1
            self.known[plan] = self.judge(plan) == self.violation
            if self.on_try is not None:
                self.on_try(self.played, plan if self.known[plan] else self.best)
        return self.known[plan]


def _drop_items(search: _Search, name: str) -> None:
    """Leave out items of a field, in large pieces first."""
    size = len(getattr(search.best, name))
    while size:
        at = 0
        while at < len(items := getattr(search.best, name)):
            if not search.accept(_with(search.best, name, (*items[:at], *items[at + size :]))):
                at += size
        size //= 2


def _drop_behaviours(search: _Search, name: str) -> None:
    """Leave out a behaviour of all liars at once, then of each one."""
    for behaviour in sorted({b for liar in _liars(search.best, name) for b in liar.behaviours}):
        without = tuple(_without(liar, behaviour) for liar in _liars(search.best, name))
        search.accept(_with(search.best, name, without))
        for at, liar in enumerate(_liars(search.best, name)):
            others = _liars(search.best, name)
            search.accept(_with(search.best, name, (*others[:at], _without(liar, behaviour), *others[at + 1 :])))


def _without(liar: Liar, behaviour: str) -> Liar:
    """The liar with one behaviour less; its last one stays, since a liar without any is for ``_drop_items``."""
    rest = tuple(known for known in liar.behaviours if known != behaviour)
    return replace(liar, behaviours=rest) if rest else liar


def _calm_network(search: _Search) -> None:
    """No loss, no duplicates, shorter delays, an earlier healing, fewer rounds to wait for."""
    search.accept(replace(search.best, loss=0.0))
    search.accept(replace(search.best, duplication=0.0))
    _lower(search, "longest_delay_us", _DELAYS_US)
    _lower(search, "heals_at_us", _HEALINGS_US)
    _lower(search, "rounds", (1,))


def _lower(search: _Search, name: str, values: tuple[int, ...]) -> None:
    for value in values:
        if value >= getattr(search.best, name) or search.accept(_with(search.best, name, value)):
            return


def _shorten_events(search: _Search) -> None:
    """Cut off fewer servers."""
    for at, event in enumerate(search.best.events):
        for simpler in _simpler(event):
            events = search.best.events
            search.accept(replace(search.best, events=(*events[:at], simpler, *events[at + 1 :])))


def _simpler(event: Event) -> Iterator[Event]:
    match event:
        case Partition(island) if len(island) > 1:
            half = len(island) // 2
            yield from (replace(event, island=island[:half]), replace(event, island=island[half:]))
        case _:
            return


def _drop_servers(search: _Search) -> None:
    """Fewer servers, as long as they withstand as many liars."""
    plan = search.best
    if plan.weak_quorum or len(plan.liars) > (plan.servers - 1) // 3:
        return
    for servers in range(max(_FEWEST_SERVERS, 3 * len(plan.liars) + 2), plan.servers, 3):
        smaller = _among(plan, servers)
        if smaller is not None and search.accept(smaller):
            return


def _among(plan: Plan, servers: int) -> Plan | None:
    """The plan with this many servers: those that it names get a number that is left; None if there are too few."""
    failing = {event.server for event in plan.events if isinstance(event, Crash | SlowDisk)}
    named = sorted(failing | {liar.index for liar in plan.liars})
    if len(named) > servers:
        return None
    free = iter(sorted(set(range(servers)) - set(named)))
    number = {index: index if index < servers else next(free) for index in named}
    return replace(
        plan,
        servers=servers,
        liars=tuple(sorted((replace(x, index=number[x.index]) for x in plan.liars), key=lambda x: x.index)),
        events=tuple(moved for event in plan.events if (moved := _moved(event, number, servers)) is not None),
    )


def _moved(event: Event, number: dict[int, int], servers: int) -> Event | None:
    match event:
        case Crash() | SlowDisk():
            return replace(event, server=number[event.server])
        case Partition():
            island = {number.get(index, index) for index in event.island}
            rest = tuple(sorted(index for index in island if index < servers))
            return replace(event, island=rest) if rest else None
        case Offline():
            return event


def _drop_devices(search: _Search) -> None:
    """Fewer devices: the last ones go."""
    plan = search.best
    for devices in (1, 2, 4):
        if devices >= plan.devices:
            return
        smaller = replace(
            plan,
            devices=devices,
            lying_devices=tuple(liar for liar in plan.lying_devices if liar.index < devices),
            delegating=tuple(index for index in plan.delegating if index < devices),
            events=tuple(e for e in plan.events if not isinstance(e, Offline) or e.device < devices),
        )
        if search.accept(smaller):
            return


def _liars(plan: Plan, name: str) -> tuple[Liar, ...]:
    return getattr(plan, name)


def _with(plan: Plan, name: str, value: object) -> Plan:
    return replace(plan, **{name: value})


_STEPS: tuple[Callable[[_Search], None], ...] = (
    lambda search: _drop_items(search, "events"),
    _calm_network,
    _drop_devices,  # with few participants, all other histories to play are short
    _drop_servers,
    lambda search: _drop_items(search, "lying_devices"),
    lambda search: _drop_items(search, "delegating"),
    lambda search: _drop_items(search, "liars"),
    lambda search: _drop_behaviours(search, "liars"),
    lambda search: _drop_behaviours(search, "lying_devices"),
    _shorten_events,
)
