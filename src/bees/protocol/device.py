"""The duties of a device (UE): check w_g(t-1), train or delegate, commit to the update, reveal it in time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bees.core.errors import ProofError
from bees.core.fixed_point import words_to_bytes
from bees.ledger.commitments import commit_to_update, hash_model
from bees.ledger.proofs import Committees, check_model_proof
from bees.ledger.transactions import Delegate, Update

if TYPE_CHECKING:
    from bees.core.fixed_point import Words
    from bees.ledger.block import Verifier
    from bees.ledger.genesis import Genesis
    from bees.ledger.proofs import ModelProof
    from bees.ledger.state import State
    from bees.ledger.transactions import Signed
    from bees.protocol.signer import Signer


@dataclass(frozen=True)
class OpenRound:
    """What a participant must know of the open round to take part in it.

    Attributes:
        chain_id: of the genesis.
        round: t.
        previous_model: hash of w_g(t-1).
    """

    chain_id: bytes
    round: int
    previous_model: bytes

    @classmethod
    def of(cls, state: State) -> OpenRound:
        """The open round of a state."""
        return cls(state.genesis.chain_id, state.round, state.model)


def check_global_model(
    genesis: Genesis,
    open_round: OpenRound,
    words: Words,
    proof: ModelProof | None,
    verify: Verifier,
    committees: Committees | None = None,
) -> None:
    """Refuse a downloaded w_g(t-1) that is not the one on the chain.

    The device believes its genesis only. What it was told of the open round, the words and the proof may all come
    from a single server that lies.

    Args:
        genesis: the device's own.
        open_round: t and the hash of w_g(t-1), as it was told.
        words: of w_g(t-1), as it was sent, shape (P,).
        proof: that round t-1 ended with that model; of no use in round 1, where the genesis names w_g(0).
        verify: tells whether a (public key, message, signature) is valid.
        committees: that were proved, where the chain has amended that of the genesis.

    Raises:
        ProofError: another chain; no proof, one that does not hold or is of another round; or another model.
    """
    if open_round.chain_id != genesis.chain_id:
        raise ProofError("the open round belongs to another chain")
    if open_round.round == 1:
        model = genesis.initial_model
    else:
        model = _proved_model(committees or Committees(genesis), open_round, proof, verify)
    if open_round.previous_model != model:
        raise ProofError(f"the open round starts from another model than w_g({open_round.round - 1})")
    if hash_model(words_to_bytes(words)) != model:
        raise ProofError(f"the downloaded model is not w_g({open_round.round - 1})")


def _proved_model(committees: Committees, open_round: OpenRound, proof: ModelProof | None, verify: Verifier) -> bytes:
    last = open_round.round - 1
    if proof is None:
        raise ProofError(f"w_g({last}) came without proof")
    outcome = check_model_proof(committees.genesis, proof, verify, committees)
    if outcome.round != last:
        raise ProofError(f"it is of round {outcome.round}, not of round {last}")
    return outcome.model


def commit_update(
    signer: Signer, open_round: OpenRound, device: int, samples: int, update: bytes, server: int | None = None
) -> Signed:
    """The signed Update that commits to the update's bytes without revealing them.

    Args:
        signer: the device's, or its server's when the device has delegated.
        open_round: t and w_g(t-1).
        device: u_k.
        samples: n_k.
        update: raw words of w_k(t).
        server: who signs in the device's place, or None.

    Raises:
        DoubleSignError: another update was signed for this round.
    """
    body = Update(
        chain_id=open_round.chain_id,
        round=open_round.round,
        previous_model=open_round.previous_model,
        device=device,
        server=server,
        commitment=commit_to_update(device, open_round.round, update),
        samples=samples,
    )
    return signer.sign(body, (f"Update of {device}", open_round.round))


def delegate_round(signer: Signer, open_round: OpenRound, device: int, server: int) -> Signed:
    """The signed leave for the server to train and sign in this round, because the device offloads (d_k = 1)."""
    body = Delegate(open_round.chain_id, device, server, open_round.round, open_round.round)
    return signer.sign(body, ("Delegate", open_round.round))
