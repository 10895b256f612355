from __future__ import annotations

import json
import string
import tomllib
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bees.contract.library import load_contract_code
from bees.core.errors import ScenarioError, ScenarioFileError
from bees.scenario import Battery, Ledger, Radio, Scenario, Topology
from bees.scenario_checks import RANGES, check_any, conflicts
from bees.scenario_file import check_scenario, describe_knobs, dump_scenario, load_scenario, preset_names

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bees.scenario_knobs import Knob

    Write = Callable[..., str]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(text: str | bytes, name: str = "mine.toml") -> str:
        path = tmp_path / name
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return str(path)

    return write


def refusal(name: str, *overrides: str) -> ScenarioError:
    with pytest.raises(ScenarioError) as caught:
        load_scenario(name, overrides)
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)
    assert caught.value.source in str(caught.value)
    json.dumps(caught.value.as_dict())
    return caught.value


def outcome(name: str, *overrides: str) -> Scenario | ScenarioError:
    try:
        return load_scenario(name, overrides)
    except ScenarioError as error:
        return error


def is_one_line(result: Scenario | ScenarioError) -> bool:
    return isinstance(result, Scenario) or len(str(result).splitlines()) == 1


# Presets


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_loads_and_round_trips_through_a_file(name: str, write: Write) -> None:
    scenario = load_scenario(name)
    assert load_scenario(write(dump_scenario(scenario))) == scenario


def test_the_presets_that_are_promised_are_there() -> None:
    promised = "b-ei fedavg half paper paper-150 paper-200 quick quick-b-ei sound"
    assert preset_names() == tuple(promised.split())


def test_the_paper_is_the_default() -> None:
    assert load_scenario("paper") == Scenario()


def test_the_baseline_shares_the_best_model_and_always_computes_locally() -> None:
    scenario = load_scenario("b-ei")
    assert (scenario.name, scenario.ledger.contract, scenario.ledger.top_m) == ("b-ei", "argmax", 1)
    assert (scenario.offloading.policy, scenario.radio.sharing) == ("local", "contending")
    assert scenario.learning == Scenario().learning


def test_plain_fedavg_averages_everybody() -> None:
    scenario = load_scenario("fedavg")
    assert scenario.ledger.top_m == scenario.topology.devices


@pytest.mark.parametrize(("name", "devices"), [("half", 50), ("paper-150", 150), ("paper-200", 200)])
def test_presets_with_another_number_of_devices_differ_in_nothing_else(name: str, devices: int) -> None:
    expected = msgspec.structs.replace(Scenario(), name=f"bees-{devices}", topology=Topology(devices=devices))
    assert load_scenario(name) == expected


def test_a_preset_that_extends_a_preset_gets_both() -> None:
    quick, baseline = load_scenario("quick"), load_scenario("quick-b-ei")
    assert baseline.learning == quick.learning
    assert baseline.ledger.contract == "argmax"


# Files


def test_an_empty_file_is_the_papers_scenario(write: Write) -> None:
    assert load_scenario(write("")) == Scenario()


def test_a_file_extends_another_by_a_path_relative_to_itself(write: Write, tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    write('extends = "quick"\n[radio]\nbandwidth_hz = 1e6\ntransmit_power_db = 3', "base.toml")
    mine = write('extends = "../base.toml"\nblocks = 3\n[radio]\nbandwidth_hz = 2e6', "deep/mine.toml")
    scenario = load_scenario(mine)
    assert (scenario.blocks, scenario.radio.bandwidth_hz, scenario.radio.transmit_power_db) == (3, 2e6, 3.0)
    assert scenario.learning.dataset == "mnist-7x7"


def test_a_byte_order_mark_is_no_obstacle(write: Write) -> None:
    assert load_scenario(write(b"\xef\xbb\xbfblocks = 7")).blocks == 7


def test_a_refusal_names_the_file_that_is_at_fault(write: Write) -> None:
    base = write("[radio]\nbandwidth_hz = -5", "base.toml")
    error = refusal(write('extends = "base.toml"'))
    assert (error.source, error.key, error.value) == (base, "radio.bandwidth_hz", -5)
    assert error.problem == "must be a number greater than 0"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("blocks = 5\nseed = \n", "line 2, column 8: malformed TOML: Invalid value; text needs quotes"),
        ("blocks = 5\nname = quick\n", "line 2, column 8: malformed TOML: Invalid value; text needs quotes"),
        ("blocks = 5\nblocks = 6", "line 2, column 11: malformed TOML: Cannot overwrite a value; a key stands here"),
        ("[radio", "line 1, column 7: malformed TOML: Expected ']'"),
        ("blocks = " + "1" * 5000, "thousands of digits"),
        ("blocks = " + "[" * 5000, "nested too deeply"),
        (b"name = '\xff\xfe'", "line 1: not UTF-8"),
        (b"\x7fELF\0\0\0", "binary"),
        ("blocks = 5".encode("utf-16"), "UTF-16"),
        ("#" * 70_000, "larger than 64 KiB"),
    ],
)
def test_what_is_no_toml_is_refused_with_line_and_column(write: Write, text: str | bytes, problem: str) -> None:
    error = refusal(write(text))
    assert isinstance(error, ScenarioFileError)
    assert problem in error.problem


def test_deeply_dotted_keys_are_refused_without_recursion(write: Write) -> None:
    assert refusal(write("radio." + ".".join("x" * 3000) + " = 1")).key == "radio.x"


@pytest.mark.parametrize("quote", ["", '"'])
def test_a_circle_of_files_is_refused(write: Write, quote: str) -> None:
    write('extends = "mine.toml"', "other.toml")
    error = refusal(write(f'{quote}extends{quote} = "other.toml"'))
    assert error.key == "extends"
    assert "circle" in error.problem


@pytest.mark.parametrize(
    ("line", "problem"), [('"papr"', "did you mean 'paper'?"), ("3", "in quotes"), ('"."', "is a folder")]
)
def test_an_extended_preset_or_file_must_exist(write: Write, line: str, problem: str) -> None:
    error = refusal(write(f"extends = {line}"))
    assert error.key == "extends"
    assert problem in error.problem


def test_an_unknown_preset_is_refused_with_those_that_exist() -> None:
    error = refusal("quik")
    assert "did you mean 'quick'?" in error.problem
    assert "paper-150" in error.problem


@pytest.mark.parametrize("name", ["", "no/such.toml", "a" * 5000, "a\0b", "line\nbreak", "\udcff"])
def test_a_path_that_cannot_be_opened_is_refused(name: str) -> None:
    assert isinstance(refusal(name), ScenarioFileError)


def test_a_folder_is_refused(tmp_path: Path) -> None:
    assert "is a folder" in refusal(str(tmp_path)).problem


# Keys


@pytest.mark.parametrize(
    ("text", "key", "problem"),
    [
        ("[radio]\nbandwith_hz = 1", "radio.bandwith_hz", "no such key in [radio]: did you mean 'bandwidth_hz'?"),
        ("[radio]\nservers = 1", "radio.servers", "no such key in [radio]: it is topology.servers"),
        ("bandwidth_hz = 1", "bandwidth_hz", "it is radio.bandwidth_hz"),
        ("[ledger]\nblocks = 1", "ledger.blocks", "'blocks' at the top, before the first [section]"),
        ("[radoi]\nbandwidth_hz = 1", "radoi", "did you mean 'radio'?"),
        ("[radio]\nservrs = 1", "radio.servrs", "did you mean 'topology.servers'?"),
        ('extend = "paper"', "extend", "did you mean 'extends'?"),
        ("[radio]\nzzzz = 1", "radio.zzzz", "known: bandwidth_hz, transmit_power_db"),
        ('"a\\nb" = 1', '"a\\nb"', "known: name, blocks"),
        ('"" = 1', '""', "known: name, blocks"),
    ],
)
def test_an_unknown_key_is_refused_with_the_key_that_was_meant(write: Write, text: str, key: str, problem: str) -> None:
    error = refusal(write(text))
    assert error.key == key
    assert problem in error.problem


# Values


@pytest.mark.parametrize(
    ("key", "text", "problem"),
    [
        ("radio.bandwidth_hz", "-1.5", "must be a number greater than 0"),
        ("topology.distance_min_m", "0", "must be a number greater than 0"),
        ("radio.bandwidth_hz", "nan", "must be finite: a number greater than 0"),
        ("radio.transmit_power_db", "inf", "must be finite: a number"),
        ("radio.transmit_power_db", "1e9", "must lie between -300 and 300"),
        ("radio.bandwidth_hz", "true", "must be a number greater than 0"),
        ("radio.bandwidth_hz", '"20e6"', "must be a number greater than 0, without quotes"),
        ("radio.bandwidth_hz", "2024-01-01", "must be a number"),
        ("radio.bandwidth_hz", "[1]", "must be a number"),
        ("radio.bandwidth_hz", "{a = 1}", "must be a number"),
        ("radio.bandwidth_hz", "0x" + "f" * 9000, "must be between"),
        ("radio", "3", "is a section: write its keys under [radio], such as radio.bandwidth_hz"),
        ("topology.servers", "0", "must be a whole number of at least 1"),
        ("topology.servers", "10.0", "write it without point and exponent"),
        ("topology.servers", "1.5", "must be a whole number of at least 1"),
        ("seed", "-1", "must be a whole number of at least 0 and at most 9223372036854775807"),
        ("blocks", "9223372036854775808", "must be between"),
        ("battery.device_initial_max", "1.5", "must be a number of at least 0 and at most 1"),
        ("offloading.policy", '"latencey"', "did you mean 'latency'?"),
        ("learning.partition", '"zzz"', "must be one of dirichlet, iid, quantity_skew, shards"),
        ("name", '"a/b"', "letters, digits"),
        ("name", "7", "in quotes"),
    ],
)
def test_a_wrong_value_is_refused_in_plain_words(write: Write, key: str, text: str, problem: str) -> None:
    error = refusal(write(f"{key} = {text}"))
    assert error.key == key
    assert problem in error.problem
    assert len(str(error)) < 400


def test_a_name_with_a_line_break_is_refused(write: Write) -> None:
    assert refusal(write('name = "a\\n"')).key == "name"


def test_whole_numbers_are_numbers(write: Write) -> None:
    bandwidth_hz = load_scenario(write("radio.bandwidth_hz = 5")).radio.bandwidth_hz
    assert isinstance(bandwidth_hz, float)
    assert bandwidth_hz == 5.0


# Knobs that contradict one another


@pytest.mark.parametrize(("section", "lower", "upper"), RANGES)
def test_a_range_must_not_be_upside_down(section: str, lower: str, upper: str) -> None:
    upside_down = msgspec.structs.replace(getattr(Scenario(), section), **{lower: 2, upper: 1})
    scenario = msgspec.structs.replace(Scenario(), **{section: upside_down})
    with pytest.raises(ScenarioError, match=f"{section}.{lower} = 2: is above {section}.{upper} = 1: lower it"):
        check_scenario(scenario, "here")


def test_more_cannot_be_selected_than_there_are() -> None:
    error = refusal("paper", "ledger.top_m=101")
    assert (error.source, error.key, error.value) == ("--set", "ledger.top_m", 101)
    assert load_scenario("b-ei", ["ledger.top_m=101"]).ledger.top_m == 101  # argmax takes one, whatever M is


def test_the_layer_that_made_the_contradiction_is_to_blame(write: Write) -> None:
    assert refusal("paper", "topology.devices=5").source == "--set"
    mine = write("topology.devices = 5")
    assert refusal(mine, "radio.bandwidth_hz=5").source == mine


def test_servers_must_have_room_for_the_devices() -> None:
    assert load_scenario("paper", ["topology.devices=600"]).topology.devices == 600
    error = refusal("paper", "topology.devices=601")
    assert error.key == "topology.devices"
    assert "more_servers" in error.problem
    assert load_scenario("paper", ["topology.devices=601", "topology.crowding=more_servers"])


def test_a_server_must_have_room_for_what_it_draws() -> None:
    assert refusal("paper", "topology.server_capacity=6").key == "topology.devices_per_server_max"


def test_batteries_that_are_empty_for_ever_are_refused() -> None:
    empty = ["battery.device_initial_min=0", "battery.device_initial_max=0"]
    error = refusal("paper", *empty)
    assert (error.key, error.value) == ("battery.device_initial_max", 0)
    assert "battery.harvest_w" in error.problem
    assert load_scenario("paper", [*empty, "battery.harvest_w=1"]).battery.harvest_w == 1


@pytest.mark.parametrize("change", ["radio.bandwidth_hz=1e-300", "computation.cpu_frequency_hz=1e300"])
def test_what_is_no_quantity_is_refused_before_it_overflows(change: str) -> None:
    error = refusal("paper", change)
    assert error.key == change.partition("=")[0]
    assert "must lie between 1e-40 and 1e+40" in error.problem


def test_a_scenario_built_in_python_is_checked_alike() -> None:
    check_scenario(Scenario(), "here")
    with pytest.raises(ScenarioError, match=r"here: ledger\.top_m = 11: there are only 10 devices"):
        check_scenario(Scenario(topology=Topology(devices=10), ledger=Ledger(top_m=11)), "here")


# --set


def test_overrides_come_last_and_the_last_one_wins(write: Write) -> None:
    mine = write("blocks = 3\nseed = 4")
    scenario = load_scenario(mine, ["blocks=5", "blocks = 6", "radio.sharing=contending", "name=my-run.1"])
    assert (scenario.blocks, scenario.seed, scenario.radio.sharing, scenario.name) == (6, 4, "contending", "my-run.1")


@pytest.mark.parametrize("text", ["data/my set.npz", '"data/my set.npz"', "'data/my set.npz'"])
def test_text_needs_no_quotes_but_may_have_them(text: str) -> None:
    assert load_scenario("paper", [f"learning.dataset={text}"]).learning.dataset == "data/my set.npz"


def test_text_that_looks_like_a_number_stays_text() -> None:
    assert load_scenario("paper", ["name=2024"]).name == "2024"


@pytest.mark.parametrize(
    ("override", "key", "problem"),
    [
        ("bandwidth_hz=1", "bandwidth_hz", "it is radio.bandwidth_hz"),
        ("radio.bandwith_hz=1", "radio.bandwith_hz", "did you mean 'bandwidth_hz'?"),
        ("radio.bandwidth_hz=fast", "radio.bandwidth_hz", "must be a number greater than 0"),
        ("radio.bandwidth_hz=5\nseed=3", "radio.bandwidth_hz", "must be a number"),
        ("radio.bandwidth_hz=", "radio.bandwidth_hz", "must be a number"),
        ("radio.bandwidth_hz.x=1", "radio.bandwidth_hz", "must be a number"),
        ("radio=3", "radio", "is a section"),
        ("name='half", "name", "check the quotes"),
        ("learning.dataset=\udcff", "learning.dataset", "UTF-8"),
        ("extends=paper", "extends", "goes into a file"),
        ("blocks", "", "is not key=value"),
        ("=5", "", "is not key=value"),
        (".=5", '""', "no such key"),
    ],
)
def test_a_wrong_override_is_refused(override: str, key: str, problem: str) -> None:
    error = refusal("paper", override)
    assert (error.source, error.key) == ("--set", key)
    assert problem in error.problem


# Knobs


def test_every_knob_is_described() -> None:
    knobs = {knob.key: knob for knob in describe_knobs()}
    dumped = tomllib.loads(dump_scenario(Scenario()))
    sections = {name: value for name, value in dumped.items() if isinstance(value, dict)}
    in_sections = {f"{name}.{key}": value for name, section in sections.items() for key, value in section.items()}
    expected = {name: value for name, value in dumped.items() if name not in sections} | in_sections
    assert {key: knob.default for key, knob in knobs.items()} == expected
    assert all(knob.meaning for knob in knobs.values())
    json.dumps([knob.as_dict() for knob in knobs.values()], allow_nan=False)


def test_a_knob_says_its_type_bounds_and_meaning() -> None:
    knobs = {knob.key: knob for knob in describe_knobs()}
    assert knobs["radio.bandwidth_hz"].kind == "number > 0"
    assert knobs["learning.exponent"].kind == "whole number 0 to 30"
    assert knobs["ledger.pol"].kind.startswith("capacity_over_battery | ")
    assert knobs["ledger.verification"].as_dict()["choices"] == ["all_servers", "main_node"]
    assert knobs["topology.crowding"].meaning.endswith("keeps the range and changes N to K/5.")


# Properties

finite = st.floats(allow_nan=False, allow_infinity=False)


def value_of(knob: Knob) -> st.SearchStrategy[object]:
    if knob.choices:
        return st.sampled_from(knob.choices)
    if knob.pattern:
        return st.from_regex(knob.pattern, fullmatch=True).filter(str.isprintable)
    if knob.type == "text":
        return st.text(min_size=1)
    if knob.type == "whole number":
        least, most = knob.minimum or 0, knob.maximum or 2**63 - 1
        assert isinstance(least, int)
        assert isinstance(most, int)
        return st.integers(least, most)
    if knob.minimum is None and knob.above is None:
        return st.floats(-300, 300)
    least = 0.0 if knob.minimum is None else knob.minimum
    return st.floats(least, knob.maximum, exclude_min=knob.above is not None, allow_infinity=False)


@st.composite
def tables(draw: st.DrawFn) -> dict[str, object]:
    table: dict[str, object] = {}
    for knob in draw(st.lists(st.sampled_from(describe_knobs()), unique_by=lambda knob: knob.key)):
        *section, name = knob.key.split(".")
        place = table.setdefault(section[0], {}) if section else table
        assert isinstance(place, dict)
        place[name] = draw(value_of(knob))
    return table


@given(tables())
@settings(deadline=None, max_examples=80)
def test_any_valid_scenario_round_trips_exactly(
    tmp_path_factory: pytest.TempPathFactory, table: dict[str, object]
) -> None:
    scenario = msgspec.convert(table, Scenario)
    path = tmp_path_factory.getbasetemp() / "round-trip.toml"
    path.write_text(dump_scenario(scenario), encoding="utf-8", newline="")
    found = list(conflicts(scenario))
    loaded = outcome(str(path))
    if found:
        assert isinstance(loaded, ScenarioError)
        assert loaded.key == found[0].key
    else:
        assert loaded == scenario


words = st.sampled_from(
    [*"[]{}=.,\"'#\n", " = ", "\n\n", "'''", '"""', "nan", "-inf", "1e400", "0xff", "-1", "2.5", "true", "1979-05-27"]
    + [part for knob in describe_knobs() for part in (*knob.key.split("."), *knob.choices)]
    + ["extends", "paper", "\0", "é", "\\u0000", "\\uD800"]
)
toml_ish = st.one_of(
    st.binary(max_size=200),
    st.text(max_size=200).map(lambda text: text.encode("utf-8", "replace")),
    st.lists(words, max_size=30).map(lambda parts: "".join(parts).encode()),
    st.lists(st.tuples(words, words), max_size=6).map(lambda rows: "\n".join(map(" = ".join, rows)).encode()),
)


@given(toml_ish)
@settings(deadline=None, max_examples=300)
def test_no_file_whatever_is_in_it_raises_anything_else(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "hostile.toml"
    path.write_bytes(content)
    result = outcome(str(path))
    assert is_one_line(result)
    if isinstance(result, Scenario):
        assert tomllib.loads(dump_scenario(result)) == msgspec.to_builtins(result)


@given(st.one_of(st.text(max_size=60), st.tuples(words, words, words).map(lambda p: f"{p[0]}.{p[1]}={p[2]}")))
@settings(deadline=None, max_examples=200)
def test_no_override_raises_anything_else(override: str) -> None:
    assert is_one_line(outcome("quick", override))


@given(st.text(string.printable, max_size=30))
@settings(deadline=None, max_examples=50)
def test_no_name_raises_anything_else(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    assert is_one_line(outcome(str(tmp_path_factory.getbasetemp() / "nowhere") + "/" + name))


def test_sections_can_be_built_in_python_and_dumped(write: Write) -> None:
    scenario = Scenario(radio=Radio(bandwidth_hz=3), battery=Battery(device_initial_min=0))
    assert load_scenario(write(dump_scenario(scenario))) == scenario


@pytest.mark.parametrize(("name", "hint"), [("fedavgg", "did you mean 'fedavg'?"), ("nothing alike", "known: argmax")])
def test_a_contract_that_is_neither_packaged_nor_a_file_is_refused(name: str, hint: str):
    with pytest.raises(ScenarioError, match=r"neither a packaged contract nor the path of a \.wasm file") as caught:
        load_scenario("quick", [f'ledger.contract="{name}"'])
    assert caught.value.key == "ledger.contract"
    assert hint in caught.value.problem


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (None, "No such file"),
        (b"", "is empty"),
        (b"text", "not a WebAssembly module"),
        (bytes(2**18), "is longer than"),
    ],
)
def test_a_file_that_is_no_contract_is_refused_before_anything_is_founded(
    tmp_path: Path, data: bytes | None, problem: str
):
    path = tmp_path / "mine.wasm"
    if data is not None:
        path.write_bytes(data)
    scenario = load_scenario("quick", [f'ledger.contract="{path}"'])
    with pytest.raises(ScenarioError, match=problem) as caught:
        check_any(scenario, "here")
    assert (caught.value.source, caught.value.key) == ("here", "ledger.contract")
    assert "\n" not in str(caught.value)


def test_a_contract_file_is_a_scenarios_as_a_packaged_one_is(tmp_path: Path):
    path = tmp_path / "mine.wasm"
    path.write_bytes(load_contract_code("argmax"))
    scenario = load_scenario("quick", [f'ledger.contract="{path}"'])
    assert check_any(scenario) == scenario
