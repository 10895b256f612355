"""Where a chain stands, for whoever wants to change it: its state, and the proofs of the servers that count in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bees.engines.chain_file import ChainReader
from bees.engines.prove import replayed
from bees.ledger.genesis import check_genesis
from bees.ledger.proofs import prove_committee
from bees.ledger.state import initial_state

if TYPE_CHECKING:
    from pathlib import Path

    from bees.ledger.genesis import SignedGenesis
    from bees.ledger.proofs import CommitteeProof
    from bees.ledger.state import State


@dataclass(frozen=True)
class Standing:
    """A chain after its last block.

    Attributes:
        signed: its genesis, signed by all.
        state: after the last block.
        proofs: one for each change of the committee, in order.
    """

    signed: SignedGenesis
    state: State
    proofs: tuple[CommitteeProof, ...]

    @classmethod
    def at_genesis(cls, signed: SignedGenesis) -> Standing:
        """A chain that has no blocks yet."""
        return cls(signed, initial_state(signed.genesis), ())


def standing_of_file(path: Path) -> Standing:
    """Where the chain of a file stands. It is replayed, so that nothing counts that is not right.

    Raises:
        ChainFileError: the file cannot be read.
        BeesError: a block in it is not right, or its genesis.
    """
    with ChainReader(path) as reader:
        reader.check_schema()
        signed = reader.genesis()
        check_genesis(signed)
        state = initial_state(signed.genesis)
        proofs: list[CommitteeProof] = []
        for audited in replayed(reader)[1]:
            if audited.state.members.committee != state.members.committee:
                proofs.append(prove_committee(audited.state, audited.block.header, audited.commit))
            state = audited.state
    return Standing(signed, state, tuple(proofs))
