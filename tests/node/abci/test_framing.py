from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bees.core.errors import AbciError
from bees.node.abci.framing import FrameSplitter, frame

LIMIT = 1 << 16


@settings(deadline=None, max_examples=60)
@given(st.lists(st.binary(max_size=300), max_size=8), st.data())
def test_messages_come_out_as_they_went_in_however_the_stream_is_cut(messages: list[bytes], data: Any):
    stream = b"".join(map(frame, messages))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=10)))
    splitter = FrameSplitter(LIMIT)
    found: list[bytes] = []
    for begin, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        found += splitter.feed(stream[begin:end])
    assert found == messages
    assert splitter.is_between


@settings(deadline=None, max_examples=100)
@given(st.binary(max_size=200))
def test_garbage_is_messages_or_an_error_but_never_held_beyond_a_message(data: Any):
    splitter = FrameSplitter(50)
    try:
        messages = list(splitter.feed(data))
    except AbciError:
        return
    assert all(len(message) <= 50 for message in messages)
    assert len(splitter._held) <= 50 + 5


def test_a_length_above_the_limit_is_refused_before_its_bytes_come():
    splitter = FrameSplitter(LIMIT)
    with pytest.raises(AbciError, match="65537 bytes; at most 65536"):
        list(splitter.feed(frame(bytes(LIMIT + 1))[:3]))


def test_a_length_without_end_is_refused():
    with pytest.raises(AbciError, match="has no end"):
        list(FrameSplitter(LIMIT).feed(b"\x80" * 5))


def test_a_cut_message_is_not_between():
    splitter = FrameSplitter(LIMIT)
    assert list(splitter.feed(frame(b"abc")[:-1])) == []
    assert not splitter.is_between
    assert list(splitter.feed(b"c")) == [b"abc"]


def _seconds(count: int) -> float:
    stream, splitter = frame(b"x" * 20) * count, FrameSplitter(LIMIT)
    begin = time.process_time()
    found = 0
    for start in range(0, len(stream), 1 << 16):
        found += len(list(splitter.feed(stream[start : start + (1 << 16)])))
    assert found == count
    return time.process_time() - begin


def test_the_work_is_linear_in_the_stream():
    # Eight times as many messages took 64 times as long, were it quadratic.
    assert min(_seconds(80_000) for _ in range(3)) < 20 * max(min(_seconds(10_000) for _ in range(3)), 1e-3)
