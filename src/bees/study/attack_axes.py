"""The entries of a grid's axes: seeds, fractions, partitions, attacks and defences, each checked alone.

What a value may be, the scenario's own rules say; here they are told with the place in the grid.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import msgspec

from bees.core.errors import GridError, ScenarioError, did_you_mean
from bees.scenario import Scenario
from bees.scenario_checks import check_any
from bees.scenario_knobs import keys_of_sections
from bees.scenario_table import Table, check_table, shown

if TYPE_CHECKING:
    from collections.abc import Callable

    MakeChoice = Callable[[object, str, str], "Choice"]

LABEL_CHARACTERS = 40
CONCENTRATION = {"dirichlet": "dirichlet_alpha", "quantity_skew": "dirichlet_alpha", "shards": "shards_per_device"}
"""What the number after the name of a partition is."""
EVERYBODY = "all"
"""As M, how many updates the contract looks at: as many as there are devices."""


@dataclass(frozen=True)
class Choice:
    """One entry of an axis.

    Attributes:
        label: what tables and figures call it.
        place: where the grid says it, such as ``attacks[2]``.
        table: what it sets in a scenario.
    """

    label: str
    place: str
    table: Table


def axis_of(table: Table, key: str, source: str, choice_of: MakeChoice) -> tuple[Choice, ...]:
    """The entries of a list of the grid, each made a choice.

    Raises:
        GridError: names the place, and what must stand there.
    """
    entries = list_of(table[key])
    if not entries:
        raise GridError(source, "must be a list with at least one entry", key, shown(table[key]))
    return tuple(choice_of(entry, f"{key}[{number}]", source) for number, entry in enumerate(entries))


def seed_of(entry: object, place: str, source: str) -> Choice:
    """A seed, of the whole scenario.

    Raises:
        GridError: names the place, and what must stand there.
    """
    check_part({"seed": entry}, source, "seed", place)
    return Choice(str(entry), place, {"seed": entry})


def fraction_of(entry: Any, place: str, source: str) -> Choice:  # noqa: ANN401  # a number once it is checked
    """The fraction of the devices that attack.

    Raises:
        GridError: names the place, and what must stand there.
    """
    check_part({"attack": {"fraction": entry}}, source, "attack.fraction", place)
    return Choice(f"{float(entry):g}", place, {"attack": {"fraction": float(entry)}})


def partition_of(entry: object, place: str, source: str) -> Choice:
    """A partition, such as ``iid`` or ``dirichlet 0.5``, as knobs of the learning.

    Raises:
        GridError: names the place, and what must stand there.
    """
    if not isinstance(entry, str):
        raise GridError(source, 'must be text, such as "iid" or "dirichlet 0.5"', place, shown(entry))
    name, _, number = entry.partition(" ")
    table: Table = {"partition": name}
    check_part({"learning": table}, source, "learning.partition", place, shown(entry))
    knob = CONCENTRATION.get(name)
    if (knob is None) != (not number):
        wanted = f"name and number, such as '{name} 0.5'" if knob else f"no number after {name}"
        raise GridError(source, f"must have {wanted}", place, shown(entry))
    if knob:
        try:
            table[knob] = int(number) if knob == "shards_per_device" else float(number)
        except ValueError:
            raise GridError(source, f"{shown(number)!r} is no number", place, shown(entry)) from None
        check_part({"learning": table}, source, f"learning.{knob}", place, shown(entry))
    return Choice(" ".join(entry.split()), place, {"learning": table})


def attack_of(entry: object, place: str, source: str) -> Choice:
    """An attack: its name, and other knobs of ``[attack]``.

    Raises:
        GridError: names the place, and what must stand there.
    """
    table, label = _labelled(entry, place, source, "attack", "name", ("fraction",))
    if table["name"] == "none" and table.get("server_lie", "none") == "none":
        problem = "is no attack: cells in which nobody attacks come from the fraction 0"
        raise GridError(source, problem, f"{place}.name", "none")
    others = [f"{key.replace('_', ' ')} {value}" for key, value in table.items() if key != "name"]
    return Choice(label or ", ".join([table["name"], *others]), place, {"attack": table})


def defence_of(devices: int, entry: object, place: str, source: str) -> Choice:
    """A defence: a contract, how many updates it looks at, and other knobs of ``[ledger]``.

    Raises:
        GridError: names the place, and what must stand there.
    """
    if isinstance(entry, dict):
        given = cast("Table", entry)
        entry = {**given, "top_m": devices} if given.get("top_m") == EVERYBODY else given
    table, label = _labelled(entry, place, source, "ledger", "contract", ())
    if "top_m" not in table:
        raise GridError(source, 'the key "top_m" is missing: a number, or "all"', place, table["contract"])
    name = table["contract"].rpartition("/")[2].removesuffix(".wasm")
    looks_at = [] if table["top_m"] == devices else [f"top {table['top_m']}"]
    others = [f"{key.replace('_', ' ')} {value}" for key, value in table.items() if key not in {"contract", "top_m"}]
    return Choice(label or ", ".join([name, *looks_at, *others]), place, {"ledger": table})


def _labelled(
    entry: object,
    place: str,
    source: str,
    section: str,
    required: str,
    forbidden: tuple[str, ...],
) -> tuple[Table, str | None]:
    """The knobs of a section that an entry sets, checked, and its own label if it has one."""
    if not isinstance(entry, dict):
        raise GridError(source, f'must be a table, such as {{ {required} = "…" }}', place, shown(entry))
    table: Table = dict(cast("Table", entry))
    label: Any = table.pop("label", None)
    if label is not None and not _is_label(label):
        problem = f"must be a printable text of 1 to {LABEL_CHARACTERS} characters"
        raise GridError(source, problem, f"{place}.label", shown(label))
    known = tuple(name for name in keys_of_sections()[section] if name not in forbidden)
    for key, value in table.items():
        if key not in known:
            hint = did_you_mean(key, (*known, "label"))
            raise GridError(source, f"no such key here: {hint}", f"{place}.{shown(key)}", shown(value))
    if required not in table:
        raise GridError(source, f"the key {required!r} is missing", place, "{…}")
    for key in table:
        check_part({section: {key: table[key]}}, source, f"{section}.{key}", f"{place}.{key}")
    if required == "contract":
        alone = msgspec.convert({"ledger": {"contract": table[required]}}, Scenario)
        try:
            check_any(alone)
        except ScenarioError as error:
            raise GridError(source, error.problem, f"{place}.{required}", error.value) from None
    return table, label


def _is_label(label: object) -> bool:
    return isinstance(label, str) and label.isprintable() and 0 < len(label.strip()) <= len(label) <= LABEL_CHARACTERS


def check_part(table: Table, source: str, key: str, place: str, value: object = None) -> None:
    """Let the scenario's own rules judge, and name the place in the grid."""
    try:
        check_table(table, source)
    except ScenarioError as error:
        problem = error.problem if error.key == key else f"{error.key}: {error.problem}"
        raise GridError(source, problem, place, error.value if value is None else value) from None


def refuse_twins(choices: tuple[Choice, ...], source: str) -> None:
    """Refuse two entries of one name.

    Raises:
        GridError: names the place, and what must stand there.
    """
    labels: dict[str, Choice] = {}
    for choice in choices:
        if twin := labels.setdefault(choice.label, choice) if choice.label in labels else None:
            problem = f"is there twice, in {twin.place} and {choice.place}: remove one, or give it a label of its own"
            raise GridError(source, problem, choice.place, choice.label)
        labels[choice.label] = choice


def list_of(value: object) -> list[object] | None:
    """The value, if it is a list."""
    return cast("list[object]", value) if isinstance(value, list) else None
