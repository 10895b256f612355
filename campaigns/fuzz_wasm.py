"""Mutations of WebAssembly modules that keep lengths right, so that a good share of them is still a module."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from campaigns.fuzz_seeds import seeds

if TYPE_CHECKING:
    import random

    Sections = list[tuple[int, bytes]]

_HEADER = b"\0asm\x01\0\0\0"
_CODE_SECTION = 10
_END = b"\x0b"
_CONTINUES, _SEVEN_BITS = 0x80, 0x7F
# What may be put before an instruction without a change to the stack, or with one that a drop or a constant mends.
_HARMLESS = (
    b"\x01",  # nop
    b"\x41\x00\x1a",  # i32.const 0, drop
    b"\x20\x00\x1a",  # local.get 0, drop
    b"\x41\x7f\x21\x00",  # i32.const -1, local.set 0
    b"\x03\x40\x0c\x00\x0b",  # loop (br 0)
    b"\x00",  # unreachable
    b"\x41\x01\x0d\x00",  # i32.const 1, br_if 0
    b"\x20\x00\x28\x02\x00\x1a",  # i32.load of local 0
    b"\x41\x70\x41\x01\x36\x02\x00",  # i32.store at -16
    b"\x43\x01\x00\xa0\x7f\xbc\x1a",  # a NaN with a payload as an integer
    b"\x41\x00\x41\x00\x6d\x1a",  # 0 / 0
    b"\x41\x01\x40\x00\x1a",  # memory.grow
    b"\x10\x00\x1a",  # call 0, drop
    b"\x20\x00\xfd\x11\xfd\x15\x00\x1a",  # i8x16... of a splat
    b"\x0f",  # return
)


def mutate_module(data: bytes, rng: random.Random) -> bytes | None:
    """The module with a section, function or instruction changed."""
    sections = _split(data)
    at = rng.randrange(len(sections))
    match rng.randrange(8):
        case 0:
            del sections[at]
        case 1:
            sections.insert(at, rng.choice(_known_sections()))
        case 2:
            sections[at] = sections[at][0], _flipped(sections[at][1], rng)
        case _:
            sections = [(kind, _other_code(body, rng) if kind == _CODE_SECTION else body) for kind, body in sections]
    return _joined(sections)


def _other_code(body: bytes, rng: random.Random) -> bytes:
    functions = _functions(body)
    at = rng.randrange(len(functions))
    chosen = functions[at]
    match rng.randrange(4):
        case 0:
            functions[at] = rng.choice(_known_functions())
        case 1:
            functions[at] = _flipped(chosen, rng)
        case 2:
            other = rng.choice(_known_functions())
            cut, start = rng.randrange(len(chosen) + 1), rng.randrange(len(other))
            functions[at] = chosen[:cut] + other[start : start + rng.randint(1, 12)] + chosen[cut:]
        case _:
            cut = rng.randrange(1, len(chosen)) if len(chosen) > 1 else 0
            functions[at] = chosen[:cut] + rng.choice(_HARMLESS) + chosen[cut:]
    return _number(len(functions)) + b"".join(_number(len(code)) + code for code in functions)


def _flipped(code: bytes, rng: random.Random) -> bytes:
    if not code:
        return bytes([rng.randrange(256)])
    at = rng.randrange(len(code))
    return code[:at] + bytes([rng.choice([code[at] ^ 1 << rng.randrange(8), rng.randrange(256)])]) + code[at + 1 :]


@cache
def _known_sections() -> Sections:
    return [section for module in seeds()["contract"] for section in _split(module)]


@cache
def _known_functions() -> list[bytes]:
    return [code for kind, body in _known_sections() if kind == _CODE_SECTION for code in _functions(body)]


def _split(data: bytes) -> Sections:
    """Sections of a module.

    Raises:
        ValueError: it is none.
    """
    if not data.startswith(_HEADER) or len(data) == len(_HEADER):
        raise ValueError("no module")
    sections: Sections = []
    at = len(_HEADER)
    while at < len(data):
        length, start = _read_number(data, at + 1)
        sections.append((data[at], data[start : start + length]))
        at = start + length
    return sections


def _functions(body: bytes) -> list[bytes]:
    count, at = _read_number(body, 0)
    functions: list[bytes] = []
    for _ in range(count):
        length, start = _read_number(body, at)
        functions.append(body[start : start + length])
        at = start + length
    return functions


def _joined(sections: Sections) -> bytes:
    return _HEADER + b"".join(bytes([kind]) + _number(len(body)) + body for kind, body in sections)


def _read_number(data: bytes, at: int) -> tuple[int, int]:
    """An unsigned LEB128 number, and where it ends."""
    value = shift = 0
    while True:
        byte = data[at]
        value, shift, at = value | (byte & _SEVEN_BITS) << shift, shift + 7, at + 1
        if byte < _CONTINUES:
            return value, at


def _number(value: int) -> bytes:
    out = bytearray()
    while value >= _CONTINUES:
        out.append(value & _SEVEN_BITS | _CONTINUES)
        value >>= 7
    return bytes([*out, value])
