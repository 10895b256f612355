"""What requests and answers hold, in the canonical encoding; and the names of headers."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING

from bees.core.canonical import Record, decode
from bees.core.errors import CodecError
from bees.core.hashes import HASH_BYTES
from bees.ledger.genesis import Hash, Positive  # msgspec reads the annotations
from bees.ledger.proofs import ModelProof  # likewise
from bees.ledger.transactions import Signed
from bees.transport.refusals import MalformedRequestError

if TYPE_CHECKING:
    from bees.ledger.state import State

TRANSACTION_HEADER = "Bees-Transaction"
"""Of an upload: its signed Update in base64. The body is the update's bytes alone, so that it can be streamed."""

_HEADER_CHARACTERS = 4096


class ModelAnswer(Record, frozen=True):
    """The open round, and w_g(t-1) with the proof of it.

    Attributes:
        chain_id: of the genesis.
        round: t.
        previous_model: hash of w_g(t-1).
        proof: that round t-1 ended with that model; None in round 1.
        words: of w_g(t-1), raw little-endian int32.
    """

    chain_id: Hash
    round: Positive
    previous_model: Hash
    proof: ModelProof | None
    words: bytes


def describe_round(state: State) -> dict[str, object]:
    """The open round, for JSON."""
    return {
        "chain_id": state.genesis.chain_id.hex(),
        "height": state.height,
        "round": state.round,
        "phase": str(state.phase),
        "phase_opened": state.phase_opened,
        "previous_model": state.model.hex(),
        "updates": sorted(state.updates),
        "attestations": sorted(state.attestations),
    }


def read_commitment(text: str) -> bytes:
    """The 32 bytes that hexadecimal digits in a path stand for.

    Raises:
        MalformedRequestError: they are none.
    """
    try:
        value = bytes.fromhex(text)
    except ValueError:
        value = b""
    if len(value) != HASH_BYTES:
        raise MalformedRequestError(f"a commitment has {2 * HASH_BYTES} hexadecimal digits")
    return value


def write_header(signed: Signed) -> str:
    """A transaction for ``TRANSACTION_HEADER``."""
    return base64.b64encode(signed.encoding).decode()


def read_header(text: str | None) -> Signed:
    """The transaction that a header holds.

    Raises:
        MalformedRequestError: there is none, or it is no transaction.
    """
    if not text or len(text) > _HEADER_CHARACTERS:
        raise MalformedRequestError(f"the header {TRANSACTION_HEADER} must hold a signed Update in base64")
    try:
        return decode(base64.b64decode(text, validate=True), Signed)
    except (binascii.Error, ValueError, CodecError) as error:
        raise MalformedRequestError(f"the header {TRANSACTION_HEADER}: {error}") from error
