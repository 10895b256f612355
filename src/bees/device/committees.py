"""The committees that a device has seen proved, in a file beside its journal: it never goes back to an earlier one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from bees.core.canonical import Record, decode, encode
from bees.core.errors import CodecError, InputError, NetworkError, ProofError
from bees.core.keys import is_signed_by
from bees.engines.chain_file import typed_errors
from bees.ledger.block import Header
from bees.ledger.committee import Committee
from bees.ledger.genesis import Hash
from bees.ledger.proofs import CommitteeProof, Committees

if TYPE_CHECKING:
    from pathlib import Path

    from bees.device.nodes import Nodes
    from bees.ledger.genesis import Genesis

_ANSWER_BYTES = 8 << 20
"""More than 64 proofs by hundreds of servers."""
_PATIENCE_S = 4.0

_log = structlog.get_logger("bees.device")


class _Kept(Record, frozen=True):
    """What the file holds."""

    chain_id: Hash
    changes: tuple[tuple[Header, Committee], ...]


class KnownCommittees:
    """Follows the servers of a chain, as far as nodes prove who they are.

    Args:
        genesis: of the chain.
        path: where to keep what was proved, or None to forget it.

    Attributes:
        proved: all of it.

    Raises:
        InputError: the file is damaged, or of another chain.
        StorageError: it cannot be read.
    """

    def __init__(self, genesis: Genesis, path: Path | None) -> None:
        self.proved = Committees(genesis) if path is None else _read(genesis, path)
        self._path = path

    async def follow(self, nodes: Nodes, url: str) -> None:
        """Take in what one node proves beyond what is known.

        Raises:
            NetworkError: it does not answer.
            CodecError: it answers no proofs.
            ProofError: they prove nothing.
            StorageError: what is new cannot be written.
        """
        while True:
            path = f"/v1/committee?after={self.proved.height}"
            answer = await nodes.ask(url, path, limit_bytes=_ANSWER_BYTES)
            if answer.is_refused:
                raise NetworkError(url, answer.refusal)
            proofs = decode(answer.body, tuple[CommitteeProof, ...])
            # Another node may have proved some of them meanwhile.
            news = [proof for proof in proofs if proof.header.height > self.proved.height]
            if not news:
                return
            self._keep(self.proved.follow(news, is_signed_by))

    async def follow_all(self, nodes: Nodes) -> None:
        """Take in what any node proves: one alone might hide the very change that was made because of it.

        Raises:
            StorageError: what is new cannot be written.
        """

        async def one(url: str) -> None:
            try:
                async with asyncio.timeout(_PATIENCE_S):
                    await self.follow(nodes, url)
            except (NetworkError, ProofError, CodecError, TimeoutError) as error:
                _log.info("node proves no committee", node=url, reason=str(error))

        await asyncio.gather(*map(one, nodes.urls))

    def _keep(self, proved: Committees) -> None:
        if self._path is not None:
            draft = self._path.with_name(f"{self._path.name}.draft")
            with typed_errors(self._path):
                draft.write_bytes(encode(_Kept(proved.genesis.chain_id, proved.changes)))
                draft.replace(self._path)
        self.proved = proved
        servers = proved.newest.members
        _log.info("the servers have amended who they are", height=proved.height, servers=servers)


def _read(genesis: Genesis, path: Path) -> Committees:
    with typed_errors(path):
        data = path.read_bytes() if path.exists() else None
    if data is None:
        return Committees(genesis)
    try:
        kept = decode(data, _Kept)
    except CodecError as error:
        fix = "delete it, and the committees are proved again from the genesis on"
        raise InputError(str(path), f"is damaged ({error}); {fix}") from error
    if kept.chain_id != genesis.chain_id:
        raise InputError(str(path), f"belongs to chain {kept.chain_id.hex()}; give each chain a journal of its own")
    return Committees(genesis, kept.changes)
