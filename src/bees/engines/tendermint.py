"""Tendermint consensus on one height, for one replica.

After Buchman, Kwon and Milosevic, "The latest gossip on BFT consensus" (arXiv:1807.04938), Algorithm 1; each
rule names its lines there. The machine is free of input and output: it takes messages and expired timeouts,
and returns what to broadcast, which timeouts to set, and the decision. The paper's reliable gossip is what the
caller builds from ``log``: whoever is behind is sent all that others hold.

``2f + 1`` of the paper is the genesis' quorum, more than 2N/3; ``f + 1`` is ``N - quorum + 1``.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Final, Protocol

from bees.engines.messages import ConsensusRecord, HeldVotes, Proposal, Status, Vote, proposal_bytes
from bees.engines.tally import Tally, to_bits
from bees.ledger.block import Commit, CommitSignature, VoteKind, vote_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from bees.engines.tally import SignatureCheck


_ROUNDS_AHEAD = 2
"""In how many rounds beyond the next one a replica listens to a server. One that names ever later rounds could fill
its memory otherwise; what it misses comes again with the others' logs."""
_HELD_TOLD = 128
"""How many kinds of votes a replica tells that it holds; what it does not tell is sent to it once more."""
_PROPOSALS_KEPT = 4
"""How many different proposals of one round are kept; only a faulty proposer makes more than one."""


class Step(IntEnum):
    """step_p of the paper."""

    PROPOSE = 0
    PREVOTE = 1
    PRECOMMIT = 2


@dataclass(frozen=True, slots=True)
class Timeout:
    """A timeout to be handed back to ``Consensus.expire`` when it is over.

    Attributes:
        height: h.
        consensus_round: the round it was set in.
        step: what it waits for.
    """

    height: int
    consensus_round: int
    step: Step


@dataclass(frozen=True)
class TimeoutLengths:
    """Virtual time to wait, ``first + round * growth``, so that rounds outlast any delay in the end.

    Attributes:
        first_us: in round 0, for each step.
        growth_us: what every round adds.
    """

    first_us: int = 1_000_000
    growth_us: int = 500_000

    def of(self, timeout: Timeout) -> int:
        """Length of a timeout in microseconds."""
        return self.first_us + timeout.consensus_round * self.growth_us


@dataclass(frozen=True)
class Decided:
    """decision_p[h].

    Attributes:
        block: canonical bytes of the block.
        commit: the quorum of precommits.
    """

    block: bytes
    commit: Commit


@dataclass(frozen=True)
class Actions:
    """What the caller must do now. Immutable, so that all may share the one that is empty.

    Attributes:
        broadcast: messages to every other replica, in order.
        timeouts: to set.
        decided: the decision, once.
    """

    broadcast: tuple[Proposal | Vote, ...] = ()
    timeouts: tuple[Timeout, ...] = ()
    decided: Decided | None = None


NO_ACTIONS: Final = Actions()
"""What most messages lead to."""


class Host(Protocol):
    """What consensus asks of the replica that it decides for."""

    def propose(self) -> bytes:
        """getValue(): the canonical bytes of a block for this height."""
        ...

    def identify(self, block: bytes) -> bytes | None:
        """id(v), or None when the bytes are no block."""
        ...

    def is_valid(self, block: bytes) -> bool:
        """valid(v): whether the block may be the next one."""
        ...

    def sign(self, message: bytes) -> bytes:
        """The replica's signature."""
        ...

    def check_signatures(self, checks: Sequence[SignatureCheck]) -> list[bool]:
        """Which of the (public key, message, signature) are valid."""
        ...


@dataclass(frozen=True)
class Height:
    """What is fixed for a height.

    Attributes:
        chain_id: of the genesis.
        height: h_p.
        me: index of this replica.
        public_keys: of the servers that vote; a replica of another one only follows.
        quorum: ``2f + 1``.
        proposer: the proposer of a round of this height.
    """

    chain_id: bytes
    height: int
    me: int
    public_keys: Mapping[int, bytes]
    quorum: int
    proposer: Callable[[int], int]


class Consensus:
    """One replica's state machine for one height.

    Attributes:
        round: round_p.
        step: step_p.
        locked_block, locked_round: lockedValue_p and lockedRound_p; None and -1 for none.
        valid_block, valid_round: validValue_p and validRound_p; None and -1 for none.
        decided: decision_p[h], or None.
    """

    def __init__(self, height: Height, host: Host) -> None:
        """Lines 1 to 9."""
        self._at = height
        self._host = host
        self.round = -1
        self.step = Step.PROPOSE
        self.locked_block: bytes | None = None
        self.locked_round = -1
        self.valid_block: bytes | None = None
        self.valid_round = -1
        self.decided: Decided | None = None
        self._proposals: dict[int, list[Proposal]] = {}
        self._tallies: dict[tuple[int, VoteKind], Tally] = {}
        self._found_valid: set[bytes] = set()
        self._once: set[tuple[str, int]] = set()
        self._broadcast: list[Proposal | Vote] = []
        self._timeouts: list[Timeout] = []
        self._was_told = False
        self._ahead: dict[int, set[int]] = {}
        self._proposed_names: set[bytes | None] = {None}

    def start(self, record: ConsensusRecord | None = None) -> Actions:
        """Line 10: upon start; or upon restart, from what was on disk, and then all is said once more."""
        if record is None:
            self._start_round(0)
        else:
            self._restore(record)
        return self._settle(self.round)

    def record(self) -> ConsensusRecord:
        """What must be on disk before what was just signed may leave."""
        return ConsensusRecord(
            self._at.height,
            self.round,
            self.step,
            self.locked_block,
            self.locked_round,
            self.valid_block,
            self.valid_round,
            tuple(self._own()),
        )

    def receive(self, message: Proposal | Vote) -> Actions:
        """Take in another replica's message; one that is for another height, forged or known changes nothing."""
        is_news = self._add_vote(message) if isinstance(message, Vote) else self._add_proposal(message)
        return self._settle(message.consensus_round) if is_news else NO_ACTIONS

    def expire(self, timeout: Timeout) -> Actions:
        """Lines 57 to 67: OnTimeoutPropose, OnTimeoutPrevote, OnTimeoutPrecommit."""
        if self.decided or (timeout.height, timeout.consensus_round) != (self._at.height, self.round):
            return NO_ACTIONS
        if timeout.step is Step.PROPOSE and self.step is Step.PROPOSE:
            self._vote("prevote", None)
        elif timeout.step is Step.PREVOTE and self.step is Step.PREVOTE:
            self._vote("precommit", None)
        elif timeout.step is Step.PRECOMMIT:
            self._start_round(self.round + 1)
        return self._settle(self.round)

    def reconsider(self) -> Actions:
        """Try all rules again, since a block that could not be judged before may be found valid now."""
        for consensus_round in list(self._proposals):
            self._run_rules(consensus_round)
        return self._take_actions()

    def status(self) -> Status:
        """What the replica holds of this height, for others to send what it lacks."""
        votes = [
            HeldVotes(consensus_round, kind, block, to_bits(servers))
            for (consensus_round, kind), tally in self._tallies.items()
            for block, servers in tally.held()
        ]
        return Status(self._at.height, self._at.me, tuple(self._proposals), tuple(votes[:_HELD_TOLD]))

    def log(self, status: Status) -> list[Proposal | Vote]:
        """The valid messages of this height that the replica holds, and that whoever sent the status lacks."""
        held: dict[tuple[int, VoteKind], dict[bytes | None, bytes]] = {}
        for votes in status.votes:
            held.setdefault((votes.consensus_round, votes.kind), {})[votes.block] = votes.servers
        proposals = [
            proposal
            for consensus_round, known in self._proposals.items()
            if consensus_round not in status.proposals or len(known) > 1
            for proposal in known
        ]
        votes_lacking = (vote for where, tally in self._tallies.items() for vote in tally.lacking(held.get(where, {})))
        return [*proposals, *votes_lacking]

    def _start_round(self, consensus_round: int) -> None:
        """Lines 11 to 21: StartRound(round)."""
        self.round, self.step = consensus_round, Step.PROPOSE
        if self._at.proposer(consensus_round) == self._at.me:
            block = self._host.propose() if self.valid_block is None else self.valid_block
            self._propose(block)
        else:
            self._set_timeout(Step.PROPOSE)

    def _restore(self, record: ConsensusRecord) -> None:
        self.round, self.step = record.consensus_round, Step(record.step)
        self.locked_block, self.locked_round = record.locked_block, record.locked_round
        self.valid_block, self.valid_round = record.valid_block, record.valid_round
        for message in record.sent:
            if isinstance(message, Vote):
                self._tally(message.consensus_round, message.kind).add_own(message)
            else:
                self._keep(message)
            self._broadcast.append(message)
        if self.step is Step.PROPOSE:
            self._set_timeout(Step.PROPOSE)

    def _own(self) -> Iterator[Proposal | Vote]:
        me = self._at.me
        yield from (proposal for known in self._proposals.values() for proposal in known if proposal.proposer == me)
        for tally in self._tallies.values():
            yield from tally.votes_of(me)

    def _settle(self, consensus_round: int) -> Actions:
        self._run_rules(consensus_round)
        return self._take_actions()

    def _run_rules(self, consensus_round: int) -> None:
        """Apply every rule that holds, until none does. Only ``consensus_round`` and round_p can have news."""
        while not self.decided and (
            self._decide(consensus_round)
            or self._catch_up(consensus_round)
            or self._prevote_fresh()
            or self._prevote_again()
            or self._lock()
            or self._precommit_nil()
            or self._wait_for_prevotes()
            or self._wait_for_precommits()
        ):
            pass

    def _prevote_fresh(self) -> bool:
        """Lines 22 to 27."""
        if self.step is not Step.PROPOSE:
            return False
        for proposal in self._proposals.get(self.round, ()):
            if proposal.valid_round == -1:
                is_free = self.locked_round == -1 or self.locked_block == proposal.block
                self._prevote(proposal, is_free)
                return True
        return False

    def _prevote_again(self) -> bool:
        """Lines 28 to 33."""
        if self.step is not Step.PROPOSE:
            return False
        for proposal in self._proposals.get(self.round, ()):
            earlier = proposal.valid_round
            if 0 <= earlier < self.round and self._has_quorum(earlier, "prevote", proposal.block):
                is_free = self.locked_round <= earlier or self.locked_block == proposal.block
                self._prevote(proposal, is_free)
                return True
        return False

    def _wait_for_prevotes(self) -> bool:
        """Lines 34 and 35."""
        if self.step is not Step.PREVOTE or ("prevote wait", self.round) in self._once:
            return False
        if not self._tally(self.round, "prevote").has_any_quorum():
            return False
        self._once.add(("prevote wait", self.round))
        self._set_timeout(Step.PREVOTE)
        return True

    def _lock(self) -> bool:
        """Lines 36 to 43."""
        if self.step is Step.PROPOSE or ("lock", self.round) in self._once:
            return False
        for proposal in self._proposals.get(self.round, ()):
            if self._has_quorum(self.round, "prevote", proposal.block) and self._is_valid(proposal.block):
                self._once.add(("lock", self.round))
                if self.step is Step.PREVOTE:
                    self.locked_block, self.locked_round = proposal.block, self.round
                    self._vote("precommit", self._host.identify(proposal.block))
                self.valid_block, self.valid_round = proposal.block, self.round
                return True
        return False

    def _precommit_nil(self) -> bool:
        """Lines 44 to 46."""
        if self.step is not Step.PREVOTE or not self._tally(self.round, "prevote").has_quorum(None):
            return False
        self._vote("precommit", None)
        return True

    def _wait_for_precommits(self) -> bool:
        """Lines 47 and 48."""
        if ("precommit wait", self.round) in self._once:
            return False
        if not self._tally(self.round, "precommit").has_any_quorum():
            return False
        self._once.add(("precommit wait", self.round))
        self._set_timeout(Step.PRECOMMIT)
        return True

    def _decide(self, consensus_round: int) -> bool:
        """Lines 49 to 54; the caller starts the next height."""
        for proposal in self._proposals.get(consensus_round, ()):
            if self._has_quorum(consensus_round, "precommit", proposal.block) and self._is_valid(proposal.block):
                self.decided = Decided(proposal.block, self._commit_of(proposal))
                return True
        return False

    def _catch_up(self, consensus_round: int) -> bool:
        """Lines 55 and 56."""
        if consensus_round <= self.round:
            return False
        enough = len(self._at.public_keys) - self._at.quorum + 1
        senders = {proposal.proposer for proposal in self._proposals.get(consensus_round, ())}
        for kind in ("prevote", "precommit"):
            senders |= self._tally(consensus_round, kind).voters(enough)
        if len(senders) < enough:
            return False
        self._start_round(consensus_round)
        return True

    def _prevote(self, proposal: Proposal, is_free: bool) -> None:
        is_acceptable = is_free and self._is_valid(proposal.block)
        self._vote("prevote", self._host.identify(proposal.block) if is_acceptable else None)

    def _vote(self, kind: VoteKind, block: bytes | None) -> None:
        self.step = Step.PREVOTE if kind == "prevote" else Step.PRECOMMIT
        if self._at.me not in self._at.public_keys:
            return
        message = vote_bytes(self._at.chain_id, self._at.height, self.round, kind, block)
        vote = Vote(self._at.height, self.round, kind, block, self._at.me, self._host.sign(message))
        self._tally(self.round, kind).add_own(vote)
        self._broadcast.append(vote)

    def _propose(self, block: bytes) -> None:
        message = proposal_bytes(self._at.chain_id, self._at.height, self.round, self.valid_round, block)
        signature = self._host.sign(message)
        proposal = Proposal(self._at.height, self.round, self.valid_round, block, self._at.me, signature)
        self._keep(proposal)
        self._broadcast.append(proposal)

    def _add_proposal(self, proposal: Proposal) -> bool:
        if self.decided or proposal.height != self._at.height:
            return False
        known = self._proposals.get(proposal.consensus_round, [])
        if proposal in known or len(known) >= _PROPOSALS_KEPT or not self._is_from_proposer(proposal):
            return False
        if not self._listens(proposal.proposer, proposal.consensus_round):
            return False
        # A proposer that equivocates has both kept: the rules may need the one that others voted for.
        self._keep(proposal)
        return True

    def _keep(self, proposal: Proposal) -> None:
        """Hold a proposal, and from now on every vote for its block."""
        self._proposals.setdefault(proposal.consensus_round, []).append(proposal)
        self._proposed_names.add(self._host.identify(proposal.block))

    def _is_from_proposer(self, proposal: Proposal) -> bool:
        consensus_round = proposal.consensus_round
        if proposal.proposer != self._at.proposer(consensus_round) or proposal.valid_round >= consensus_round:
            return False
        message = proposal_bytes(
            self._at.chain_id, self._at.height, consensus_round, proposal.valid_round, proposal.block
        )
        key = self._at.public_keys[proposal.proposer]
        return self._host.check_signatures([(key, message, proposal.signature)])[0]

    def _listens(self, server: int, consensus_round: int) -> bool:
        """Whether there is still room for what this server says of a round that is far ahead."""
        if consensus_round <= self.round + 1:
            return True
        ahead = {known for known in self._ahead.get(server, ()) if known > self.round + 1}
        if consensus_round not in ahead and len(ahead) >= _ROUNDS_AHEAD:
            return False
        self._ahead[server] = ahead | {consensus_round}
        return True

    def _is_from_voter(self, vote: Vote) -> bool:
        message = vote_bytes(self._at.chain_id, vote.height, vote.consensus_round, vote.kind, vote.block)
        return self._host.check_signatures([(self._at.public_keys[vote.server], message, vote.signature)])[0]

    def _add_vote(self, vote: Vote) -> bool:
        if self.decided or vote.height != self._at.height or vote.server not in self._at.public_keys:
            return False
        if vote.consensus_round > self.round + 1 and not (
            self._is_from_voter(vote) and self._listens(vote.server, vote.consensus_round)
        ):
            return False
        tally = self._tally(vote.consensus_round, vote.kind)
        tally.add(vote, is_proposed=vote.block in self._proposed_names)
        # A vote that completes no count can make no rule hold; most do not.
        return vote.consensus_round > self.round or tally.may_matter(vote.block)

    def _has_quorum(self, consensus_round: int, kind: VoteKind, block: bytes) -> bool:
        identity = self._host.identify(block)
        return identity is not None and self._tally(consensus_round, kind).has_quorum(identity)

    def _tally(self, consensus_round: int, kind: VoteKind) -> Tally:
        tally = self._tallies.get((consensus_round, kind))
        if tally is None:
            at = self._at
            check = self._host.check_signatures
            tally = Tally(at.chain_id, at.height, consensus_round, kind, at.public_keys, at.quorum, check)
            self._tallies[consensus_round, kind] = tally
        return tally

    def _is_valid(self, block: bytes) -> bool:
        # Only "valid" is remembered: a block may become judgeable when an update that it needs arrives.
        if block not in self._found_valid:
            if not self._host.is_valid(block):
                return False
            self._found_valid.add(block)
        return True

    def _commit_of(self, proposal: Proposal) -> Commit:
        identity = self._host.identify(proposal.block) or b""
        votes = self._tally(proposal.consensus_round, "precommit").quorum_votes(identity)
        signatures = tuple(CommitSignature(vote.server, vote.signature) for vote in votes)
        return Commit(self._at.height, proposal.consensus_round, identity, signatures)

    def _set_timeout(self, step: Step) -> None:
        self._timeouts.append(Timeout(self._at.height, self.round, step))

    def _take_actions(self) -> Actions:
        """What the rules have led to since it was last asked; the decision is among them once."""
        decided = None if self._was_told else self.decided
        if not (self._broadcast or self._timeouts or decided):
            return NO_ACTIONS
        actions = Actions(tuple(self._broadcast), tuple(self._timeouts), decided)
        self._broadcast.clear()
        self._timeouts.clear()
        self._was_told = self.decided is not None
        return actions
