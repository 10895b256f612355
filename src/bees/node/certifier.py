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

    from bees.core.keys import SigningKey
    from bees.ledger.block import Commit, Header, Verifier
    from bees.ledger.committee import Committee
    from bees.node.certificates import HeaderSignature, SignedHeaders
    from bees.node.peers import Peers
    from bees.protocol.key_ring import KeyRing

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
        self._to_sign: deque[tuple[Header, SigningKey]] = deque()
        self._to_push: deque[HeaderSignature] = deque(maxlen=_PUSHED_AT_ONCE)
        self._something_to_sign, self._news, self._progress = asyncio.Event(), asyncio.Event(), asyncio.Event()

    def decide(self, header: Header, committee: Committee) -> None:
        """Count a header as decided; where this server counts, it is signed when it is written down.

        Args:
            header: that is decided.
            committee: the servers that count in the state before it.
        """
        self._collector.decide(header, committee)
        self._decided = header.height
        key = self._keys.named_in(committee)
        if key is not None:
            self._to_sign.append((header, key))
            self._something_to_sign.set()
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
                async with asyncio.timeout(self._pull_after_s):
                    await self._news.wait()
                return
        if height >= first:
            pulled = await self._peers.pull_signatures(first, min(height, first + HEIGHTS_PER_PULL - 1))
            is_news = [self._collector.take(signature, self._certified, height) for signature in pulled]
            if is_behind and not any(is_news):
                await asyncio.sleep(self._pull_after_s)

    async def sign_loop(self) -> None:
        """Sign what is decided, and give it to the others. What is lost on the way, or too much at once, they pull.

        Raises:
            StorageError: what is to be signed cannot be written down.
        """
        while True:
            await self._something_to_sign.wait()
            self._something_to_sign.clear()
            while self._to_sign:
                await self._sign(*self._to_sign.popleft())
            while self._to_push:
                await self._peers.push_signature(self._to_push.popleft())

    async def _sign(self, header: Header, key: SigningKey) -> None:
        name = block_id(header)
        if await asyncio.to_thread(self._write_down, header.height, name, self._certified):
            own = sign_header(header, self._server, key)
            self._collector.take(own, self._certified, header.height)
            self._to_push.append(own)
            self._news.set()

    def _write_down(self, height: int, name: bytes, certified: int) -> bool:
        """Whether the header may be signed; then it is on the disk that it is. Runs in a thread, for the disk waits."""
        self._signed_headers.forget(certified)
        if not self._signed_headers.may_sign(height, name):
            return False
        self._signed_headers.remember(height, name)
        return True

    def close(self) -> None:
        """Let go of the file."""
        self._signed_headers.close()
