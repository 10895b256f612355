"""The changes of the members that all honest servers of a history approve, and who counts after each of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bees.ledger.committee import Committee

if TYPE_CHECKING:
    from bees.faults.plan import Plan
    from bees.faults.world import FaultWorld
    from bees.ledger.transactions import Signed


def amendments_of(plan: Plan, world: FaultWorld, carrier: int) -> tuple[Signed, ...]:
    """The transactions, in order, as one server carries them: a liar is removed, an honest server's key replaced."""
    honest = _honest(plan)
    return (
        world.amend(carrier, honest, 0, _removed(plan), is_removed=True),
        world.amend(carrier, honest, 1, honest[-1], is_removed=False),
    )


def committees_of(plan: Plan, world: FaultWorld) -> tuple[Committee, ...]:
    """The committee at genesis, and after each of the changes."""
    keys = list(world.genesis.committee.keys)
    committees = [world.genesis.committee]
    if plan.amends:
        keys[_removed(plan)] = None
        committees.append(Committee(tuple(keys)))
        renewed = _honest(plan)[-1]
        keys[renewed] = world.next_server_keys[renewed].public_key
        committees.append(Committee(tuple(keys)))
    return tuple(committees)


def _honest(plan: Plan) -> list[int]:
    liars = {liar.index for liar in plan.liars}
    return [server for server in range(plan.servers) if server not in liars]


def _removed(plan: Plan) -> int:
    return min(liar.index for liar in plan.liars)
