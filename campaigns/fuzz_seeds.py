"""Small valid examples, made by code, from which fuzzing starts."""

from __future__ import annotations

import io
import sqlite3
from contextlib import closing, suppress
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import wasmtime
from msgspec.structs import fields, replace

from bees.contract.library import contract_names, load_contract_code
from bees.core.canonical import encode
from bees.core.errors import WordRangeError
from bees.core.update_codec import UPDATE_ENCODINGS, encode_update
from bees.engines.messages import Decision, Message, Status, Vote, sign_proposal
from bees.ledger.block import Batch, Block, block_id, vote_bytes
from bees.results import DeviceTrace, RoundRow
from bees.run_folder import RunFolder
from bees.scenario import Ledger, Scenario, Topology
from bees.scenario_file import dump_scenario, preset_names
from bees.scenario_knobs import knobs_by_key
from campaigns.fuzz_targets import RUN_PARTS, UPDATE_BASE
from campaigns.fuzz_world import world

if TYPE_CHECKING:
    from bees.ledger.block import VoteKind

_PARTS = {
    "select": "(i32.store (local.get 4) (i32.const 0)) (i32.const 1)",
    "aggregate": "(i32.store (local.get 6) (i32.load (local.get 4))) (i32.const 0)",
}
_BODIES = (
    ("select", "(loop (br 0)) (unreachable)"),
    ("select", "(i32.div_u (local.get 0) (i32.sub (local.get 0) (i32.const 3)))"),
    ("select", "(i32.store (local.get 4) (i32.load (i32.const -4))) (i32.const 1)"),
    (
        "select",
        "(global.set $g (i32.add (global.get $g) (i32.const 1))) (i32.store (local.get 4) (i32.const 0))(global.get 0)",
    ),
    ("select", "(if (result i32) (local.get 0) (then (call $h (local.get 3))) (else (i32.const 2)))"),
    ("select", "(block (block (br_table 0 1 0 (local.get 3)))) (i32.const 1)"),
    (
        "aggregate",
        "(f32.store (local.get 6) (f32.div (f32.load (local.get 4)) (f32.load (local.get 5)))) (i32.const 0)",
    ),
    (
        "aggregate",
        "(v128.store (local.get 6) (f32x4.add (v128.load (local.get 4)) (v128.load (local.get 5)))) (i32.const 0)",
    ),
    (
        "aggregate",
        "(f64.store (local.get 6) (f64.sqrt (f64.promote_f32 (f32.load (local.get 4))))) (i32.const 0)",
    ),
    (
        "aggregate",
        (
            "(loop (i64.store (local.get 6) (i64.trunc_sat_f64_s (f64.convert_i32_s (local.get 0))))"
            " (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))) (i32.const 0)"
        ),
    ),
)


@cache
def seeds() -> dict[str, tuple[bytes, ...]]:
    """Examples for each target that hold, by the target's name."""
    made, chain = world(), world().blocks
    transactions = [signed for snapshot in made.snapshots for signed in snapshot.candidates]
    blocks = [encode(block) for block, _ in chain]
    proofs = [encode(proof) for proof in made.proofs.values()]
    known = {
        "transaction": [encode(signed) for signed in transactions],
        "block": blocks,
        "commit": [encode(commit) for _, commit in chain],
        "genesis": [encode(made.signed)],
        "model_proof": proofs,
        "light_client_proof": proofs,
        "light_client_committees": [encode(made.handovers()[:end]) for end in range(3)],
        "light_client_genesis": [encode(made.signed)],
        "message": [encode(message) for message in _messages()],
        "replica": [encode(tuple(_messages())), *(encode((message,)) for message in _messages())],
        "execute": _executable(),
        "contract": _modules(),
        "chain_file": _chain_files(),
        "scenario": [
            *(f'extends = "{name}"\n'.encode() for name in preset_names()),
            dump_scenario(Scenario()).encode(),
        ],
        "override": [f"{key}={knob.default}".encode() for key, knob in knobs_by_key().items()],
        "idx": [b"\0\0\x08\x01\0\0\0\x03abc", b"\0\0\x08\x03\0\0\0\x02\0\0\0\x01\0\0\0\x02abcd", b"\0\0\x08\0a"],
        "npz": _npz_files(),
        "run_folder": _run_parts(),
        "update": _updates(),
    }
    return {name: tuple(dict.fromkeys(examples)) for name, examples in known.items()}


def write_run_folder(path: Path) -> None:
    """A small finished run with a chain; its numbers are made up, since only their form matters here."""
    scenario = Scenario(name="tiny", blocks=2, topology=Topology(servers=4, devices=4), ledger=Ledger(top_m=2))
    folder = RunFolder(path, scenario, "bees run tiny")
    kinds: dict[object, object] = {
        int: 4,
        float: 0.5,
        str: "ab" * 32,
        int | None: 2,
        float | None: 0.25,
        tuple[int, ...]: (1, 3),
        tuple[str, ...]: ("forged",),
    }
    for t in (1, 2):
        values = {field.name: kinds[field.type] for field in fields(RoundRow)}
        folder.add_round(msgspec.convert(values | {"block": t, "height": 3 * t}, RoundRow))
    nothing: dict[str, Any] = {name: np.zeros((2, 4)) for name in DeviceTrace.__dataclass_fields__}
    trace = DeviceTrace(**nothing)
    np.savez_compressed(path / "devices.npz", allow_pickle=False, **trace.as_arrays())
    world().write_chain(folder.chain)
    folder.set_status("finished", blocks_done=2, blocks=2, seconds=1.5)


def _messages() -> list[Message]:
    """What the replicas of a first height say to one another, among it a rejected block and an old vote."""
    made = world()
    block, commit = made.blocks[0]
    data, chain_id = encode(block), made.genesis.chain_id
    messages: list[Message] = [
        sign_proposal(made.server_keys[k], chain_id, 1, k, valid_round, data, k) for k, valid_round in ((0, -1), (1, 0))
    ]
    kinds: tuple[VoteKind, ...] = ("prevote", "precommit")
    for kind in kinds:
        for k, key in enumerate(made.server_keys):
            name = block_id(block.header) if k else None
            messages.append(Vote(1, 0, kind, name, k, key.sign(vote_bytes(chain_id, 1, 0, kind, name))))
    empty = Block(replace(block.header, transactions=Batch(()).root), Batch(()))
    messages.append(sign_proposal(made.server_keys[0], chain_id, 1, 0, -1, encode(empty), 0))
    return [*messages, Status(1, 2), Decision(1, data, commit)]


def _executable() -> list[bytes]:
    """Blocks for each snapshot: of one candidate, of all that can stand together, and of none."""
    made: list[bytes] = []
    header = world().blocks[0][0].header
    for index, snapshot in enumerate(world().snapshots):
        whole = snapshot.application.prepare_proposal(snapshot.candidates)
        batches = [Batch(()), whole, *(Batch((signed,)) for signed in snapshot.candidates)]
        made += [bytes([index]) + encode(Block(header, batch)) for batch in batches]
    return made


def _modules() -> list[bytes]:
    return [*map(load_contract_code, contract_names()), _module(), *(_module(**{part: body}) for part, body in _BODIES)]


def _module(**bodies: str) -> bytes:
    parts = _PARTS | bodies
    functions = "".join(
        f'(func (export "{name}") (param {"i32 " * count}) (result i32) {parts[name]})'
        for name, count in (("select", 5), ("aggregate", 7))
    )
    return bytes(
        wasmtime.wat2wasm(
            '(module (memory (export "memory") 1) (global (export "__heap_base") i32 (i32.const 64))'
            " (global $g (mut i32) (i32.const 0)) (func $h (param i32) (result i32) (i32.const 1))"
            f' (func (export "abi_version") (result i32) (i32.const 2)) {functions} (data (i32.const 0) "abc"))'
        )
    )


def _chain_files() -> list[bytes]:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "chain.db"
        world().write_chain(path)
        usual = path.read_bytes()
        with closing(sqlite3.connect(path, isolation_level=None)) as database:
            for statement in ("PRAGMA journal_mode = DELETE", "PRAGMA page_size = 512", "VACUUM"):
                database.execute(statement)
        return [path.read_bytes(), usual]


def _npz_files() -> list[bytes]:
    usual: dict[str, Any] = {
        "x_train": np.arange(8, dtype=np.float32).reshape(4, 2),
        "y_train": np.array([0, 1, 2, 0]),
        "x_test": np.ones((2, 2), np.uint8),
        "y_test": np.array([2, 1], np.uint8),
    }
    changes: list[dict[str, Any]] = [
        {},
        {"x_train": np.arange(16, dtype=np.uint8).reshape(4, 2, 2), "x_test": np.ones((2, 2, 2), np.int64)},
        {"x_train": np.full((4, 2), np.nan)},
        {"y_train": np.array([0, -1, 2, 0])},
        {"x_test": np.ones((2, 2), np.complex64)},
    ]
    files: list[bytes] = []
    for change in changes:
        file = io.BytesIO()
        np.savez(file, allow_pickle=False, **(usual | change))
        files.append(file.getvalue())
    return files


def _updates() -> list[bytes]:
    """Updates that are near to w_g(t-1), and as far from it as can be, in every encoding."""
    wide = UPDATE_BASE.astype(np.int64)
    targets = [wide, wide + np.array([3, -2, 1, -4, 5, -127, 90]), wide // 3, np.clip(-wide, -(2**31), 2**31 - 1)]
    made: list[bytes] = []
    for index, encoding in enumerate(UPDATE_ENCODINGS):
        for words in targets:
            with suppress(WordRangeError):
                made.append(bytes([index]) + encode_update(words, UPDATE_BASE, encoding))
    return made


def _run_parts() -> list[bytes]:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "run"
        write_run_folder(path)
        return [bytes([index]) + (path / part).read_bytes() for index, part in enumerate(RUN_PARTS)]
