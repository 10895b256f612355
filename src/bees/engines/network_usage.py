"""Bytes on each kind of link in a communication round, counted from a real chain and for two ways to spread updates.

What goes over a link is the canonical encoding of what is on the chain, or of the messages by which it came there; the
transport's own headers are not counted. The servers are a full mesh: whoever has something sends it to each of the
others once, as in ``bees.edge.backhaul``. Nothing is lost, so nothing is asked for twice.

*pull* is what BEES does: a transaction carries the commitment of an update, and each server pulls the bytes from the
one that has them, naming the commitment. *inline* puts the bytes in the transaction's place of the commitment. Then
they go to all servers twice: with the transaction, and in the block that proposes it. They are also in the chain for
ever, and public before COLLECT closes, so that another device can copy them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from bees.core.canonical import encode
from bees.core.errors import InputError
from bees.core.update_codec import encoded_bytes
from bees.engines.audit import iter_chain
from bees.engines.messages import Proposal, Vote
from bees.engines.prove import prove_from_file, read_signed_genesis
from bees.ledger.transactions import Amend, Delegate, Update

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from bees.contract.vm import VirtualMachine
    from bees.core.update_codec import UpdateEncoding
    from bees.engines.audit import ChainEntry
    from bees.ledger.block import VoteKind
    from bees.ledger.genesis import Genesis
    from bees.ledger.transactions import Signed

Spread = Literal["pull", "inline"]
SPREADS: tuple[Spread, ...] = get_args(Spread)

_SIGNATURE = bytes(64)
_HASH = bytes(32)
_FRESH = -1
_VOTE_KINDS: tuple[VoteKind, ...] = ("prevote", "precommit")


@dataclass(frozen=True)
class RoundTraffic:
    """What the ledger of a chain has sent once, in bytes, on average over its communication rounds.

    Attributes:
        servers: N.
        devices: K.
        parameters: P.
        rounds: that were averaged.
        heights: ledger blocks per round.
        updates: committed, per round.
        device_updates: of them, those that their device itself has sent.
        device_transactions_bytes: signed by devices.
        server_transactions_bytes: signed by servers.
        proposals_bytes: the proposals of all heights, blocks included.
        votes_bytes: one prevote and one precommit of each server, of all heights.
        proof_bytes: one proof of w_g(t).
    """

    servers: int
    devices: int
    parameters: int
    rounds: int
    heights: float
    updates: float
    device_updates: float
    device_transactions_bytes: float
    server_transactions_bytes: float
    proposals_bytes: float
    votes_bytes: float
    proof_bytes: float


@dataclass(frozen=True)
class NetworkUsage:
    """Bytes per communication round over all links of a kind.

    Attributes:
        device_to_server: transactions of the devices, and their updates.
        server_to_device: w_g and its proof, to each UE.
        updates: between servers, pulled; under ``inline`` they are part of the next two.
        transactions: between servers.
        proposals: between servers.
        votes: between servers.
    """

    device_to_server: float
    server_to_device: float
    updates: float
    transactions: float
    proposals: float
    votes: float

    @property
    def between_servers(self) -> float:
        """All that servers send one another."""
        return self.updates + self.transactions + self.proposals + self.votes

    @property
    def total(self) -> float:
        """Over all links."""
        return self.device_to_server + self.server_to_device + self.between_servers


def measure_traffic(path: Path, machine: Callable[[Genesis], VirtualMachine] | None = None) -> RoundTraffic:
    """What the ledger of a chain file has sent; it is replayed once, for the proof.

    Args:
        path: the chain file.
        machine: makes the virtual machine that the genesis describes; by default the one of this package.

    Raises:
        ChainFileError: the file cannot be read.
        InputError: its members were amended, so that not every height had the same servers.
        BeesError: a block is not right, or no round is closed.
    """
    genesis = read_signed_genesis(path).genesis
    entries = list(iter_chain(path))
    transactions = [signed for entry in entries for signed in entry.block.batch.transactions]
    if any(isinstance(signed.body, Amend) for signed in transactions):
        raise InputError(
            str(path), "has amended its members; traffic is counted for chains whose servers stay the same"
        )
    updates = [signed.body for signed in transactions if isinstance(signed.body, Update)]
    own = [signed for signed in transactions if _is_from_device(signed)]
    proof = prove_from_file(path, machine=machine).proof
    rounds, servers = proof.outcome.round, len(genesis.servers)
    return RoundTraffic(
        servers=servers,
        devices=len(genesis.devices),
        parameters=genesis.model.parameters,
        rounds=rounds,
        heights=len(entries) / rounds,
        updates=len(updates) / rounds,
        device_updates=sum(update.server is None for update in updates) / rounds,
        device_transactions_bytes=_size(own) / rounds,
        server_transactions_bytes=(_size(transactions) - _size(own)) / rounds,
        proposals_bytes=sum(_proposal_bytes(entry, servers) for entry in entries) / rounds,
        votes_bytes=sum(_votes_bytes(entry, servers) for entry in entries) / rounds,
        proof_bytes=len(encode(proof)),
    )


def count_usage(traffic: RoundTraffic, encoding: UpdateEncoding, spread: Spread) -> NetworkUsage:
    """Bytes per round and kind of link, if the updates of this traffic are spelled and spread in this way.

    With U updates of b bytes, U' of them from their devices, N servers and K devices: ``pull`` sends ``U' b`` up, and
    ``U (N-1) (b + commitment)`` between servers; ``inline`` sends ``U (b - commitment)`` more wherever an Update is.

    Args:
        traffic: of a chain.
        encoding: how updates are spelled.
        spread: how they come to all servers.
    """
    others = traffic.servers - 1
    size, name = encoded_bytes(encoding, traffic.parameters), len(encode(_HASH))
    inside = len(encode(bytes(size))) - name if spread == "inline" else 0
    own, sent = traffic.device_updates, traffic.updates
    transactions = traffic.device_transactions_bytes + traffic.server_transactions_bytes + sent * inside
    uploaded = own * (inside if spread == "inline" else size)
    model_bytes = encoded_bytes("words", traffic.parameters)
    return NetworkUsage(
        device_to_server=traffic.device_transactions_bytes + uploaded,
        server_to_device=traffic.devices * (model_bytes + traffic.proof_bytes),
        updates=0.0 if spread == "inline" else sent * others * (size + name),
        transactions=others * transactions,
        proposals=others * (traffic.proposals_bytes + sent * inside),
        votes=others * traffic.votes_bytes,
    )


def _is_from_device(signed: Signed) -> bool:
    match signed.body:
        case Delegate():
            return True
        case Update(server=server):
            return server is None
        case _:
            return False


def _size(transactions: Iterable[Signed]) -> int:
    return sum(len(signed.encoding) for signed in transactions)


def _proposal_bytes(entry: ChainEntry, servers: int) -> int:
    """Of the proposal that was committed; its signature, and who made it, have the same size whatever they are."""
    height, round_ = entry.block.header.height, entry.commit.consensus_round
    proposer = (height + round_) % servers
    return len(encode(Proposal(height, round_, _FRESH, encode(entry.block), proposer, _SIGNATURE)))


def _votes_bytes(entry: ChainEntry, servers: int) -> int:
    height, round_, block = entry.block.header.height, entry.commit.consensus_round, entry.commit.block_id
    votes = (Vote(height, round_, kind, block, server, _SIGNATURE) for kind in _VOTE_KINDS for server in range(servers))
    return sum(len(encode(vote)) for vote in votes)
