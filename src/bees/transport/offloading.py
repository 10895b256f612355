"""What a device that offloads signs, and how its raw data travel: sealed to its server's key, bound to both of them.

A word of a device (an ``Offer``, which a ``Withdrawal`` ends) holds for one chain, one server and one device, and only
if its serial is above that of every word before, so none can be played again. The digest of the data takes in who gives
them to whom: whoever overhears an offer cannot make the same data its own.
"""

from __future__ import annotations

import base64
import binascii
import struct
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from msgspec import Meta
from safetensors import SafetensorError, deserialize  # pyright: ignore[reportUnknownVariableType]  # it has no types
from safetensors.numpy import save

from bees.core.canonical import Record, decode, encode
from bees.core.errors import CodecError, DatasetError
from bees.core.hashes import digest
from bees.core.keys import is_signed_by
from bees.ledger.genesis import Hash, Natural, Positive, Signature  # msgspec reads the annotations
from bees.transport.refusals import MalformedRequestError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from bees.core.keys import SigningKey

OFFLOAD_HEADER = "Bees-Offload"
"""Of a request about offloading: the device's signed word in base64. The body is the sealed data alone."""

ROUNDS_LIMIT = 1 << 20
"""The most rounds of one offer: what "until I say stop" means."""

_HEADER_CHARACTERS = 4096
_SOURCE = "offloaded data"
_read: Callable[[bytes], list[tuple[str, dict[str, Any]]]] = deserialize


class TrainingSettings(Record, frozen=True):
    """How a device trains, and so its server in its place.

    Attributes:
        epochs: E.
        batch_size: of a full mini-batch.
        learning_rate: alpha.
        seed: of the shuffling.
    """

    epochs: Annotated[int, Meta(ge=1, le=1000)] = 1
    batch_size: Annotated[int, Meta(ge=1, le=4096)] = 10
    learning_rate: Annotated[float, Meta(gt=0, le=1000)] = 0.01
    seed: Natural = 0


class Offer(Record, frozen=True, tag="offer"):
    """A device has its server train on its data, for so many rounds, and in this way. It takes the place of any before.

    Attributes:
        chain_id: of the genesis.
        device: who offloads, and signs.
        server: who trains.
        serial: above that of any word of the device before.
        first_round: from which on.
        last_round: after which the server must delete the data.
        data: ``data_digest`` of the data.
        data_bytes: their length, not sealed.
        samples: how many they are, which is n_k of the updates.
        settings: of the training.
    """

    chain_id: Hash
    device: Natural
    server: Natural
    serial: Natural
    first_round: Positive
    last_round: Positive
    data: Hash
    data_bytes: Positive
    samples: Positive
    settings: TrainingSettings


class Withdrawal(Record, frozen=True, tag="withdrawal"):
    """A device has its server train no more, and delete its data.

    Attributes:
        chain_id: of the genesis.
        device: who has offloaded, and signs.
        server: who has trained.
        serial: above that of any word of the device before.
    """

    chain_id: Hash
    device: Natural
    server: Natural
    serial: Natural


class SignedWord(Record, frozen=True):
    """A device's word and its signature."""

    body: Offer | Withdrawal
    signature: Signature


def sign_word(body: Offer | Withdrawal, key: SigningKey) -> SignedWord:
    """The word, signed by the device's key."""
    return SignedWord(body, key.sign(_word_bytes(body)))


def is_word_of(word: SignedWord, public_key: bytes) -> bool:
    """Whether this key has signed the word."""
    return is_signed_by(public_key, _word_bytes(word.body), word.signature)


def _word_bytes(body: Offer | Withdrawal) -> bytes:
    return b"bees offloading\0" + encode(body)


def data_digest(chain_id: bytes, server: int, device: int, data: bytes) -> bytes:
    """What an offer says of the data, 32 bytes.

    Args:
        chain_id: of the genesis.
        server: who is given them.
        device: whose they are.
        data: from ``encode_data``.
    """
    return digest("offloaded data", chain_id, struct.pack("<QQ", server, device), data)


def write_word(word: SignedWord) -> str:
    """A word for ``OFFLOAD_HEADER``."""
    return base64.b64encode(encode(word)).decode()


def read_word(text: str | None) -> SignedWord:
    """The word that a header holds; whose it is has yet to be checked.

    Raises:
        MalformedRequestError: there is none, or it is no word.
    """
    if not text or len(text) > _HEADER_CHARACTERS:
        raise MalformedRequestError(f"the header {OFFLOAD_HEADER} must hold a signed offer or withdrawal in base64")
    try:
        return decode(base64.b64decode(text, validate=True), SignedWord)
    except (binascii.Error, ValueError, CodecError) as error:
        raise MalformedRequestError(f"the header {OFFLOAD_HEADER}: {error}") from error


def encode_data(x: NDArray[np.float32], y: NDArray[np.int32]) -> bytes:
    """Samples as safetensors: ``x`` float32 of shape (n, inputs), ``y`` int32 of shape (n,), and nothing else."""
    return save({"x": x.astype("<f4", copy=False), "y": y.astype("<i4", copy=False)})


def decode_data(data: bytes) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """The samples that anybody's bytes hold.

    Raises:
        DatasetError: they hold something else, nothing, or numbers that are none.
    """
    try:
        arrays = _read(data)
    except (SafetensorError, ValueError, OverflowError) as error:
        raise DatasetError(_SOURCE, f"is no safetensors: {str(error)[:200]}") from error
    found = dict(arrays)
    if found.keys() != {"x", "y"}:
        raise DatasetError(_SOURCE, "must hold x and y, and nothing else")
    shapes = [tuple(found[name]["shape"]) for name in ("x", "y")]
    kinds = [found[name]["dtype"] for name in ("x", "y")]
    if kinds != ["F32", "I32"]:
        raise DatasetError(_SOURCE, f"has samples of {kinds[0]} and labels of {kinds[1]}; F32 and I32 are needed")
    if len(shapes[0]) != 2 or min(shapes[0]) < 1 or shapes[1] != shapes[0][:1]:  # noqa: PLR2004  # samples by numbers
        raise DatasetError(_SOURCE, f"has samples of shape {shapes[0]} and labels of shape {shapes[1]}")
    x = np.frombuffer(found["x"]["data"], dtype="<f4").reshape(shapes[0])
    y = np.frombuffer(found["y"]["data"], dtype="<i4")
    if not np.isfinite(x).all():
        raise DatasetError(_SOURCE, "has samples with NaN or infinity")
    if y.min() < 0:
        raise DatasetError(_SOURCE, f"has a label {y.min()}; labels count from 0")
    return x, y
