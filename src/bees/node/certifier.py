"""Signs what is decided, gives the signatures to the other servers, and gathers theirs into certificates."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

import structlog

from bees.ledger.block import block_id
from bees.node.certificates import Collector, sign_header, signatures_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bees.ledger.block import Commit, Header, Verifier
    from bees.ledger.committee import Committee
    from bees.node.certificates import HeaderSignature, SignedHeaders
    from bees.node.key_ring import KeyRing
    from bees.node.peers import Peers

HEIGHTS_PER_PULL = 100
_PUSHED_AT_ONCE = 8
_BEHIND = 4
"""With so many blocks uncertified, signatures are pulled at once: this server catches up."""
_UNCERTIFIED_LIMIT = 2000
"""Decided blocks that are held without a certificate. Their signatures exist; they come when the peers are back."""

_log = structlog.get_logger(__name__)


class Certifier:
    """Signs what is decided, exchanges signatures with the other servers, and tells when a certificate is complete."""

    def __init__(
        self,
        *,
        chain_id: bytes,
        committee: Committee,
        server: int,
        keys: KeyRing,
        verify: Verifier,
        signed_headers: SignedHeaders,
        peers: Peers,
        pull_after_s: float,
        certified: int,
    ) -> None:
        self._server, self._keys, self._peers, self._pull_after_s = server, keys, peers, pull_after_s
        self._signed_headers = signed_headers
        self._collector = Collector(chain_id, committee, verify)
        self._certified = self._decided = certified
        self._to_push: deque[HeaderSignature] = deque(maxlen=_PUSHED_AT_ONCE)
        self._something_to_push, self._news, self._progress = asyncio.Event(), asyncio.Event(), asyncio.Event()

    def decide(self, header: Header, committee: Committee) -> None:
        """Count a header as decided, sign it if this server counts, and have the signature leave when it is written.

        Args:
            header: that is decided.
            committee: the servers that count in the state before it.

        Raises:
            StorageError: what it signs cannot be written down.
        """
        self._collector.decide(header, committee)
        self._decided = header.height
        name, key = block_id(header), self._keys.named_in(committee)
        if key is not None and self._signed_headers.may_sign(header.height, name):
            self._signed_headers.remember(header.height, name)
            own = sign_header(header, self._server, key)
            self._collector.take(own, self._certified, header.height)
            self._to_push.append(own)
            self._something_to_push.set()
        self._news.set()

    def take(self, signature: HeaderSignature, height: int) -> bool:
        """Keep another server's signature; returns whether it is of use."""
        is_news = self._collector.take(signature, self._certified, height)
        if is_news:
            self._news.set()
        return is_news

    def certificate(self, height: int) -> Commit | None:
        """The certificate of a decided height, once it is complete."""
        return self._collector.certificate(height)

    def dissenters(self, height: int) -> tuple[int, ...]:
        """Servers that have signed another header than the one which is decided here."""
        return self._collector.dissenters(height)

    def are_too_many(self, height: int, dissenters: Sequence[int]) -> bool:
        """Whether so many servers have signed another header that no certificate can come for the one decided here."""
        return self._collector.are_too_many(height, dissenters)

    def signatures(
        self, first_height: int, last_height: int, certified: Callable[[int], Commit | None]
    ) -> list[HeaderSignature]:
        """What is held for some heights, of which the first hundred count."""
        found: list[HeaderSignature] = []
        for height in range(max(1, first_height), min(last_height, first_height + HEIGHTS_PER_PULL - 1) + 1):
            commit = certified(height) if height <= self._certified else None
            found += self._collector.held(height) if commit is None else signatures_of(commit)
        return found

    def forget(self, certified: int) -> None:
        """Let go of what is in the chain file now."""
        self._certified = certified
        self._collector.forget(certified)
        self._signed_headers.forget(certified)
        self._progress.set()

    async def room(self) -> None:
        """Wait while so many decided blocks lack a certificate that they would fill the memory."""
        while self._decided - self._certified >= _UNCERTIFIED_LIMIT:
            _log.warning("waiting for certificates", certified=self._certified, decided=self._decided)
            self._progress.clear()
            await self._progress.wait()

    async def wait_for_more(self, height: int) -> None:
        """Until a signature has come, or one had to be pulled.

        Args:
            height: the last one that is decided.
        """
        first = self._certified + 1
        is_behind = height - first >= _BEHIND
        if not is_behind:
            self._news.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), self._pull_after_s)
                return
        if height >= first:
            pulled = await self._peers.pull_signatures(first, min(height, first + HEIGHTS_PER_PULL - 1))
            is_news = [self._collector.take(signature, self._certified, height) for signature in pulled]
            if is_behind and not any(is_news):
                await asyncio.sleep(self._pull_after_s)

    async def push_loop(self) -> None:
        """Give what was signed to the others. What is lost on the way, or too much at once, they pull."""
        while True:
            await self._something_to_push.wait()
            self._something_to_push.clear()
            while self._to_push:
                await self._peers.push_signature(self._to_push.popleft())

    def close(self) -> None:
        """Let go of the file."""
        self._signed_headers.close()
