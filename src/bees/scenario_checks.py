"""What no knob can say alone: which knobs of a scenario contradict one another.

Each knob's own type and bounds stand in :mod:`bees.scenario`. What needs the data, such as more UEs than samples,
is checked where the data is at hand.
"""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral, Real
from typing import TYPE_CHECKING

import msgspec

from bees.contract.library import contract_names, is_contract_file, load_contract_code
from bees.core.errors import ContractError, InputError, ScenarioError, did_you_mean
from bees.scenario import Scenario
from bees.scenario_table import SHOWN_CHARACTERS, check_table

if TYPE_CHECKING:
    from collections.abc import Iterator

RANGES = (
    ("topology", "devices_per_server_min", "devices_per_server_max"),
    ("topology", "distance_min_m", "distance_max_m"),
    ("computation", "cycles_per_sample_min", "cycles_per_sample_max"),
    ("computation", "server_cycles_per_sample_min", "server_cycles_per_sample_max"),
    ("battery", "device_initial_min", "device_initial_max"),
    ("ledger", "server_capacity_hz_min", "server_capacity_hz_max"),
)
"""Section, and the two ends of a range that is drawn from."""

DECIBEL_LIMIT = 300.0
"""Far beyond any radio (10^30 W), far below what overflows a float."""

PHYSICS = ("topology", "radio", "computation", "battery", "timing", "offloading", "backhaul", "proof_of_work")
"""Sections whose numbers are quantities with a unit."""

MAGNITUDE_LIMIT = 1e40
"""No quantity of any experiment is larger than this or smaller than one part of it; products of several still fit."""

NO_CONTRACT = "none"
"""What ``ledger.deploy_contract`` says where the contract stays."""

DELEGATION_HEIGHTS = 2
"""COLLECT must last as long where UEs offload: one height for the delegations, one for the servers' updates."""


@dataclass(frozen=True)
class Conflict:
    """Knobs that contradict one another.

    Attributes:
        key: dotted key of the knob to change first.
        value: its value.
        problem: what it contradicts, and how to put it right.
        others: dotted keys of the other knobs involved.
    """

    key: str
    value: object
    problem: str
    others: tuple[str, ...] = ()


def check_scenario(scenario: Scenario, source: str) -> None:
    """Refuse a scenario whose knobs contradict one another.

    Args:
        scenario: whose knobs are each valid.
        source: the file or option to name.

    Raises:
        ScenarioError: names the key to change.
    """
    refuse_any(conflicts(scenario), source)


def refuse_any(found: Iterator[Conflict], source: str) -> None:
    """Raise the first conflict, if there is one.

    Raises:
        ScenarioError: names the key to change.
    """
    for conflict in found:
        raise ScenarioError(source, conflict.problem, conflict.key, conflict.value)


def check_any(scenario: object, source: str = "scenario") -> Scenario:
    """Check a scenario that was made in Python as one from a file is checked.

    Args:
        scenario: whatever a caller hands in for one.
        source: what to name.

    Returns:
        an equal scenario, in which each number is of the type that its knob says.

    Raises:
        InputError: it is no scenario.
        ScenarioError: names the key with the impossible value, or the one to change.
    """
    if not isinstance(scenario, Scenario):
        wanted = "a bees.Scenario is needed; bees.load_scenario makes one from a preset or a file"
        raise InputError(source, f"is a {type(scenario).__name__}; {wanted}")
    try:
        table = msgspec.to_builtins(scenario, enc_hook=_plain_number)
    except (TypeError, ValueError, AttributeError) as error:
        raise InputError(source, f"holds what no scenario file can hold: {error}") from error
    check_table(table, source)
    plain = msgspec.convert(table, Scenario)
    check_scenario(plain, source)
    refuse_any(contract_file_conflicts(plain), source)
    return plain


def _plain_number(value: object) -> object:
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        return float(value)
    raise TypeError(f"{type(value).__name__} {value!r}")


def conflicts(scenario: Scenario) -> Iterator[Conflict]:
    """Every contradiction in ``scenario``."""
    yield from _name_conflicts(scenario)
    yield from _range_conflicts(scenario)
    yield from _crowd_conflicts(scenario)
    yield from _decibel_conflicts(scenario)
    yield from _magnitude_conflicts(scenario)
    yield from _empty_battery_conflicts(scenario)
    yield from delegation_conflicts(scenario)
    yield from _attack_conflicts(scenario)
    top_m, devices = scenario.ledger.top_m, scenario.topology.devices
    yield from _contract_name_conflicts(scenario)
    yield from _deploy_conflicts(scenario)
    if scenario.ledger.contract != "argmax" and top_m > devices:
        problem = f"there are only {devices} devices to select from: lower it, or raise topology.devices"
        yield Conflict("ledger.top_m", top_m, problem, ("topology.devices",))


def _contract_name_conflicts(scenario: Scenario) -> Iterator[Conflict]:
    for key, name in _contracts_by_key(scenario):
        if not is_contract_file(name) and name not in contract_names():
            hint = did_you_mean(name[:SHOWN_CHARACTERS], contract_names())
            problem = f"is neither a packaged contract nor the path of a .wasm file: {hint}"
            yield Conflict(key, name[:SHOWN_CHARACTERS], problem)


def _contracts_by_key(scenario: Scenario) -> Iterator[tuple[str, str]]:
    """Every contract that the scenario names, under the key that names it."""
    ledger = scenario.ledger
    yield "ledger.contract", ledger.contract
    if ledger.deploy_contract != NO_CONTRACT:
        yield "ledger.deploy_contract", ledger.deploy_contract


def _deploy_conflicts(scenario: Scenario) -> Iterator[Conflict]:
    ledger = scenario.ledger
    if ledger.deploy_contract != NO_CONTRACT and ledger.deploy_block >= scenario.blocks:
        problem = (
            f"leaves no round for the new contract, which is in force from the next of {scenario.blocks} blocks on"
        )
        yield Conflict("ledger.deploy_block", ledger.deploy_block, f"{problem}: lower it, or raise blocks", ("blocks",))


def contract_file_conflicts(scenario: Scenario) -> Iterator[Conflict]:
    """Why the code of a contract that is named by its path cannot stand on a chain.

    Told apart from the other conflicts, since a run that was founded holds its code, and can be read without the file.
    """
    for key, name in _contracts_by_key(scenario):
        if is_contract_file(name):
            yield from _code_conflicts(key, name)


def _code_conflicts(key: str, name: str) -> Iterator[Conflict]:
    # wasmtime takes long to load, and few bring a contract of their own.
    from bees.contract.description import describe_virtual_machine  # noqa: PLC0415
    from bees.contract.vm import VirtualMachine  # noqa: PLC0415

    try:
        VirtualMachine(describe_virtual_machine()).load(load_contract_code(name))
    except InputError as error:
        yield Conflict(key, name, error.problem)
    except ContractError as error:
        yield Conflict(key, name, f"is no contract: {error}")


def _name_conflicts(scenario: Scenario) -> Iterator[Conflict]:
    # The pattern's "$" lets a last line break through, and a folder is named after this.
    if not scenario.name.isprintable():
        yield Conflict("name", scenario.name, "must not hold a line break")


def _range_conflicts(scenario: Scenario) -> Iterator[Conflict]:
    for section, lower, upper in RANGES:
        least, most = getattr(getattr(scenario, section), lower), getattr(getattr(scenario, section), upper)
        if least > most:
            key, other = f"{section}.{lower}", f"{section}.{upper}"
            yield Conflict(key, least, f"is above {other} = {most:g}: lower it, or raise {other}", (other,))


def _crowd_conflicts(scenario: Scenario) -> Iterator[Conflict]:
    topology = scenario.topology
    capacity = topology.server_capacity
    if topology.devices_per_server_max > capacity:
        problem = f"is above topology.server_capacity = {capacity}: lower it, or raise topology.server_capacity"
        yield Conflict(
            "topology.devices_per_server_max",
            topology.devices_per_server_max,
            problem,
            ("topology.server_capacity",),
        )
    room = topology.servers * capacity
    if topology.devices > room and topology.crowding != "more_servers":
        problem = (
            f"{topology.servers} servers with room for {capacity} each hold at most {room}: "
            'raise topology.servers, or set topology.crowding = "more_servers"'
        )
        others = ("topology.servers", "topology.server_capacity", "topology.crowding")
        yield Conflict("topology.devices", topology.devices, problem, others)


def delegation_conflicts(scenario: Scenario, *, own_policy: bool = False) -> Iterator[Conflict]:
    """An offloading UE delegates in one block, and its server commits to the update in the next.

    Args:
        scenario: whose COLLECT phase must be as long as that.
        own_policy: whether a policy of the user's own, which may offload, stands in for the scenario's.
    """
    heights, policy = scenario.ledger.collect_heights, scenario.offloading.policy
    if heights < DELEGATION_HEIGHTS and (own_policy or policy != "local"):
        by = "a policy of your own" if own_policy else f'offloading.policy = "{policy}"'
        problem = f"{by} may offload, which takes {DELEGATION_HEIGHTS} heights: raise it, or set "
        problem += 'offloading.policy = "local"'
        yield Conflict("ledger.collect_heights", heights, problem, ("offloading.policy",))


def _decibel_conflicts(scenario: Scenario) -> Iterator[Conflict]:
    radio = scenario.radio
    for name in ("transmit_power_db", "noise_psd_dbm_per_hz", "reference_gain_db", "shadowing_db"):
        if abs(value := getattr(radio, name)) > DECIBEL_LIMIT:
            yield Conflict(f"radio.{name}", value, f"must lie between -{DECIBEL_LIMIT:g} and {DECIBEL_LIMIT:g}")


def _empty_battery_conflicts(scenario: Scenario) -> Iterator[Conflict]:
    battery = scenario.battery
    if max(battery.device_initial_max, battery.harvest_w) == 0.0:
        problem = "every battery is empty at the start, and none is ever charged: raise it, or set battery.harvest_w"
        yield Conflict("battery.device_initial_max", 0.0, problem, ("battery.harvest_w",))


def _attack_conflicts(scenario: Scenario) -> Iterator[Conflict]:
    attack, topology = scenario.attack, scenario.topology
    attacks = attack.name != "none" or attack.server_lie != "none"
    if attacks and attack.first_block > scenario.blocks:
        problem = f"comes after the last block, {scenario.blocks}: lower it, or raise blocks"
        yield Conflict("attack.first_block", attack.first_block, problem, ("blocks",))
    if attack.lying_servers > topology.servers and topology.crowding == "scaled" and attack.server_lie != "none":
        problem = f"there are only {topology.servers} servers: lower it, or raise topology.servers"
        yield Conflict("attack.lying_servers", attack.lying_servers, problem, ("topology.servers",))


def _magnitude_conflicts(scenario: Scenario) -> Iterator[Conflict]:
    for section in PHYSICS:
        for name, value in msgspec.structs.asdict(getattr(scenario, section)).items():
            if not isinstance(value, float) or value == 0.0 or "_db" in name:
                continue
            if not 1 / MAGNITUDE_LIMIT <= abs(value) <= MAGNITUDE_LIMIT:
                problem = f"must lie between {1 / MAGNITUDE_LIMIT:g} and {MAGNITUDE_LIMIT:g} to be a quantity at all"
                yield Conflict(f"{section}.{name}", value, problem)
