"""A small world in which engines can run: keys, a genesis, updates, and a contract in NumPy."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from bees.contract.description import describe_virtual_machine
from bees.core.fixed_point import words_to_bytes
from bees.core.keys import SigningKey
from bees.core.model import describe
from bees.core.seeds import generator
from bees.engines.blobs import MemoryBlobStore
from bees.engines.chain_file import ChainWriter
from bees.engines.embedded import EmbeddedEngine
from bees.ledger.aggregation import ContractExecutor
from bees.ledger.commitments import hash_model
from bees.ledger.genesis import DeviceRecord, DutyCosts, Genesis, PhaseLengths, ServerRecord, sign_genesis
from bees.ledger.membership import Change, amendment_bytes, consent_bytes
from bees.ledger.transactions import Amend, Approval, Attest, Publish, Update, sign

if TYPE_CHECKING:
    from pathlib import Path

    from bees.core.fixed_point import Words
    from bees.engines.embedded import CommittedBlock
    from bees.ledger.genesis import VerificationReading
    from bees.ledger.state import State
    from bees.ledger.transactions import Signed


class NumpyMachine:
    """FedAvg of the M most accurate updates, without WebAssembly."""

    version_difference = None

    def __init__(self):
        self.runs = 0

    def load(self, _code: bytes) -> NumpyMachine:
        return self

    def select(self, correct: list[int], _samples: list[int], m: int) -> list[int]:
        best = sorted(range(len(correct)), key=lambda i: (-correct[i], i))[:m]
        return sorted(best)

    def aggregate(self, _correct: list[int], samples: list[int], updates: list[Words], _previous: Words) -> Words:
        self.runs += 1
        total = sum(n * words.astype(np.int64) for n, words in zip(samples, updates, strict=True))
        return np.floor_divide(total, sum(samples)).astype(np.int32)


@dataclass
class World:
    """Everything that a test needs to play rounds on a chain."""

    servers: int = 4
    devices: int = 3
    parameters: int = 5
    top_m: int = 2
    seed: int = 7
    verification: VerificationReading = "all_servers"
    machines: list[NumpyMachine] = field(default_factory=list)

    def __post_init__(self):
        self.server_keys = tuple(SigningKey.simulated(self.seed, "server", k) for k in range(self.servers))
        self.device_keys = tuple(SigningKey.simulated(self.seed, "device", k) for k in range(self.devices))
        self.next_keys = tuple(SigningKey.simulated(self.seed, "next server", k) for k in range(self.servers))
        self.initial = generator(self.seed, "initial").integers(-1000, 1000, self.parameters, dtype=np.int32)
        self.blobs = MemoryBlobStore()
        self.signed = sign_genesis(self._genesis(), self.server_keys)

    @property
    def genesis(self):
        return self.signed.genesis

    def _genesis(self):
        return Genesis(
            name="test",
            servers=tuple(ServerRecord(key.public_key, 1000 + k, 10**6) for k, key in enumerate(self.server_keys)),
            devices=tuple(
                DeviceRecord(key.public_key, k % self.servers, 600) for k, key in enumerate(self.device_keys)
            ),
            model=describe("tiny", [("w", (self.parameters,))], 24),
            initial_model=hash_model(words_to_bytes(self.initial)),
            evaluation_set=bytes(32),
            evaluation_samples=1000,
            contract=b"numpy",
            top_m=self.top_m,
            pol="capacity_over_battery",
            phases=PhaseLengths(2, 2, 2, 2),
            costs=DutyCosts(1, 10, 2),
            penalty_rounds=3,
            verification=self.verification,
            virtual_machine=describe_virtual_machine(),
        )

    def machine(self, _genesis: Genesis | None = None) -> Any:  # stands in for a VirtualMachine
        self.machines.append(NumpyMachine())
        return self.machines[-1]

    def runner(self):
        return ContractExecutor(self.machine(), self.blobs.get, self.initial)

    def engine(self, **options: Any):
        return EmbeddedEngine(self.signed, self.server_keys, self.runner, **options)

    def updates(self, state: State) -> list[Signed]:
        signed: list[Signed] = []
        for device, key in enumerate(self.device_keys):
            rng = generator(self.seed, "update", state.round, device)
            data = words_to_bytes(rng.integers(-(2**24), 2**24, self.parameters, dtype=np.int32))
            commitment = self.blobs.put(device, state.round, data)
            body = Update(self.genesis.chain_id, state.round, state.model, device, None, commitment, 100 + device)
            signed.append(sign(body, key))
        return signed

    def attests(self, state: State) -> list[Signed]:
        devices = tuple(sorted(state.updates))
        correct = tuple((37 * device + 11 * state.round) % 1000 for device in devices)
        return [
            sign(Attest(self.genesis.chain_id, state.round, state.model, server, devices, correct), key)
            for server, key in enumerate(self.keys_of(state))
            if server in state.attesters
        ]

    def publish(self, engine: EmbeddedEngine) -> Signed:
        state, main_node = engine.state, engine.state.main_node
        assert main_node is not None
        result = engine.replicas[main_node].application.runner.run(state)
        body = Publish(self.genesis.chain_id, state.round, state.model, main_node, result.selected, result.model)
        return sign(body, self.keys_of(state)[main_node])

    def keys_of(self, state: State) -> list[SigningKey]:
        """The keys of all servers; of one that was removed, the key that it had at first."""
        named = state.members.committee.keys
        return [next_ if name == next_.public_key else first for name, first, next_ in self._each(named)]

    def _each(self, named: tuple[bytes | None, ...]):
        return zip(named, self.server_keys, self.next_keys, strict=True)

    def amend(self, state: State, server: int, *, is_removed: bool = False) -> Signed:
        """A server is removed, or goes on with its next key; as many as it takes approve, and the first carries it."""
        committee, keys = state.members.committee, self.keys_of(state)
        key = None if is_removed else self.next_keys[server]
        change = Change("server", server, None if key is None else key.public_key, None)
        asked = (self.genesis.chain_id, state.amendments, change)
        approvals = tuple(
            Approval(k, keys[k].sign(amendment_bytes(*asked))) for k in committee.members[: committee.quorum]
        )
        consent = None if key is None else key.sign(consent_bytes(*asked))
        carrier = committee.members[0]
        body = Amend(self.genesis.chain_id, carrier, state.amendments, change, consent, approvals)
        return sign(body, keys[carrier])

    def play_round(self, engine: EmbeddedEngine, *more: Signed) -> list[CommittedBlock]:
        """The three heights of a communication round; with more transactions in the first."""
        committed: list[CommittedBlock] = []
        for transactions in (
            lambda state: [*more, *self.updates(state)],
            self.attests,
            lambda _: [self.publish(engine)],
        ):
            refusals = engine.submit_all(transactions(engine.state))
            assert not any(refusals), refusals
            committed.append(engine.next_block())
        return committed

    def read_by(self, made: CommittedBlock) -> dict[bytes, bytes]:
        """The updates that the contract read in a block."""
        found = {name: self.blobs.get(name) for name in made.read}
        assert None not in found.values()
        return {name: data for name, data in found.items() if data is not None}

    def write_chain(self, path: Path, rounds: int = 2) -> SimpleNamespace:
        """A chain file of some rounds, closed."""
        engine = self.engine()
        with ChainWriter.create(path, self.signed, words_to_bytes(self.initial)) as writer:
            for _ in range(rounds):
                for made in self.play_round(engine):
                    writer.append(made.block, made.commit, self.read_by(made))
        engine.close()
        return SimpleNamespace(path=path, engine=engine)
