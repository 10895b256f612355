"""The code is broken on purpose, one promise at a time; each time the watch must report it, and only then."""

from __future__ import annotations

import struct
from collections import Counter
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

import bees.ledger.commitments
from bees.faults.disk import Disk
from bees.faults.invariants import Watch
from bees.faults.node import Node
from bees.faults.plan import Crash, Liar, Offline, Partition, Plan, draw_plan
from bees.faults.play import play
from bees.faults.world import FaultWorld, shared_world
from bees.ledger.application import Application

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from bees.ledger.state import State


def directed(seed: int, behaviours: tuple[str, ...], *, servers: int = 8, devices: int = 3, **changes: Any) -> Plan:
    """A calm history of few servers, in which all liars do just this."""
    drawn = draw_plan(seed, servers=servers, devices=devices)
    calm = replace(
        drawn,
        liars=tuple(Liar(liar.index, behaviours) for liar in drawn.liars),
        longest_delay_us=2_000,
        loss=0.0,
        duplication=0.0,
        lying_devices=(),
        delegating=(),
        events=(),
    )
    return replace(calm, **changes)


@pytest.fixture(autouse=True)
def _own_world() -> Iterator[None]:
    """What replicas share must not outlive the rules by which it was found."""
    shared_world.cache_clear()
    yield
    shared_world.cache_clear()


def assert_seen(
    invariant: str, plans: Iterable[Plan], monkeypatch: pytest.MonkeyPatch, mutate: Callable[[], None]
) -> None:
    """The first plan that breaks anything with the mutation breaks this invariant, and nothing without it."""
    mutate()
    broken = next(((plan, found) for plan in plans if (found := play(plan).result).violation), None)
    assert broken is not None, "the watch has seen nothing"
    plan, result = broken
    assert result.violation == invariant, result.detail
    monkeypatch.undo()
    shared_world.cache_clear()
    assert play(plan).result.violation == ""


def test_an_update_that_is_not_bound_to_its_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then a device that copies the commitment of another is credited with its update."""

    def pack_no_device(form: str, _device: int, round_: int) -> bytes:
        return struct.pack(form, 0, round_)

    def unbind() -> None:
        monkeypatch.setattr(bees.ledger.commitments, "struct", SimpleNamespace(pack=pack_no_device))

    thieves = tuple(Liar(device, ("stolen commitment",)) for device in (4, 5))
    plans = (directed(seed, (), devices=6, lying_devices=thieves, rounds=3) for seed in range(8))
    assert_seen("attribution", plans, monkeypatch, unbind)


def test_a_replica_that_forgets_at_a_restart_what_it_has_signed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Server 0 is cut off with a block that the others vote on once more after they have all lost their memory."""

    def plan(at_us: int) -> Plan:
        crashes = tuple(Crash(server, at_us, at_us + 10_000) for server in range(1, 5))
        return directed(
            1,
            (),
            servers=5,
            liars=(),
            longest_delay_us=80_000,
            heals_at_us=5_000_000,
            events=(Partition((0,), at_us, at_us + 2_000_000), *crashes),
        )

    def forget(_: Disk) -> None:
        return None

    times_us = range(1_000_000, 4_000_000, 20_000)
    forgetting = partial(monkeypatch.setattr, Disk, "last_record", forget)
    assert_seen("one answer", map(plan, times_us), monkeypatch, forgetting)

    def forget_and_look_away() -> None:
        forgetting()
        monkeypatch.setattr(Watch, "saw_sent", lambda *_: None)

    assert_seen("agreement", map(plan, times_us), monkeypatch, forget_and_look_away)


def forgetting_disk(kind: str) -> Callable[[Disk, Callable[[int], int]], int]:
    """A disk that says a write is safe, and loses the last one of its kind in a crash."""

    def crash(disk: Disk, _survives: Callable[[int], int]) -> int:
        kept = getattr(disk.files, kind)
        if isinstance(kept, dict) and kept:
            kept.popitem()
        elif not isinstance(kept, dict):
            setattr(disk.files, kind, None)
        return 1

    return crash


@pytest.mark.parametrize(
    ("kind", "invariant"), [("decisions", "durability"), ("record", "one answer"), ("blobs", "durability")]
)
def test_a_disk_that_loses_what_its_server_has_told_others(
    kind: str, invariant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that has lost a block does not know of it either: only what was told before the crash gives it away."""

    def plan(at_us: int) -> Plan:
        return directed(
            1,
            (),
            servers=5,
            liars=(),
            longest_delay_us=80_000,
            heals_at_us=4_000_000,
            events=tuple(Crash(server, at_us + 7_000 * server, at_us + 7_000 * server + 5_000) for server in range(5)),
        )

    times_us = range(400_000, 3_900_000, 50_000)
    assert_seen(
        invariant, map(plan, times_us), monkeypatch, lambda: monkeypatch.setattr(Disk, "crash", forgetting_disk(kind))
    )


def test_a_server_that_gives_bytes_away_before_all_have_committed(monkeypatch: pytest.MonkeyPatch) -> None:
    plans = (directed(seed, ("early asking",), delegating=(0, 1, 2)) for seed in range(20))
    assert_seen("secrecy", plans, monkeypatch, lambda: monkeypatch.setattr(Node, "_is_secret", lambda *_: False))


def test_a_server_that_forgets_at_a_restart_which_bytes_are_secret() -> None:
    """Nothing but the disk and the chain tell it then; COLLECT stays open, since a device is offline."""
    for at_us in range(100_000, 600_000, 50_000):
        plan = directed(1, ("early asking",), delegating=(0, 1), heals_at_us=4_000_000)
        honest = set(range(8)) - {liar.index for liar in plan.liars}
        crashes = tuple(Crash(server, at_us, at_us + 1_000) for server in honest)
        result = play(replace(plan, events=(Offline(2, 0, 4_000_000), *crashes))).result
        assert result.violation == "", result.detail


def test_the_bytes_of_a_device_that_delegates_are_written_once(monkeypatch: pytest.MonkeyPatch) -> None:
    written = Counter[tuple[int, bytes]]()
    keep = Disk.keep_blob

    def count(disk: Disk, commitment: bytes, data: bytes) -> None:
        written[id(disk), commitment] += 1
        keep(disk, commitment, data)

    monkeypatch.setattr(Disk, "keep_blob", count)
    assert play(directed(1, (), delegating=(0, 1, 2))).result.violation == ""
    assert set(written.values()) == {1}


def test_a_contract_that_liars_alone_have_approved(monkeypatch: pytest.MonkeyPatch) -> None:
    def believe() -> None:
        monkeypatch.setattr("bees.ledger.governance._problem_of", lambda *_: None)

    plans = (directed(seed, ("hostile contract",), deploys=False) for seed in range(20))
    assert_seen("contract in force", plans, monkeypatch, believe)


def test_members_whom_too_few_have_approved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bees.faults.members._honest", lambda _: [0, 1])

    def believe() -> None:
        monkeypatch.setattr("bees.ledger.governance._problem_of", lambda *_: None)
        monkeypatch.setattr("bees.faults.invariants.committees_of", lambda _, world: (world.genesis.committee,))

    plans = (directed(seed, (), amends=True) for seed in range(3))
    assert_seen("members in force", plans, monkeypatch, believe)


def test_members_who_never_change(monkeypatch: pytest.MonkeyPatch) -> None:
    plans = (directed(seed, (), amends=True) for seed in range(3))
    assert_seen(
        "members in force", plans, monkeypatch, lambda: monkeypatch.setattr(FaultWorld, "amend", lambda *_, **__: None)
    )


def test_a_contract_that_never_comes_into_force(monkeypatch: pytest.MonkeyPatch) -> None:
    plans = (directed(seed, (), deploys=True) for seed in range(3))
    assert_seen(
        "contract in force", plans, monkeypatch, lambda: monkeypatch.setattr(FaultWorld, "deploy", lambda *_: None)
    )


def test_a_publish_that_nobody_executes_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def believe() -> None:
        for module in ("bees.ledger.transition", "bees.ledger.evidence", "bees.protocol.witness"):
            monkeypatch.setattr(f"{module}.check_result", lambda *_: None)

    assert_seen("w_g", (directed(seed, ("wrong publish",)) for seed in range(20)), monkeypatch, believe)


def test_eligibility_by_f_plus_1_instead_of_2f_plus_1(monkeypatch: pytest.MonkeyPatch) -> None:
    def fewer(state: State) -> int:
        return (max(1, len({*state.attesters, *state.attestations})) - 1) // 3 + 1

    liars = ("false attestation", "withheld bytes")
    devices = tuple(Liar(index, ("withheld bytes",)) for index in range(3))
    plans = (directed(seed, liars, loss=0.3, lying_devices=devices) for seed in range(20))
    assert_seen(
        "eligibility", plans, monkeypatch, lambda: monkeypatch.setattr("bees.ledger.rounds.attest_quorum", fewer)
    )


def test_a_signer_without_a_journal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server attests once more, with bytes that have come meanwhile, and so convicts itself."""

    def forget() -> None:
        monkeypatch.setattr(Disk, "signed_for", lambda *_: None)
        monkeypatch.setattr(Disk, "keep_answer", lambda *_: None)

    devices = tuple(Liar(index, ("withheld bytes",)) for index in range(3))
    plans = [
        directed(
            seed,
            ("withheld bytes",),
            loss=0.3,
            longest_delay_us=20_000,
            heals_at_us=8_000_000,
            lying_devices=devices,
        )
        for seed in range(60)
    ]
    assert_seen("one answer", plans, monkeypatch, forget)

    def forget_and_look_away() -> None:
        forget()
        monkeypatch.setattr(Watch, "saw_sent", lambda *_: None)

    assert_seen("no honest participant is convicted", plans, monkeypatch, forget_and_look_away)


def test_an_update_that_its_device_has_not_signed(monkeypatch: pytest.MonkeyPatch) -> None:
    def believe() -> None:
        monkeypatch.setattr(Application, "check_signature", lambda *_: None)

    lying = (Liar(0, ("update for others",)),)
    plans = (directed(seed, ("replayed transactions",), lying_devices=lying) for seed in range(20))
    assert_seen("attribution", plans, monkeypatch, believe)
