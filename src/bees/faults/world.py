"""A world that is small enough for thousands of histories, and real in all that the ledger does.

Keys, signatures, transactions, blocks, votes and the contract are real. Only learning is not: an update is a few
words drawn from a seed, and its score a number drawn from its bytes, so that all honest servers count the same.
"""

from __future__ import annotations

from functools import cache, cached_property
from typing import TYPE_CHECKING

import numpy as np

from bees.contract.description import describe_virtual_machine
from bees.contract.library import load_contract_code
from bees.contract.vm import VirtualMachine
from bees.core.fixed_point import words_to_bytes
from bees.core.hashes import digest
from bees.core.keys import SigningKey
from bees.core.model import describe
from bees.core.seeds import generator
from bees.engines.checks import Checks
from bees.ledger.aggregation import ContractExecutor
from bees.ledger.commitments import hash_contract, hash_model
from bees.ledger.committee import Committee
from bees.ledger.genesis import (
    DeviceRecord,
    DutyCosts,
    Genesis,
    PhaseLengths,
    ServerRecord,
    SignedGenesis,
    sign_genesis,
)
from bees.ledger.membership import Change, amendment_bytes, consent_bytes
from bees.ledger.transactions import Amend, Approval, Deploy, approval_bytes, sign

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from bees.core.fixed_point import Words
    from bees.faults.plan import Plan
    from bees.ledger.genesis import VerificationReading
    from bees.ledger.transactions import Signed

_SEED = 2024
_PARAMETERS = 8
_EXPONENT = 24
_ATTEST_MJ = 50_000
_POOR_SERVER = 3
"""It can pay for a single attestation, and is empty from then on. With it gone, N = 20 still withstands 6 liars."""
SAMPLE_CAP = 600
EVALUATION_SAMPLES = 1000
TOP_M = 3
NEXT_CONTRACT = "argmax"
"""What honest servers may deploy: FedAvg of the single most accurate update."""


class WeakCommittee(Committee, frozen=True, dict=True):
    """Servers of which fewer commit a block than is safe."""

    @property
    def quorum(self) -> int:
        """One less than more than 2N/3: two quorums of this size can meet in f liars alone."""
        return super().quorum - 1


class WeakGenesis(Genesis, frozen=True, dict=True):
    """A genesis whose blocks are committed by fewer signatures than is safe, to see that forks are found."""

    @cached_property
    def committee(self) -> Committee:
        """Likewise."""
        return WeakCommittee(tuple(server.public_key for server in self.servers))


class FaultWorld:
    """Who takes part in a history, and what they agree on. Equal for all seeds, so that it is made only once.

    Attributes:
        signed: the genesis.
        server_keys, device_keys: of all participants.
        next_server_keys: with which servers go on where their key is replaced.
        initial_model: words of w_g(0).
        machine: executes the contract.
        checks: what is found of a message by itself, shared by all replicas; see ``Checks.beside``.
    """

    def __init__(
        self,
        servers: int,
        devices: int,
        verification: VerificationReading = "all_servers",
        *,
        weak_quorum: bool = False,
        penalty_rounds: int = 50,
    ) -> None:
        self.server_keys = tuple(SigningKey.simulated(_SEED, "server", k) for k in range(servers))
        self.next_server_keys = tuple(SigningKey.simulated(_SEED, "next server", k) for k in range(servers))
        self.device_keys = tuple(SigningKey.simulated(_SEED, "device", k) for k in range(devices))
        self.initial_model: Words = generator(_SEED, "w_g(0)").integers(-(2**20), 2**20, _PARAMETERS, dtype=np.int32)
        kind = WeakGenesis if weak_quorum else Genesis
        genesis = kind(
            name="faults",
            servers=tuple(
                ServerRecord(key.public_key, 2_000_000_000 + 1_000_000 * k, _ATTEST_MJ if k == _POOR_SERVER else 10**9)
                for k, key in enumerate(self.server_keys)
            ),
            devices=tuple(
                DeviceRecord(key.public_key, k * servers // devices, SAMPLE_CAP)
                for k, key in enumerate(self.device_keys)
            ),
            model=describe("tiny", [("w", (_PARAMETERS,))], _EXPONENT),
            initial_model=hash_model(words_to_bytes(self.initial_model)),
            evaluation_set=digest("faults", b"no samples: a score is drawn from the bytes"),
            evaluation_samples=EVALUATION_SAMPLES,
            contract=load_contract_code("fedavg"),
            top_m=TOP_M,
            pol="capacity_over_battery",
            phases=PhaseLengths(collect=4, attest=4, publish=2, publish_ranks=servers // 3 + 1),
            costs=DutyCosts(attest_mj=_ATTEST_MJ, publish_mj=20_000, harvest_mj=0),
            penalty_rounds=penalty_rounds,
            verification=verification,
            virtual_machine=describe_virtual_machine(),
        )
        self.signed: SignedGenesis = sign_genesis(genesis, self.server_keys)
        self.machine = VirtualMachine(genesis.virtual_machine)
        self.checks = Checks(ContractExecutor(self.machine, lambda _: None, self.initial_model))

    @property
    def genesis(self) -> Genesis:
        """The agreement."""
        return self.signed.genesis

    def deploy(self, carrier: int, approvers: Iterable[int]) -> Signed:
        """The first change of contract, to ``NEXT_CONTRACT``, with the approvals of these servers."""
        code = load_contract_code(NEXT_CONTRACT)
        message = approval_bytes(self.genesis.chain_id, 0, hash_contract(code))
        approvals = tuple(Approval(k, self.server_keys[k].sign(message)) for k in sorted(approvers))
        return sign(Deploy(self.genesis.chain_id, carrier, 0, code, approvals), self.server_keys[carrier])

    def amend(self, carrier: int, approvers: Iterable[int], nonce: int, server: int, *, is_removed: bool) -> Signed:
        """A change of the members that these servers approve: one is removed, or goes on with its next key."""
        chain, key = self.genesis.chain_id, None if is_removed else self.next_server_keys[server]
        change = Change("server", server, None if key is None else key.public_key, None)
        consent = None if key is None else key.sign(consent_bytes(chain, nonce, change))
        message = amendment_bytes(chain, nonce, change)
        approvals = tuple(Approval(k, self.server_keys[k].sign(message)) for k in sorted(approvers))
        return sign(Amend(chain, carrier, nonce, change, consent, approvals), self.server_keys[carrier])


@cache
def shared_world(
    servers: int,
    devices: int,
    verification: VerificationReading = "all_servers",
    *,
    weak_quorum: bool = False,
    penalty_rounds: int = 50,
) -> FaultWorld:
    """The world of so many, made once per process."""
    return FaultWorld(servers, devices, verification, weak_quorum=weak_quorum, penalty_rounds=penalty_rounds)


def world_of(plan: Plan) -> FaultWorld:
    """The world in which a plan is played."""
    return shared_world(plan.servers, plan.devices, weak_quorum=plan.weak_quorum, penalty_rounds=plan.penalty_rounds)


def train(device: int, round_: int) -> bytes:
    """The raw words that an honest device has to give in a round."""
    rng = generator(_SEED, "update", device, round_)
    return words_to_bytes(rng.integers(-(2**24), 2**24, _PARAMETERS, dtype=np.int32))


def samples_of(device: int) -> int:
    """n_k of an honest device."""
    return SAMPLE_CAP - 7 * device


def evaluate(updates: Sequence[bytes]) -> list[int]:
    """What an honest server counts for each update."""
    return [
        int.from_bytes(digest("faults score", update)[:4], "little") % (EVALUATION_SAMPLES + 1) for update in updates
    ]
