from __future__ import annotations

import msgspec
import pytest

from bees.scenario import Scenario, Section
from bees.scenario_knobs import attribute_docs

SECTIONS = [field.type for field in msgspec.structs.fields(Scenario) if isinstance(field.default, Section)]


def test_the_defaults_are_the_papers_constants() -> None:
    # Section IV-A, sentence by sentence.
    paper = Scenario()
    topology, radio, computation = paper.topology, paper.radio, paper.computation
    assert (topology.servers, topology.devices, topology.server_capacity) == (20, 100, 30)
    assert (topology.devices_per_server_min, topology.devices_per_server_max) == (3, 7)
    assert (topology.distance_min_m, topology.distance_max_m) == (100, 250)
    assert (radio.transmit_power_db, radio.noise_psd_dbm_per_hz, radio.bandwidth_hz) == (10, -174, 20e6)
    assert (radio.raw_data_bytes, radio.update_bytes) == (80e6, 80e3)
    assert (computation.cycles_per_sample_min, computation.cycles_per_sample_max) == (1e4, 3e4)
    assert (computation.server_cycles_per_sample_min, computation.server_cycles_per_sample_max) == (1e2, 3e2)
    assert computation.effective_capacitance == 1e-28
    assert (paper.blocks, paper.ledger.top_m, paper.ledger.contract) == (50, 10, "fedavg")


def test_an_update_of_the_papers_size_is_the_default_model() -> None:
    hidden = Scenario().learning.hidden
    parameters = 784 * hidden + hidden + hidden * 10 + 10
    assert parameters == 19_885
    assert 4 * parameters == pytest.approx(Scenario().radio.update_bytes, rel=0.01)


@pytest.mark.parametrize("section", SECTIONS)
def test_a_section_is_frozen_and_takes_no_other_key(section: type[Section]) -> None:
    with pytest.raises(AttributeError):
        setattr(section(), section.__struct_fields__[0], 1)
    with pytest.raises(msgspec.ValidationError, match="unknown field"):
        msgspec.convert({"surprise": 1}, section)


@pytest.mark.parametrize("section", [Scenario, *SECTIONS])
def test_a_docstring_describes_every_knob_and_nothing_else(section: type[Section]) -> None:
    knobs = [field.name for field in msgspec.structs.fields(section) if not isinstance(field.default, Section)]
    assert list(attribute_docs(section.__doc__ or "")) == knobs


def test_a_scenario_hashes_by_value() -> None:
    assert hash(Scenario()) == hash(Scenario())
    assert Scenario(seed=1) != Scenario()
