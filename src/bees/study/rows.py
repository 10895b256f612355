"""A study's rows in a .jsonl file: appended as soon as they are measured, so that one that was stopped goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from bees.core.errors import InputError
from bees.engines.disk import explain
from bees.run_folder import BROKEN_JSON, cannot_write, write_bytes

if TYPE_CHECKING:
    from pathlib import Path

Row = TypeVar("Row")


def append_row(path: Path, row: msgspec.Struct) -> None:
    """Append a row.

    Raises:
        OutputError: the file cannot be written.
    """
    append_bytes(path, msgspec.json.encode(row) + b"\n")


def append_bytes(path: Path, data: bytes) -> None:
    """Append bytes; none at all tell whether the file can be written, better now than after an hour.

    Raises:
        OutputError: the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            file.write(data)
    except OSError as error:
        raise cannot_write(path, error) from error


def read_rows(path: Path, kind: type[Row] | Any) -> list[Row]:  # noqa: ANN401  # a union of types is no type
    """The rows that a study has written; a last line that was cut by a crash is dropped.

    Args:
        path: of the file; none is no rows.
        kind: what a row is.

    Raises:
        InputError: another line is broken, or the file cannot be read.
        OutputError: the cut line cannot be removed.
    """
    if not path.is_file():
        return []
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise InputError(str(path), f"cannot be read: {explain(error)}") from error
    rows: list[Row] = []
    for number, line in enumerate(lines[:-1], start=1):
        try:
            rows.append(msgspec.json.decode(line, type=kind))
        except BROKEN_JSON as error:
            raise InputError(f"{path}, line {number}", f"{error}; remove the line to run it again") from error
    if lines[-1]:
        # A disk that is full, or a kill, must not cost the rows that are whole.
        write_bytes(path.parent, path.name, b"\n".join([*lines[:-1], b""]))
    return rows
