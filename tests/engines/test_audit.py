from __future__ import annotations

import io
import random
import sqlite3
import subprocess
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from bees.contract.description import describe_virtual_machine
from bees.contract.library import load_contract_code
from bees.contract.vm import VirtualMachine
from bees.core.canonical import decode, encode
from bees.core.errors import ChainFileError, VirtualMachineError
from bees.core.fixed_point import words_to_bytes
from bees.engines.audit import FUEL_CAP, export_chain, iter_chain, verify_chain
from bees.engines.chain_file import ChainReader, ChainWriter
from bees.ledger.aggregation import ContractExecutor
from bees.ledger.block import Batch, Block, Commit, block_id
from bees.ledger.genesis import sign_genesis
from bees.ledger.transactions import Publish, sign

if TYPE_CHECKING:
    from pathlib import Path

    from small_world import World


@pytest.fixture
def chain(world: World, tmp_path: Path):
    return world.write_chain(tmp_path / "chain.db").path


def export(path: Path):
    out = io.BytesIO()
    export_chain(path, out)
    return out.getvalue()


def tamper(path: Path, statement: str, *values: object):
    connection = sqlite3.connect(path)
    with connection:
        connection.execute(statement, values)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


def stored(path: Path, height: int):
    connection = sqlite3.connect(path)
    block, commit = connection.execute('SELECT block, "commit" FROM block WHERE height = ?', (height,)).fetchone()
    connection.close()
    return decode(block, Block), decode(commit, Commit)


def test_a_chain_is_right_and_told_so(world: World, chain: Path) -> None:
    verdict = verify_chain(chain, world.machine)
    assert (verdict.valid, verdict.blocks, verdict.first_bad, verdict.reason) == (True, 6, None, "")
    assert (verdict.chain_id, verdict.round) == (world.genesis.chain_id.hex(), 2)


def test_verifying_changes_nothing(world: World, chain: Path) -> None:
    before = chain.read_bytes(), chain.stat().st_mtime_ns
    verify_chain(chain, world.machine)
    export(chain)
    assert (chain.read_bytes(), chain.stat().st_mtime_ns) == before
    assert [path.name for path in chain.parent.iterdir()] == ["chain.db"]


def test_verifying_executes_the_contract_again(world: World, chain: Path) -> None:
    world.machines.clear()
    verify_chain(chain, world.machine)
    assert [machine.runs for machine in world.machines] == [2]


def test_another_genesis_than_expected_is_refused(make_world: type[World], chain: Path, world: World) -> None:
    assert verify_chain(chain, world.machine, world.genesis.chain_id).valid
    other = make_world(seed=8).genesis.chain_id
    verdict = verify_chain(chain, world.machine, other)
    assert (verdict.valid, verdict.first_bad) == (False, 0)
    assert "another genesis" in verdict.reason


def test_a_genesis_that_not_all_have_signed_is_refused(world: World, chain: Path) -> None:
    forged = msgspec.structs.replace(world.signed, signatures=(bytes(64), *world.signed.signatures[1:]))
    tamper(chain, "UPDATE genesis SET genesis = ?", encode(forged))
    verdict = verify_chain(chain, world.machine)
    assert (verdict.valid, verdict.first_bad, verdict.blocks) == (False, 0, 0)
    assert "server 0 has not signed" in verdict.reason


def test_a_chain_of_other_keys_is_found(make_world: type[World], chain: Path, world: World) -> None:
    stranger = make_world(seed=8)
    forged = sign_genesis(stranger.genesis, stranger.server_keys)
    tamper(chain, "UPDATE genesis SET genesis = ?", encode(forged))
    tamper(chain, "UPDATE tip SET block_id = ?", stranger.genesis.chain_id)
    assert not verify_chain(chain, world.machine).valid


def replace_block(path: Path, height: int, block: Any, commit: Commit):
    tamper(path, 'UPDATE block SET block = ?, "commit" = ? WHERE height = ?', encode(block), encode(commit), height)


def test_a_changed_transaction_is_found_where_it_is(world: World, chain: Path) -> None:
    block, commit = stored(chain, 4)
    first = block.batch.transactions[0]
    richer = sign(msgspec.structs.replace(first.body, samples=7), world.device_keys[0])
    batch = Batch((richer, *block.batch.transactions[1:]))
    header = msgspec.structs.replace(block.header, transactions=batch.root)
    replace_block(chain, 4, Block(header, batch), commit)
    verdict = verify_chain(chain, world.machine)
    assert (verdict.valid, verdict.blocks, verdict.first_bad) == (False, 3, 4)


def test_a_commit_without_quorum_is_found(world: World, chain: Path) -> None:
    block, commit = stored(chain, 5)
    replace_block(chain, 5, block, msgspec.structs.replace(commit, signatures=commit.signatures[:2]))
    verdict = verify_chain(chain, world.machine)
    assert (verdict.first_bad, verdict.blocks) == (5, 4)
    assert "2 signatures, 3 are needed" in verdict.reason


def test_a_commit_with_a_forged_signature_is_found(world: World, chain: Path) -> None:
    block, commit = stored(chain, 2)
    forged = (msgspec.structs.replace(commit.signatures[0], signature=bytes(64)), *commit.signatures[1:])
    replace_block(chain, 2, block, msgspec.structs.replace(commit, signatures=forged))
    assert verify_chain(chain, world.machine).first_bad == 2


def test_bytes_that_do_not_decode_are_found(world: World, chain: Path) -> None:
    tamper(chain, "UPDATE block SET block = ? WHERE height = 3", b"junk")
    assert verify_chain(chain, world.machine).first_bad == 3
    with pytest.raises(ChainFileError, match="block 3"):
        export(chain)
    with pytest.raises(ChainFileError, match="block 3"):
        list(iter_chain(chain))


def test_a_missing_block_is_found(world: World, chain: Path) -> None:
    tamper(chain, "DELETE FROM block WHERE height = 2")
    verdict = verify_chain(chain, world.machine)
    assert (verdict.first_bad, verdict.blocks) == (2, 1)
    assert "block 2 is missing" in verdict.reason


def test_a_block_cut_off_the_end_is_found_by_the_tip(world: World, chain: Path) -> None:
    tamper(chain, "DELETE FROM block WHERE height = 6")
    verdict = verify_chain(chain, world.machine)
    assert (verdict.valid, verdict.blocks, verdict.first_bad) == (False, 5, None)
    assert "its tip says block 6, but block 5 is the last" in verdict.reason


def test_an_update_that_the_contract_read_is_missed(world: World, chain: Path) -> None:
    chosen = world.genesis.initial_model
    tamper(chain, "DELETE FROM blob WHERE rowid = (SELECT max(rowid) FROM blob WHERE commitment <> ?)", chosen)
    verdict = verify_chain(chain, world.machine)
    assert (verdict.valid, verdict.first_bad) == (False, 6)
    assert "missing" in verdict.reason
    with pytest.raises(ChainFileError, match="missing"):
        export(chain)


def test_a_changed_update_is_found(world: World, chain: Path) -> None:
    tamper(chain, "UPDATE blob SET bytes = ? WHERE rowid = 2", bytes(20))
    verdict = verify_chain(chain, world.machine)
    assert verdict.first_bad == 3
    assert "is altered" in verdict.reason


def test_changed_initial_words_are_found(world: World, chain: Path) -> None:
    tamper(chain, "UPDATE blob SET bytes = ? WHERE rowid = 1", bytes(20))
    assert verify_chain(chain, world.machine).first_bad == 0


@pytest.mark.parametrize(
    ("statement", "values"),
    [
        ("INSERT INTO blob VALUES(?, ?)", (bytes(32), b"stray")),
        ('INSERT INTO block SELECT 7, block, "commit" FROM block WHERE height = 6', ()),
        ('INSERT INTO block SELECT 0, block, "commit" FROM block WHERE height = 6', ()),
        ('INSERT INTO block SELECT -1, block, "commit" FROM block WHERE height = 6', ()),
        ("CREATE TABLE extra(x)", ()),
        ("UPDATE tip SET height = 7", ()),
        ("UPDATE tip SET block_id = ?", (bytes(32),)),
        ("UPDATE tip SET block_id = ?", (b"",)),
    ],
)
def test_what_no_block_accounts_for_is_found(
    world: World, chain: Path, statement: str, values: tuple[object, ...]
) -> None:
    tamper(chain, statement, *values)
    verdict = verify_chain(chain, world.machine)
    assert not verdict.valid
    assert verdict.reason


def test_a_row_of_another_type_is_found(world: World, chain: Path) -> None:
    """STRICT tables refuse it, so the schema must have been changed to let it in."""
    with pytest.raises(sqlite3.IntegrityError):
        tamper(chain, "UPDATE tip SET height = 'six'")
    tamper(chain, "PRAGMA writable_schema = ON")
    connection = sqlite3.connect(chain)
    connection.execute("PRAGMA writable_schema = ON")
    with connection:
        connection.execute("UPDATE sqlite_schema SET sql = replace(sql, ' STRICT', '')")
    connection.close()
    tamper(chain, "UPDATE block SET block = 'text' WHERE height = 1")
    assert "schema" in verify_chain(chain, world.machine).reason


def test_the_export_is_the_same_for_the_same_chain_however_it_was_stored(
    world: World, chain: Path, tmp_path: Path
) -> None:
    again = world.write_chain(tmp_path / "again.db").path
    tamper(again, "VACUUM")
    assert again.read_bytes() != chain.read_bytes()
    assert export(again) == export(chain)


def test_the_export_holds_genesis_blocks_commits_and_what_contracts_read(world: World, chain: Path) -> None:
    parts = export(chain)
    with ChainReader(chain) as reader:
        for block in reader.blocks():
            assert block.block in parts
            assert block.commit in parts
        assert all((reader.blob(name) or b"none") in parts for name in reader.blob_names())
    assert encode(world.signed) in parts


def test_a_chain_is_read_block_by_block(chain: Path) -> None:
    entries = list(iter_chain(chain))
    assert [entry.block.header.height for entry in entries] == [1, 2, 3, 4, 5, 6]
    assert [len(entry.read) for entry in entries] == [0, 0, 2, 0, 0, 2]
    assert all(entry.commit.block_id == block_id(entry.block.header) for entry in entries)


# A change of any byte


def judge(path: Path, content: bytes | bytearray, machine: Any):
    path.write_bytes(content)
    verdict = verify_chain(path, machine)
    return verdict, (export(path) if verdict.valid else None)


def test_a_change_of_any_byte_is_found_or_changes_nothing_that_the_chain_says(
    world: World, chain: Path, tmp_path: Path
) -> None:
    content, original = bytearray(chain.read_bytes()), export(chain)
    assert len(content) < 2**20
    rng, path, found = random.Random(1), tmp_path / "changed.db", 0
    for _ in range(1000):
        position, flip = rng.randrange(len(content)), rng.randrange(1, 256)
        content[position] ^= flip
        verdict, exported = judge(path, content, world.machine)
        assert exported in (None, original), f"byte {position} xor {flip}"
        assert verdict.valid or verdict.reason
        found += not verdict.valid
        content[position] ^= flip
    assert found > 150  # a fifth of so small a file is used at all


def test_a_change_of_a_byte_that_is_said_is_always_found(world: World, chain: Path, tmp_path: Path) -> None:
    """Bytes of blocks, commits and updates, so that finding nothing cannot pass for a small share of the file."""
    content, rng = bytearray(chain.read_bytes()), random.Random(2)
    with ChainReader(chain) as reader:
        said = [part for b in reader.blocks() for part in (b.block, b.commit) if len(part) < 3000]
        said += [reader.blob(name) or b"none" for name in reader.blob_names()]
    for part in said:
        start = content.find(part)
        if start < 0:  # spread over several pages
            continue
        for _ in range(10):
            position = start + rng.randrange(len(part))
            content[position] ^= 1 << rng.randrange(8)
            assert not judge(tmp_path / "changed.db", content, world.machine)[0].valid
            content = bytearray(chain.read_bytes())


def test_a_file_cut_at_any_length_is_found(world: World, chain: Path, tmp_path: Path) -> None:
    content, original, rng = chain.read_bytes(), export(chain), random.Random(3)
    for length in [
        0,
        1,
        15,
        16,
        99,
        100,
        4095,
        4096,
        len(content) - 1,
        *(rng.randrange(len(content)) for _ in range(60)),
    ]:
        verdict, exported = judge(tmp_path / "cut.db", content[:length], world.machine)
        assert exported in (None, original)
        assert not verdict.valid
        assert (verdict.first_bad, verdict.blocks) != (None, 6)


def test_files_that_are_no_chain_get_a_verdict_and_no_traceback(world: World, tmp_path: Path) -> None:
    for content in (
        b"",
        bytes(100),
        bytes(8192),
        random.Random(4).randbytes(20000),
        b"SQLite format 3\0" + bytes(4080),
    ):
        verdict, _ = judge(tmp_path / "none.db", content, world.machine)
        assert (verdict.valid, verdict.blocks, verdict.first_bad) == (False, 0, None)
        assert str(tmp_path) in verdict.reason
    assert "no such file" in verify_chain(tmp_path / "nowhere.db").reason


# The real virtual machine


@pytest.fixture
def real(make_world: type[World], tmp_path: Path):
    code, machine = load_contract_code("fedavg"), VirtualMachine(describe_virtual_machine())

    class RealWorld(make_world):
        def _genesis(self):
            return msgspec.structs.replace(super()._genesis(), contract=code)

        def runner(self):
            return ContractExecutor(machine, self.blobs.get, self.initial)

    world = RealWorld()
    return SimpleNamespace(world=world, path=world.write_chain(tmp_path / "real.db").path)


def test_a_chain_of_the_real_contract_is_verified_from_its_file_alone(real: SimpleNamespace) -> None:
    verdict = verify_chain(real.path)
    assert (verdict.valid, verdict.blocks, verdict.reason, verdict.warning) == (True, 6, "", "")


def test_a_result_that_the_contract_does_not_give_is_found(real: SimpleNamespace) -> None:
    """The same blocks under a machine that selects alike, but returns the model unchanged."""
    lazy = real.world.machine()
    lazy.aggregate = lambda _correct, _samples, _updates, previous: previous
    verdict = verify_chain(real.path, lambda _: lazy)
    assert (verdict.valid, verdict.first_bad) == (False, 3)
    assert "its model is not the contract's" in verdict.reason


def test_an_auditor_without_memory_gives_no_verdict(world: World, chain: Path) -> None:
    """The failure is the auditor's; the chain is right."""

    def fail(*_: object) -> None:
        raise VirtualMachineError("this machine has no memory")

    starved = world.machine(world.genesis)
    starved.aggregate = fail
    with pytest.raises(VirtualMachineError, match="no memory"):
        verify_chain(chain, lambda _: starved)
    assert verify_chain(chain, world.machine).valid


_STARVED = """
import resource, sys
from pathlib import Path
from bees.core.errors import VirtualMachineError
from bees.engines.audit import verify_chain

used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 300 * 2**20,) * 2)
try:
    print("verdict:", verify_chain(Path(sys.argv[1])))
except VirtualMachineError as error:
    print("cannot judge:", error)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits the address space as Linux does")
def test_a_starved_process_calls_no_chain_forged(real: SimpleNamespace) -> None:
    command = [sys.executable, "-c", _STARVED, str(real.path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.startswith("cannot judge:"), done.stdout + done.stderr


# A genesis of a stranger


def with_fuel_limit(make_world: type[World], path: Path, fuel_limit: int) -> World:
    class Fuelled(make_world):
        def _genesis(self):
            usual = super()._genesis()
            described = msgspec.structs.replace(usual.virtual_machine, fuel_limit=fuel_limit)
            return msgspec.structs.replace(usual, virtual_machine=described)

    world = Fuelled()
    world.write_chain(path)
    return world


def test_a_genesis_that_could_keep_the_auditor_for_years_is_not_judged(make_world: type[World], tmp_path: Path) -> None:
    path = tmp_path / "greedy.db"
    world = with_fuel_limit(make_world, path, 2**63 - 1)
    world.machines.clear()
    with pytest.raises(VirtualMachineError, match=r"^not judged: the genesis allows 9223372036854775807 units of fuel"):
        verify_chain(path, world.machine)
    assert world.machines == []
    assert verify_chain(path, world.machine, fuel_cap=2**63 - 1).valid


def test_the_fuel_cap_is_the_last_limit_that_is_judged(make_world: type[World], tmp_path: Path) -> None:
    world = with_fuel_limit(make_world, tmp_path / "at.db", FUEL_CAP)
    assert verify_chain(tmp_path / "at.db", world.machine).valid
    with_fuel_limit(make_world, tmp_path / "over.db", FUEL_CAP + 1)
    with pytest.raises(VirtualMachineError):
        verify_chain(tmp_path / "over.db", world.machine)


# The paper's literal reading, where the main node verifies alone


def main_node_chain(make_world: type[World], path: Path, lie: bytes | None = None) -> World:
    """Two rounds in which the main node's word counts; with a lie, it publishes that model in the second."""
    world = make_world(verification="main_node")
    engine = world.engine()
    with ChainWriter.create(path, world.signed, words_to_bytes(world.initial)) as writer:
        for round_ in (1, 2):
            for transactions in (world.updates, world.attests, lambda _: [world.publish(engine)]):
                signed = transactions(engine.state)
                if lie is not None and round_ == 2 and isinstance(signed[0].body, Publish):
                    body = msgspec.structs.replace(signed[0].body, model=lie)
                    signed = [sign(body, world.server_keys[body.server])]
                assert not any(engine.submit_all(signed))
                made = engine.next_block()
                writer.append(made.block, made.commit, world.read_by(made))
    engine.close()
    return world


def test_a_chain_on_which_the_main_node_has_told_the_truth_is_right(make_world: type[World], tmp_path: Path) -> None:
    world = main_node_chain(make_world, tmp_path / "chain.db")
    assert verify_chain(tmp_path / "chain.db", world.machine).valid


def test_the_auditor_finds_the_main_node_that_lied_to_servers_which_did_not_look(
    make_world: type[World], tmp_path: Path
) -> None:
    world = main_node_chain(make_world, tmp_path / "chain.db", lie=bytes(32))
    verdict = verify_chain(tmp_path / "chain.db", world.machine)
    assert not verdict.valid
    assert verdict.blocks == 5
    assert "published a wrong result: its model is not the contract's" in verdict.reason
