"""Scenarios as text: a preset or a TOML file comes in, with changes from the command line; TOML goes out.

A file only says what differs: everything else is as in the preset or file that it ``extends``, and in the end as in
the paper. Whatever is wrong with it is told in one line that names the file, the key and the value.
"""

from __future__ import annotations

import os
import re
import tomllib
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING

import msgspec
import tomli_w

from bees.core.errors import ScenarioError, ScenarioFileError, did_you_mean
from bees.scenario import Scenario
from bees.scenario_checks import check_scenario, conflicts
from bees.scenario_knobs import Knob, describe_knobs, knobs_by_key
from bees.scenario_table import SHOWN_CHARACTERS, Table, check_table, dotted, leaves, merge, shown
from bees.toml_file import read_toml_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Knob", "check_scenario", "describe_knobs", "dump_scenario", "load_scenario", "preset_names"]

OVERRIDE = "--set"
EXTENDS = "extends"


@dataclass(frozen=True)
class _Layer:
    """What one file, preset or ``--set`` says, checked on its own so that a refusal names the right source."""

    source: str
    table: Table


@dataclass(frozen=True)
class _Document:
    """A TOML text and where it came from; ``folder`` is None for a preset."""

    source: str
    identity: str
    text: bytes
    folder: str | None


def load_scenario(name_or_path: str | os.PathLike[str], overrides: Sequence[str] = ()) -> Scenario:
    """Load a preset or a TOML file.

    Args:
        name_or_path: a preset's name, or else the path of a file. A file whose name is that of a preset is reached
            as ``./paper``.
        overrides: ``key=value`` changes that come last, such as ``radio.bandwidth_hz=10e6``. The value is TOML;
            text needs no quotes.

    Returns:
        The scenario, valid in itself. Whether it fits its data set only the data can tell.

    Raises:
        ScenarioError: names the file or ``--set``, the key and the value, and suggests the fix.
    """
    document = _open(os.fspath(name_or_path))
    layers = [*_file_layers(document), *map(_override_layer, overrides)]
    merged: Table = {}
    for layer in layers:
        merged = merge(merged, layer.table)
    scenario = msgspec.convert(merged, Scenario)
    set_in = {key: number for number, layer in enumerate(layers) for key, _ in leaves(layer.table)}
    for conflict in conflicts(scenario):
        # The layer that came last to one of these knobs made them contradict one another.
        last = max(set_in.get(key, 0) for key in (conflict.key, *conflict.others))
        raise ScenarioError(layers[last].source, conflict.problem, conflict.key, conflict.value)
    return scenario


def dump_scenario(scenario: Scenario) -> str:
    """The scenario as TOML with every knob written out; ``load_scenario`` gets the very same from it."""
    return tomli_w.dumps(msgspec.to_builtins(scenario))


def preset_names() -> tuple[str, ...]:
    """The packaged presets, in alphabetical order."""
    files = resources.files("bees").joinpath("presets").iterdir()
    return tuple(sorted(file.name.removesuffix(".toml") for file in files if file.name.endswith(".toml")))


# Layers: from files


def _file_layers(document: _Document) -> list[_Layer]:
    """The file and all that it extends, the outermost ancestor first."""
    layers: list[_Layer] = []
    seen: set[str] = set()
    while True:
        seen.add(document.identity)
        table = _parse(document)
        parent = table.pop(EXTENDS, None)
        check_table(table, document.source, (EXTENDS,))
        layers.insert(0, _Layer(document.source, table))
        if parent is None:
            return layers
        document = _open_parent(document, parent, seen)


def _open_parent(child: _Document, parent: object, seen: set[str]) -> _Document:
    if not isinstance(parent, str):
        raise ScenarioError(child.source, "must be the name of a preset, or a path, in quotes", EXTENDS, shown(parent))
    try:
        document = _open(parent, child.folder)
    except ScenarioFileError as error:
        raise ScenarioError(child.source, error.problem, EXTENDS, shown(parent)) from None
    if document.identity in seen:
        raise ScenarioError(child.source, "extends itself in a circle: remove one of the links", EXTENDS, parent)
    return document


def _open(name_or_path: str, folder: str | None = "") -> _Document:
    """Find and read a preset or a file; ``folder`` is what a path is relative to, None where only presets count."""
    if name_or_path in preset_names():
        text = resources.files("bees").joinpath("presets", f"{name_or_path}.toml").read_bytes()
        return _Document(f"preset {name_or_path}", f"preset:{name_or_path}", text, None)
    path = os.path.join(folder or "", name_or_path)  # noqa: PTH118  # a Path would hide the "./" that was given
    source = path if path and path.isprintable() else repr(path)
    if folder is None:
        raise ScenarioFileError(source, _no_such(name_or_path))
    text = read_toml_bytes(path, source, "scenario", ScenarioFileError, lambda: _no_such(name_or_path))
    return _Document(source, os.path.realpath(path), text, os.path.dirname(path))  # noqa: PTH120


def _no_such(given: str) -> str:
    names = preset_names()
    stem = os.path.basename(given).removesuffix(".toml")[:SHOWN_CHARACTERS]  # noqa: PTH119
    hint = did_you_mean(stem, names)
    known = "" if hint.startswith("known") else f" (known: {', '.join(names)})"
    return f"no such preset or file: {hint}{known}"


_PLACE = re.compile(r"^(.*) \(at (?:line (\d+), column (\d+)|end of document)\)$", re.DOTALL)


def _parse(document: _Document) -> Table:
    if b"\0" in document.text:
        raise ScenarioFileError(document.source, "is a binary file (or UTF-16): save it as TOML in UTF-8")
    try:
        text = document.text.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = document.text.count(b"\n", 0, error.start) + 1
        raise ScenarioFileError(document.source, f"line {line}: not UTF-8 text: save it as UTF-8") from None
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ScenarioFileError(document.source, _malformed(str(error), text)) from None
    except ValueError:
        raise ScenarioFileError(document.source, "holds a number with thousands of digits: shorten it") from None
    except RecursionError:
        raise ScenarioFileError(document.source, "is nested too deeply: a scenario has sections and keys") from None


def _malformed(complaint: str, text: str) -> str:
    """TOML's complaint with line and column first, and the usual cause after it."""
    found = _PLACE.match(complaint)
    if found is None:
        return f"malformed TOML: {complaint}"
    what, line, column = found.groups()
    if line is None:
        lines = text.split("\n")
        line, column = len(lines), len(lines[-1]) + 1
    causes = {
        "Invalid value": "; text needs quotes",
        "Cannot overwrite a value": "; a key stands here twice",
        "Invalid statement": "; a line is key = value or [section]",
    }
    return f"line {line}, column {column}: malformed TOML: {what}{causes.get(what, '')}"


# Layers: from the command line


def _override_layer(override: str) -> _Layer:
    """``radio.bandwidth_hz=10e6`` as a table, checked."""
    key, equals, text = override.partition("=")
    key, text = key.strip(), text.strip()
    if not equals or not key:
        raise ScenarioFileError(OVERRIDE, f"{shown(override)!r} is not key=value, such as radio.bandwidth_hz=10e6")
    if key == EXTENDS:
        raise ScenarioError(OVERRIDE, "goes into a file; here, name the preset or file to run", key, shown(text))
    value = _override_value(key, text)
    table: Table = {}
    section = table
    *parents, last = (part.strip() for part in key.split("."))
    for parent in parents:
        section = section.setdefault(parent, {})
    section[last] = value
    check_table(table, OVERRIDE)
    return _Layer(OVERRIDE, table)


def _override_value(key: str, text: str) -> object:
    knob = knobs_by_key().get(key)
    quoted = text.startswith(('"', "'"))
    if knob is not None and knob.type in {"text", "choice"} and not quoted:
        return text
    try:
        parsed = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        if quoted:
            problem = "is not TOML: check the quotes"
            raise ScenarioError(OVERRIDE, problem, dotted(*key.split(".")), shown(text)) from None
        return text
    return parsed["value"] if list(parsed) == ["value"] else text
