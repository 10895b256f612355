from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bees.edge import reference
from bees.edge.costs import local_cost, offload_cost, rate_bits_per_s

positive = st.floats(1e-2, 1e2)


@settings(deadline=None, max_examples=60)
@given(scale=st.tuples(*[positive] * 8), samples=st.integers(0, 5000))
def test_both_choices_equal_the_scalar_reference(scale: tuple[float, ...], samples: int) -> None:
    device = reference.DeviceBlock(
        bandwidth_hz=1e6 * scale[0],
        power_w=scale[1],
        gain=1e-9 * scale[2],
        noise_w=10**-20.4 * 1e6 * scale[0],
        iterations=scale[3],
        samples=samples,
        device_cycles=1e4 * scale[4],
        server_cycles=1e2 * scale[5],
        device_frequency_hz=1e9 * scale[6],
        server_frequency_hz=1e9,
        capacitance=1e-28,
        raw_bytes=1e5 * scale[7],
        update_bytes=8e4,
    )
    rate = rate_bits_per_s(1e6 * scale[0], scale[1], 1e-9 * scale[2])
    local = local_cost(
        iterations=scale[3],
        cycles_per_sample=1e4 * scale[4],
        samples=samples,
        cpu_frequency_hz=1e9 * scale[6],
        update_bytes=8e4,
        rate_bits_per_s=rate,
        power_w=scale[1],
    )
    offload = offload_cost(
        iterations=scale[3],
        server_cycles_per_sample=1e2 * scale[5],
        samples=samples,
        server_cpu_frequency_hz=1e9,
        raw_bytes=1e5 * scale[7],
        rate_bits_per_s=rate,
        power_w=scale[1],
    )
    for offloads, cost in ((False, local), (True, offload)):
        assert cost.time_s == pytest.approx(device.time_s(offloads=offloads), rel=1e-9)
        assert cost.energy_j == pytest.approx(device.energy_j(offloads=offloads), rel=1e-9)


def test_a_row_and_a_column_make_a_table() -> None:
    raw_bytes, bandwidth_hz = np.geomspace(1e3, 1e8, 5)[:, None], np.geomspace(1e5, 1e8, 4)
    cost = offload_cost(
        iterations=1.0,
        server_cycles_per_sample=2e2,
        samples=600,
        server_cpu_frequency_hz=3e9,
        raw_bytes=raw_bytes,
        rate_bits_per_s=rate_bits_per_s(bandwidth_hz, 0.1, 1e-9),
        power_w=0.1,
    )
    assert cost.time_s.shape == cost.energy_j.shape == cost.compute_time_s.shape == (5, 4)
    assert (np.diff(cost.time_s, axis=0) > 0).all()
    assert (np.diff(cost.time_s, axis=1) < 0).all()


def test_the_limits_of_both_choices() -> None:
    near = rate_bits_per_s(1e6, 0.1, np.inf)  # h to infinity, d to 0
    assert near == np.inf
    whole = {"iterations": 1.0, "rate_bits_per_s": near, "power_w": 0.1}
    local = local_cost(cycles_per_sample=2e4, samples=600, cpu_frequency_hz=1e9, update_bytes=8e4, **whole)
    assert local.transmit_time_s == local.transmit_energy_j == 0
    assert local.time_s == local.compute_time_s > 0
    idle = local_cost(cycles_per_sample=2e4, samples=0, cpu_frequency_hz=1e9, update_bytes=8e4, **whole)
    assert idle.time_s == idle.energy_j == 0
    far = rate_bits_per_s(1e6, 0.1, 0.0)
    assert far == 0
    lost = offload_cost(
        iterations=1.0,
        server_cycles_per_sample=2e2,
        samples=600,
        server_cpu_frequency_hz=3e9,
        raw_bytes=np.array([0.0, 1.0]),
        rate_bits_per_s=far,
        power_w=0.1,
    )
    assert lost.transmit_time_s.tolist() == [0.0, np.inf]
