"""Plans as files: what is written is read again, and what is impossible is refused with its key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from bees.core.errors import InputError
from bees.faults.plan import Crash, Liar, Offline, Partition, Plan, SlowDisk, draw_plan
from bees.faults.plan_file import check_sizes, describe_plan, encode_plan, problems, read_plan

if TYPE_CHECKING:
    from pathlib import Path


@settings(deadline=None, max_examples=100)
@given(seed=st.integers(0, 2**63 - 1), servers=st.integers(4, 40), devices=st.integers(3, 12), weak=st.booleans())
def test_every_drawn_plan_is_possible_and_survives_its_file(seed: int, servers: int, devices: int, weak: bool) -> None:
    plan = draw_plan(seed, servers=servers, devices=devices, weak_quorum=weak)
    assert list(problems(plan)) == []
    assert msgspec.json.decode(encode_plan(plan), type=Plan) == plan
    assert draw_plan(seed, servers=servers, devices=devices, weak_quorum=weak) == plan


def test_a_schedule_names_everything_that_goes_wrong() -> None:
    plan = replace(
        draw_plan(0),
        liars=(Liar(3, ("two votes",)),),
        lying_devices=(Liar(1, ("no model",)),),
        events=(
            Crash(5, 1_000_000, 2_000_000),
            Partition((7, 9), 0, 500_000),
            SlowDisk(6, 0, 9, 50_000),
            Offline(2, 1, 2),
        ),
    )
    text = "\n".join(describe_plan(plan))
    for part in (
        "14 signatures",
        "server 3 lies: two votes",
        "device 1 lies: no model",
        "at 1.000 s, server 5 crashes; it is back at 2.000 s",
        "cut off from servers 7, 9, until 0.500 s",
        "each write of server 6 takes 50 ms",
        "device 2 is offline",
    ):
        assert part in text
    weak = "\n".join(describe_plan(draw_plan(0, weak_quorum=True)))
    assert "13 signatures commit a block, one less than is safe" in weak


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"servers": 0}, "servers = 0"),
        ({"servers": 10**6}, "servers"),
        ({"devices": 0}, "devices = 0"),
        ({"seed": -1}, "seed"),
        ({"rounds": 0}, "rounds"),
        ({"loss": 1.5}, "loss"),
        ({"longest_delay_us": -5}, "longest_delay_us"),
        ({"liars": [{"index": 20, "behaviours": []}]}, "liars: there is no 20"),
        ({"liars": [{"index": 1, "behaviours": ["silense"]}]}, "did you mean 'silence'?"),
        ({"liars": [{"index": 1, "behaviours": []}] * 2}, "one index twice"),
        ({"liars": [{"index": k, "behaviours": []} for k in range(20)], "events": []}, "honest"),
        ({"lying_devices": [{"index": 1, "behaviours": ["silence"]}]}, "no behaviour 'silence'"),
        ({"delegating": [8]}, "delegating"),
        ({"events": [{"type": "earthquake"}]}, "earthquake"),
        ({"events": [{"type": "crash", "server": 25, "at_us": 0, "back_us": 1}]}, "events[0]: server"),
        ({"events": [{"type": "offline", "device": 3, "at_us": 9, "until_us": 1}]}, "before it begins"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_an_impossible_plan_is_refused_in_one_line(change: dict[str, Any], word: str, tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_bytes(msgspec.json.encode({**msgspec.to_builtins(draw_plan(0)), **change}))
    with pytest.raises(InputError) as caught:
        read_plan(path)
    assert word in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"\xff\xfe", b"[" * 5000, b'{"seed": 1}'])
def test_what_is_no_plan_is_refused(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_bytes(data)
    with pytest.raises(InputError, match="is not a plan"):
        read_plan(path)
    with pytest.raises(InputError, match="No such file"):
        read_plan(tmp_path / "missing.json")


def test_a_crash_belongs_to_honest_servers_and_is_over_when_the_network_heals() -> None:
    plan = replace(draw_plan(0), liars=(Liar(2, ("silence",)),), heals_at_us=10)
    assert any("liar" in problem for problem in problems(replace(plan, events=(Crash(2, 0, 5),))))
    assert any("heals" in problem for problem in problems(replace(plan, events=(Crash(3, 0, 11),))))


@pytest.mark.parametrize(
    ("sizes", "option"),
    [
        ((3, 8, None), "--servers"),
        ((101, 8, None), "--servers"),
        ((20, 2, None), "--devices"),
        ((20, 8, 20), "--faulty"),
        ((20, 8, -1), "--faulty"),
    ],
)
def test_numbers_that_no_plan_can_have_are_refused(sizes: tuple[int, int, int | None], option: str) -> None:
    with pytest.raises(InputError, match=option):
        check_sizes(*sizes)
