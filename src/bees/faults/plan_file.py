"""Plans as JSON files that a person can edit, and as a schedule that a person can read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from bees.adversary.protocol.behaviours import DEVICE_BEHAVIOURS, SERVER_BEHAVIOURS
from bees.core.errors import InputError, did_you_mean
from bees.faults.plan import SECOND_US, Crash, Offline, Partition, Plan, SlowDisk

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bees.faults.plan import Event, Liar

MOST_SERVERS = 100
MOST_DEVICES = 1000
_FEWEST_DEVICES_DRAWN = 3
_FEWEST_SERVERS_DRAWN = 4


def encode_plan(plan: Plan) -> bytes:
    """The plan as JSON, ending with a line break."""
    return msgspec.json.format(msgspec.json.encode(plan), indent=2) + b"\n"


def read_plan(path: Path) -> Plan:
    """The plan of a file.

    Raises:
        InputError: there is no such file, it is not a plan, or its numbers contradict each other.
    """
    try:
        plan = msgspec.json.decode(path.read_bytes(), type=Plan)
    except OSError as error:
        raise InputError(str(path), error.strerror or "cannot be read") from error
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(str(path), f"is not a plan: {error}") from error
    for problem in problems(plan):
        raise InputError(str(path), problem)
    return plan


def problems(plan: Plan) -> Iterator[str]:
    """What makes a plan impossible, with the key at fault."""
    if not 1 <= plan.servers <= MOST_SERVERS:
        yield f"servers = {plan.servers}: must be 1 to {MOST_SERVERS}"
        return
    if not 1 <= plan.devices <= MOST_DEVICES:
        yield f"devices = {plan.devices}: must be 1 to {MOST_DEVICES}"
        return
    if plan.seed < 0:
        yield f"seed = {plan.seed}: must not be negative"
    if plan.rounds < 1:
        yield f"rounds = {plan.rounds}: must be at least 1"
    yield from _problems_of_liars("liars", plan.liars, plan.servers, SERVER_BEHAVIOURS)
    yield from _problems_of_liars("lying_devices", plan.lying_devices, plan.devices, DEVICE_BEHAVIOURS)
    if len(plan.liars) >= plan.servers:
        yield "liars: at least one server must be honest"
    yield from _not_below("delegating", plan.delegating, plan.devices)
    liars = {liar.index for liar in plan.liars}
    for at, event in enumerate(plan.events):
        yield from (f"events[{at}]: {problem}" for problem in _problems_of_event(event, plan, liars))


def check_sizes(servers: int, devices: int, faulty: int | None) -> None:
    """Refuse numbers for which no plan can be drawn.

    Raises:
        InputError: which one, and what it may be.
    """
    if not _FEWEST_SERVERS_DRAWN <= servers <= MOST_SERVERS:
        raise InputError("--servers", f"must be {_FEWEST_SERVERS_DRAWN} to {MOST_SERVERS}, not {servers}")
    if not _FEWEST_DEVICES_DRAWN <= devices <= MOST_DEVICES:
        raise InputError("--devices", f"must be {_FEWEST_DEVICES_DRAWN} to {MOST_DEVICES}, not {devices}")
    if faulty is not None and not 0 <= faulty < servers:
        raise InputError("--faulty", f"must be 0 to {servers - 1} of {servers} servers, not {faulty}")


def describe_plan(plan: Plan) -> list[str]:
    """The plan as a schedule: who lies and how, then what fails and when."""
    quorum = 2 * plan.servers // 3 + (0 if plan.weak_quorum else 1)
    weak = ", one less than is safe" if plan.weak_quorum else ""
    network = f"messages take up to {plan.longest_delay_us / 1000:g} ms"
    if plan.heals_at_us:
        faults = f"{plan.loss:.0%} are lost and {plan.duplication:.0%} arrive twice"
        network += f"; until {_seconds(plan.heals_at_us)}, {faults}"
    return [
        f"seed {plan.seed}; {quorum} signatures commit a block{weak}",
        f"servers: {plan.servers}, of them Byzantine: {len(plan.liars)}",
        f"devices: {plan.devices}, of them Byzantine: {len(plan.lying_devices)}",
        network,
        *(f"server {liar.index} lies: {', '.join(liar.behaviours) or 'not at all'}" for liar in plan.liars),
        *(f"device {liar.index} lies: {', '.join(liar.behaviours) or 'not at all'}" for liar in plan.lying_devices),
        *([f"to their servers delegate: {_names('device', plan.delegating)}"] if plan.delegating else []),
        *(_describe_event(event) for event in sorted(plan.events, key=lambda event: event.at_us)),
        f"a conviction lasts {plan.penalty_rounds} rounds after the offence",
        *(["all honest servers approve another contract"] if plan.deploys else []),
        *(["all honest servers approve to remove a liar, and to replace a key"] if plan.amends else []),
        f"rounds to publish after healing: {plan.rounds}",
    ]


def _describe_event(event: Event) -> str:
    match event:
        case Crash():
            return f"at {_seconds(event.at_us)}, server {event.server} crashes; it is back at {_seconds(event.back_us)}"
        case Partition():
            island = _names("server", event.island)
            return f"at {_seconds(event.at_us)}, the rest is cut off from {island}, until {_seconds(event.until_us)}"
        case SlowDisk():
            return (
                f"at {_seconds(event.at_us)}, each write of server {event.server} takes {event.write_us / 1000:g} ms, "
                f"until {_seconds(event.until_us)}"
            )
        case Offline():
            return f"at {_seconds(event.at_us)}, device {event.device} is offline, until {_seconds(event.until_us)}"


def _seconds(time_us: int) -> str:
    return f"{time_us / SECOND_US:.3f} s"


def _names(kind: str, indices: tuple[int, ...]) -> str:
    return f"{kind}{'s' * (len(indices) != 1)} {', '.join(map(str, indices))}"


def _problems_of_liars(key: str, liars: tuple[Liar, ...], count: int, known: tuple[str, ...]) -> Iterator[str]:
    yield from _not_below(key, tuple(liar.index for liar in liars), count)
    for liar in liars:
        for behaviour in liar.behaviours:
            if behaviour not in known:
                yield f"{key}: no behaviour {behaviour!r}; {did_you_mean(behaviour, known)}"


def _problems_of_event(event: Event, plan: Plan, liars: set[int]) -> Iterator[str]:
    match event:
        case Crash():
            yield from _not_below("server", (event.server,), plan.servers)
            if event.server in liars:
                yield f"server {event.server} is a liar; only honest servers crash"
            yield from _not_after("back_us", event.at_us, event.back_us)
            if event.back_us > plan.heals_at_us:
                yield f"back_us = {event.back_us}: all are back when the network heals, at {plan.heals_at_us}"
        case Partition():
            yield from _not_below("island", event.island, plan.servers)
            yield from _not_after("until_us", event.at_us, event.until_us)
        case SlowDisk():
            yield from _not_below("server", (event.server,), plan.servers)
            yield from _not_after("until_us", event.at_us, event.until_us)
        case Offline():
            yield from _not_below("device", (event.device,), plan.devices)
            yield from _not_after("until_us", event.at_us, event.until_us)


def _not_below(key: str, indices: tuple[int, ...], count: int) -> Iterator[str]:
    if len(set(indices)) < len(indices):
        yield f"{key}: one index twice"
    for index in indices:
        if not 0 <= index < count:
            yield f"{key}: there is no {index}, only 0 to {count - 1}"


def _not_after(key: str, begin_us: int, end_us: int) -> Iterator[str]:
    if end_us < begin_us:
        yield f"{key} = {end_us}: is before it begins, at {begin_us}"
