"""A network whose models are random numbers: keys, contract, blocks and certificates are real, learning is not.

Updates are drawn, not trained, and a score is drawn from an update's bytes, so that all honest servers count the same.
What is left is the network and the ledger, which is what its users want to try or to measure.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from typing import TYPE_CHECKING

import numpy as np

from bees.contract.description import describe_virtual_machine, memory_for
from bees.contract.library import load_contract_code
from bees.core.fixed_point import words_to_bytes
from bees.core.hashes import digest
from bees.core.keys import SigningKey
from bees.core.model import describe
from bees.core.seeds import generator
from bees.ledger.commitments import hash_model
from bees.ledger.genesis import (
    DeviceRecord,
    DutyCosts,
    Genesis,
    PhaseLengths,
    ServerRecord,
    SignedGenesis,
    sign_genesis,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bees.core.fixed_point import Words

EVALUATION_SAMPLES = 1000
SAMPLE_CAP = 600
PHASES = PhaseLengths(collect=15, attest=6, publish=3, publish_ranks=4)
"""A phase closes as soon as it is complete; these are for when somebody does not come."""

_SEED = 2024
_EXPONENT = 24
_SCORED_BYTES = 64
_WORD_BYTES = 4


@dataclass(frozen=True)
class RandomWorld:
    """Who takes part, and what they agree on.

    Attributes:
        signed: the genesis. Main nodes take turns: in round t, server t mod N is the first.
        server_seeds, device_seeds: 32 bytes each, from which the keys are made.
        initial_model: words of w_g(0), shape (P,).
    """

    signed: SignedGenesis
    server_seeds: tuple[bytes, ...]
    device_seeds: tuple[bytes, ...]
    initial_model: Words

    @property
    def genesis(self) -> Genesis:
        """The agreement."""
        return self.signed.genesis


@cache
def random_world(
    servers: int, devices: int, parameters: int, *, phases: PhaseLengths = PHASES, penalty_rounds: int = 50
) -> RandomWorld:
    """The world of so many.

    Args:
        servers: N.
        devices: K; device k's nearest server is k mod N.
        parameters: P; an update has 4 P bytes.
        phases: of a round.
        penalty_rounds: that a conviction lasts.
    """
    server_seeds, device_seeds = _seeds("server", servers), _seeds("device", devices)
    keys = tuple(map(SigningKey.from_seed, server_seeds))
    initial_model: Words = generator(_SEED, "w_g(0)").integers(-(2**20), 2**20, parameters, dtype=np.int32)
    top_m = min(10, devices)
    genesis = Genesis(
        name="random",
        servers=tuple(ServerRecord(key.public_key, 2 * 10**9, 10**12) for key in keys),
        devices=tuple(
            DeviceRecord(SigningKey.from_seed(seed).public_key, k % servers, SAMPLE_CAP)
            for k, seed in enumerate(device_seeds)
        ),
        model=describe("random", [("w", (parameters,))], _EXPONENT),
        initial_model=hash_model(words_to_bytes(initial_model)),
        evaluation_set=digest("random", b"no samples: a score is drawn from the bytes"),
        evaluation_samples=EVALUATION_SAMPLES,
        contract=load_contract_code("fedavg"),
        top_m=top_m,
        pol="round_robin",
        phases=phases,
        costs=DutyCosts(attest_mj=1, publish_mj=1, harvest_mj=0),
        penalty_rounds=penalty_rounds,
        verification="all_servers",
        virtual_machine=describe_virtual_machine(memory_limit_bytes=memory_for(_WORD_BYTES * parameters, top_m)),
    )
    return RandomWorld(sign_genesis(genesis, keys), server_seeds, device_seeds, initial_model)


def drawn_update(device: int, round_: int, parameters: int) -> np.ndarray:
    """The arrays that a device hands in, in place of trained ones: float32 in [-1, 1), shape (P,)."""
    return generator(_SEED, "update", device, round_).random(parameters, dtype=np.float32) * 2 - 1


def drawn_scores(updates: Sequence[bytes]) -> list[int]:
    """For each update a number from its first bytes, in place of what its model gets right."""
    return [
        int.from_bytes(digest("drawn score", update[:_SCORED_BYTES])[:4], "little") % (EVALUATION_SAMPLES + 1)
        for update in updates
    ]


def _seeds(kind: str, count: int) -> tuple[bytes, ...]:
    return tuple(sha256(f"random {kind} {k}".encode()).digest() for k in range(count))
