"""Finding and reading a grid's TOML file: packaged, or the user's own."""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING

from bees.core.errors import GridError, did_you_mean

if TYPE_CHECKING:
    from bees.scenario_table import Table

SIZE_LIMIT_BYTES = 64 * 1024
"""The largest packaged grid takes about 3 KB."""
SHOWN_CHARACTERS = 80


@dataclass(frozen=True)
class Document:
    """A grid as TOML says it, unchecked.

    Attributes:
        source: to name in refusals.
        name: of the packaged grid, or the file's without its ending.
        table: what it says.
        folder: what a path in it is relative to; None for a packaged one.
    """

    source: str
    name: str
    table: Table
    folder: str | None


def grid_names() -> tuple[str, ...]:
    """The packaged grids, the smallest first."""
    return ("quick", "default", "full")


def packaged_text(name: str) -> str:
    """A packaged grid as it is written, with its comments."""
    return resources.files("bees.study").joinpath("grids", f"{name}.toml").read_text("utf-8")


def open_grid(name_or_path: str) -> Document:
    """Find and read a packaged grid or a TOML file.

    Raises:
        GridError: there is none, or it is no TOML.
    """
    if name_or_path in grid_names():
        source = f"grid {name_or_path}"
        return Document(source, name_or_path, _parse(packaged_text(name_or_path).encode(), source), None)
    source = name_or_path if name_or_path and name_or_path.isprintable() else repr(name_or_path)
    text = _read(name_or_path, source)
    name = os.path.basename(name_or_path).removesuffix(".toml")  # noqa: PTH119  # a Path would change what was given
    return Document(source, name, _parse(text, source), os.path.dirname(name_or_path))  # noqa: PTH120  # likewise


def _read(path: str, source: str) -> bytes:
    try:
        with open(path, "rb") as file:  # noqa: PTH123  # "" is no path to open(), but the folder "." to Path
            text = file.read(SIZE_LIMIT_BYTES + 1)
    except FileNotFoundError:
        names = grid_names()
        hint = did_you_mean(path[:SHOWN_CHARACTERS], names)
        raise GridError(source, f"no such grid or file: {hint}") from None
    except IsADirectoryError:
        raise GridError(source, "is a folder: name a TOML file in it") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise GridError(source, f"cannot be read: {reason}") from None
    if len(text) > SIZE_LIMIT_BYTES:
        raise GridError(source, f"is larger than {SIZE_LIMIT_BYTES // 1024} KiB, so it is no grid: name a TOML file")
    return text


def _parse(text: bytes, source: str) -> Table:
    try:
        return tomllib.loads(text.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise GridError(source, "is not UTF-8 text: save it as TOML in UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise GridError(source, f"malformed TOML: {error}") from None
    except ValueError:
        raise GridError(source, "holds a number with thousands of digits: shorten it") from None
    except RecursionError:
        raise GridError(source, "is nested too deeply: a grid has keys, lists and tables") from None
