"""Checks one scenario table, as TOML gives it: unknown keys, wrong types, impossible values.

Each table (a file, a preset, one ``--set``) is checked alone, so that a refusal names the right source. The parser's
own complaints are turned into plain words that say what the key needs and what was probably meant.
"""

from __future__ import annotations

import json
import math
import re
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, cast

import msgspec

from bees.core.errors import ScenarioError, did_you_mean
from bees.scenario import Scenario
from bees.scenario_knobs import WHOLE_NUMBER_LIMIT, keys_of_sections, knobs_by_key

if TYPE_CHECKING:
    from collections.abc import Iterator

Table = dict[str, Any]

SHOWN_CHARACTERS = 80
"""What is longer is cut in messages, which are one line."""


def check_table(table: Table, source: str, extra_keys: tuple[str, ...] = ()) -> None:
    """Refuse what no scenario may hold.

    Args:
        table: some of a scenario's keys, in sections.
        source: the file or option to name.
        extra_keys: top-level keys that are known here but are no knobs, for suggestions.

    Raises:
        ScenarioError: names the source, the key and the value, and suggests the fix.
    """
    _check_keys(table, source, extra_keys)
    for key, value in leaves(table):
        _check_writable(key, value, source)
    try:
        msgspec.convert(table, Scenario)
    except msgspec.ValidationError as error:
        key = str(error).rpartition(" - at `$.")[2].removesuffix("`")
        value = _look_up(table, key)
        raise ScenarioError(source, _wrong_value(key, value), key, shown(value)) from None


def merge(base: Table, over: Table) -> Table:
    """``over`` upon ``base``, section by section. Both must have been checked."""
    merged = dict(base)
    for name, value in over.items():
        merged[name] = {**base.get(name, {}), **value} if isinstance(value, dict) else value
    return merged


def leaves(table: Table) -> Iterator[tuple[str, object]]:
    """Dotted key and value of everything that is set, sections opened one level deep."""
    for name, value in table.items():
        section = _section(value)
        if section is None:
            yield name, value
        else:
            yield from ((f"{name}.{inner}", leaf) for inner, leaf in section.items())


def shown(value: object) -> object:
    """``value`` if it is short when printed, and otherwise a short text in its stead."""
    if isinstance(value, str):
        return value if len(value) <= SHOWN_CHARACTERS else f"{value[:SHOWN_CHARACTERS]}…"
    if isinstance(value, int) and abs(value) > WHOLE_NUMBER_LIMIT:
        return f"a whole number of {value.bit_length()} bits"
    if isinstance(value, int | float):
        return value
    if isinstance(value, dict | list):
        return "{…}" if isinstance(value, dict) else "[…]"
    return str(value)


def dotted(*names: str) -> str:
    """``names`` as a dotted TOML key, quoted where they must be, cut where they are long."""
    cut = [name if len(name) <= SHOWN_CHARACTERS else f"{name[:SHOWN_CHARACTERS]}…" for name in names]
    return ".".join(name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else json.dumps(name) for name in cut)


def _check_keys(table: Table, source: str, extra_keys: tuple[str, ...]) -> None:
    sections = keys_of_sections()
    for name, value in table.items():
        if name not in sections[""]:
            raise ScenarioError(source, _unknown_key("", name, extra_keys), dotted(name), shown(value))
        for inner, leaf in ((_section(value) or {}) if name in sections else {}).items():
            if inner not in sections[name]:
                raise ScenarioError(source, _unknown_key(name, inner), dotted(name, inner), shown(leaf))


def _check_writable(key: str, value: object, source: str) -> None:
    """Refuse what the types let through, but no TOML file or UTF-8 text can hold, or no formula can use."""
    if isinstance(value, float) and not math.isfinite(value):
        knob = knobs_by_key().get(key)
        raise ScenarioError(source, f"must be finite: {knob.requirement if knob else 'a section'}", key, value)
    if isinstance(value, int) and abs(value) > WHOLE_NUMBER_LIMIT:
        raise ScenarioError(source, f"must be between ±{WHOLE_NUMBER_LIMIT}", key, shown(value))
    if isinstance(value, str) and re.search("[\ud800-\udfff]", value):
        raise ScenarioError(source, "must be text that UTF-8 can hold", key, shown(value))


def _unknown_key(section: str, name: str, extra_keys: tuple[str, ...] = ()) -> str:
    """Why a key is refused, and which key was meant: here or in another section, exact or nearly so."""
    sections = keys_of_sections()
    wrong = name[:SHOWN_CHARACTERS]
    place = f"no such key in [{section}]" if section else "no such key or section"
    homes = [_at_home(home, name) for home, names in sections.items() if name in names and home != section]
    if homes:
        return f"{place}: it is {' or '.join(homes)}"
    here = (*sections[section], *extra_keys)
    if not get_close_matches(wrong, here, n=1):
        homes_of = {key.rpartition(".")[2]: key for key in knobs_by_key()}
        for near in get_close_matches(wrong, homes_of, n=1):
            return f"{place}: did you mean {homes_of[near]!r}?"
    return f"{place}: {did_you_mean(wrong, here)}"


def _at_home(section: str, name: str) -> str:
    return f"{section}.{name}" if section else f"{name!r} at the top, before the first [section]"


def _wrong_value(key: str, value: object) -> str:
    """What the key needs, in plain words, and what was probably meant."""
    knob = knobs_by_key().get(key)
    if knob is None:
        return f"is a section: write its keys under [{key}], such as {key}.{keys_of_sections()[key][0]}"
    problem = f"must be {knob.requirement}"
    match value:
        case str() if knob.choices:
            hint = did_you_mean(value[:SHOWN_CHARACTERS], knob.choices)
            return problem if hint.startswith("known") else f"{problem}: {hint}"
        case str() if knob.type != "text" and _is_number(value):
            return f"{problem}, without quotes"
        case float() if knob.type == "whole number" and value.is_integer():
            return f"{problem}: write it without point and exponent"
        case bool() | int() | float() if knob.type == "text":
            return f"{problem}, in quotes"
        case _:
            return problem


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _look_up(table: Table, key: str) -> object:
    value: Any = table
    for name in key.split("."):
        value = value[name]
    return value


def _section(value: object) -> Table | None:
    return cast("Table", value) if isinstance(value, dict) else None
