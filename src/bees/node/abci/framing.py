"""How ABCI messages stand in a stream: each after its length, as an unsigned varint of protobuf.

The splitter is free of input and output. Its work is linear in the bytes that it is fed, however they are cut, and
it holds no more than one message beyond a chunk, since a length above the limit is refused before its bytes come.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bees.core.errors import AbciError

if TYPE_CHECKING:
    from collections.abc import Iterator

_LENGTH_BYTES = 5
"""A length of less than 2^35; none that the limit allows is longer."""
_PAYLOAD, _MORE = 0x7F, 0x80


def frame(message: bytes) -> bytes:
    """The message after its length."""
    length, head = len(message), bytearray()
    while length > _PAYLOAD:
        head.append(length & _PAYLOAD | _MORE)
        length >>= 7
    head.append(length)
    return bytes(head) + message


class FrameSplitter:
    """Takes a stream apart into messages.

    Attributes:
        limit: the longest message that is taken, in bytes.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._held = bytearray()

    @property
    def is_between(self) -> bool:
        """Whether the stream may end here: no message has been begun."""
        return not self._held

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Take in the next bytes, and yield the messages that they complete.

        Raises:
            AbciError: a length is endless or above the limit.
        """
        self._held += data
        start = 0
        try:
            while (found := self._length(start)) is not None:
                length, begin = found
                if len(self._held) < begin + length:
                    break
                message = bytes(memoryview(self._held)[begin : begin + length])
                start = begin + length
                yield message
        finally:
            del self._held[:start]

    def _length(self, start: int) -> tuple[int, int] | None:
        """The length that stands at ``start``, and where its message begins; None when it is not all there."""
        length = 0
        for index, byte in enumerate(self._held[start : start + _LENGTH_BYTES]):
            length |= (byte & _PAYLOAD) << 7 * index
            if byte < _MORE:
                if length > self.limit:
                    raise AbciError(f"a message of {length} bytes; at most {self.limit} are taken")
                return length, start + index + 1
        if len(self._held) - start >= _LENGTH_BYTES:
            raise AbciError("the length of a message has no end")
        return None
