"""An update on its way, so that no single node decides whether it counts.

The device entrusts its bytes to one node, the nearest that takes them, and has every node carry the transaction if that
one does not. Once f+1 nodes say that COLLECT is over, nobody can commit to the same words any more; from then on the
bytes are for whichever node lacks them. f+1, since one of these is honest: no phase is over because a liar says so, and
what so many have seen on the chain, or hold, is there.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

import structlog

from bees.core.errors import NetworkError, NotAMemberError
from bees.ledger.commitments import commit_to_update
from bees.transport.bodies import TRANSACTION_HEADER, write_header

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from bees.device.nodes import Answer, Nodes
    from bees.ledger.committee import Committee
    from bees.ledger.genesis import Genesis
    from bees.ledger.transactions import Signed

_PAUSE_S = 1.0
_PATIENCE_S = 4.0
"""Until a node must have told of the round; who is slower counts as silent this time."""
_GRACE_S = 0.5
"""For the others, when f+1 nodes have told the same, and it is not the last word."""
_ENTRUST_S = 60.0
"""How long nodes that are all busy, or cannot be reached, are asked again to take an update."""
_ROUND_BYTES = 1 << 20

_log = structlog.get_logger("bees.device")


class _Told(NamedTuple):
    """The open round as one node tells it; ``updates`` are the devices of the awaited round, where it knows them."""

    round: int
    phase: str
    updates: frozenset[int] | None


class Delivery:
    """One signed update and its bytes.

    Args:
        nodes: to which it goes.
        genesis: says how many servers there were.
        committee: the servers that count now, as far as is known.
        signed: the Update, or the Delegate for one.
        device: u_k, its author.
        round_: t, which it is for.
        update: its bytes; None where the signed is a Delegate, under which a server has them.

    Attributes:
        commitment: of the bytes; empty where there are none.
    """

    def __init__(
        self,
        nodes: Nodes,
        genesis: Genesis,
        committee: Committee,
        signed: Signed,
        device: int,
        round_: int,
        update: bytes | None,
    ) -> None:
        self.commitment = b"" if update is None else commit_to_update(device, round_, update)
        self._nodes, self._device, self._round, self._update = nodes, device, round_, update
        self._headers = {TRANSACTION_HEADER: write_header(signed), "Content-Type": "application/octet-stream"}
        self._refusals: dict[str, str] = {}
        # A removed server may still be among the nodes, so as many must say the same as at first, if so many are left.
        at_first = len(genesis.servers) - genesis.committee.quorum + 1
        self._enough = min(at_first, committee.quorum, len(nodes.urls))

    async def entrust(self) -> Answer:
        """Hand transaction and bytes to the first node that takes them.

        Raises:
            NetworkError: no node does.
        """
        return await self._nodes.first(self._give_bytes, "the update", _ENTRUST_S, self._enough)

    async def carry(self, first: str) -> bool:
        """Have a node carry the transaction, this one or, when it does not, another; whether one does."""
        for url in dict.fromkeys((first, *self._nodes.urls)):
            try:
                await self._give_transaction(url)
            except NetworkError as error:
                _log.warning("node does not carry the transaction", node=url, reason=str(error))
            else:
                return True
        return False

    def check_membership(self) -> None:
        """Tell a device that takes no part any more, once f+1 nodes have refused it as such.

        Raises:
            NotAMemberError: it was removed, or the key is not the one in force.
        """
        for refusal, is_removed in (("RemovedError", True), ("BadSignatureError", False)):
            if list(self._refusals.values()).count(refusal) >= self._enough:
                raise NotAMemberError(self._device, is_removed)

    async def is_late(self) -> bool:
        """Whether COLLECT is over, so that no node can take the transaction any more."""
        return self._say(await self._ask_rounds(), self._is_collect_over)

    async def see_through(self) -> bool | None:
        """Follow the update until it counts, or cannot any more; returns whether a block has it, None if nobody knows.

        It waits for as long as it takes, also while no node answers.
        """
        while True:
            told = await self._ask_rounds()
            if self._say(told, self._is_collect_over):
                break
            if not self._say(told, self._has_it):
                await self._ask_all(self._give_transaction)
            await asyncio.sleep(_PAUSE_S)
        if self._say(told, self._lacks_it):
            return False
        if self._update is not None:
            await self._reveal()
        told += await self._ask_rounds()
        return True if self._say(told, self._has_it) else None

    async def _reveal(self) -> None:
        """Hand the bytes to f+1 nodes at once, and later to all that have not got them from these."""
        wanted = self._enough
        while True:
            held = dict(await self._ask_all(self._ask_held))
            lacking = [url for url in self._nodes.urls if held.get(url) is False]
            if not lacking:
                return
            holders = sum(held.values())
            receivers = lacking[: max(0, wanted - holders)]
            await asyncio.gather(*map(self._try_to_give_bytes, receivers))
            wanted = len(self._nodes.urls)
            await asyncio.sleep(_PAUSE_S)
            if self._say(await self._ask_rounds(), self._is_attest_over):
                return

    async def _try_to_give_bytes(self, url: str) -> None:
        try:
            await self._give_bytes(url)
        except NetworkError as error:
            _log.info("node does not take the bytes", node=url, reason=str(error))

    async def _give_bytes(self, url: str) -> Answer:
        return await self._post(url, "/v1/update", self._update or b"")

    async def _give_transaction(self, url: str) -> Answer:
        return await self._post(url, "/v1/transaction", b"")

    async def _post(self, url: str, path: str, body: bytes) -> Answer:
        answer = await self._nodes.ask(url, path, body=body, headers=self._headers)
        if answer.is_refused:
            self._refusals[url] = answer.refused_transaction
        answer.check()
        return answer

    async def _ask_held(self, url: str) -> tuple[str, bool]:
        answer = await self._nodes.ask(url, f"/v1/held/{self.commitment.hex()}")
        return url, not answer.is_refused and answer.json().get("held") is True

    async def _ask_round(self, url: str) -> tuple[str, _Told]:
        told = (await self._nodes.ask(url, "/v1/round", limit_bytes=_ROUND_BYTES)).json()
        round_, phase = told.get("round"), told.get("phase")
        if not isinstance(round_, int) or not isinstance(phase, str):
            raise NetworkError(url, "tells nothing of the open round")
        known = {self._round: "updates", self._round + 1: "previous_updates"}.get(round_, "")
        return url, _Told(round_, phase, _devices(told.get(known)))

    async def _ask_rounds(self) -> list[tuple[str, _Told]]:
        """What nodes tell of the round. Once f+1 say that COLLECT is over, and the same of the update, that is all."""

        def claim(answer: tuple[str, _Told]) -> tuple[bool, ...]:
            told = answer[1]
            return self._is_collect_over(told), self._is_attest_over(told), self._has_it(told), self._lacks_it(told)

        return await self._ask_all(self._ask_round, claim, lambda said: 0.0 if said[0] else _GRACE_S)

    async def _ask_all(
        self,
        ask: Callable[[str], Awaitable[Any]],
        claim: Callable[[Any], Any] = lambda _: None,
        grace_s: Callable[[Any], float] = lambda _: _GRACE_S,
    ) -> list[Any]:
        """What nodes answer in time; those that fail are left out.

        Args:
            ask: a node.
            claim: what an answer comes to; by default all are alike.
            grace_s: how long the others may take once f+1 claim the same: a node that is down holds up nobody.
        """

        async def one(url: str) -> list[Any]:
            try:
                async with asyncio.timeout(_PATIENCE_S):
                    return [await ask(url)]
            except (NetworkError, TimeoutError) as error:
                _log.debug("node is of no help", node=url, reason=str(error))
                return []

        asked = [asyncio.create_task(one(url)) for url in self._nodes.urls]
        claims: Counter[Any] = Counter()
        try:
            for next_one in asyncio.as_completed(asked):
                said = [claim(answer) for answer in await next_one]
                claims.update(said)
                if said and claims[said[0]] >= self._enough:
                    await asyncio.wait(asked, timeout=grace_s(said[0]))
                    break
        finally:
            for task in asked:
                task.cancel()
            answers = await asyncio.gather(*asked, return_exceptions=True)
        return [answer for answered in answers if isinstance(answered, list) for answer in answered]

    def _say(self, told: Sequence[tuple[str, _Told]], claim: Callable[[_Told], bool]) -> bool:
        """Whether so many nodes claim it that one of them is honest."""
        return len({url for url, said in told if claim(said)}) >= self._enough

    def _is_collect_over(self, told: _Told) -> bool:
        return told.round > self._round or (told.round == self._round and told.phase != "collect")

    def _is_attest_over(self, told: _Told) -> bool:
        return told.round > self._round or (told.round == self._round and told.phase == "publish")

    def _has_it(self, told: _Told) -> bool:
        return told.updates is not None and self._device in told.updates

    def _lacks_it(self, told: _Told) -> bool:
        return told.updates is not None and self._device not in told.updates and self._is_collect_over(told)


def _devices(listed: object) -> frozenset[int] | None:
    if not isinstance(listed, list):
        return None
    return frozenset(device for device in listed if isinstance(device, int))  # pyright: ignore[reportUnknownVariableType]  # JSON
