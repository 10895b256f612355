"""Agreement among the servers: what block dissemination and votes take over the backhaul.

The paper counts neither. Under ``full_mesh`` each of N servers sends to each other one over its own link, one copy
after the other. A communication round takes ``heights`` ledger blocks. On each of them a proposer sends the block, and
then all vote twice (Tendermint's prevote and precommit). Besides, each server passes the updates of its UEs on to all
others, since each attests what it holds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bees.edge.channel import BITS_PER_BYTE

if TYPE_CHECKING:
    from bees.scenario import Backhaul

VOTES_PER_HEIGHT = 2


@dataclass(frozen=True)
class Agreement:
    """What one communication round takes on the backhaul.

    Attributes:
        time_s: from the last update to the published model.
        sent_bytes: over all links.
        energy_j: of sending and receiving them.
    """

    time_s: float
    sent_bytes: float
    energy_j: float


def agree(
    backhaul: Backhaul, servers: int, transactions: float, update_bytes: float, most_update_bytes: float
) -> Agreement:
    """Time, bytes and energy of one communication round's agreement.

    With R the rate and D the delay, all sizes in bits: passing updates on takes ``(N-1) most_update / R + D``; the
    heights take ``(N-1) transactions / R + heights (D + 2 ((N-1) vote / R + D))``.

    Args:
        backhaul: the links.
        servers: N.
        transactions: on all ledger blocks of the round together.
        update_bytes: of all updates that arrived, in bytes.
        most_update_bytes: of those that arrived at the server that has most of them.
    """
    if backhaul.model == "free":
        return Agreement(0.0, 0.0, 0.0)
    others = servers - 1
    block_bytes = transactions * backhaul.transaction_bytes
    seconds_per_byte = BITS_PER_BYTE / backhaul.rate_bits_per_s
    pass_on_s = others * most_update_bytes * seconds_per_byte + backhaul.delay_s
    vote_s = others * backhaul.vote_bytes * seconds_per_byte + backhaul.delay_s
    heights_s = backhaul.heights * (backhaul.delay_s + VOTES_PER_HEIGHT * vote_s)
    time_s = pass_on_s + others * block_bytes * seconds_per_byte + heights_s
    votes_bytes = backhaul.heights * VOTES_PER_HEIGHT * servers * others * backhaul.vote_bytes
    sent_bytes = others * (block_bytes + update_bytes) + votes_bytes
    return Agreement(time_s, sent_bytes, sent_bytes * BITS_PER_BYTE * backhaul.energy_j_per_bit)
