"""The embedded engine: all N replicas in one process, under Tendermint, for simulation.

Each replica is an honest server: it checks every block and every signature that a decision rests on, and
executes the contract again. With ``share_checks`` the replicas share what they have found, since honest ones
find the same; without, each decodes its own bytes and does all the work alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bees.core.canonical import decode, encode
from bees.core.errors import EngineError, MissingBlobError, TransactionError
from bees.core.keys import is_signed_by
from bees.core.stopwatch import untimed
from bees.engines.blobs import ReadUpdates
from bees.engines.checks import Checks, signature_checks
from bees.engines.network import Network, instantaneous
from bees.engines.replica import Payload, Replica
from bees.engines.tendermint import TimeoutLengths
from bees.ledger.transactions import Signed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bees.core.keys import SigningKey
    from bees.core.stopwatch import PhaseTimer
    from bees.engines.network import Link
    from bees.ledger.block import Block, Commit, Verifier
    from bees.ledger.execution import ContractRunner
    from bees.ledger.genesis import SignedGenesis
    from bees.ledger.state import State

_DEFAULT_LENGTHS = TimeoutLengths()
_PATIENCE_US = 3_600_000_000
"""Virtual time after which a height without decision is an error: an hour, thousands of rounds."""


@dataclass(frozen=True)
class CommittedBlock:
    """A block that all replicas have committed.

    Attributes:
        block: header and transactions.
        commit: precommits of more than 2N/3 servers.
        state: after the block.
        read: commitments of the updates that the contract read in it, in the order of their devices.
    """

    block: Block
    commit: Commit
    state: State
    read: tuple[bytes, ...]


class EmbeddedEngine:
    """N replicas that order transactions into blocks.

    Attributes:
        replicas: in the order of the servers.
        network: on which they talk.
    """

    def __init__(
        self,
        signed: SignedGenesis,
        server_keys: Sequence[SigningKey],
        make_runner: Callable[[], ContractRunner],
        *,
        share_checks: bool = True,
        link: Link = instantaneous,
        lengths: TimeoutLengths = _DEFAULT_LENGTHS,
        timer: PhaseTimer = untimed,
        threads: int = 2,
    ) -> None:
        """Start all replicas from genesis.

        Args:
            signed: the genesis, signed by all servers.
            server_keys: of the servers, in their order.
            make_runner: makes a contract runner; called once with ``share_checks``, else once per replica.
            share_checks: whether replicas share what they have checked.
            link: delays and losses of messages; instantaneous and in order by default.
            lengths: of consensus timeouts, in virtual time.
            timer: takes the time of sign, verify, contract, commit and consensus.
            threads: for signatures; they change no result.

        Raises:
            GenesisError: the genesis cannot be started from.
            EngineError: the keys are not the servers'.
        """
        servers = signed.genesis.servers
        if [key.public_key for key in server_keys] != [server.public_key for server in servers]:
            raise EngineError("the signing keys are not those of the genesis' servers, in their order")
        self._genesis = signed.genesis
        self._share_checks = share_checks
        self._timer = timer
        count = 1 if share_checks else len(servers)
        self._checks = [Checks(make_runner(), timer, threads) for _ in range(count)]
        self._read = ReadUpdates()
        self.network: Network[Payload] = Network(len(servers), link)
        self.replicas = tuple(
            Replica(index, key, signed, self._checks[index % count], self.network, lengths, timer)
            for index, key in enumerate(server_keys)
        )

    def add_key(self, server: int, key: SigningKey) -> None:
        """Give a replica the key that an Amend names, or will name, as its server's."""
        self.replicas[server].add_key(key)

    @property
    def state(self) -> State:
        """After the last block that all replicas have committed."""
        return self.replicas[0].application.state

    @property
    def verify(self) -> Verifier:
        """How others of this process check signatures: with what the replicas share, or all by themselves."""
        return self._checks[0].memo.verify if self._share_checks else is_signed_by

    def submit(self, signed: Signed) -> None:
        """Hand a transaction to every replica's mempool.

        Raises:
            TransactionError: it could not be in the next block; no replica has taken it.
            MissingBlobError: an update that the contract must read is not at hand.
        """
        with self._timer("commit"):
            data = encode(signed)
            for replica in self.replicas:
                replica.submit(signed if self._share_checks else decode(data, Signed))

    def submit_all(self, transactions: Sequence[Signed]) -> tuple[TransactionError | MissingBlobError | None, ...]:
        """Hand in many transactions, whose signatures are then checked together.

        Returns:
            For each, why it was refused, or None.
        """
        with self._timer("commit"):
            checks = signature_checks(self.state.members, transactions)
            for known in self._checks:
                known.memo.verify_all(checks)
        return tuple(self._refusal(signed) for signed in transactions)

    def next_block(self) -> CommittedBlock:
        """Run consensus on the next height until all replicas have committed its block.

        Raises:
            EngineError: no decision within an hour of virtual time, or replicas differ.
        """
        height = self.state.height + 1
        with self._timer("consensus"):
            for replica in self.replicas:
                replica.start_height()
            replicas = self.replicas
            waiting = {k for k, replica in enumerate(replicas) if replica.height < height}

            def deliver(node: int, payload: Payload) -> None:
                replica = replicas[node]
                replica.deliver(payload)
                if node in waiting and replica.height >= height:
                    waiting.discard(node)

            if not self.network.run(deliver, lambda: not waiting, self.network.now_us + _PATIENCE_US):
                raise EngineError(f"no block {height}: {len(waiting)} of {len(self.replicas)} servers are undecided")
            self.network.clear()
        return self._committed(height)

    def catch_up(self, block: Block, commit: Commit) -> CommittedBlock:
        """Append a block that was committed before, such as from a chain file, at every replica.

        Raises:
            BlockError: it does not follow, or is not committed.
        """
        for replica in self.replicas:
            replica.apply(block, commit)
        return self._committed(block.header.height)

    def close(self) -> None:
        """End the threads."""
        for checks in self._checks:
            checks.memo.close()

    def _committed(self, height: int) -> CommittedBlock:
        first = self.replicas[0]
        if len({(replica.height, replica.last_block, replica.application.app_hash) for replica in self.replicas}) != 1:
            raise EngineError(f"servers disagree about block {height}")
        if first.last_decision is None:
            raise EngineError(f"no block {height}")
        block, commit = first.last_decision
        return CommittedBlock(block, commit, first.application.state, self._read.follow(block.batch))

    def _refusal(self, signed: Signed) -> TransactionError | MissingBlobError | None:
        try:
            self.submit(signed)
        except (TransactionError, MissingBlobError) as refusal:
            return refusal
        return None
