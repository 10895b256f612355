"""Finding and reading a grid's TOML file: packaged, or the user's own."""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING

from bees.core.errors import GridError, did_you_mean
from bees.toml_file import read_toml_bytes

if TYPE_CHECKING:
    from bees.scenario_table import Table

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
    text = read_toml_bytes(name_or_path, source, "grid", GridError, lambda: _no_such(name_or_path))
    name = os.path.basename(name_or_path).removesuffix(".toml")  # noqa: PTH119  # a Path would change what was given
    return Document(source, name, _parse(text, source), os.path.dirname(name_or_path))  # noqa: PTH120  # likewise


def _no_such(path: str) -> str:
    return f"no such grid or file: {did_you_mean(path[:SHOWN_CHARACTERS], grid_names())}"


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
