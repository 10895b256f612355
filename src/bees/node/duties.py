"""Which duties are due in a state: what to pull, attest, publish and report. No network in here.

The duties themselves stand in ``bees.protocol``, and the simulator drives the same ones. This says when each is done,
and never lets one be answered twice: what was answered once is answered again, also after a restart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from bees.ledger.state import Phase
from bees.node.peers import WantedBlob
from bees.protocol.server import HeldUpdates, attest, publish
from bees.protocol.signer import Signer, answer_once
from bees.protocol.witness import Witness

if TYPE_CHECKING:
    from bees.core.fixed_point import Words
    from bees.core.keys import Signs
    from bees.ledger.execution import ContractRunner
    from bees.ledger.state import State
    from bees.ledger.transactions import Signed
    from bees.node.ports import UpdateStore
    from bees.protocol.signer import AnswerJournal

Score = Callable[[Sequence[bytes], "Words"], Sequence[int]]
"""For the bytes of each update and w_g(t-1): how many evaluation samples its model gets right."""


_IDLE_HEIGHTS = 4


def wanted_updates(state: State, server: int, store: UpdateStore) -> tuple[WantedBlob, ...]:
    """What a server must pull now: in ATTEST every update, in PUBLISH the eligible ones, that it does not hold.

    Args:
        state: after the last block.
        server: who pulls.
        store: what it holds.
    """
    return tuple(
        WantedBlob(commitment, device, state.round, sources_of(state, device, server))
        for device, commitment in _lacking(state, server, store)
    )


def _lacking(state: State, server: int, store: UpdateStore) -> Iterator[tuple[int, bytes]]:
    """Device and commitment of each update that a server must pull."""
    match state.phase:
        case Phase.COLLECT:
            return
        case Phase.ATTEST:
            devices = sorted(state.updates) if server in state.attesters else []
        case Phase.PUBLISH:
            devices = [eligible.device for eligible in state.ballot.eligible] if state.ballot else []
    for device in devices:
        commitment = state.updates[device].commitment
        if commitment not in store:
            yield device, commitment


def sources_of(state: State, device: int, server: int) -> tuple[int, ...]:
    """Servers in the order in which to ask for an update.

    Those that attest to hold it; who has signed it in its device's place; the device's own; the others. None that was
    removed.
    """
    count = len(state.genesis.servers)
    attested = [s for s, attestation in sorted(state.attestations.items()) if device in attestation.devices]
    # Each asks the others in another order, so that one server does not serve all of them.
    others = [(server + k) % count for k in range(1, count)]
    update = state.updates.get(device)
    signer = [] if update is None or update.server is None else [update.server]
    order = dict.fromkeys([*attested, *signer, state.genesis.devices[device].server, *others])
    return tuple(source for source in order if source != server and state.members.committee.key(source) is not None)


class Patience:
    """How long a server waits in ATTEST for bytes that it lacks.

    While some come, for two thirds of the phase. While none come, for an eighth of it, or four heights where that is
    more, or half the phase where that is less: whoever commits to an update and gives nobody its bytes should not hold
    up a round for as long as a thousand updates may take.
    """

    def __init__(self) -> None:
        self._round = self._least = self._since = 0

    def is_over(self, state: State, missing: int) -> bool:
        """Whether to go on without so many updates."""
        if state.round != self._round:
            self._round, self._least, self._since = state.round, missing, state.phase_opened
        elif missing < self._least:
            self._least, self._since = missing, state.height
        phase = state.genesis.phases.attest
        idle = min(-(-phase // 2), max(_IDLE_HEIGHTS, phase // 8))
        left = state.phase_opened + phase - state.height
        return state.height - self._since >= idle or left <= -(-phase // 3)


class Duties:
    """What one server owes the chain.

    Args:
        server: its index.
        key: with which it signs.
        journal: on disk before a signature leaves.
        store: the bytes of updates that it holds.
        runner: runs contracts on them.
    """

    def __init__(
        self, server: int, key: Signs, journal: AnswerJournal, store: UpdateStore, runner: ContractRunner
    ) -> None:
        self._server, self._key = server, key
        self._journal = journal
        self._store = store
        self._runner = runner
        self._signer = Signer(key, journal)
        self._witness = Witness(server, key)
        self._patience = Patience()

    def may_attest(self, state: State) -> bool:
        """Whether it is time to: all bytes are here, or no more seem to come. Scoring is dear, so ask first."""
        if state.phase is not Phase.ATTEST or self._server in state.attestations or not self._counts(state):
            return False
        if self._server not in state.attesters:
            return False
        missing = sum(1 for _ in _lacking(state, self._server, self._store))
        return missing == 0 or self._patience.is_over(state, missing)

    def attest(self, state: State, global_model: Words, score: Score) -> Signed | None:
        """The server's Attest; safe to call from another thread, since the state is frozen.

        Args:
            state: in which ``may_attest`` is true.
            global_model: words of w_g(t-1), shape (P,).
            score: counts what each update gets right.
        """

        def make() -> Signed | None:
            held = HeldUpdates(state, self._store.get, global_model)
            return attest(self._signer, self._server, state, held, lambda updates: score(updates, global_model))

        return answer_once(self._journal, ("Attest", state.round), make)

    def publish(self, state: State) -> Signed | None:
        """The Publish, when it is this server's turn and all bytes are here."""
        if state.main_node != self._server or not self._counts(state):
            return None
        duty = ("Publish", state.round)
        return answer_once(self._journal, duty, lambda: publish(self._signer, self._server, state, self._runner))

    def _counts(self, state: State) -> bool:
        """Whether the chain names the key at hand as this server's; a coming one may still have to be agreed on."""
        return state.members.committee.key(self._server) == self._key.public_key

    def hear(self, state: State, signed: Signed) -> Signed | None:
        """Evidence, if a transaction whose signature was checked contradicts another."""
        return self._witness.hear(state, signed)

    def judge(self, state: State) -> list[Signed]:
        """Evidence against whoever has published something else than the contract's result."""
        return self._witness.judge(state, self._runner)

    def forget(self, state: State) -> None:
        """Drop what was heard of rounds that are over for long."""
        self._witness.forget(state.round - 1)
