"""One replica: an edge server's ledger, mempool and consensus, height after height."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from bees.core.canonical import encode
from bees.core.errors import BlockError, MissingBlobError, TransactionError
from bees.engines.checks import signature_checks
from bees.engines.mempool import Mempool
from bees.engines.messages import ConsensusRecord, Decision, Message, Proposal, Status, Vote
from bees.engines.tendermint import NO_ACTIONS, Actions, Consensus, Height, Timeout, TimeoutLengths
from bees.ledger.application import Application
from bees.ledger.block import Block, Commit, Header, check_commit
from bees.ledger.refusals import BrokenLinkError, CommitError
from bees.ledger.replay import check_block

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bees.core.keys import SigningKey
    from bees.core.stopwatch import PhaseTimer
    from bees.engines.checks import Checks
    from bees.engines.tally import SignatureCheck
    from bees.ledger.committee import Committee
    from bees.ledger.genesis import SignedGenesis
    from bees.ledger.transactions import Signed


@dataclass(frozen=True)
class Ask:
    """A replica's timer to ask the others for what it may have missed."""

    height: int


@dataclass(frozen=True)
class AnswerAgain:
    """A replica's timer after which whoever has asked much is answered again."""


Payload = Message | Timeout | Ask | AnswerAgain

_ANSWERS_TO_A_PEER = 64
"""How many questions of one other replica are answered within the first timeout's length."""
_ANSWERS_FOR_A_HEIGHT = 2
"""How many of these may be for the same height, since an answer can be lost."""
_PEERS_ASKED = 3
"""How many others a replica asks at a time for what it may have missed; each time the next ones."""


class Transport(Protocol):
    """What carries a replica's words; ``bees.engines.network.Network`` is one."""

    def broadcast(self, sender: int, payload: Payload) -> None:
        """Send a message to every other replica."""
        ...

    def send(self, sender: int, receiver: int, payload: Payload) -> None:
        """Send a message to one replica."""
        ...

    def set_timer(self, node: int, after_us: int, payload: Payload) -> None:
        """Hand ``payload`` back to the replica after some time."""
        ...


class Store(Protocol):
    """What a replica writes down. Nothing that it sends may leave before what it has written is on disk."""

    def save_record(self, record: ConsensusRecord) -> None:
        """Keep what the replica must not forget of the height that it works on, in place of what was there."""
        ...

    def last_record(self) -> ConsensusRecord | None:
        """What was saved last."""
        ...

    def append(self, decision: Decision) -> None:
        """Keep a committed block for good."""
        ...

    def decision(self, height: int) -> Decision | None:
        """The committed block of a height, if it is kept."""
        ...


class NewestOnly:
    """A store for replicas that live in one process and end with it: keeps the newest block, for who lags behind."""

    def __init__(self) -> None:
        self._decision: Decision | None = None

    def save_record(self, record: ConsensusRecord) -> None:
        """Nothing to do: the process that would restart has forgotten its keys too."""

    def last_record(self) -> None:
        """There is none."""

    def append(self, decision: Decision) -> None:
        """Keep it in place of the one before."""
        self._decision = decision

    def decision(self, height: int) -> Decision | None:
        """The newest one, if it is of this height."""
        return self._decision if self._decision is not None and self._decision.height == height else None


class Replica:
    """A server's view of the chain, and its voice in extending it.

    Attributes:
        index: of the server.
        application: its ledger.
        mempool: transactions that wait for a block.
        last_block: id of its last committed block; the chain id before the first.
        last_decision: that block and its commit, or None.
    """

    def __init__(
        self,
        index: int,
        key: SigningKey,
        signed: SignedGenesis,
        checks: Checks,
        network: Transport,
        lengths: TimeoutLengths,
        timer: PhaseTimer,
        store: Store | None = None,
    ) -> None:
        self.index = index
        self.application = Application(signed, checks.runner, checks.memo)
        self.mempool = Mempool(index)
        self.last_block = signed.genesis.chain_id
        self.last_decision: tuple[Block, Commit] | None = None
        self._genesis = signed.genesis
        self._keys = [key]
        self._checks = checks
        self._network = network
        self._lengths = lengths
        self._timer = timer
        self._store: Store = NewestOnly() if store is None else store
        self._times_asked = 0
        self._answered: Counter[tuple[int, int | None]] = Counter()
        self._lags = False
        self._consensus: Consensus | None = None

    @property
    def height(self) -> int:
        """Height of its last committed block."""
        return self.application.state.height

    def submit(self, signed: Signed) -> None:
        """Take a transaction into the mempool.

        Raises:
            TransactionError: it could not be in the next block, or its author has filled its room.
        """
        if not self.mempool.holds(signed):
            self.mempool.check_room(signed)
            self._check_tx(signed)
            self.mempool[signed.signature] = signed

    def recover(self) -> None:
        """Take in the blocks that the store holds, after a restart.

        Raises:
            BlockError: a block in it is not right.
            MissingBlobError: an update that the contract must read is not at hand.
        """
        while (decision := self._store.decision(self.height + 1)) is not None:
            known = self._checks.decode_block(decision.block)
            if known is None:
                raise BrokenLinkError(self.height + 1, "its bytes are no block")
            self._take_in(known[0], decision, is_stored=True)

    def start_height(self) -> None:
        """Begin to decide on the next block, or go on where a crash has interrupted that."""
        height = self.height + 1
        # An engine may forget timers between heights.
        self._answered.clear()
        committee = self._committee
        members = committee.members
        at = Height(
            self._genesis.chain_id,
            height,
            self.index,
            {server: key for server, key in enumerate(committee.keys) if key is not None},
            committee.quorum,
            lambda consensus_round: members[(height - 1 + consensus_round) % len(members)],
        )
        self._consensus = Consensus(at, self)
        self._ask_later(0 if self._lags else self._lengths.first_us)
        self._lags = False
        record = self._store.last_record()
        self._act(self._consensus.start(record if record is not None and record.height == height else None))

    def deliver(self, payload: Payload) -> None:
        """Take in a message, or a timer that is over."""
        match payload:
            case Vote() | Proposal():
                actions = NO_ACTIONS if self._consensus is None else self._consensus.receive(payload)
                if actions is not NO_ACTIONS:
                    self._act(actions)
            case Timeout():
                if self._consensus is not None:
                    self._act(self._consensus.expire(payload))
            case Ask():
                self._ask(payload)
            case AnswerAgain():
                self._answered.clear()
            case Status():
                self._answer(payload)
            case Decision():
                self._adopt(payload)

    def apply(self, block: Block, commit: Commit) -> None:
        """Append a block that others have committed.

        Raises:
            BlockError: it does not follow, or is not committed.
        """
        self._take_in(block, Decision(commit.height, encode(block), commit), is_stored=False)

    # What follows is the consensus' Host.

    def propose(self) -> bytes:
        """A block of what the mempool holds that can be in it."""
        with self._timer("commit"):
            batch = self.application.prepare_proposal(self.mempool.values())
            app_hash = self.application.execute(batch).app_hash
            header = Header(self._genesis.chain_id, self.height + 1, self.last_block, batch.root, app_hash)
            return encode(Block(header, batch))

    def identify(self, block: bytes) -> bytes | None:
        """The block's id, or None when the bytes are no block."""
        known = self._checks.decode_block(block)
        return known[1] if known else None

    def is_valid(self, block: bytes) -> bool:
        """Whether the block may be the next one."""
        with self._timer("commit"):
            known = self._checks.decode_block(block)
            if known is None:
                return False
            news = [s for s in known[0].batch.transactions if s.signature not in self.mempool]
            self.check_signatures(signature_checks(self.application.state.members, news))
            try:
                check_block(self.application, self.last_block, known[0])
            except (BlockError, MissingBlobError):
                return False
            return True

    def sign(self, message: bytes) -> bytes:
        """This server's signature."""
        with self._timer("sign"):
            return self._signing_key.sign(message)

    def add_key(self, key: SigningKey) -> None:
        """Hold one more key, with which this server signs once the chain names it."""
        self._keys.append(key)

    @property
    def _committee(self) -> Committee:
        return self.application.state.members.committee

    @property
    def _signing_key(self) -> SigningKey:
        named = self._committee.key(self.index)
        return next((key for key in self._keys if key.public_key == named), self._keys[0])

    def check_signatures(self, checks: Sequence[SignatureCheck]) -> list[bool]:
        """Which of the (public key, message, signature) are valid."""
        return self._checks.memo.verify_all(checks)

    def _act(self, actions: Actions) -> None:
        if actions.broadcast and self._consensus is not None:
            self._store.save_record(self._consensus.record())
        for message in actions.broadcast:
            self._network.broadcast(self.index, message)
        for timeout in actions.timeouts:
            self._network.set_timer(self.index, self._lengths.of(timeout), timeout)
        if actions.decided is not None:
            known = self._checks.decode_block(actions.decided.block)
            if known is not None:
                commit = actions.decided.commit
                self._append(known[0], Decision(commit.height, actions.decided.block, commit))

    def _take_in(self, block: Block, decision: Decision, *, is_stored: bool) -> None:
        check_block(self.application, self.last_block, block)
        check_commit(self._committee, block.header, decision.commit, self._checks.memo.verify)
        self._append(block, decision, is_stored=is_stored)

    def _append(self, block: Block, decision: Decision, *, is_stored: bool = False) -> None:
        with self._timer("commit"):
            self.application.finalize_block(block.batch)
            self.application.commit()
            self.last_block = decision.commit.block_id
            self.last_decision = (block, decision.commit)
            if not is_stored:
                self._store.append(decision)
            self._consensus = None
            self._clean_mempool(block)

    def _clean_mempool(self, block: Block) -> None:
        """Forget what the block holds, and what it has made impossible."""
        if not self.mempool:
            return
        done = {signed.signature for signed in block.batch.transactions}
        self.mempool.keep(lambda signed: signed.signature not in done and self._may_come(signed))

    def _may_come(self, signed: Signed) -> bool:
        try:
            self._check_tx(signed)
        except TransactionError:
            return False
        except MissingBlobError:  # the update may still arrive
            return True
        return True

    def _check_tx(self, signed: Signed) -> None:
        self._checks.admit(self.application.app_hash, signed, lambda: self.application.check_tx(signed))

    def _ask_later(self, after_us: int) -> None:
        self._network.set_timer(self.index, after_us, Ask(self.height + 1))

    def _ask(self, ask: Ask) -> None:
        """Stand in for the paper's reliable gossip: whoever is undecided for long asks for what was lost."""
        if self._consensus is not None and ask.height == self.height + 1:
            status = self._consensus.status()
            for peer in self._next_peers():
                self._network.send(self.index, peer, status)
            self._ask_later(self._lengths.first_us)
            self._act(self._consensus.reconsider())

    def _next_peers(self) -> list[int]:
        servers, first = len(self._genesis.servers), self._times_asked * _PEERS_ASKED
        self._times_asked += 1
        return [(self.index + 1 + (first + k) % (servers - 1)) % servers for k in range(min(_PEERS_ASKED, servers - 1))]

    def _answer(self, status: Status) -> None:
        if not 0 <= status.server < len(self._genesis.servers) or not self._has_answer_left(status):
            return
        decision = self._store.decision(status.height)
        if decision is not None:
            self._network.send(self.index, status.server, decision)
        elif self._consensus is not None and status.height == self.height + 1:
            for message in self._consensus.log(status):
                self._network.send(self.index, status.server, message)

    def _has_answer_left(self, status: Status) -> bool:
        """Whether the asker has not had its share: whoever asks without end would have others send without end."""
        in_all, for_height = (status.server, None), (status.server, status.height)
        if self._answered[in_all] >= _ANSWERS_TO_A_PEER or self._answered[for_height] >= _ANSWERS_FOR_A_HEIGHT:
            return False
        if not self._answered:
            self._network.set_timer(self.index, self._lengths.first_us, AnswerAgain())
        self._answered.update((in_all, for_height))
        return True

    def _adopt(self, decision: Decision) -> None:
        """Append what others have decided, if it is right; a wrong one is as good as none."""
        if self._consensus is None or decision.height != self.height + 1:
            return
        known = self._checks.decode_block(decision.block)
        if known is None:
            return
        try:
            # Before the block is executed: a stranger's block without a commit must cost no more than signatures.
            check_commit(self._committee, known[0].header, decision.commit, self._checks.memo.verify)
        except CommitError:
            return
        if not self.is_valid(decision.block):
            return
        self._lags = True
        self._append(known[0], decision)
