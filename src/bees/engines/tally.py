"""Counts votes, and checks signatures only where a count depends on them.

A replica takes a vote in unchecked, and checks it together with others when they could make a quorum. Votes
past a quorum are never checked. Both votes of a server that votes twice are counted, each for its own block, as
the paper's message log does: the quorums are large enough for that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bees.ledger.block import vote_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from bees.engines.messages import Vote
    from bees.ledger.block import VoteKind

    SignatureCheck = tuple[bytes, bytes, bytes]
    CheckSignatures = Callable[[Sequence[SignatureCheck]], list[bool]]


_VOTES_KEPT = 3
"""How many different votes of one server are kept in a round; an honest one casts a single vote."""


def to_bits(servers: set[int]) -> bytes:
    """A set of servers as bytes: bit k of byte k // 8 is server k."""
    bits = bytearray(max(servers, default=-1) // 8 + 1)
    for server in servers:
        bits[server // 8] |= 1 << server % 8
    return bytes(bits)


def has_bit(bits: bytes, server: int) -> bool:
    """Whether a server is in the set."""
    return server // 8 < len(bits) and bool(bits[server // 8] >> server % 8 & 1)


class Tally:
    """The votes of one kind in one round of consensus.

    Attributes:
        kind: prevote or precommit.
    """

    def __init__(
        self,
        chain_id: bytes,
        height: int,
        consensus_round: int,
        kind: VoteKind,
        public_keys: Mapping[int, bytes],
        quorum: int,
        check: CheckSignatures,
    ) -> None:
        self.kind: VoteKind = kind
        self._quorum = quorum
        self._where = (chain_id, height, consensus_round)
        self._public_keys = public_keys
        self._check = check
        self._messages: dict[bytes | None, bytes] = {}
        self._valid: dict[bytes | None, dict[int, Vote]] = {}
        self._unchecked: dict[bytes | None, dict[int, Vote]] = {}
        self._valid_voters: set[int] = set()
        self._claimed_voters: set[int] = set()

    def add_own(self, vote: Vote) -> None:
        """Count a vote that this replica has signed itself."""
        self._valid.setdefault(vote.block, {})[vote.server] = vote
        self._valid_voters.add(vote.server)

    def add(self, vote: Vote, *, is_proposed: bool = False) -> None:
        """Take in a vote, unchecked.

        Args:
            vote: of this kind and round.
            is_proposed: whether it is for a block that was proposed. There are few of these, and a quorum for one must
                reach everybody, so such a vote is kept however many others its server has cast.
        """
        if vote.server in self._valid.get(vote.block, ()):
            return
        waiting = self._unchecked.setdefault(vote.block, {})
        rival = waiting.get(vote.server)
        if rival is not None and rival.signature != vote.signature:
            # One of the two is forged. Checking now keeps a forgery from crowding out the real vote.
            self._check_some(vote.block, [rival])
            if vote.server in self._valid.get(vote.block, ()):
                return
        if not is_proposed and not self._has_room(vote):
            return
        waiting[vote.server] = vote
        self._claimed_voters.add(vote.server)

    def may_matter(self, block: bytes | None) -> bool:
        """Whether a vote for ``block`` may just have made a quorum, for ``block`` or in all."""
        valid = len(self._valid.get(block, ()))
        if valid >= self._quorum:
            return False
        claimed = valid + len(self._unchecked.get(block, ()))
        return claimed >= self._quorum or self._claims_quorum()

    def has_quorum(self, block: bytes | None) -> bool:
        """Whether a quorum of servers has validly voted for ``block`` (None: for nil)."""
        while len(valid := self._valid.get(block, {})) < self._quorum:
            waiting = self._unchecked.get(block, {})
            if len(valid) + len(waiting) < self._quorum:
                return False
            self._check_some(block, list(waiting.values())[: self._quorum - len(valid)])
        return True

    def has_any_quorum(self) -> bool:
        """Whether a quorum of servers has validly voted, for whatever."""
        if len(self._valid_voters) >= self._quorum:
            return True
        return self._claims_quorum() and len(self.voters(self._quorum)) >= self._quorum

    def voters(self, enough: int) -> set[int]:
        """Servers that have validly voted for anything; stops looking at ``enough``."""
        for block in list(self._unchecked):
            if len(self._valid_voters) >= enough:
                break
            self._check_some(block, list(self._unchecked[block].values()))
        return self._valid_voters

    def quorum_votes(self, block: bytes | None) -> list[Vote]:
        """The valid votes for ``block`` that have been checked so far, ascending by server."""
        return [vote for _, vote in sorted(self._valid.get(block, {}).items())]

    def held(self) -> Iterator[tuple[bytes | None, set[int]]]:
        """For each block, who has voted for it as far as is known; an unchecked vote may turn out to be forged."""
        for block in {**self._valid, **self._unchecked}:
            yield block, {*self._valid.get(block, ()), *self._unchecked.get(block, ())}

    def lacking(self, held: Mapping[bytes | None, bytes]) -> Iterator[Vote]:
        """Valid votes that somebody lacks who holds those of the servers whose bits are set, by block."""
        for block in {**self._valid, **self._unchecked}:
            known = held.get(block, b"")
            waiting = self._unchecked.get(block, {})
            self._check_some(block, [vote for server, vote in waiting.items() if not has_bit(known, server)])
            yield from (vote for server, vote in self._valid.get(block, {}).items() if not has_bit(known, server))

    def votes_of(self, server: int) -> Iterator[Vote]:
        """The valid votes of one server."""
        return (votes[server] for votes in self._valid.values() if server in votes)

    def _has_room(self, vote: Vote) -> bool:
        """Whether one more vote of this server is kept. All but its last one have been checked, so none is forged."""
        for block in [b for b, votes in self._unchecked.items() if vote.server in votes and b != vote.block]:
            self._check_some(block, [self._unchecked[block][vote.server]])
        return sum(vote.server in votes for votes in self._valid.values()) < _VOTES_KEPT

    def _claims_quorum(self) -> bool:
        """Whether a quorum of servers has voted for whatever, if all that is unchecked is valid."""
        valid, claimed = self._valid_voters, self._claimed_voters
        # The sum is an upper bound that spares most calls the union.
        return len(valid) + len(claimed) >= self._quorum and len(valid | claimed) >= self._quorum

    def _check_some(self, block: bytes | None, votes: list[Vote]) -> None:
        if block not in self._messages:
            self._messages[block] = vote_bytes(*self._where, self.kind, block)
        message = self._messages[block]
        found = self._check([(self._public_keys[vote.server], message, vote.signature) for vote in votes])
        for vote, is_valid in zip(votes, found, strict=True):
            del self._unchecked[block][vote.server]
            if is_valid:
                self._valid.setdefault(block, {})[vote.server] = vote
                self._valid_voters.add(vote.server)
        self._claimed_voters = {server for votes in self._unchecked.values() for server in votes}
