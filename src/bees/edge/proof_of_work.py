"""What mining the same blocks by Proof of Work would have cost: a comparison only, that no battery pays for."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bees.scenario import ProofOfWork

HASHES_AT_DIFFICULTY_ONE = 2.0**32


def expected_hashes(difficulty: float) -> float:
    """``2^32 difficulty``: what all miners together try, on average, until one finds a block as Bitcoin counts it."""
    return HASHES_AT_DIFFICULTY_ONE * difficulty


def mining_energy_j(proof_of_work: ProofOfWork, blocks: float) -> float:
    """``blocks x hashes per block x joules per hash``, joule: what all miners together spend.

    Args:
        proof_of_work: the two constants.
        blocks: of the paper, one per communication round.
    """
    return blocks * proof_of_work.hashes_per_block * proof_of_work.joules_per_hash
