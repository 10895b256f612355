"""What goes wrong in one history: drawn from a seed, written as JSON, and made smaller when it has found something."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import numpy as np
from msgspec import Meta, Struct

from bees.adversary.protocol.behaviours import DEVICE_BEHAVIOURS, SERVER_BEHAVIOURS
from bees.core.seeds import generator

if TYPE_CHECKING:
    from numpy.random import Generator

Microseconds = Annotated[int, Meta(ge=0)]
SECOND_US = 1_000_000
_SLOW_WRITES_US = (5_000, 50_000, 400_000)
_SLOW_BEFORE_US = SECOND_US
"""For how long a disk has been slow when its server crashes."""


class Crash(Struct, frozen=True, tag="crash", forbid_unknown_fields=True):
    """A server loses all but its disk, and restarts from that."""

    server: int
    at_us: Microseconds
    back_us: Microseconds


class Partition(Struct, frozen=True, tag="partition", forbid_unknown_fields=True):
    """Nothing passes between ``island`` and the other servers."""

    island: tuple[int, ...]
    at_us: Microseconds
    until_us: Microseconds


class SlowDisk(Struct, frozen=True, tag="slow_disk", forbid_unknown_fields=True):
    """Each write of a server takes this long to be safe, and what depends on it waits."""

    server: int
    at_us: Microseconds
    until_us: Microseconds
    write_us: Microseconds


class Offline(Struct, frozen=True, tag="offline", forbid_unknown_fields=True):
    """A device neither sends nor hears."""

    device: int
    at_us: Microseconds
    until_us: Microseconds


Event = Crash | Partition | SlowDisk | Offline


class Liar(Struct, frozen=True, forbid_unknown_fields=True):
    """A Byzantine participant, and how it behaves."""

    index: int
    behaviours: tuple[str, ...]


class Plan(Struct, frozen=True, forbid_unknown_fields=True):
    """Everything that a history depends on.

    Attributes:
        seed: of what is still drawn while it runs: delays, losses, whom a liar lies to.
        servers, devices: how many.
        weak_quorum: whether blocks are committed by one signature less than is safe.
        longest_delay_us: messages take up to this long, and so overtake one another.
        loss, duplication: probabilities per message, until the network heals.
        heals_at_us: from then on nothing is lost, and all honest servers are up.
        liars: Byzantine servers.
        lying_devices: Byzantine devices.
        delegating: devices that offload, so that their server signs for them.
        events: until the network heals.
        rounds: how many rounds must be published after it has healed.
        write_us: how long each write of any server takes to be safe, where no disk is slow.
        penalty_rounds: for how many rounds after its offence a convicted participant has no turn.
        deploys: whether all honest servers approve another contract, which some of them carry.
        amends: whether they approve to remove the first liar, and to replace the key of an honest server.
    """

    seed: int
    servers: int
    devices: int
    weak_quorum: bool
    longest_delay_us: Microseconds
    loss: Annotated[float, Meta(ge=0, le=1)]
    duplication: Annotated[float, Meta(ge=0, le=1)]
    heals_at_us: Microseconds
    liars: tuple[Liar, ...]
    lying_devices: tuple[Liar, ...]
    delegating: tuple[int, ...]
    events: tuple[Event, ...]
    rounds: int = 2
    write_us: Microseconds = 0
    penalty_rounds: Annotated[int, Meta(ge=0)] = 50
    deploys: bool = False
    amends: bool = False


def draw_plan(
    seed: int, *, servers: int = 20, devices: int = 8, faulty: int | None = None, weak_quorum: bool = False
) -> Plan:
    """The plan of a seed: all kinds of faults mixed.

    Args:
        seed: same seed, same plan.
        servers: N.
        devices: K.
        faulty: how many servers are Byzantine; the largest number that N withstands, if not given.
        weak_quorum: see ``Plan``.
    """
    rng = generator(seed, "fault plan")
    faulty = (servers - 1) // 3 if faulty is None else faulty
    heals_at_us = int(rng.integers(2 * SECOND_US, 5 * SECOND_US))
    liars = sorted(int(k) for k in rng.choice(servers, size=faulty, replace=False))
    lying_devices = sorted(int(k) for k in rng.choice(devices, size=int(rng.integers(0, 4)), replace=False))
    honest = [k for k in range(servers) if k not in liars]
    return Plan(
        seed=seed,
        servers=servers,
        devices=devices,
        weak_quorum=weak_quorum,
        longest_delay_us=int(rng.choice([2_000, 20_000, 80_000])),
        loss=float(rng.choice([0.0, 0.02, 0.1, 0.3])),
        duplication=float(rng.choice([0.0, 0.05])),
        heals_at_us=heals_at_us,
        liars=_liars(rng, liars),
        lying_devices=tuple(Liar(k, _some(rng, DEVICE_BEHAVIOURS)) for k in lying_devices),
        delegating=tuple(sorted(int(k) for k in rng.choice(devices, size=2, replace=False))),
        events=(
            *(event for _ in range(int(rng.integers(0, 5))) for event in _crash(rng, honest, heals_at_us)),
            *(_partition(rng, servers, heals_at_us) for _ in range(int(rng.integers(0, 3)))),
            *(_slow_disk(rng, honest, heals_at_us) for _ in range(int(rng.integers(0, 3)))),
            *(_offline(rng, devices, heals_at_us) for _ in range(int(rng.integers(0, 3)))),
        ),
        write_us=int(rng.choice([0, 1_000, 10_000])),
        penalty_rounds=int(rng.choice([50, 50, 0, 1])),
        deploys=bool(rng.random() < 1 / 4),
    )


def _liars(rng: Generator, servers: list[int]) -> tuple[Liar, ...]:
    """Each lies in its own ways; or, in a third of the plans, all do the same, which is when lies weigh most."""
    common = _some(rng, SERVER_BEHAVIOURS) if rng.random() < 1 / 3 else None
    return tuple(Liar(k, common or _some(rng, SERVER_BEHAVIOURS)) for k in servers)


def _some(rng: Generator, behaviours: tuple[str, ...]) -> tuple[str, ...]:
    chosen: list[int] = rng.permutation(len(behaviours)).tolist()
    return tuple(behaviours[k] for k in sorted(chosen[: int(rng.integers(1, 5))]))


def _interval(rng: Generator, heals_at_us: int) -> tuple[int, int]:
    begin, end = np.sort(rng.integers(0, heals_at_us, size=2))
    return int(begin), int(end)


def _crash(rng: Generator, honest: list[int], heals_at_us: int) -> tuple[Crash | SlowDisk, ...]:
    """A crash; in two thirds of the cases the disk has been slow before, so that writes are lost."""
    crash = Crash(int(rng.choice(honest)), *_interval(rng, heals_at_us))
    write_us = int(rng.choice(_SLOW_WRITES_US[1:]))
    if rng.random() < 1 / 3:
        return (crash,)
    return SlowDisk(crash.server, max(0, crash.at_us - _SLOW_BEFORE_US), crash.back_us, write_us), crash


def _partition(rng: Generator, servers: int, heals_at_us: int) -> Partition:
    island = rng.choice(servers, size=int(rng.integers(1, servers // 2 + 1)), replace=False)
    return Partition(tuple(sorted(int(k) for k in island)), *_interval(rng, heals_at_us))


def _slow_disk(rng: Generator, honest: list[int], heals_at_us: int) -> SlowDisk:
    return SlowDisk(int(rng.choice(honest)), *_interval(rng, heals_at_us), int(rng.choice(_SLOW_WRITES_US)))


def _offline(rng: Generator, devices: int, heals_at_us: int) -> Offline:
    return Offline(int(rng.integers(devices)), *_interval(rng, heals_at_us))
