"""Proof of Learning: which server is the main node (paper, Eq. 2).

``I_k = n_k c_k / B_k``, where n_k are the samples behind the round's eligible updates of the server's devices,
c_k its registered capacity, and B_k its account. All in exact integers, so that every server ranks alike; nothing
in it is said by the server itself in this round.
"""

from __future__ import annotations

import struct
from collections import Counter
from fractions import Fraction
from typing import TYPE_CHECKING

from bees.core.hashes import digest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bees.ledger.genesis import Genesis
    from bees.ledger.state import EligibleUpdate, ServerAccount


def rank_servers(
    genesis: Genesis, round_: int, accounts: Sequence[ServerAccount], eligible: Sequence[EligibleUpdate]
) -> tuple[int, ...]:
    """Active servers from the most to the least important; ties are broken by a hash of round and key.

    Args:
        genesis: who is registered, and the reading of PoL.
        round_: t.
        accounts: B_k, in the order of the servers.
        eligible: the updates that count.
    """
    active = [index for index, account in enumerate(accounts) if account.is_active]
    importance = server_importance(genesis, round_, accounts, eligible)
    return tuple(sorted(active, key=lambda k: (-importance[k], _tie_breaker(genesis, round_, k))))


def server_importance(
    genesis: Genesis, round_: int, accounts: Sequence[ServerAccount], eligible: Sequence[EligibleUpdate]
) -> tuple[Fraction, ...]:
    """I_k of every server, under the genesis' reading of Proof of Learning.

    * ``capacity_over_battery``: ``n_k c_k / B_k`` (Eq. 2 as printed; favours drained servers).
    * ``capacity_times_battery``: ``n_k c_k B_k``.
    * ``loss_reduction``: the most evaluation samples that one of its devices' updates gets right. All start from
      the same w_g(t-1), so the largest gain is the largest count (Qiu et al. 2020, with accuracy for loss, since
      a loss is no integer).
    * ``round_robin``: each in turn.
    """
    samples, best = _samples_and_best(genesis, eligible)
    match genesis.pol:
        case "capacity_over_battery":
            return tuple(
                Fraction(samples[k] * server.capacity_hz, max(1, accounts[k].battery_mj))
                for k, server in enumerate(genesis.servers)
            )
        case "capacity_times_battery":
            return tuple(
                Fraction(samples[k] * server.capacity_hz * max(1, accounts[k].battery_mj))
                for k, server in enumerate(genesis.servers)
            )
        case "loss_reduction":
            return tuple(Fraction(best.get(k, 0)) for k in range(len(genesis.servers)))
        case "round_robin":
            total = len(genesis.servers)
            return tuple(Fraction(total - (k - round_) % total) for k in range(total))


def _samples_and_best(genesis: Genesis, eligible: Sequence[EligibleUpdate]) -> tuple[Counter[int], dict[int, int]]:
    samples: Counter[int] = Counter()
    best: dict[int, int] = {}
    for update in eligible:
        server = genesis.devices[update.device].server
        samples[server] += update.samples
        best[server] = max(best.get(server, 0), update.correct)
    return samples, best


def _tie_breaker(genesis: Genesis, round_: int, server: int) -> bytes:
    return digest("pol tie", genesis.chain_id, struct.pack("<Q", round_), genesis.servers[server].public_key)
