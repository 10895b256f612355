"""A hostile contract loses its fuel and nothing else: the same at every replica, and the next round is as ever."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest

from bees.contract.description import LONGEST_CONTRACT_BYTES, describe_virtual_machine
from bees.contract.library import load_contract_code
from bees.contract.vm import VirtualMachine
from bees.core.errors import ContractError, ContractLoadError
from bees.ledger.aggregation import ContractExecutor
from bees.ledger.application import Application
from bees.ledger.block import Batch
from bees.ledger.refusals import InvalidTransactionError
from bees.ledger.transactions import Publish
from campaigns.fuzz_world import DEVICES, SERVERS, World

if TYPE_CHECKING:
    from collections.abc import Callable

    Assemble = Callable[..., bytes]

AGGREGATE = (
    '(func (export "aggregate") (param $m i32) (param $p i32) (param $correct i32) (param $n i32) (param $updates i32)'
    " (param $prev i32) (param $out i32) (result i32)"
)


def picks(count: int, *indices: int) -> str:
    stores = (f"(i32.store offset={4 * at} (local.get $out) (i32.const {i}))" for at, i in enumerate(indices))
    return f"{' '.join(stores)} (i32.const {count})"


def to_bits(*expressions: str) -> str:
    """An aggregate that writes these i32, one after the other."""
    stores = (f"(i32.store offset={4 * at} (local.get $out) {bits})" for at, bits in enumerate(expressions))
    return f"{AGGREGATE} {' '.join(stores)} (i32.const 0))"


QUIET = "(f32.reinterpret_i32 (i32.const 0xffc12345))"
SIGNALLING = "(f32.reinterpret_i32 (i32.const 0x7fa00001))"

# Bodies of select that load, and have no result.
FRUITLESS_SELECTS = {
    "endless loop": "(loop (br 0)) (unreachable)",
    "endless loop that writes": "(loop (i32.store (i32.const 0) (i32.const 1)) (br 0)) (unreachable)",
    "unreachable": "(unreachable)",
    "division by zero": "(i32.div_s (i32.const 1) (i32.const 0))",
    "division that overflows": "(i32.div_s (i32.const 0x80000000) (i32.const -1))",
    "remainder by zero": "(i64.eqz (i64.rem_u (i64.const 1) (i64.const 0)))",
    "read outside": "(i32.load offset=0xfffffff0 (i32.const -1))",
    "write outside": "(i32.store (i32.const -4) (i32.const 1)) (i32.const 1)",
    "NaN to integer": "(i32.trunc_f64_u (f64.const nan))",
    "too many": picks(3, 0, 1, 2),
    "more than there are": picks(5, 0, 1, 2, 3, 4),
    "two billion": picks(2**31 - 1, 0),
    "none": picks(0),
    "less than none": picks(-1, 0),
    "the same twice": picks(2, 1, 1),
    "descending": picks(2, 1, 0),
    "a negative index": picks(1, -1),
    "an index that is not there": picks(1, DEVICES),
}
FRUITLESS_AGGREGATES = {
    "endless loop": f"{AGGREGATE} (loop (br 0)) (unreachable))",
    "status": f"{AGGREGATE} (i32.const -1))",
    "write outside": f"{AGGREGATE} (v128.store (i32.const -16) (v128.const i64x2 1 1)) (i32.const 0))",
    "all of memory and more": (
        f"{AGGREGATE} (loop (i64.store (local.get $m) (i64.const -1))"
        " (local.set $m (i32.add (local.get $m) (i32.const 8))) (br 0)) (unreachable))"
    ),
}
# What loads and has a result, which must not depend on the machine nor on what came before.
TRICKY_AGGREGATES = {
    "writes over its inputs": (
        f"{AGGREGATE} (i32.store (local.get $prev) (i32.const 7)) (i32.store (local.get $updates) (i32.const 7))"
        " (i32.store (local.get $n) (i32.const 7)) (i32.const 0))"
    ),
    "size of memory": to_bits("(memory.size)"),
    "counts its calls": (
        "(global $calls (mut i32) (i32.const 0))"
        f"{AGGREGATE} (global.set $calls (i32.add (global.get $calls) (i32.const 1)))"
        " (i32.store (local.get $out) (global.get $calls)) (i32.const 0))"
    ),
    "counts its calls in memory": (
        f"{AGGREGATE} (i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (i32.const 1)))"
        " (i32.store (local.get $out) (i32.load (i32.const 0))) (i32.const 0))"
    ),
}
NANS = {
    f"(i32.reinterpret_f32 (f32.{operation} {operands}))": 0x7FC00000
    for operation, operands in (
        ("add", f"{QUIET} (f32.const 1)"),
        ("sub", "(f32.const inf) (f32.const inf) (; no NaN goes in ;)"),
        ("mul", f"{SIGNALLING} {QUIET}"),
        ("div", "(f32.const 0) (f32.const 0)"),
        ("min", f"{QUIET} (f32.const 1)"),
        ("max", f"(f32.const 1) {SIGNALLING}"),
        ("sqrt", "(f32.const -1)"),
        ("nearest", SIGNALLING),
        ("ceil", QUIET),
        ("demote_f64", "(f64.reinterpret_i64 (i64.const -1))"),
    )
} | {
    f"(i32.wrap_i64 (i64.shr_u (i64.reinterpret_f64 (f64.promote_f32 {SIGNALLING})) (i64.const 32)))": 0x7FF80000,
    f"(i32.wrap_i64 (i64.reinterpret_f64 (f64.promote_f32 {QUIET})))": 0,
    f"(i32x4.extract_lane 3 (f32x4.min (f32x4.splat {QUIET}) (f32x4.splat {SIGNALLING})))": 0x7FC00000,
    "(i32x4.extract_lane 1 (f32x4.sqrt (f32x4.splat (f32.const -4))))": 0x7FC00000,
    "(i32x4.extract_lane 0 (f32x4.demote_f64x2_zero (f64x2.splat (f64.reinterpret_i64 (i64.const -1)))))": 0x7FC00000,
    # Bits that are only moved stay as they are, by the specification.
    f"(i32.reinterpret_f32 {SIGNALLING})": 0x7FA00001,
    f"(i32.reinterpret_f32 (f32.neg {QUIET}))": 0x7FC12345,
    f"(i32.reinterpret_f32 (f32.abs {QUIET}))": 0x7FC12345,
    f"(i32.reinterpret_f32 (f32.copysign {SIGNALLING} (f32.const -1)))": 0xFFA00001,
    f"(i32.trunc_sat_f32_s {QUIET})": 0,
    "(i32.trunc_sat_f64_u (f64.const inf))": 0xFFFFFFFF,
}


class Play:
    """A chain that deploys a hostile contract in round 1 and a good one in round 2."""

    def __init__(self) -> None:
        self.world = World()

    def to_publish(self, *first: bytes) -> None:
        """COLLECT and ATTEST of a round, after a Deploy of some code."""
        world = self.world
        world.block(*(world.deploy(code) for code in first), *(world.update(k) for k in range(DEVICES)))
        world.block(*(world.attest(k) for k in range(SERVERS)))

    def publish(self) -> None:
        """PUBLISH by whoever is elected."""
        main_node = self.world.state.main_node
        assert main_node is not None
        self.world.block(self.world.publish(main_node))

    def round(self, *first: bytes) -> None:
        """A round as it should be."""
        self.to_publish(*first)
        self.publish()

    def elsewhere(self) -> Application:
        """A replica with a machine of its own, which sees all blocks for the first time."""
        world = self.world
        runner = ContractExecutor(VirtualMachine(world.machine.description), world.blobs.get, world.initial)
        other = Application(world.signed, runner)
        for block, _ in world.blocks:
            other.process_proposal(block.batch, block.header.app_hash)
            other.finalize_block(block.batch)
            other.commit()
        return other


def guess(world: World) -> Publish:
    """What a main node may make up when the contract has no result."""
    state = world.state
    assert state.main_node is not None
    return Publish(world.genesis.chain_id, state.round, state.model, state.main_node, (0, 1), bytes(32))


@pytest.fixture(scope="module")
def small_machine() -> VirtualMachine:
    return VirtualMachine(describe_virtual_machine(fuel_limit=200_000, memory_limit_bytes=2**21))


@pytest.mark.parametrize(
    "parts",
    [
        *(pytest.param({"select": body}, id=f"select: {name}") for name, body in FRUITLESS_SELECTS.items()),
        *(pytest.param({"aggregate": body}, id=f"aggregate: {name}") for name, body in FRUITLESS_AGGREGATES.items()),
    ],
)
def test_without_a_result_the_round_is_skipped_and_the_next_goes_on(
    select_code: Assemble, contract_code: Assemble, parts: dict[str, str]
) -> None:
    code = select_code(parts["select"]) if "select" in parts else contract_code(**parts)
    play = Play()
    world = play.world
    play.round(code)
    before = world.state.model
    play.to_publish(load_contract_code("fedavg"))
    state, app_hash = world.state, world.application.app_hash
    with pytest.raises(ContractError) as failed:
        world.application.runner.run(state)
    with pytest.raises(ContractError) as again:
        play.elsewhere().runner.run(state)
    assert (type(failed.value), str(failed.value)) == (type(again.value), str(again.value))
    with pytest.raises(InvalidTransactionError, match="the contract has no result"):
        world.application.finalize_block(Batch((world.sign(guess(world)),)))
    assert (world.state, world.application.app_hash) == (state, app_hash)
    while world.state.round == state.round:
        world.block()
    assert world.state.outcome is not None
    assert world.state.outcome.is_skipped
    assert world.state.model == before
    # The turns that passed in silence cost what turns cost; the contract itself has cost nobody anything.
    costs = world.genesis.costs
    spent = [a.battery_mj - b.battery_mj for a, b in zip(state.servers, world.state.servers, strict=True)]
    assert {mj + costs.harvest_mj for mj in spent} <= {0, costs.publish_mj}
    play.round()
    assert not world.state.outcome.is_skipped
    assert world.state.model != before
    assert play.elsewhere().app_hash == world.application.app_hash


@pytest.mark.parametrize("body", TRICKY_AGGREGATES.values(), ids=TRICKY_AGGREGATES)
def test_a_result_depends_on_nothing_but_its_inputs(contract_code: Assemble, body: str) -> None:
    play = Play()
    play.round(contract_code(aggregate=body))
    for _ in range(3):
        play.round()
    play.round(load_contract_code("fedavg"))
    play.round()
    assert play.elsewhere().app_hash == play.world.application.app_hash


@pytest.mark.parametrize("body", TRICKY_AGGREGATES.values(), ids=TRICKY_AGGREGATES)
def test_calls_share_nothing_and_the_hosts_arrays_stay(
    small_machine: VirtualMachine, contract_code: Assemble, body: str
) -> None:
    contract = small_machine.load(contract_code(aggregate=body))
    update, previous = np.arange(4, dtype=np.int32), np.arange(4, 8, dtype=np.int32)
    results = {contract.aggregate([0], [1], [update], previous).tobytes() for _ in range(3)}
    assert len(results) == 1
    assert update.tolist() == [0, 1, 2, 3]
    assert previous.tolist() == [4, 5, 6, 7]


@pytest.mark.parametrize(("bits", "expected"), NANS.items())
def test_a_nan_that_is_computed_has_one_spelling(
    small_machine: VirtualMachine, contract_code: Assemble, bits: str, expected: int
) -> None:
    row = np.zeros(1, np.int32)
    out = small_machine.load(contract_code(aggregate=to_bits(bits))).aggregate([0], [1], [row], row)
    assert out.view(np.uint32)[0] == expected


# What is refused before it runs, so that a Deploy of it is, too


REFUSED = {
    "start function": {"extra": "(func $s (loop (br 0))) (start $s)"},
    "imported clock": {"imports": '(import "env" "clock" (func (result i64)))'},
    "imported memory": {"imports": '(import "env" "memory" (memory 1))', "memory": ""},
    "4 GB of memory": {"memory": '(memory (export "memory") 65536)'},
    "memory of its own maximum": {"memory": '(memory (export "memory") 1 65536)'},
    "two memories": {"extra": "(memory 1)"},
    "64-bit memory": {"memory": '(memory (export "memory") i64 1)'},
    "shared memory": {"memory": '(memory (export "memory") 1 1 shared)'},
    "memory.grow": {"extra": "(func (drop (memory.grow (i32.const 10000))))"},
    "memory.fill": {"extra": "(func (memory.fill (i32.const 0) (i32.const 1) (i32.const 60000)))"},
    "data outside of memory": {"extra": '(data (i32.const 0x7fffffff) "x")'},
    "table of four billion": {"extra": "(table 0xffffffff funcref)"},
    "elements outside of their table": {"extra": "(table 1 funcref) (func $e) (elem (i32.const 1) $e)"},
    "recursion": {"extra": "(func $f (param i32) (call $f (local.get 0)))"},
    "recursion through another": {"extra": "(func $f (call $g)) (func $g (call $f))"},
    "recursion through a table": {"extra": "(table 1 funcref) (func (call_indirect (i32.const 0)))"},
    "tail call": {"extra": "(func $t (return_call $t))"},
    "50,000 locals": {"extra": f"(func (local {'i64 ' * 50_000}))"},
    "many functions": {"extra": "(func)" * 1000},
    "many exports": {"extra": "".join(f'(export "e{i}" (memory 0))' for i in range(7000))},
    "select of a vector": {
        "select": '(func (export "select") (param i32 i32 i32 v128 i32) (result i32) (i32.const 1))'
    },
    "heap base of a vector": {"heap_base": '(global (export "__heap_base") v128 (v128.const i64x2 0 0))'},
    "many parameters": {"extra": f"(func (param {'v128 ' * 1000}))"},
    "deep nesting": {"extra": f"(func {'(block ' * 1000}{')' * 1000})"},
    "br_table of 20,000": {"extra": f"(func (block (br_table {'0 ' * 20_000}(i32.const 0))))"},
    "relaxed SIMD": {
        "extra": "(func (result v128) (f32x4.relaxed_madd (v128.const i64x2 0 0) (v128.const i64x2 0 0)"
        " (v128.const i64x2 0 0)))"
    },
    "atomics": {"extra": "(func (drop (i32.atomic.rmw.add (i32.const 0) (i32.const 1))))"},
    "exceptions": {"extra": "(tag $e) (func (throw $e))"},
    "mutable heap base": {"heap_base": '(global (export "__heap_base") (mut i32) (i32.const 64))'},
    "ABI version that never comes": {
        "abi_version": '(func (export "abi_version") (result i32) (loop (br 0)) (unreachable))'
    },
    "ABI version that traps": {"abi_version": '(func (export "abi_version") (result i32) (unreachable))'},
}


@pytest.fixture(scope="module")
def refusing() -> Play:
    play = Play()
    play.world.block()
    return play


@pytest.mark.parametrize("parts", REFUSED.values(), ids=REFUSED)
def test_a_deploy_of_what_breaks_a_bound_is_refused_at_once(
    refusing: Play, contract_code: Assemble, parts: dict[str, str]
) -> None:
    world, code = refusing.world, contract_code(**parts)
    state, started = world.state, time.perf_counter()
    with pytest.raises(InvalidTransactionError) as refused:
        world.application.finalize_block(Batch((world.deploy(code),)))
    assert time.perf_counter() - started < 2
    assert world.state is state
    with pytest.raises(ContractError) as elsewhere:
        VirtualMachine(world.machine.description).load(code)
    assert str(elsewhere.value) in str(refused.value)


def test_a_refused_deploy_leaves_a_chain_that_goes_on(refusing: Play) -> None:
    refusing.round()
    assert refusing.world.state.outcome is not None
    assert not refusing.world.state.outcome.is_skipped


def test_exports_that_the_host_would_look_up_before_each_call_are_bounded(contract_code: Assemble) -> None:
    """Nine thousand of them took ten seconds to load and 1.6 s before each call, and no fuel."""
    with pytest.raises(ContractLoadError, match="7005 exports; a contract may have 64"):
        VirtualMachine(describe_virtual_machine()).load(contract_code(**REFUSED["many exports"]))


def test_the_fattest_frames_that_pass_fit_in_the_stack(contract_code: Assemble) -> None:
    """How large a frame is differs between kinds of machines, so a stack that overflows on one splits the chain.

    Forty functions that hand on a thousand v128 did so, before parameters were bounded.
    """
    machine = VirtualMachine(describe_virtual_machine(contract_limit_bytes=LONGEST_CONTRACT_BYTES))
    depth, live, handed = 50, 500, 32
    types, hand = f"(param {'v128 ' * handed})", "".join(f"(local.get {k})" for k in range(handed))
    chain = ["(func $leaf (result v128) (v128.load (i32.const 0)))"]
    chain += [
        f"(func $f{k} {types} (result v128) {'(call $leaf) ' * live} {hand} (call $f{k + 1}) {'(v128.or) ' * live})"
        for k in range(depth)
    ]
    chain.append(f"(func $f{depth} {types} (result v128) (call $leaf))")
    body = f"{'(local.get $x) ' * handed}(drop (call $f0)) {picks(1, 0)}".replace("$x", "5").replace("$out", "4")
    select = f'(func (export "select") (param i32 i32 i32 i32 i32) (result i32) (local v128) {body})'
    code = contract_code(select=select, extra=" ".join(chain))
    assert 100_000 < len(code) <= LONGEST_CONTRACT_BYTES
    assert machine.load(code).select([1], [1], 1) == (0,)


def test_two_machines_of_one_description_find_the_same_fuel(select_code: Assemble) -> None:
    limits = msgspec.structs.replace(describe_virtual_machine(fuel_limit=200_000), memory_limit_bytes=2**21)
    code = select_code(
        "(loop (local.set $x (i32.add (local.get $x) (i32.const 1)))"
        f" (br_if 0 (i32.lt_u (local.get $x) (i32.const 900)))) {picks(1, 0)}"
    )
    used: list[int] = []
    for machine in (VirtualMachine(limits), VirtualMachine(limits)):
        contract = machine.load(code)
        assert contract.select([1], [1], 1) == (0,)
        used.append(contract.fuel_used)
    assert used[0] == used[1] > 900
