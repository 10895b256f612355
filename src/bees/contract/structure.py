"""What a contract may be made of, decided from its bytes alone, before any runtime sees them.

What fuel does not meter is bounded here, the same on every server whatever its runtime:

* *compiling*, which for a few tens of kilobytes of nested loops takes minutes: by the size, nesting and locals of
  a function;
* *the call stack*, whose depth the WebAssembly specification leaves to the implementation, so that a recursion
  may end on one server and trap on another: by refusing recursion and calls through tables;
* *bulk memory*, where one instruction of constant cost may touch the whole memory: by refusing the instructions;
* *growing memory*, which may fail on a server that is short of memory and succeed on another: by refusing
  ``memory.grow``. The server lays out the arrays, and a contract declares what scratch space it needs;
* *tables*, which nothing may call through: by their number and size;
* *exports*, which the host looks up before each call: by their number;
* *vectors in what is exported*, at whose type the host's library aborts the whole process: by refusing them.

Everything else about validity is left to the runtime, which checks the same bytes afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bees.core.errors import ContractLoadError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

MAX_FUNCTIONS = 64
MAX_FUNCTION_BYTES = 16_384
MAX_LOCALS = 256
MAX_PARAMETERS = 32  # the ABI takes 7
MAX_EXPORTS = 64  # the ABI needs 5
MAX_NESTING = 32
MAX_TABLE_ELEMENTS = 64  # the linker writes a table of 1

_HEADER = b"\0asm\x01\0\0\0"
_SECTIONS = {
    0: "custom",
    1: "type",
    3: "function",
    4: "table",
    5: "memory",
    6: "global",
    7: "export",
    9: "element",
    10: "code",
    11: "data",
}
_REFUSED_SECTIONS = {2: "imports", 8: "a start function", 12: "bulk memory", 13: "exceptions"}
_FUNCTION_TYPE = 0x60
_VECTOR_TYPE = 0x7B
_FUNCTION_EXPORT, _GLOBAL_EXPORT = 0, 3
_LEB_BYTES = 10

_BLOCK, _LOOP, _IF, _END = 0x02, 0x03, 0x04, 0x0B
_BR_TABLE, _CALL, _CALL_INDIRECT, _SELECT_TYPED = 0x0E, 0x10, 0x11, 0x1C
_MEMORY_GROW = 0x40
_SATURATING_PREFIX, _VECTOR_PREFIX = 0xFC, 0xFD


def _immediates(*groups: tuple[Iterable[int], int, int]) -> Mapping[int, tuple[int, int]]:
    return {opcode: (integers, raw) for opcodes, integers, raw in groups for opcode in opcodes}


# What follows an opcode: so many LEB128 integers, then so many raw bytes.
_PLAIN = _immediates(
    ((0x00, 0x01, 0x05, _END, 0x0F, 0x1A, 0x1B), 0, 0),
    ((_BLOCK, _LOOP, _IF, 0x0C, 0x0D, _CALL), 1, 0),
    (range(0x20, 0x25), 1, 0),  # local.* and global.*
    (range(0x28, 0x3F), 2, 0),  # loads and stores
    ((0x3F,), 1, 0),  # memory.size
    ((0x41, 0x42), 1, 0),
    ((0x43,), 0, 4),
    ((0x44,), 0, 8),
    (range(0x45, 0xC5), 0, 0),  # arithmetic
)
_SATURATING = _immediates((range(8), 0, 0))
_VECTOR = _immediates(
    (range(0x100), 0, 0),  # arithmetic; what follows overrides. Relaxed SIMD starts at 0x100
    (range(12), 2, 0),  # loads and stores
    ((12, 13), 0, 16),  # v128.const, i8x16.shuffle
    (range(21, 35), 0, 1),  # lanes
    (range(84, 92), 2, 1),  # loads and stores of lanes
    ((92, 93), 2, 0),
)


def check_structure(code: bytes) -> None:
    """Refuse code that breaks a bound of this module.

    Args:
        code: WebAssembly binary.

    Raises:
        ContractLoadError: saying which bound, and where.
    """
    if not code.startswith(_HEADER):
        raise ContractLoadError("not a WebAssembly module (binary format 1)")
    reader, interface = _Reader(code, len(_HEADER), len(code)), _Interface()
    while not reader.at_end:
        section = reader.byte()
        body = reader.part(reader.integer())
        if section in _REFUSED_SECTIONS:
            raise ContractLoadError(f"a contract may not have {_REFUSED_SECTIONS[section]}")
        if section not in _SECTIONS:
            raise ContractLoadError(f"unknown section {section}")
        _read_section(_SECTIONS[section], body, interface)
    _refuse_exported_vectors(interface)


@dataclass
class _Interface:
    """What the types of a module's exports follow from.

    Attributes:
        types: of functions; the types of parameters and results, one byte each.
        functions: index of each one's type.
        globals: type of each.
        exports: kind and index of each.
    """

    types: list[bytes] = field(default_factory=list[bytes])
    functions: list[int] = field(default_factory=list[int])
    globals: list[int] = field(default_factory=list[int])
    exports: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])

    def types_of(self, kind: int, index: int) -> bytes:
        """Types that the host meets when it looks at an export; what does not exist the runtime refuses."""
        if kind == _FUNCTION_EXPORT and index < len(self.functions) and self.functions[index] < len(self.types):
            return self.types[self.functions[index]]
        if kind == _GLOBAL_EXPORT and index < len(self.globals):
            return bytes([self.globals[index]])
        return b""


def _read_section(name: str, body: _Reader, interface: _Interface) -> None:
    match name:
        case "type":
            interface.types += _read_types(body)
        case "function":
            interface.functions += [body.integer() for _ in range(body.integer())]
        case "table":
            _check_tables(body)
        case "global":
            interface.globals += _read_globals(body)
        case "export":
            interface.exports += _read_exports(body)
        case "code":
            _check_code(body)
        case _:
            pass


def _refuse_exported_vectors(interface: _Interface) -> None:
    for number, (kind, index) in enumerate(interface.exports):
        if _VECTOR_TYPE in interface.types_of(kind, index):
            raise ContractLoadError(
                f"export {number} has a vector type; only inside of a contract may there be vectors"
            )


def _read_types(reader: _Reader) -> list[bytes]:
    types: list[bytes] = []
    for index in range(reader.integer()):
        if reader.byte() != _FUNCTION_TYPE:
            raise ContractLoadError(f"type {index} is not that of a function")
        parameters = reader.integer()
        if parameters > MAX_PARAMETERS:
            raise ContractLoadError(f"type {index} has {parameters} parameters; a function may have {MAX_PARAMETERS}")
        types.append(reader.take(parameters) + reader.take(reader.integer()))
    return types


def _read_globals(reader: _Reader) -> list[int]:
    kinds: list[int] = []
    for index in range(reader.integer()):
        kinds.append(reader.byte())
        reader.skip(1)  # whether it may change
        _read_instructions(reader, f"global {index}")
    return kinds


def _read_exports(reader: _Reader) -> list[tuple[int, int]]:
    count = reader.integer()
    if count > MAX_EXPORTS:
        raise ContractLoadError(f"{count} exports; a contract may have {MAX_EXPORTS}")
    exports: list[tuple[int, int]] = []
    for _ in range(count):
        reader.skip(reader.integer())
        exports.append((reader.byte(), reader.integer()))
    return exports


def _check_tables(reader: _Reader) -> None:
    count = reader.integer()
    if count > 1:
        raise ContractLoadError(f"{count} tables; a contract may have 1")
    if count:
        reader.skip(2)  # kind of element, and whether there is a maximum
        elements = reader.integer()
        if elements > MAX_TABLE_ELEMENTS:
            raise ContractLoadError(f"a table of {elements} elements; a contract may have {MAX_TABLE_ELEMENTS}")


def _check_code(reader: _Reader) -> None:
    count = reader.integer()
    if count > MAX_FUNCTIONS:
        raise ContractLoadError(f"{count} functions; a contract may have {MAX_FUNCTIONS}")
    calls: list[set[int]] = []
    for index in range(count):
        size = reader.integer()
        if size > MAX_FUNCTION_BYTES:
            raise ContractLoadError(f"function {index} is {size} bytes long, over {MAX_FUNCTION_BYTES}")
        body = reader.part(size)
        _check_locals(body, index)
        calls.append(_read_instructions(body, f"function {index}"))
        if not body.at_end:
            raise ContractLoadError(f"function {index} goes on after its end")
    _refuse_recursion(calls)


def _check_locals(body: _Reader, index: int) -> None:
    total = 0
    for _ in range(body.integer()):
        total += body.integer()
        body.byte()
        if total > MAX_LOCALS:
            raise ContractLoadError(f"function {index} has more than {MAX_LOCALS} locals")


def _read_instructions(body: _Reader, where: str) -> set[int]:
    """The functions that are called from here to the end of the expression."""
    calls: set[int] = set()
    depth = 1
    while depth:
        opcode = body.byte()
        if opcode == _CALL:
            calls.add(body.integer())
        elif opcode == _BR_TABLE:
            body.integers(body.integer() + 1)
        elif opcode == _SELECT_TYPED:
            body.skip(body.integer())
        else:
            _skip_immediates(body, opcode, where)
        depth += (opcode in (_BLOCK, _LOOP, _IF)) - (opcode == _END)
        if depth > MAX_NESTING:
            raise ContractLoadError(f"{where} nests blocks deeper than {MAX_NESTING}")
    return calls


def _skip_immediates(body: _Reader, opcode: int, where: str) -> None:
    if opcode == _MEMORY_GROW:
        raise ContractLoadError(
            f"{where} has memory.grow, which may fail on one server only; declare the memory instead"
        )
    table = {_SATURATING_PREFIX: _SATURATING, _VECTOR_PREFIX: _VECTOR}.get(opcode)
    name = f"{opcode:#04x}"
    if table is not None:
        opcode = body.integer()
        name += f" {opcode:#04x}"
    found = (table or _PLAIN).get(opcode)
    if found is None:
        raise ContractLoadError(f"{where} has instruction {name}, which contracts may not use")
    integers, raw = found
    body.integers(integers)
    body.skip(raw)


def _refuse_recursion(calls: list[set[int]]) -> None:
    unfinished = set(range(len(calls)))
    while unfinished:
        # A function all of whose callees are known to end is done; if none is left to find, the rest is a cycle.
        done = {caller for caller in unfinished if not calls[caller] & unfinished}
        if not done:
            raise ContractLoadError(f"function {min(unfinished)} recurses, or calls one that does")
        unfinished -= done


class _Reader:
    """Reads the WebAssembly binary format between two positions."""

    def __init__(self, code: bytes, position: int, end: int) -> None:
        self._code, self._position, self._end = code, position, end

    @property
    def at_end(self) -> bool:
        return self._position == self._end

    def byte(self) -> int:
        if self._position >= self._end:
            raise ContractLoadError(f"cut short at byte {self._position}")
        self._position += 1
        return self._code[self._position - 1]

    def integer(self) -> int:
        value = 0
        for place in range(_LEB_BYTES):
            byte = self.byte()
            value |= (byte & 0x7F) << 7 * place
            if byte < 0x80:  # noqa: PLR2004  # the continuation bit
                return value
        raise ContractLoadError(f"an integer too long at byte {self._position}")

    def integers(self, count: int) -> None:
        for _ in range(count):
            self.integer()

    def take(self, length: int) -> bytes:
        start = self._position
        self.skip(length)
        return self._code[start : self._position]

    def skip(self, length: int) -> None:
        if length > self._end - self._position:
            raise ContractLoadError(f"cut short at byte {self._end}")
        self._position += length

    def part(self, length: int) -> _Reader:
        start = self._position
        self.skip(length)
        return _Reader(self._code, start, self._position)
