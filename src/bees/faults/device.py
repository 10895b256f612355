"""An honest device in a history: it checks what servers tell it, and reveals no bytes before COLLECT is over."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bees.core.errors import DoubleSignError, ProofError
from bees.faults.node import PEERS_TOLD_AGAIN, TICK_US, Tick
from bees.faults.world import samples_of, train
from bees.ledger.commitments import commit_to_update
from bees.ledger.proofs import Committees
from bees.protocol.device import check_global_model, commit_update, delegate_round
from bees.protocol.messages import AskRound, GiveUpdate, Gossip, RoundNews, WantUpdate
from bees.protocol.signer import MemoryJournal, Signer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bees.faults.node import Port
    from bees.faults.world import FaultWorld
    from bees.ledger.transactions import Signed


class Device:
    """One device. Its journal outlives its being offline.

    Attributes:
        index: u_k.
        round: the last one that it knows of.
    """

    def __init__(self, index: int, world: FaultWorld, port: Port, *, delegates: bool) -> None:
        self.index = index
        self.round = 0
        self._world = world
        self._port = port
        self._delegates = delegates
        self._me = len(world.server_keys) + index
        self._signer = Signer(world.device_keys[index], MemoryJournal())
        self._sent: list[Signed] = []
        self._bytes: dict[bytes, bytes] = {}
        self._askers: set[int] = set()
        self._has_revealed = False
        self._times_sent = 0
        self._server = world.genesis.devices[index].server
        self._committees = Committees(world.genesis)

    def start(self) -> None:
        """Begin to ask for the open round."""
        self.deliver(Tick())

    def deliver(self, payload: object) -> None:
        """Take in a message or a timer."""
        match payload:
            case Tick():
                self._port.send(self._me, self._server, AskRound(self.index, self.round))
                # The nearest server may lie or be down; any other can answer and carry transactions as well.
                self._server = (self._server + 1) % len(self._world.server_keys)
                self._times_sent += 1
                first = self._times_sent * PEERS_TOLD_AGAIN
                self._send_transactions(range(first, first + PEERS_TOLD_AGAIN))
                self._port.set_timer(self._me, TICK_US, payload)
            case RoundNews():
                self._begin_round(payload)
            case WantUpdate():
                self._reveal(payload)
            case _:
                pass

    def _begin_round(self, news: RoundNews) -> None:
        open_round = news.open_round
        if open_round.round <= self.round:
            return
        try:
            verify = self._world.checks.memo.verify
            self._committees = self._committees.follow(news.committees[len(self._committees.changes) :], verify)
            check_global_model(self._world.genesis, open_round, news.words, news.proof, verify, self._committees)
            signed = self._answer(news)
        except (ProofError, DoubleSignError):
            return
        self.round, self._sent = open_round.round, [signed]
        self._askers, self._has_revealed = set(), False
        self._send_transactions(range(len(self._world.server_keys)))

    def _answer(self, news: RoundNews) -> Signed:
        open_round = news.open_round
        if self._delegates:
            return delegate_round(self._signer, open_round, self.index, self._world.genesis.devices[self.index].server)
        update = train(self.index, open_round.round)
        self._bytes = {commit_to_update(self.index, open_round.round, update): update}
        return commit_update(self._signer, open_round, self.index, samples_of(self.index), update)

    def _send_transactions(self, servers: Iterable[int]) -> None:
        for signed in self._sent:
            for server in servers:
                self._port.send(self._me, server % len(self._world.server_keys), Gossip(signed))

    def _reveal(self, wanted: WantUpdate) -> None:
        """Give the bytes once f+1 servers have asked: one of them is honest, and asks only when COLLECT is over."""
        data = self._bytes.get(wanted.commitment)
        servers = len(self._world.server_keys)
        if data is None or not 0 <= wanted.server < servers:
            return
        self._askers.add(wanted.server)
        if len(self._askers) > (servers - 1) // 3:
            receivers = {wanted.server} if self._has_revealed else self._askers
            self._has_revealed = True
            for server in sorted(receivers):
                self._port.send(self._me, server, GiveUpdate(wanted.commitment, data))
