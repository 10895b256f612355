"""A tiny real chain to fuzz against: 4 servers, 4 devices, 6 parameters, the packaged FedAvg, and everybody's keys.

Whoever fuzzes knows all keys, so that mutated transactions and votes can be signed again and reach the checks that
stand behind the signature.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from msgspec.structs import replace

from bees.contract.library import load_contract_code
from bees.contract.vm import VirtualMachine
from bees.core.canonical import encode
from bees.core.fixed_point import words_to_bytes
from bees.core.keys import SigningKey
from bees.core.model import describe
from bees.engines.blobs import ReadUpdates
from bees.engines.chain_file import ChainWriter
from bees.founding import Members, Task, found
from bees.ledger.aggregation import ContractExecutor
from bees.ledger.application import Application
from bees.ledger.block import Batch, Block, Commit, CommitSignature, Header, block_id, vote_bytes
from bees.ledger.commitments import commit_to_update, hash_contract
from bees.ledger.committee import Committee
from bees.ledger.genesis import sign_genesis
from bees.ledger.membership import Change, ValidatorChange, amendment_bytes, consent_bytes
from bees.ledger.merkle import MerkleMap
from bees.ledger.proofs import CommitteeProof, ModelProof, prove_model
from bees.ledger.transactions import (
    Amend,
    Approval,
    Attest,
    Delegate,
    Deploy,
    Duty,
    Evidence,
    Publish,
    Signed,
    Statement,
    Transaction,
    Update,
    approval_bytes,
    sign,
)
from bees.scenario_file import load_scenario

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bees.ledger.genesis import Genesis, SignedGenesis
    from bees.ledger.state import State

SERVERS, DEVICES, PARAMETERS = 4, 4, 6
NEXT_KEY = SigningKey.simulated(5, "next server", 3)
"""That replaces a key of the genesis."""
_FUEL = 300_000
_MEMORY_BYTES = 2**21
_SAMPLE_CAP = 100
_SAMPLES = 50


@dataclass(frozen=True)
class Snapshot:
    """A moment of the chain at which a fuzzed block may come.

    Attributes:
        name: of the moment.
        application: one replica's ledger after the last block.
        previous_block: id of that block.
        candidates: transactions that the next block could hold.
    """

    name: str
    application: Application
    previous_block: bytes
    candidates: tuple[Signed, ...]


class World:
    """A replica of the tiny chain that grows by ``block``, and what it takes to act for everybody.

    Attributes:
        signed: the genesis.
        server_keys: of the servers.
        device_keys: of the devices.
        machine: executes contracts, within limits so small that a hostile one costs little time.
        blobs: bytes of updates, by commitment.
        blocks: with their commits, from height 1.
        proofs: of the outcome of each closed round.
        snapshots: moments that were kept.
    """

    def __init__(self) -> None:
        scenario = load_scenario("paper", [f"ledger.fuel={_FUEL}", "ledger.top_m=2", "ledger.publish_heights=1"])
        self.initial = np.arange(PARAMETERS, dtype=np.int32) - 2
        members = Members(SERVERS, np.arange(DEVICES) % SERVERS, np.full(DEVICES, _SAMPLE_CAP))
        task = Task(describe("tiny", [("w", (2, 2)), ("b", (2,))], 24), self.initial, bytes(range(32)), _SAMPLES)
        founding = found(scenario, members, task)
        self.server_keys, self.device_keys = founding.server_keys, founding.device_keys
        usual = founding.genesis.genesis
        limits = replace(usual.virtual_machine, memory_limit_bytes=_MEMORY_BYTES)
        self.signed: SignedGenesis = sign_genesis(replace(usual, virtual_machine=limits), self.server_keys)
        self.machine = VirtualMachine(limits)
        self.blobs: dict[bytes, bytes] = {}
        self.blocks: list[tuple[Block, Commit]] = []
        self.proofs: dict[int, ModelProof] = {}
        self.snapshots: list[Snapshot] = []
        self.application = self._replayed()
        self.last_block = self.genesis.chain_id

    @property
    def genesis(self) -> Genesis:
        """What the chain starts from."""
        return self.signed.genesis

    @property
    def state(self) -> State:
        """After the last block."""
        return self.application.state

    def block(self, *transactions: Signed) -> None:
        """Append a block of these transactions, with the fewest commit signatures that suffice."""
        batch = Batch(transactions)
        app_hash = self.application.execute(batch).app_hash
        header = Header(self.genesis.chain_id, self.state.height + 1, self.last_block, batch.root, app_hash)
        self.application.finalize_block(batch)
        self.application.commit()
        self.last_block = block_id(header)
        commit = self.commit(header)
        self.blocks.append((Block(header, batch), commit))
        if self.state.outcome is not None:
            self.proofs[self.state.outcome.round] = prove_model(self.state, header, commit)

    def commit(self, header: Header, consensus_round: int = 0) -> Commit:
        """A commit quorum under a header; dropping any one signature leaves too few."""
        name = block_id(header)
        message = vote_bytes(self.genesis.chain_id, header.height, consensus_round, "precommit", name)
        signers = range(self.genesis.committee.quorum)
        votes = tuple(CommitSignature(k, self.server_keys[k].sign(message)) for k in signers)
        return Commit(header.height, consensus_round, name, votes)

    def keep(self, name: str, *candidates: Signed) -> None:
        """Keep this moment, with a replica of its own."""
        self.snapshots.append(Snapshot(name, self._replayed(), self.last_block, candidates))

    def update(self, device: int, *, server: int | None = None, variant: int = 0) -> Signed:
        """A device's Update for the open round; another ``variant`` is another answer."""
        state = self.state
        data = words_to_bytes(np.arange(PARAMETERS, dtype=np.int32) * (device + 1) + state.round + variant)
        commitment = commit_to_update(device, state.round, data)
        self.blobs[commitment] = data
        body = Update(self.genesis.chain_id, state.round, state.model, device, server, commitment, 10 + device)
        return self.sign(body)

    def attest(self, server: int, shift: int = 0) -> Signed:
        """A server's Attest for the open round."""
        devices = tuple(sorted(self.state.updates))
        correct = tuple(9 * device + shift for device in devices)
        state = self.state
        return self.sign(Attest(self.genesis.chain_id, state.round, state.model, server, devices, correct))

    def publish(self, server: int) -> Signed:
        """The right Publish, as if it were this server's turn."""
        state = self.state
        result = self.application.runner.run(state)
        return self.sign(
            Publish(self.genesis.chain_id, state.round, state.model, server, result.selected, result.model)
        )

    def delegate(self, device: int, server: int) -> Signed:
        """A device's Delegate for this round and the next."""
        round_ = self.state.round
        return self.sign(Delegate(self.genesis.chain_id, device, server, round_, round_ + 1))

    def deploy(self, code: bytes) -> Signed:
        """The change to another contract, approved by a quorum."""
        nonce = self.state.deploys
        message = approval_bytes(self.genesis.chain_id, nonce, hash_contract(code))
        approvals = tuple(Approval(k, self.server_keys[k].sign(message)) for k in range(self.genesis.committee.quorum))
        return self.sign(Deploy(self.genesis.chain_id, 0, nonce, code, approvals))

    def amend(self, nonce: int, change: Change) -> Signed:
        """A change of the members, approved by a quorum."""
        asked = self.genesis.chain_id, nonce, change
        message = amendment_bytes(*asked)
        approvals = tuple(Approval(k, self.server_keys[k].sign(message)) for k in range(self.genesis.committee.quorum))
        consent = None if change.public_key is None else NEXT_KEY.sign(consent_bytes(*asked))
        return self.sign(Amend(self.genesis.chain_id, 0, nonce, change, consent, approvals))

    def handovers(self) -> tuple[CommitteeProof, ...]:
        """What proves to a device that server 3 has another key, and then that server 2 was removed."""
        first, keys = self.genesis.committee, [*self.server_keys[:3], NEXT_KEY]
        second = Committee((*first.keys[:3], NEXT_KEY.public_key))
        third = Committee((*first.keys[:2], None, NEXT_KEY.public_key))
        return (
            self._handover(5, second, tuple(self.server_keys), (0, 1, 3)),
            self._handover(9, third, keys, (0, 1, 3)),
        )

    def _handover(
        self, height: int, committee: Committee, keys: Sequence[SigningKey], signers: Sequence[int]
    ) -> CommitteeProof:
        tree = MerkleMap.of({"committee": encode(committee), "outcome": b"", "round": b""})
        header = Header(self.genesis.chain_id, height, bytes(32), bytes(32), tree.root)
        name = block_id(header)
        message = vote_bytes(self.genesis.chain_id, height, 0, "precommit", name)
        votes = tuple(CommitSignature(k, keys[k].sign(message)) for k in signers)
        return CommitteeProof(header, Commit(height, 0, name, votes), committee, tree.prove("committee"))

    def evidence(self, server: int, *signed: Signed) -> Signed:
        """What convicts the author of two answers, or of one that is wrong by itself."""
        shown = [Statement(s.body, s.signature) for s in signed if isinstance(s.body, Duty)]
        shown.sort(key=lambda statement: encode(statement.body))
        return self.sign(Evidence(self.genesis.chain_id, server, shown[0], shown[1] if len(shown) > 1 else None))

    def sign(self, body: Transaction) -> Signed:
        """The transaction with the signature of its author."""
        return sign(body, self.key_of(body))

    def key_of(self, body: Transaction) -> SigningKey:
        """The key of whoever must sign this; some key, where there is no such participant."""
        match body:
            case Delegate(device=device) | Update(server=None, device=device):
                return self.device_keys[device % DEVICES]
            case _:
                return self.server_keys[(body.server or 0) % SERVERS]

    def write_chain(self, path: Path) -> None:
        """Write the chain into a new chain file."""
        follow = ReadUpdates()
        with ChainWriter.create(path, self.signed, words_to_bytes(self.initial)) as writer:
            for block, commit in self.blocks:
                writer.append(block, commit, {name: self.blobs[name] for name in follow.follow(block.batch)})

    def new_runner(self) -> ContractExecutor:
        """A contract runner that has seen nothing yet."""
        return ContractExecutor(self.machine, self.blobs.get, self.initial)

    def _replayed(self) -> Application:
        application = Application(self.signed, self.new_runner())
        for block, _ in self.blocks:
            application.finalize_block(block.batch)
            application.commit()
        return application


@cache
def world() -> World:
    """A chain of two closed rounds and a third that is open, with delegation, deploy, evidence and a skipped turn."""
    made, argmax = World(), load_contract_code("argmax")
    replaced = made.amend(0, Change("server", 3, NEXT_KEY.public_key, ValidatorChange(bytes(32), b"v" * 32)))
    made.keep("collect", *(made.update(k) for k in range(DEVICES)), made.delegate(3, 1), made.deploy(argmax), replaced)
    made.block(made.delegate(3, 1))
    made.keep(
        "delegated",
        *(made.update(k) for k in range(3)),
        made.update(3, server=1),
        made.evidence(0, made.update(2), made.update(2, variant=1)),
    )
    made.block(*(made.update(k) for k in range(3)), made.update(3, server=1))
    made.keep(
        "attest",
        *(made.attest(k) for k in range(SERVERS)),
        made.evidence(1, made.attest(0), made.attest(0, shift=1)),
    )
    made.block(*(made.attest(k) for k in range(SERVERS)))
    first = made.state.main_node or 0
    wrong = made.sign(replace(made.publish(first).body, selected=(0,)))
    made.keep("publish", made.publish(first), made.deploy(argmax), made.evidence(2, wrong))
    made.block(made.publish(first), made.deploy(argmax))
    removed = made.amend(0, Change("device", 2, None, None))
    made.keep("closed", *(made.update(k) for k in range(DEVICES)), made.evidence(2, wrong), removed)
    made.block(*(made.update(k) for k in range(DEVICES)))
    made.block(*(made.attest(k) for k in range(SERVERS)), made.evidence(2, wrong))
    made.block()
    second = made.state.main_node
    made.block(*(() if second is None else (made.publish(second),)))
    made.block(made.update(1))
    made.keep("later", *(made.update(k) for k in (0, 2, 3)), made.evidence(0, made.attest(3), made.attest(3, 1)))
    return made
