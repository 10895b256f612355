"""What can be set in a scenario: each knob's dotted key, type, bounds, default and meaning.

All of it is read off :mod:`bees.scenario`: types and bounds from the annotations, meanings from the
``Attributes`` sections of the docstrings. So help texts, refusals and the code cannot disagree.
"""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from msgspec import inspect as types

from bees.scenario import Scenario

WHOLE_NUMBER_LIMIT = 2**63 - 1
"""The largest whole number that every TOML reader takes."""

NAME_RULE = "1 to 64 letters, digits, '_', '.' or '-', the first a letter or a digit"

KnobType = Literal["number", "whole number", "text", "choice"]
Bound = float | int | None


@dataclass(frozen=True)
class Knob:
    """One knob of a scenario.

    Attributes:
        key: dotted path, such as ``radio.bandwidth_hz``.
        type: what the value is.
        default: the paper's scenario has this.
        meaning: what it stands for, from the docstring.
        choices: the words that a choice takes; empty for the others.
        above: the value must be greater than this, if not None.
        minimum: the least value, if not None.
        maximum: the greatest value, if not None.
        pattern: regular expression that a text must match, if not None.
    """

    key: str
    type: KnobType
    default: float | int | str
    meaning: str
    choices: tuple[str, ...] = ()
    above: Bound = None
    minimum: Bound = None
    maximum: Bound = None
    pattern: str | None = None

    @property
    def kind(self) -> str:
        """Type, bounds and choices, short: ``number > 0``, ``local | offload``."""
        if self.choices:
            return " | ".join(self.choices)
        if self.minimum is not None and self.maximum is not None:
            return f"{self.type} {_plain(self.minimum)} to {_plain(self.maximum)}"
        bounds = [(">", self.above), (">=", self.minimum), ("<=", self.maximum)]
        return " ".join([self.type, *(f"{sign} {_plain(bound)}" for sign, bound in bounds if bound is not None)])

    @property
    def requirement(self) -> str:
        """What a value must be, in plain words, after "must be"."""
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        if self.type == "text":
            return NAME_RULE if self.pattern else "text"
        limits: list[str] = []
        if self.above is not None:
            limits.append(f"greater than {_plain(self.above)}")
        if self.minimum is not None:
            limits.append(f"at least {_plain(self.minimum)}")
        if self.maximum is not None:
            limits.append(f"at most {_plain(self.maximum)}")
        of = "" if self.above is not None or not limits else " of"
        return " ".join([f"a {self.type}{of}", " and ".join(limits)]).strip()

    def as_dict(self) -> dict[str, Any]:
        """Ready for JSON; only what this knob has."""
        optional = {
            "choices": list(self.choices) or None,
            "above": self.above,
            "minimum": self.minimum,
            "maximum": self.maximum,
            "pattern": self.pattern,
        }
        given = {name: value for name, value in optional.items() if value is not None}
        return {"key": self.key, "type": self.type, "default": self.default, "meaning": self.meaning, **given}


def _plain(bound: float) -> str:
    return str(bound) if isinstance(bound, int) else f"{bound:g}"


@cache
def describe_knobs() -> tuple[Knob, ...]:
    """Every knob, in the order in which the scenario lists them."""
    return tuple(_knobs_of(Scenario, ""))


@cache
def knobs_by_key() -> dict[str, Knob]:
    """The knobs under their dotted keys."""
    return {knob.key: knob for knob in describe_knobs()}


@cache
def keys_of_sections() -> dict[str, tuple[str, ...]]:
    """The keys of each section, ``""`` being the top level, whose keys are its knobs and the sections."""
    sections: dict[str, list[str]] = {"": []}
    for knob in describe_knobs():
        section, _, name = knob.key.rpartition(".")
        if section not in sections:
            sections[section] = []
            sections[""].append(section)
        sections[section].append(name)
    return {section: tuple(names) for section, names in sections.items()}


def _knobs_of(struct: type, prefix: str) -> list[Knob]:
    meanings = attribute_docs(struct.__doc__ or "")
    info = types.type_info(struct)
    knobs: list[Knob] = []
    for field in info.fields if isinstance(info, types.StructType) else ():
        if isinstance(field.type, types.StructType):
            knobs += _knobs_of(field.type.cls, f"{prefix}{field.name}.")
        else:
            knobs.append(_knob(f"{prefix}{field.name}", field, meanings.get(field.name, "")))
    return knobs


def _knob(key: str, field: types.Field, meaning: str) -> Knob:
    kind = field.type
    if isinstance(kind, types.LiteralType):
        return Knob(key, "choice", field.default, meaning, choices=tuple(str(value) for value in kind.values))
    if isinstance(kind, types.FloatType | types.IntType):
        name: KnobType = "number" if isinstance(kind, types.FloatType) else "whole number"
        return Knob(key, name, field.default, meaning, above=kind.gt, minimum=kind.ge, maximum=kind.le)
    return Knob(key, "text", field.default, meaning, pattern=getattr(kind, "pattern", None))


_ATTRIBUTE = re.compile(r"^    (\w+): (.*)$")


def attribute_docs(docstring: str) -> dict[str, str]:
    """The ``Attributes`` section of a Google-style docstring: one line of text under each name.

    Args:
        docstring: as written in the source.
    """
    _, _, section = inspect.cleandoc(docstring).partition("Attributes:\n")
    docs: dict[str, str] = {}
    name = ""
    for line in section.splitlines():
        if not line.startswith("    "):
            break
        if found := _ATTRIBUTE.match(line):
            name = found[1]
            docs[name] = found[2]
        elif name:
            docs[name] += f" {line.strip()}"
    return {name: text.replace("``", "'") for name, text in docs.items()}
