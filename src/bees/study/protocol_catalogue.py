"""Which attacks on the protocol are played, by whom, and what each is after.

Every behaviour of ``bees.adversary.protocol`` is one attack; a new one is played as soon as it is there. To these come
lies for the liar's own gain, and attacks by more servers than the design withstands, so that its bound can be seen.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Literal, NamedTuple

from msgspec.structs import replace

from bees.adversary.protocol.behaviours import DEVICE_BEHAVIOURS, SERVER_BEHAVIOURS
from bees.adversary.protocol.self_serving_lies import OWN_ACTS, OWN_DEVICE_TAMPERS, OWN_TAMPERS
from bees.faults.plan import SECOND_US, Liar, Partition, Plan
from bees.study.protocol_recording import Deceit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bees.ledger.genesis import Genesis

SERVERS = 20
DEVICES = 8
WITHSTOOD = (SERVERS - 1) // 3
"""f: how many lying servers the design withstands."""
ROUNDS = 3
CLAIM = 10
"""By this factor a server's capacity is overstated, or its budget understated, in a genesis that all have signed."""
_LONGEST_DELAY_US = 20_000
_CUT_OFF_US = 8 * SECOND_US
_HOMES = tuple(device * SERVERS // DEVICES for device in range(DEVICES))
"""The server of each device."""
_DELEGATING = (0, 7)
"""They offload where the attack is on that; a device that offloads sends no Update of its own."""
_LISTENER = SERVERS - 1
"""A lying server that only tells lying devices what it hears."""
_FAR_SERVERS = (19, 18, 16, 14, 13, 11)
"""Whoever is cut off: servers that have no devices, and are liars in no attack in which somebody is cut off."""
_LYING_DEVICES = (1, 2, 3, 4, 5, 6)

By = Literal["servers", "devices"]
Aim = Literal["w_g", "turns"]


class Attack(NamedTuple):
    """One attack, by so many liars.

    Attributes:
        name: of it.
        by: who lies.
        liars: how many.
        behaviours: that every liar has, of those that histories know.
        deceit: and how it lies beyond them.
        aim: another w_g than the honest one, or no w_g at all; or more turns as main node.
        cut_off: how many honest servers nothing reaches for 8 s of virtual time, from the beginning.
        capacity_factor, budget_divisor: what liars have claimed of themselves in the genesis, and are not.
    """

    name: str
    by: By
    liars: int
    behaviours: tuple[str, ...] = ()
    deceit: Deceit = Deceit()
    aim: Aim = "w_g"
    cut_off: int = 0
    capacity_factor: int = 1
    budget_divisor: int = 1

    def plan(self, seed: int) -> Plan:
        """What goes wrong: nothing but the lies, delays of up to 20 ms, and who is cut off."""
        servers, devices = self._lying_servers(), _LYING_DEVICES[: self.liars] if self.by == "devices" else ()
        island = _FAR_SERVERS[: self.cut_off]
        heals_at_us = _CUT_OFF_US if island else 0
        listener = (Liar(_LISTENER, ()),) if devices else ()
        return Plan(
            seed=seed,
            servers=SERVERS,
            devices=DEVICES,
            weak_quorum=False,
            longest_delay_us=_LONGEST_DELAY_US,
            loss=0.0,
            duplication=0.0,
            heals_at_us=heals_at_us,
            liars=(*(Liar(k, self.behaviours) for k in servers), *listener),
            lying_devices=tuple(Liar(k, self.behaviours) for k in devices),
            delegating=_DELEGATING if "deleg" in self.name else (),
            events=(Partition(tuple(sorted(island)), 0, heals_at_us),) if island else (),
            rounds=1 if island else ROUNDS,
        )

    @property
    def gaining(self) -> frozenset[int]:
        """Servers whose turns as main node the attack may raise: the liars, or those that lying devices belong to."""
        if self.by == "servers":
            return frozenset(self._lying_servers())
        return frozenset(_HOMES[device] for device in _LYING_DEVICES[: self.liars])

    def claim(self, genesis: Genesis) -> Genesis:
        """The genesis in which the liars have claimed another capacity and budget; the same one if they have not."""
        if self.capacity_factor == self.budget_divisor == 1:
            return genesis
        servers = (
            replace(
                record,
                capacity_hz=record.capacity_hz * self.capacity_factor,
                battery_mj=record.battery_mj // self.budget_divisor,
            )
            if k in self.gaining
            else record
            for k, record in enumerate(genesis.servers)
        )
        return replace(genesis, servers=tuple(servers))

    def _lying_servers(self) -> tuple[int, ...]:
        """The worst case for the aim: those that would be main node in any case, or those that would not."""
        if self.by == "devices":
            return ()
        if self.aim == "turns":
            return tuple(sorted(_HOMES[1 : self.liars + 1]))
        # Those with the devices that offload first; in a majority of liars, some devices are still honest servers'.
        others = tuple(k for k in range(SERVERS) if k not in _HOMES)
        order = (*(_HOMES[k] for k in (0, 7, 1, 2, 3, 4)), *others)
        return tuple(sorted(order[: self.liars]))


def honest_plan_like(plan: Plan, seed: int) -> Plan:
    """The same without lies."""
    return replace(plan, seed=seed, liars=(), lying_devices=())


def all_attacks() -> tuple[Attack, ...]:
    """All that the study plays: by one liar and by as many as are withstood, and at the end by more."""
    return tuple(chain(_by_servers(), _by_devices(), _beyond()))


def _by_servers() -> Iterator[Attack]:
    for liars in (1, WITHSTOOD):
        for name in SERVER_BEHAVIOURS:
            if name == "false attestation":
                yield Attack("inflated scores", "servers", liars, (name,), Deceit(inflates=True))
                yield Attack("deflated scores", "servers", liars, (name,), Deceit(inflates=False))
            else:
                yield Attack(name, "servers", liars, (name,))
        for name, tamper in OWN_TAMPERS.items():
            aim: Aim = "turns" if name == "refused duties" else "w_g"
            yield Attack(name, "servers", liars, (), Deceit(tampers=(tamper,)), aim)
        for name, act in OWN_ACTS.items():
            yield Attack(name, "servers", liars, (), Deceit(acts=(act,)))
        yield Attack("capacity overstated at genesis", "servers", liars, aim="turns", capacity_factor=CLAIM)
        yield Attack("budget understated at genesis", "servers", liars, aim="turns", budget_divisor=CLAIM)


def _by_devices() -> Iterator[Attack]:
    for liars in (1, len(_LYING_DEVICES)):
        for name in DEVICE_BEHAVIOURS:
            yield Attack(name, "devices", liars, (name,))
        for name, tamper in OWN_DEVICE_TAMPERS.items():
            yield Attack(name, "devices", liars, (), Deceit(device_tampers=(tamper,)))


def _beyond() -> Iterator[Attack]:
    """Where the bound is: f liars while as many honest servers as possible are away, f+1, and a majority."""
    favour = Deceit(tampers=(OWN_TAMPERS["favoured devices"],))
    away = SERVERS - (2 * SERVERS // 3 + 1)
    yield Attack("favoured devices", "servers", WITHSTOOD, (), favour, cut_off=away)
    yield Attack("favoured devices", "servers", WITHSTOOD + 1, (), favour)
    yield Attack("favoured devices", "servers", WITHSTOOD + 1, (), favour, cut_off=away)
    yield Attack("favoured devices", "servers", SERVERS // 2 - 1, (), favour)
    yield Attack("favoured devices", "servers", SERVERS // 2, (), favour)
    yield Attack("silence", "servers", WITHSTOOD + 1, ("silence",))
