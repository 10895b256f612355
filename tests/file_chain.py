"""A chain file of a tiny world, with real keys and a real contract: it grows block by block, its rounds are skipped."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bees.core.fixed_point import words_to_bytes
from bees.core.hashes import digest
from bees.core.keys import SigningKey
from bees.core.seeds import stream_key
from bees.engines.chain_file import ChainWriter
from bees.faults.world import shared_world
from bees.key_file import write_key_file
from bees.ledger.aggregation import ContractExecutor
from bees.ledger.application import Application
from bees.ledger.block import Batch, Block, Commit, CommitSignature, Header, block_id, vote_bytes

if TYPE_CHECKING:
    from pathlib import Path

    from bees.ledger.state import State
    from bees.ledger.transactions import Signed

SERVERS, DEVICES = 4, 4
WORLD_SEED = 2024


def next_seed(server: int) -> bytes:
    """The seed of the key that a server goes on with."""
    return bytes([100 + server]) * 32


class FileChain:
    """One replica that commits blocks by the keys in force, and writes them down when its file is asked for.

    Args:
        folder: for ``chain.db``.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "chain.db"
        self._unwritten: list[tuple[Block, Commit]] = []
        self.world = shared_world(SERVERS, DEVICES)
        self.next_keys = [SigningKey.from_seed(next_seed(k)) for k in range(SERVERS)]
        self._application = Application(
            self.world.signed, ContractExecutor(self.world.machine, lambda _: None, self.world.initial_model)
        )
        self._previous = self.world.genesis.chain_id
        ChainWriter.create(self._path, self.world.signed, words_to_bytes(self.world.initial_model)).close()

    @property
    def state(self) -> State:
        return self._application.state

    @property
    def path(self) -> Path:
        """The chain file, with all blocks."""
        self.write()
        return self._path

    def write(self) -> None:
        """Append the blocks that are not in the file yet."""
        if self._unwritten:
            with ChainWriter.resume(self._path) as writer:
                for block, commit in self._unwritten:
                    writer.append(block, commit, {})
            self._unwritten.clear()

    def block(self, *transactions: Signed) -> None:
        """Commit a block of these, and write it down."""
        batch, state = Batch(transactions), self.state
        app_hash = self._application.finalize_block(batch)
        header = Header(state.genesis.chain_id, state.height + 1, self._previous, batch.root, app_hash)
        self._previous = block_id(header)
        message = vote_bytes(header.chain_id, header.height, 0, "precommit", self._previous)
        keys = {key.public_key: key for key in (*self.world.server_keys, *self.next_keys)}
        votes = tuple(
            CommitSignature(k, keys[named].sign(message))
            for k, named in enumerate(state.members.committee.keys)
            if named is not None
        )
        self._application.commit()
        self._unwritten.append((Block(header, batch), Commit(header.height, 0, self._previous, votes)))

    def skip_round(self) -> None:
        """Until the open round is over, with nobody's updates."""
        now = self.state.round
        while self.state.round == now:
            self.block()


def write_keys(folder: Path) -> None:
    """The key files of all servers, ``0.key`` and on, and of their next keys, ``next0.key`` and on."""
    for k, own in enumerate(shared_world(SERVERS, DEVICES).server_keys):
        seed = digest("simulated key", stream_key(WORLD_SEED, "server", k))
        assert write_key_file(folder / f"{k}.key", seed).public_key == own.public_key
        write_key_file(folder / f"next{k}.key", next_seed(k))
