"""The state of the chain between two blocks: frozen, so that a replica can share or memoise it without fear."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Literal

from msgspec import Struct

from bees.core.canonical import Record, encode
from bees.ledger.commitments import hash_contract
from bees.ledger.genesis import Genesis
from bees.ledger.membership import Members
from bees.ledger.merkle import MerkleMap

COMMITTEE_LEAF = "committee"
"""Of the servers whose signatures count, once a chain has amended its members."""


class Phase(StrEnum):
    """The phase of the open round."""

    COLLECT = "collect"
    ATTEST = "attest"
    PUBLISH = "publish"


Participant = tuple[Literal["server", "device"], int]
"""A server or device by its index in the genesis."""


class ServerAccount(Record, frozen=True):
    """What the chain keeps of a server.

    Attributes:
        battery_mj: B_k, never negative; a server at 0 has no duties and does not count, and one that was
            removed stays there.
    """

    battery_mj: int

    @property
    def is_active(self) -> bool:
        """Whether it has duties."""
        return self.battery_mj > 0


class Delegation(Record, frozen=True):
    """A device's standing leave for a server to sign its Updates."""

    server: int
    first_round: int
    last_round: int


class AcceptedUpdate(Record, frozen=True):
    """An Update that COLLECT has taken.

    Attributes:
        commitment: BLAKE3(device, round, update bytes).
        samples: n_k.
        server: who signed in the device's place and so is to blame, or None.
    """

    commitment: bytes
    samples: int
    server: int | None


class Attestation(Record, frozen=True):
    """What one server said in ATTEST."""

    devices: tuple[int, ...]
    correct: tuple[int, ...]


class EligibleUpdate(Record, frozen=True):
    """An update that at least 2f+1 servers hold.

    Attributes:
        device: u_k.
        commitment: of its bytes.
        samples: n_k.
        correct: its score, the lower median of what the servers attest.
    """

    device: int
    commitment: bytes
    samples: int
    correct: int


class Ballot(Record, frozen=True):
    """What is frozen when ATTEST closes; Publish is a pure function of it.

    Attributes:
        eligible: ascending by device.
        ranking: servers by Proof of Learning; the first is the main node.
    """

    eligible: tuple[EligibleUpdate, ...]
    ranking: tuple[int, ...]


class Outcome(Record, frozen=True):
    """How the last closed round ended.

    Attributes:
        round: t.
        model: hash of w_g(t).
        selected: the devices in M, ascending; empty when the round was skipped.
        main_node: who published, or None when the round was skipped.
    """

    round: int
    model: bytes
    selected: tuple[int, ...]
    main_node: int | None

    @property
    def is_skipped(self) -> bool:
        """Whether w_g(t) = w_g(t-1) because nobody published."""
        return self.main_node is None


class State(Struct, frozen=True):
    """Everything that the next block is judged by.

    Attributes:
        genesis: constant.
        height: of the last block.
        round: t, the open round.
        phase: of the open round.
        phase_opened: height of the block that opened the phase.
        model: hash of w_g(t-1).
        contract: code of the contract in force.
        next_contract: code that is in force from the next round on, or None.
        deploys: how many changes of contract there were.
        members: whose signatures count in the open round.
        next_members: whose count from the next round on, or None where nothing changes.
        amendments: how many changes of the members there were.
        servers: accounts, in the order of the genesis.
        delegations: by device.
        updates: of the open round, by device.
        attestations: of the open round, by server.
        ballot: frozen when ATTEST closed, else None. Where the main node verifies alone, its ranking is there from
            the end of COLLECT on.
        outcome: of the last closed round, or None before the first.
        convictions: for each convicted participant, the last round in which it has no turn.
    """

    genesis: Genesis
    height: int
    round: int
    phase: Phase
    phase_opened: int
    model: bytes
    contract: bytes
    next_contract: bytes | None
    deploys: int
    members: Members
    next_members: Members | None
    amendments: int
    servers: tuple[ServerAccount, ...]
    delegations: Mapping[int, Delegation]
    updates: Mapping[int, AcceptedUpdate]
    attestations: Mapping[int, Attestation]
    ballot: Ballot | None
    outcome: Outcome | None
    convictions: Mapping[Participant, int]

    @property
    def active_servers(self) -> tuple[int, ...]:
        """Servers that have duties, ascending."""
        return tuple(index for index, account in enumerate(self.servers) if account.is_active)

    @property
    def attesters(self) -> tuple[int, ...]:
        """Servers whose attestation counts in this round, ascending: all active ones, or the main node alone."""
        if self.genesis.verification == "all_servers":
            return self.active_servers
        return self.ballot.ranking if self.ballot else ()

    def is_convicted(self, participant: Participant) -> bool:
        """Whether it has lost its turns for now."""
        return self.convictions.get(participant, 0) >= self.round

    @property
    def turn(self) -> int:
        """Rank whose turn it is to publish in the next block, counted from 0."""
        return (self.height - self.phase_opened) // self.genesis.phases.publish

    @property
    def main_node(self) -> int | None:
        """Server that may publish in the next block; None when nobody may, as in the turn of a convicted one."""
        if self.phase is not Phase.PUBLISH or self.ballot is None or self.turn >= len(self.ballot.ranking):
            return None
        server = self.ballot.ranking[self.turn]
        return None if self.is_convicted(("server", server)) else server


def initial_state(genesis: Genesis) -> State:
    """The state at height 0: round 1 collects updates that start from w_g(0)."""
    return State(
        genesis=genesis,
        height=0,
        round=1,
        phase=Phase.COLLECT,
        phase_opened=0,
        model=genesis.initial_model,
        contract=genesis.contract,
        next_contract=None,
        deploys=0,
        members=Members.of(genesis),
        next_members=None,
        amendments=0,
        servers=tuple(ServerAccount(server.battery_mj) for server in genesis.servers),
        delegations={},
        updates={},
        attestations={},
        ballot=None,
        outcome=None,
        convictions={},
    )


def _amended_leaves(state: State) -> dict[str, object]:
    """What an amended chain has besides; until then the genesis says it, and the chain id names that."""
    if not state.amendments:
        return {}
    members = state.members
    return {
        "amendments": (state.amendments, state.next_members),
        COMMITTEE_LEAF: members.committee,
        "devices": members.devices,
        "validators": members.validator_changes,
    }


def state_tree(state: State) -> MerkleMap:
    """The Merkle map over the state; its root is the app hash."""
    next_contract = None if state.next_contract is None else hash_contract(state.next_contract)
    leaves = {
        "attestations": tuple(sorted(state.attestations.items())),
        "ballot": state.ballot,
        "contract": (hash_contract(state.contract), next_contract, state.deploys),
        "chain": state.genesis.chain_id,
        "convictions": tuple(sorted(state.convictions.items())),
        "delegations": tuple(sorted(state.delegations.items())),
        "outcome": state.outcome,
        "round": (state.height, state.round, state.phase.value, state.phase_opened, state.model),
        "updates": tuple(sorted(state.updates.items())),
        **{f"server/{index:06d}": account for index, account in enumerate(state.servers)},
        **_amended_leaves(state),
    }
    return MerkleMap.of({key: encode(value) for key, value in leaves.items()})
