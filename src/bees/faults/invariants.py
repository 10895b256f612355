"""What must hold after every step of a history, computed beside the ledger, and where it matters not by its code."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from statistics import median_low
from typing import TYPE_CHECKING

import numpy as np

from bees.contract.library import load_contract_code
from bees.contract.reference import average_updates, select_most_accurate
from bees.core.errors import BeesError
from bees.core.fixed_point import bytes_to_words, words_to_bytes
from bees.faults.members import committees_of
from bees.faults.told import Told
from bees.faults.world import NEXT_CONTRACT, evaluate, samples_of, train
from bees.ledger.commitments import commit_to_update, hash_model
from bees.ledger.state import Phase, initial_state
from bees.protocol.messages import GiveUpdate

if TYPE_CHECKING:
    from collections.abc import Collection

    from bees.faults.node import Node
    from bees.faults.plan import Plan
    from bees.faults.world import FaultWorld
    from bees.ledger.state import AcceptedUpdate, EligibleUpdate, State


@dataclass(eq=False)
class InvariantError(BeesError):
    """A history has come to something that must never be."""

    invariant: str
    detail: str
    at_us: int

    @property
    def message(self) -> str:
        """What was broken, how and when."""
        return f"{self.invariant}: {self.detail} (at {self.at_us / 1e6:.3f} s)"


@dataclass(frozen=True)
class Closed:
    """A round that has ended.

    Attributes:
        round: t.
        height: of the block that ended it.
        at_us: when the first honest server committed that block.
        is_skipped: whether nobody published.
    """

    round: int
    height: int
    at_us: int
    is_skipped: bool


class Watch:
    """Follows all honest servers, and compares.

    Attributes:
        blocks: id and app hash of the block at each height, as the first honest server committed it.
        closed: rounds that have ended, in order.
        convicted: everybody who was convicted.
        counts: of what the chain has come to, beside what was injected.
    """

    def __init__(self, plan: Plan, world: FaultWorld) -> None:
        self.blocks: dict[int, tuple[bytes, bytes]] = {}
        self.closed: list[Closed] = []
        self.convicted: set[tuple[str, int]] = set()
        self._plan = plan
        self._world = world
        self._liars: Collection[int] = {liar.index for liar in plan.liars}
        self._lying_devices: Collection[int] = {liar.index for liar in plan.lying_devices}
        self._charged = plan.servers
        self._newest = initial_state(world.genesis)
        self._told = Told()
        self.counts: Counter[str] = Counter()
        self._next_contract = load_contract_code(NEXT_CONTRACT)
        self._replaced_from: int | None = None
        self._amended = committees_of(plan, world)
        self._amended_from: list[int] = []

    def saw_block(self, node: Node, state: State, honest: Collection[Node], now_us: int) -> None:
        """Check everything that a block of an honest server can break.

        Raises:
            InvariantError: what is broken.
        """
        named = (node.replica.last_block, node.replica.application.app_hash)
        known = self.blocks.setdefault(state.height, named)
        if known != named:
            story = f"server {node.index} has committed another block {state.height} than servers before it"
            raise InvariantError("agreement", story, now_us)
        before = self._newest
        if state.height <= before.height:
            return
        self._newest = state
        self._check_convictions(state, now_us)
        self._check_contract(before, state, now_us)
        self._check_members(before, state, now_us)
        self.counts["conviction over"] += len(before.convictions.keys() - state.convictions.keys())
        self._check_attribution(state, now_us)
        if state.phase is Phase.ATTEST and before.phase is not Phase.ATTEST:
            self._charged = sum(account.battery_mj > 0 for account in state.servers)
        if state.phase is Phase.PUBLISH and before.phase is not Phase.PUBLISH:
            self._check_ballot(state, honest, now_us)
        if state.round > before.round:
            self._check_outcome(before, state, node, now_us)

    def saw_sent(self, sender: int, payload: object, now_us: int) -> None:
        """Check that what an honest participant sends is no secret, and does not contradict what it has sent before.

        Raises:
            InvariantError: it does.
        """
        if isinstance(payload, GiveUpdate) and self._newest.phase is Phase.COLLECT:
            self._check_secrecy(sender, payload.commitment, now_us)
        problem = self._told.note(sender, payload)
        if problem:
            raise InvariantError("one answer", f"server {sender} has signed {problem}", now_us)

    def saw_restart(self, node: Node, safe_heights: Collection[int], now_us: int) -> None:
        """Check that a restarted server has all that was safe on its disk or told to others, and nothing else.

        Raises:
            InvariantError: it has lost or changed a block, or bytes that it has attested to hold.
        """
        height = node.replica.height
        if height < max(safe_heights, default=0):
            raise InvariantError("durability", f"server {node.index} has lost blocks above {height}", now_us)
        if height < (told := self._told.height(node.index)):
            story = f"server {node.index} is back at height {height}, and had told others of its block {told}"
            raise InvariantError("durability", story, now_us)
        if height and self.blocks.get(height, (b"", b""))[0] != node.replica.last_block:
            raise InvariantError("durability", f"server {node.index} restarted with another block {height}", now_us)
        attested = self._told.attested(node.index)
        if attested is not None and attested.round == node.state.round:
            for device in attested.devices:
                update = node.state.updates.get(device)
                if update is None or node.disk.blob(update.commitment) is None:
                    story = f"server {node.index} has lost the bytes of device {device}, which it had attested to hold"
                    raise InvariantError("durability", story, now_us)

    def published_since(self, at_us: int) -> list[Closed]:
        """Rounds that ended with a result after some time."""
        return [closed for closed in self.closed if closed.at_us >= at_us and not closed.is_skipped]

    def saw_end(self, now_us: int) -> None:
        """Check that what all honest servers have approved is in force when the history is over.

        Raises:
            InvariantError: it is not.
        """
        if self._plan.deploys and self._newest.contract != self._next_contract:
            raise InvariantError("contract in force", "all honest servers have approved another one", now_us)
        if self._newest.members.committee != self._amended[-1]:
            raise InvariantError("members in force", "all honest servers have approved others", now_us)

    def _check_members(self, before: State, state: State, now_us: int) -> None:
        """Others count from the round after their Amend on, and only if honest servers approved it."""
        for nonce in range(before.amendments, state.amendments):
            self.counts["members amended"] += 1
            self._amended_from.append(before.round + 1)
            if nonce >= len(self._amended) - 1:
                raise InvariantError("members in force", f"nobody honest has approved amendment {nonce}", now_us)
        in_force = sum(state.round >= first for first in self._amended_from)
        if state.members.committee != self._amended[in_force]:
            raise InvariantError("members in force", f"others than 2N/3 servers approved, round {state.round}", now_us)

    def _check_contract(self, before: State, state: State, now_us: int) -> None:
        """Another contract is in force from the round after its Deploy on, and only if honest servers approved it."""
        if state.deploys > before.deploys:
            self._replaced_from = before.round + 1
            self.counts["contract replaced"] += 1
        is_replaced = self._replaced_from is not None and state.round >= self._replaced_from
        right = self._next_contract if is_replaced else self._world.genesis.contract
        if state.deploys > self._plan.deploys or state.contract != right:
            story = f"another one than 2N/3 servers have approved for round {state.round}"
            raise InvariantError("contract in force", story, now_us)

    def _check_secrecy(self, sender: int, commitment: bytes, now_us: int) -> None:
        """No honest participant gives bytes away while others could still commit to the same."""
        round_ = self._newest.round
        if commitment in {commit_to_update(k, round_, train(k, round_)) for k in range(self._plan.devices)}:
            who = f"server {sender}" if sender < self._plan.servers else f"device {sender - self._plan.servers}"
            raise InvariantError("secrecy", f"{who} has given bytes of round {round_} before COLLECT was over", now_us)

    def _check_convictions(self, state: State, now_us: int) -> None:
        for kind, index in state.convictions:
            self.convicted.add((kind, index))
            if index not in (self._liars if kind == "server" else self._lying_devices):
                raise InvariantError("no honest participant is convicted", f"{kind} {index} is", now_us)

    def _check_attribution(self, state: State, now_us: int) -> None:
        """An honest device's update is its own, or that of the server to which it has delegated."""
        for device, update in state.updates.items():
            if device not in self._lying_devices and not self._is_by(device, update, state.round):
                story = f"the update of device {device} in round {state.round} is not its own"
                raise InvariantError("attribution", story, now_us)

    def _is_by(self, device: int, update: AcceptedUpdate, round_: int) -> bool:
        own = (commit_to_update(device, round_, train(device, round_)), samples_of(device))
        if device not in self._plan.delegating:
            return update.server is None and (update.commitment, update.samples) == own
        home = self._world.genesis.devices[device].server
        return update.server == home and (home in self._liars or (update.commitment, update.samples) == own)

    def _is_stolen(self, device: int, update: bytes, round_: int) -> bool:
        """Whether a lying device is credited with what an honest one has trained."""
        honest = set(range(self._plan.devices)) - set(self._lying_devices)
        return device in self._lying_devices and any(update == train(other, round_) for other in honest)

    def _check_ballot(self, state: State, honest: Collection[Node], now_us: int) -> None:
        """The eligible updates are those that 2f+1 servers hold, with the score that honest servers count."""
        ballot = {} if state.ballot is None else {e.device: e for e in state.ballot.eligible}
        for device in state.updates:
            scores = [
                dict(zip(said.devices, said.correct, strict=True))[device]
                for said in state.attestations.values()
                if device in said.devices
            ]
            author = state.updates[device].server
            is_banned = ("device", device) in state.convictions or ("server", author) in state.convictions
            is_held = len(scores) >= 2 * ((self._charged - 1) // 3) + 1 and not is_banned
            if is_held != (device in ballot):
                raise InvariantError("eligibility", f"device {device} in round {state.round}", now_us)
            if is_held and ballot[device].correct != median_low(scores):
                raise InvariantError("median", f"device {device} in round {state.round}", now_us)
        for device, update in ballot.items():
            held = [data for node in honest if (data := node.disk.files.blobs.get(update.commitment)) is not None]
            if not held:
                story = f"no honest server has the bytes of device {device} in round {state.round}, which is eligible"
                raise InvariantError("availability", story, now_us)
            if self._is_stolen(device, held[0], state.round):
                story = f"the update of device {device} in round {state.round} is that of an honest device"
                raise InvariantError("attribution", story, now_us)
            if update.correct != evaluate(held[:1])[0]:
                story = f"device {device} in round {state.round} has score {update.correct}, not an honest count"
                raise InvariantError("liars do not move a median", story, now_us)

    def _check_outcome(self, before: State, state: State, node: Node, now_us: int) -> None:
        """w_g(t) is what the contract's reference in Python gives, or w_g(t-1) where the round was skipped."""
        outcome = state.outcome
        if outcome is None or outcome.round != before.round or state.round != before.round + 1:
            raise InvariantError("rounds", f"round {state.round} follows round {before.round}", now_us)
        self.closed.append(Closed(outcome.round, state.height, now_us, outcome.is_skipped))
        if outcome.is_skipped:
            if outcome.model != before.model:
                raise InvariantError("w_g", f"round {outcome.round} was skipped, and has changed the model", now_us)
            return
        eligible: tuple[EligibleUpdate, ...] = before.ballot.eligible if before.ballot else ()
        most = 1 if before.contract == self._next_contract else before.genesis.top_m
        best = select_most_accurate([e.correct for e in eligible], most)
        chosen = [eligible[k] for k in best]
        updates = [bytes_to_words(node.disk.files.blobs[e.commitment]).tolist() for e in chosen]
        words = np.array(average_updates([e.samples for e in chosen], updates), dtype=np.int32)
        right = (tuple(e.device for e in chosen), hash_model(words_to_bytes(words)))
        if (outcome.selected, outcome.model) != right:
            raise InvariantError("w_g", f"round {outcome.round} has not ended with the contract's result", now_us)
