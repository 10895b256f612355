"""The device API as a whole: what devices read, what they hand in, what they offload, and whether the node is well."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aiohttp import web

from bees.node.offload_api import NoOffloadApi
from bees.node.round_api import RoundApi
from bees.node.update_api import UpdateApi
from bees.transport.refusals import NotYetError

if TYPE_CHECKING:
    from collections.abc import Callable

    from bees.ledger.state import State
    from bees.ledger.transactions import Signed
    from bees.node.blob_store import DiskBlobStore
    from bees.node.config import DevicesSection
    from bees.node.guarded_server import Handler
    from bees.node.metrics import Metrics
    from bees.node.offload_api import OffloadApi
    from bees.node.ports import Ledger

STALLED_AFTER_S = 60.0
"""A node whose chain has not moved for so long is not ready for devices."""


class DeviceApi:
    """What devices may ask of a node.

    Args:
        ledger: the node's.
        store: where updates go.
        section: limits.
        metrics: of the node.
        offload: where devices offload; by default they cannot.
    """

    def __init__(
        self,
        ledger: Ledger,
        store: DiskBlobStore,
        section: DevicesSection,
        metrics: Metrics,
        offload: OffloadApi | NoOffloadApi | None = None,
    ) -> None:
        self._ledger, self._store, self._metrics = ledger, store, metrics
        self._offload = offload or NoOffloadApi()
        self._rounds = RoundApi(ledger)
        self._updates = UpdateApi(ledger, store, section, metrics)
        self._last_block_s = asyncio.get_running_loop().time()
        ledger.on_block(lambda _: self._note_time())

    def tell(self, hear: Callable[[Signed], object], have_bytes: Callable[[], object]) -> None:
        """Whom to tell of what comes.

        Args:
            hear: is told of authentic transactions, which may contradict others.
            have_bytes: is told when bytes of an update on the chain have come.
        """
        self._updates.hear, self._updates.have_bytes = hear, have_bytes

    @property
    def routes(self) -> list[tuple[str, str, Handler]]:
        """Method, path and handler."""
        return [
            *self._rounds.routes,
            *self._updates.routes,
            *self._offload.routes,
            ("GET", "/healthz", self._health),
            ("GET", "/readyz", self._ready),
            ("GET", "/metrics", self._show_metrics),
        ]

    def entrusted(self, state: State) -> list[Signed]:
        """What devices have entrusted to this node and is not on the chain yet: to be sent again."""
        return [*self._updates.entrusted(state), *self._offload.updates(state)]

    async def _health(self, _: web.Request) -> web.Response:
        return web.json_response({"status": "alive"})

    async def _ready(self, _: web.Request) -> web.Response:
        idle_s = asyncio.get_running_loop().time() - self._last_block_s
        if self._ledger.height == 0 or idle_s > STALLED_AFTER_S:
            raise NotYetError(f"the chain stands at height {self._ledger.height} for {idle_s:.0f} s")
        return web.json_response({"status": "ready", "height": self._ledger.height})

    async def _show_metrics(self, _: web.Request) -> web.Response:
        self._metrics.blobs.set(self._store.size_bytes)
        return web.Response(body=self._metrics.render(), headers={"Content-Type": "text/plain; version=0.0.4"})

    def _note_time(self) -> None:
        self._last_block_s = asyncio.get_running_loop().time()
