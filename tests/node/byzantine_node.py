"""``bees node`` of a Byzantine server: the whole node, but something else leaves it than its honest program says.

Usage: ``byzantine_node.py LIE --config node.toml``. The lies are those of ``bees.adversary.protocol``; what is added
here is their way out, since an honest ledger refuses to send what it knows to be wrong. Nothing of this is installed.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
from msgspec.structs import replace

from bees.adversary.protocol.coalition import Coalition, Liar
from bees.adversary.protocol.ledger_lies import attest_falsely, publish_wrong
from bees.core.canonical import decode
from bees.core.errors import CodecError
from bees.ledger.state import state_tree
from bees.ledger.transactions import Attest, Publish, Signed
from bees.protocol.messages import Gossip
from bees.transport.refusals import UnknownBlobError
from campaigns.random_node import draw_scores, run_node

draw_scores()

from bees.node import service  # noqa: E402  # after the scorer has been replaced
from bees.node.ledger_node import LedgerNode  # noqa: E402
from bees.node.peer_api import PeerApi  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aiohttp import web

DIVERGES_AT = 6


class LyingLedger(LedgerNode):
    """Sends lies in place of what its duties answer, and takes its own lies into its mempool and its proposals."""

    def lies(self, honest: Signed) -> list[Signed]:
        """What leaves in place of a transaction of this server."""
        raise NotImplementedError

    def told(self, honest: Signed, tamper: Callable[..., tuple[Any, ...]]) -> Signed:
        """What one of the ways to lie makes of a transaction."""
        replica: Any = SimpleNamespace(application=self._application, mempool={})
        (key,), rng = self.key.keys, np.random.default_rng(0)
        keys = {self.server: key}
        coalition = Coalition(self.genesis, keys, frozenset(), inflates=True, rng=rng)
        (said,) = tamper(Liar(self.server, coalition, key, lambda: replica), -1, Gossip(honest))
        return said.signed

    async def submit(self, signed: Signed) -> None:
        if not self._is_own(signed):
            await super().submit(signed)
            return
        for lie in self.lies(signed):
            await self.comet.submit(lie.encoding)

    async def check(self, transaction: bytes) -> None:
        with suppress(CodecError):
            if self._is_own(decode(transaction, Signed)):
                return
        await super().check(transaction)

    async def prepare(self, candidates: Sequence[bytes], limit_bytes: int) -> list[bytes]:
        honest = await super().prepare(candidates, limit_bytes)
        return [*honest, *(c for c in candidates if c not in honest and self._is_own(decode(c, Signed)))]

    def _is_own(self, signed: Signed) -> bool:
        body = signed.body
        return isinstance(body, Publish | Attest) and body.server == self.server and body.round == self.state.round


class PublishesWrong(LyingLedger):
    def lies(self, honest: Signed) -> list[Signed]:
        return [self.told(honest, publish_wrong)]


class PublishesTwice(LyingLedger):
    """The truth, and at once another result, which no block will take: others must hear it in their mempools."""

    def lies(self, honest: Signed) -> list[Signed]:
        return list(dict.fromkeys([honest, self.told(honest, publish_wrong)]))


class AttestsFalsely(LyingLedger):
    def lies(self, honest: Signed) -> list[Signed]:
        return [self.told(honest, attest_falsely)]


class WithholdingApi(PeerApi):
    """Gives no server an update, not even those that it attests to hold."""

    async def _blob(self, request: web.Request) -> web.Response:
        self._check(request)
        raise UnknownBlobError("update is not here, or still secret")


class DivergingLedger(LedgerNode):
    """From a height on, it believes that server 0 has one millijoule more."""

    async def commit(self) -> None:
        await super().commit()
        if self.height == DIVERGES_AT:
            first, *others = self.state.servers
            other = replace(self.state, servers=(replace(first, battery_mj=first.battery_mj + 1), *others))
            self._application.state, self._application.app_hash = other, state_tree(other).root


LIES: dict[str, dict[str, type]] = {
    "wrong publish": {"LedgerNode": PublishesWrong},
    "two publishes": {"LedgerNode": PublishesTwice},
    "false attestation, withheld bytes": {"LedgerNode": AttestsFalsely, "PeerApi": WithholdingApi},
    "another state": {"LedgerNode": DivergingLedger},
}


if __name__ == "__main__":
    for name, part in LIES[sys.argv[1]].items():
        setattr(service, name, part)
    sys.exit(run_node(sys.argv[2:]))
