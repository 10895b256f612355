"""Servers that lie about the UEs: about their accuracy, about what they hold, about n_k, and about their own battery.

What is left to lie about is little. A score is the median of what 2f+1 servers attest. n_k is bounded by what the
genesis registers, so that more is refused and only less is believed. B_k of Eq. 2 is an account that the ledger keeps:
a server that does nothing to spare it is charged for the duty all the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bees.core.seeds import generator

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from bees.protocol.server import Evaluate
    from bees.scenario import Attack, ServerLie

OVERSTATED = 10
"""How many times n_k a server claims that overstates it."""


def draw_lying_servers(attack: Attack, servers: int, seed: int) -> frozenset[int]:
    """Who lies; a larger number holds everybody whom a smaller one holds.

    Args:
        attack: how many, and whether at all.
        servers: N.
        seed: of the experiment.
    """
    if attack.server_lie == "none":
        return frozenset()
    drawn = generator(seed, "attack", "servers").permutation(servers)[: attack.lying_servers]
    return frozenset(int(server) for server in np.sort(drawn))


def held_by_liar(lie: ServerLie, held: Mapping[int, bytes]) -> Mapping[int, bytes]:
    """The updates that a lying server says it holds."""
    return {} if lie == "withhold" else held


def misjudge(
    lie: ServerLie,
    evaluate: Evaluate,
    devices: Sequence[int],
    samples: int,
    *,
    own: Collection[int],
    friends: Collection[int],
) -> Evaluate:
    """The scores that a lying server attests, in place of those that it counts.

    Args:
        lie: what it says.
        evaluate: the truth.
        devices: whose updates it is asked for, in their order.
        samples: T.
        own: UEs of this server.
        friends: UEs that attack.
    """

    def lying(updates: Sequence[bytes]) -> list[int]:
        truth = evaluate(updates) if updates else ()
        match lie:
            case "inflate":
                return [samples if d in own else count for d, count in zip(devices, truth, strict=True)]
            case "deflate":
                return [count if d in own else 0 for d, count in zip(devices, truth, strict=True)]
            case "promote":
                return [samples if d in friends else 0 for d in devices]
            case _:
                return list(truth)

    return lying


def claimed_samples(lie: ServerLie, samples: int) -> int:
    """The n_k that a lying server signs for a UE that offloads to it."""
    return {"overstate": OVERSTATED * samples, "understate": 1}.get(lie, samples)
