"""One canonical encoding for everything that is signed or hashed.

Values are msgspec structs, written as MessagePack arrays in the order of their fields, integers in their
shortest form. A decoder takes no other spelling of the same value: it encodes what it has read again, and
refuses the bytes if they differ.
"""

from __future__ import annotations

from functools import lru_cache
from threading import Lock
from typing import Any, TypeVar

import msgspec

from bees.core.errors import MalformedError, NonCanonicalError

T = TypeVar("T")

_COMPLAINT_CHARACTERS = 200  # it may quote a text that is as long as the bytes

_encoder = msgspec.msgpack.Encoder()
_one_learns = Lock()


class Record(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Base of everything that is written to the chain: frozen, positional, no field skipped."""


def encode(value: object) -> bytes:
    """The canonical bytes of ``value``."""
    return _encoder.encode(value)


def decode(data: bytes, kind: type[T]) -> T:
    """The value whose canonical bytes are ``data``.

    Raises:
        MalformedError: the bytes are no ``kind``.
        NonCanonicalError: they are one, but spelled in another way.
    """
    try:
        value: T = _decoder(kind).decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, OverflowError) as error:
        raise MalformedError(_name(kind), str(error)[:_COMPLAINT_CHARACTERS]) from error
    if _encoder.encode(value) != data:
        raise NonCanonicalError(_name(kind))
    return value


def _decoder(kind: type) -> msgspec.msgpack.Decoder[Any]:
    # While msgspec learns the fields of a record, another thread that needs the same record meets null pointers.
    with _one_learns:
        return _learnt_decoder(kind)


@lru_cache(maxsize=64)
def _learnt_decoder(kind: type) -> msgspec.msgpack.Decoder[Any]:
    return msgspec.msgpack.Decoder(kind, strict=True)


def _name(kind: type) -> str:
    return getattr(kind, "__name__", str(kind))
