"""Looks at a running network from outside, as a device may: heights, rounds, and the checked w_g of each round."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bees.core.canonical import decode
from bees.core.errors import BeesError, NetworkError
from bees.core.fixed_point import bytes_to_words
from bees.core.keys import is_signed_by
from bees.device.committees import KnownCommittees
from bees.device.nodes import Nodes
from bees.protocol.device import OpenRound, check_global_model
from bees.transport.bodies import ModelAnswer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bees.core.fixed_point import Words
    from bees.ledger.genesis import Genesis
    from bees.ledger.proofs import Committees

_POLL_S = 0.25
_PROOF_BYTES = 1 << 20


@dataclass(frozen=True)
class Seen:
    """What a node tells of itself.

    Attributes:
        url: of its device API.
        told: the answer of ``/v1/round``, or None.
        problem: why there is none.
    """

    url: str
    told: dict[str, Any] | None
    problem: str = ""


async def look(urls: Sequence[str]) -> list[Seen]:
    """What each node tells now."""
    nodes = Nodes(urls, timeout_s=5)
    try:
        return list(await asyncio.gather(*(_look_at(nodes, url) for url in urls)))
    finally:
        await nodes.close()


async def follow(
    urls: Sequence[str],
    genesis: Genesis,
    rounds: int | None,
    on_block: Callable[[dict[str, Any]], None],
    on_round: Callable[[int, Words, dict[str, Any]], None],
    check: Callable[[], None],
) -> None:
    """Tell blocks and rounds as they come.

    Args:
        urls: of the nodes.
        genesis: by which each w_g is checked.
        rounds: after how many closed rounds to end, but not before the first block; None for never.
        on_block: told of the state after a block that is new here.
        on_round: told of a closed round t, its w_g(t) and the state in which the next is open.
        check: raises when the network cannot go on.

    Raises:
        BeesError: a proof does not hold, or what ``check`` raises.
    """
    nodes = Nodes(urls, timeout_s=30)
    committees = KnownCommittees(genesis, None)
    height, closed = -1, 0
    try:
        while rounds is None or closed < rounds or height < 1:
            check()
            seen = [s.told for s in await asyncio.gather(*(_look_at(nodes, url) for url in urls)) if s.told]
            newest = max(seen, key=lambda told: told["height"], default=None)
            if newest is not None and newest["height"] > height:
                height = newest["height"]
                on_block(newest)
            if newest is not None and newest["open"] and newest["round"] - 1 > closed:
                if any(told.get("committee_height", 0) > committees.proved.height for told in seen):
                    await committees.follow_all(nodes)
                words = await _checked_model(nodes, committees.proved, newest["round"])
                if words is not None:
                    closed = newest["round"] - 1
                    on_round(closed, words, newest)
            await asyncio.sleep(_POLL_S)
    finally:
        await nodes.close()


async def _checked_model(nodes: Nodes, committees: Committees, round_: int) -> Words | None:
    """w_g(t-1) of the open round, checked as a device does; None where no node gives it now."""
    genesis = committees.genesis
    for url in nodes.urls:
        try:
            answer = await nodes.ask(url, "/v1/model", limit_bytes=genesis.model.model_bytes + _PROOF_BYTES)
        except NetworkError:
            continue
        if answer.is_refused:
            continue
        given = decode(answer.body, ModelAnswer)
        if given.round != round_:
            continue  # it is behind, and its proof may be one of former servers
        words = bytes_to_words(given.words)
        opened = OpenRound(given.chain_id, given.round, given.previous_model)
        check_global_model(genesis, opened, words, given.proof, is_signed_by, committees)
        return words
    return None


async def _look_at(nodes: Nodes, url: str) -> Seen:
    try:
        answer = await nodes.ask(url, "/v1/round")
        return Seen(url, None, answer.refusal) if answer.is_refused else Seen(url, answer.json())
    except BeesError as error:
        return Seen(url, None, str(error))
