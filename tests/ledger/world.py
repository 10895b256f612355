"""A tiny chain with real keys: 4 servers, 8 devices, a model of 12 parameters, and a contract in Python."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from bees.contract.description import describe_virtual_machine
from bees.core.canonical import encode
from bees.core.errors import ContractLoadError, ContractOutputError, MissingBlobError
from bees.core.fixed_point import bytes_to_words, words_to_bytes
from bees.core.keys import SigningKey
from bees.core.model import describe
from bees.ledger.application import Application, Memo
from bees.ledger.block import Batch, Block, Commit, CommitSignature, Header, block_id, vote_bytes
from bees.ledger.commitments import commit_to_update, hash_contract, hash_model
from bees.ledger.execution import ContractResult
from bees.ledger.genesis import (
    DeviceRecord,
    DutyCosts,
    Genesis,
    PhaseLengths,
    ServerRecord,
    SignedGenesis,
    sign_genesis,
)
from bees.ledger.membership import Change, ValidatorChange, amendment_bytes, consent_bytes
from bees.ledger.transactions import (
    Amend,
    Approval,
    Attest,
    Delegate,
    Deploy,
    Publish,
    Signed,
    Transaction,
    Update,
    approval_bytes,
    sign,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bees.ledger.state import State

SERVERS, DEVICES, PARAMETERS = 4, 8, 12
SERVER_KEYS = tuple(SigningKey.simulated(1, "server", k) for k in range(SERVERS))
DEVICE_KEYS = tuple(SigningKey.simulated(1, "device", k) for k in range(DEVICES))
NEXT_KEYS = {
    (kind, k, generation): SigningKey.simulated(10 + generation, kind, k)
    for kind, count in (("server", SERVERS), ("device", DEVICES))
    for k in range(count)
    for generation in range(3)
}
"""Keys that may replace those of the genesis."""
BY_PUBLIC_KEY = {key.public_key: key for key in (*SERVER_KEYS, *DEVICE_KEYS, *NEXT_KEYS.values())}
W0 = np.arange(PARAMETERS, dtype=np.int32) - 5
SUM_CONTRACT, FAILING_CONTRACT = b"sum", b"fail"


def genesis(**changes: Any) -> Genesis:
    """The genesis of the tiny chain, with some fields changed."""
    usual = Genesis(
        name="tiny",
        servers=tuple(
            ServerRecord(key.public_key, capacity_hz=10 + k, battery_mj=1000) for k, key in enumerate(SERVER_KEYS)
        ),
        devices=tuple(
            DeviceRecord(key.public_key, server=k % SERVERS, sample_cap=100) for k, key in enumerate(DEVICE_KEYS)
        ),
        model=describe("tiny", [("w", (3, 3)), ("b", (3,))], exponent=24),
        initial_model=hash_model(words_to_bytes(W0)),
        evaluation_set=bytes(range(32)),
        evaluation_samples=50,
        contract=SUM_CONTRACT,
        top_m=3,
        pol="capacity_over_battery",
        phases=PhaseLengths(collect=4, attest=3, publish=2, publish_ranks=3),
        costs=DutyCosts(attest_mj=10, publish_mj=50, harvest_mj=5),
        penalty_rounds=3,
        verification="all_servers",
        virtual_machine=describe_virtual_machine(),
    )
    return msgspec.structs.replace(usual, **changes)


def weights(device: int, round_: int) -> bytes:
    """The bytes that a device has to give in a round."""
    return words_to_bytes(np.arange(PARAMETERS, dtype=np.int32) * (device + 1) + round_)


@dataclass
class PythonContract:
    """A contract runner without a virtual machine: the sum of the M most accurate updates and of w_g(t-1).

    Attributes:
        blobs: bytes of updates and models, by what names them on the chain.
        runs: how often a contract was run.
    """

    blobs: dict[bytes, bytes] = field(default_factory=dict[bytes, bytes])
    runs: int = 0

    def check(self, code: bytes) -> None:
        if code not in (SUM_CONTRACT, FAILING_CONTRACT, b"product"):
            raise ContractLoadError(f"{code!r} is no contract")

    def run(self, state: State) -> ContractResult:
        self.runs += 1
        assert state.ballot is not None
        if state.contract == FAILING_CONTRACT:
            raise ContractOutputError("no result, as it was written to have none")
        best = sorted(state.ballot.eligible, key=lambda e: (-e.correct, e.device))[: state.genesis.top_m]
        total = self._words(state.model).astype(np.int64)
        for update in best:
            total = total + update.samples * self._words(update.commitment).astype(np.int64)
        model = words_to_bytes(total.astype(np.int32))
        self.blobs[hash_model(model)] = model
        return ContractResult(tuple(sorted(e.device for e in best)), hash_model(model))

    def _words(self, name: bytes) -> Any:
        data = self.blobs.get(name)
        if data is None:
            raise MissingBlobError(name)
        return bytes_to_words(data)


@dataclass
class World:
    """One replica of the tiny chain, and all keys to act on it."""

    signed: SignedGenesis = field(default_factory=lambda: sign_genesis(genesis(), SERVER_KEYS))
    runner: Any = None
    memo: Memo | None = None
    blocks: list[Block] = field(default_factory=list[Block])
    commits: list[Commit] = field(default_factory=list[Commit])

    def __post_init__(self) -> None:
        if self.runner is None:
            self.runner = PythonContract({self.genesis.initial_model: words_to_bytes(W0)})
        self._last_block = self.genesis.chain_id

    @classmethod
    def of(cls, **changes: Any) -> World:
        """A world with another genesis."""
        return cls(sign_genesis(genesis(**changes), SERVER_KEYS))

    @cached_property
    def application(self) -> Application:
        return Application(self.signed, self.runner, self.memo)

    @property
    def genesis(self) -> Genesis:
        return self.signed.genesis

    @property
    def state(self) -> State:
        return self.application.state

    def block(self, *transactions: Signed) -> Block:
        """Commit a block of these transactions, and keep it."""
        block = self.propose(*transactions)
        self.commits.append(self.commit_of(block))
        self.application.finalize_block(block.batch)
        self.application.commit()
        self._last_block = block_id(block.header)
        self.blocks.append(block)
        return block

    @property
    def stored(self) -> list[tuple[bytes, bytes]]:
        """Blocks and commits as a chain file holds them."""
        return [(encode(block), encode(commit)) for block, commit in zip(self.blocks, self.commits, strict=True)]

    def commit_of(self, block: Block, servers: tuple[int, ...] | None = None) -> Commit:
        """The precommits for the next block, by default of the last servers, as many as it takes."""
        committee = self.state.members.committee
        keys = [self.key("server", k) for k in range(SERVERS)]
        return commit_of(block, committee.members[-committee.quorum :] if servers is None else servers, keys=keys)

    def key(self, kind: str, index: int) -> SigningKey:
        """The key of a participant that is in force; the one of the genesis for who takes no part any more."""
        named = self.state.members.keys_of(kind)[index]
        return BY_PUBLIC_KEY[named] if named else (SERVER_KEYS if kind == "server" else DEVICE_KEYS)[index]

    def propose(self, *transactions: Signed) -> Block:
        """The next block, not committed."""
        batch = Batch(transactions)
        app_hash = self.application.execute(batch).app_hash
        return Block(
            Header(self.genesis.chain_id, self.state.height + 1, self._last_block, batch.root, app_hash), batch
        )

    def update(self, device: int, /, *, server: int | None = None, **changes: Any) -> Signed:
        """A device's Update for the open round; its bytes can be had."""
        data = weights(device, self.state.round)
        commitment = commit_to_update(device, self.state.round, data)
        self.runner.blobs[commitment] = data
        body = Update(
            self.genesis.chain_id, self.state.round, self.state.model, device, server, commitment, samples=10 + device
        )
        key = self.key("device", device) if server is None else self.key("server", server)
        return _sign(body, key, changes)

    def attest(self, server: int, said: dict[int, int] | None = None, /, **changes: Any) -> Signed:
        """A server's Attest for the open round; by default device k gets 5 k right."""
        counts = said if said is not None else {device: 5 * device for device in sorted(self.state.updates)}
        body = Attest(
            self.genesis.chain_id, self.state.round, self.state.model, server, tuple(counts), tuple(counts.values())
        )
        return _sign(body, self.key("server", server), changes)

    def publish(self, server: int | None = None, /, **changes: Any) -> Signed:
        """The right Publish, by default of the server whose turn it is."""
        author = self.state.main_node if server is None else server
        assert author is not None
        result = self.runner.run(self.state)
        body = Publish(self.genesis.chain_id, self.state.round, self.state.model, author, result.selected, result.model)
        return _sign(body, self.key("server", author), changes)

    def delegate(self, device: int, server: int, /, *, rounds: int = 1, **changes: Any) -> Signed:
        """A device's Delegate from the open round on."""
        now = self.state.round
        body = Delegate(self.genesis.chain_id, device, server, now, now + rounds - 1)
        return _sign(body, self.key("device", device), changes)

    def deploy(self, code: bytes, approvers: tuple[int, ...] = (0, 1, 2), /, **changes: Any) -> Signed:
        """A Deploy with approvals."""
        body = Deploy(self.genesis.chain_id, 0, self.state.deploys, code, ())
        nonce = changes.get("nonce", body.nonce)
        message = approval_bytes(self.genesis.chain_id, nonce, hash_contract(code))
        return _sign(body, self.key("server", 0), {"approvals": self._approve(message, approvers), **changes})

    def amend(
        self,
        kind: Any,
        index: int,
        key: SigningKey | None,
        /,
        *,
        approvers: tuple[int, ...] = (0, 1, 2),
        validator: ValidatorChange | None = None,
        **changes: Any,
    ) -> Signed:
        """An Amend that replaces a key or, without one, removes the participant; by default server 0 carries it."""
        change = Change(kind, index, None if key is None else key.public_key, validator)
        body = Amend(self.genesis.chain_id, 0, self.state.amendments, change, None, ())
        asked = (self.genesis.chain_id, changes.get("nonce", body.nonce), change)
        parts = {
            "consent": None if key is None else key.sign(consent_bytes(*asked)),
            "approvals": self._approve(amendment_bytes(*asked), approvers),
        }
        return _sign(body, self.key("server", changes.get("server", 0)), {**parts, **changes})

    def _approve(self, message: bytes, approvers: tuple[int, ...]) -> tuple[Approval, ...]:
        return tuple(Approval(k, self.key("server", k).sign(message)) for k in approvers)

    def to_attest(self, devices: tuple[int, ...] = tuple(range(DEVICES))) -> None:
        """Go to ATTEST with the updates of these devices."""
        self.block(*(self.update(device) for device in devices))
        while self.state.phase == "collect":
            self.block()

    def to_publish(self) -> None:
        """Go to PUBLISH with everybody's updates and attestations."""
        self.to_attest()
        self.block(*(self.attest(server) for server in range(SERVERS)))

    def whole_round(self) -> None:
        """A round as it should be."""
        self.to_publish()
        self.block(self.publish())


def _sign(body: Transaction, key: SigningKey, changes: dict[str, Any]) -> Signed:
    return sign(msgspec.structs.replace(body, **changes), key)


def commit_of(
    block: Block,
    servers: tuple[int, ...] = (0, 1, 2),
    consensus_round: int = 0,
    keys: Sequence[SigningKey] = SERVER_KEYS,
) -> Commit:
    """The precommits of these servers for a block."""
    header, name = block.header, block_id(block.header)
    message = vote_bytes(header.chain_id, header.height, consensus_round, "precommit", name)
    signatures = tuple(CommitSignature(k, keys[k].sign(message)) for k in servers)
    return Commit(header.height, consensus_round, name, signatures)


def eventful_chain() -> World:
    """Delegations, a deploy, a round that is skipped, and two that are not: 15 blocks."""
    world = World()
    world.block(world.delegate(3, 1, rounds=2), world.delegate(4, 2))
    world.block(*(world.update(device, server={3: 1, 4: 2}.get(device)) for device in range(DEVICES)))
    world.block(*(world.attest(server) for server in range(SERVERS)))
    world.block()
    world.block(world.deploy(b"product"), world.publish())
    for _ in range(4):
        world.block()
    world.whole_round()
    world.whole_round()
    return world
