"""``bees contract`` as a user meets it: a rule from the template to its place on a chain."""

from __future__ import annotations

import json
import signal
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from typing import TYPE_CHECKING, Any

import pytest
import wasmtime

from bees.cli.main import run_command
from bees.contract import build
from bees.contract.description import ABI_VERSION
from bees.contract.library import load_contract_code, packaged_contracts
from bees.core.canonical import decode, encode
from bees.core.hashes import digest
from bees.core.seeds import stream_key
from bees.engines.chain_file import ChainReader
from bees.key_file import write_key_file
from bees.ledger.aggregation import ContractExecutor
from bees.ledger.application import Application
from bees.ledger.block import Batch
from bees.ledger.transactions import Deploy, Signed
from bees.proposal_file import read_contract_proposal as read_proposal

if TYPE_CHECKING:
    from pathlib import Path

SERVERS = 4


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    returncode: int
    stdout: str
    stderr: str


def bees(*arguments: object) -> Done:
    out, err = StringIO(), StringIO()
    handler = signal.getsignal(signal.SIGTERM)
    try:
        with redirect_stdout(out), redirect_stderr(err):
            code = run_command([str(argument) for argument in arguments])
    finally:
        signal.signal(signal.SIGTERM, handler)
    return Done(code, out.getvalue(), err.getvalue())


def json_of(*arguments: object) -> Any:
    done = bees(*arguments, "--json")
    assert done.returncode == 0, done.stderr + done.stdout
    return json.loads(done.stdout)


def refused(*arguments: object, code: int = 2) -> str:
    done = bees(*arguments)
    assert done.returncode == code, (done.stdout, done.stderr)
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    return done.stderr


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A chain, and the key files of its servers, which follow from the seed of the run."""
    folder = tmp_path_factory.mktemp("world")
    json_of("run", "quick", "--set", "blocks=1", "--out", folder / "run")
    json_of("prove", folder / "run", "--genesis-out", folder / "genesis")
    for k in range(SERVERS):
        write_key_file(folder / f"{k}.key", digest("simulated key", stream_key(0, "server", k)))
    return folder


@pytest.fixture
def proposal(world: Path, tmp_path: Path) -> Path:
    json_of("contract", "propose", "argmax", "--genesis", world / "run", "--out", tmp_path / "deploy.json")
    return tmp_path / "deploy.json"


def approve(proposal: Path, world: Path, *servers: int) -> None:
    for k in servers:
        json_of("contract", "approve", proposal, "--key", world / f"{k}.key")


def test_from_the_template_to_a_run(tmp_path: Path):
    pytest.importorskip("ziglang", reason="the compiler is a development dependency")
    source, code = tmp_path / "rule.c", tmp_path / "rule.wasm"
    assert bees("contract", "new", source).returncode == 0
    assert "exists already" in refused("contract", "new", source)
    built = json_of("contract", "build", source)
    assert built["bytes"] == code.stat().st_size
    tried = json_of("contract", "test", code, "--devices", 9, "--parameters", 30, "--top-m", 4, "--seed", 7)
    assert (tried["passed"], tried["hash"], tried["seed"]) == (True, built["hash"], 7)
    json_of("run", "quick", "--set", "blocks=1", "--set", f"ledger.contract={code}", "--out", tmp_path / "run")
    assert json.loads((tmp_path / "run" / "rounds.jsonl").read_text())["contract"] == built["hash"]
    assert json_of("verify", tmp_path / "run")["contract"] == built["hash"]


def test_a_source_that_does_not_compile_gets_the_compilers_words(tmp_path: Path):
    pytest.importorskip("ziglang", reason="the compiler is a development dependency")
    wrong = tmp_path / "wrong.c"
    wrong.write_text("int f( {\nint g(\n")
    done = bees("contract", "build", wrong)
    assert done.returncode == 2
    assert "error: expected parameter declarator" in done.stderr
    assert done.stderr.strip().splitlines()[-1].startswith("bees: ")
    assert json.loads(bees("contract", "build", wrong, "--json").stdout)["error"] == "CompileError"
    assert not (tmp_path / "wrong.wasm").exists()


def test_what_a_chain_would_refuse_is_not_written(tmp_path: Path):
    pytest.importorskip("ziglang", reason="the compiler is a development dependency")
    text = (build.HEADERS / "argmax.c").read_text()
    source = tmp_path / "deep.c"
    source.write_text(
        text.replace("if (m != 1)", "if (deep(m) != m)").replace(
            "uint32_t aggregate", "uint32_t deep(uint32_t x) { return x < 2 ? x : deep(x / 2) + deep(x / 3) * x; }\n"
            "uint32_t aggregate", 1
        )
    )  # fmt: skip
    assert "recur" in refused("contract", "build", source, code=1)
    assert not (tmp_path / "deep.wasm").exists()


def test_without_the_compiler_one_line_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    def missing(_name: str) -> str:
        raise build.PackageNotFoundError

    bees("contract", "new", tmp_path / "rule.c")
    monkeypatch.setattr(build, "version", missing)
    assert f"pip install ziglang=={build.ZIGLANG_VERSION}" in refused("contract", "build", tmp_path / "rule.c")


def test_bad_arguments_of_build(tmp_path: Path):
    (tmp_path / "rule.c").write_text("")
    assert "no such file" in refused("contract", "build", tmp_path / "nowhere.c")
    assert "end in .c" in refused("contract", "build", tmp_path / "rule.txt")
    assert "end in .wasm" in refused("contract", "build", tmp_path / "rule.c", "--out", tmp_path / "rule.c")
    for define in ("TRIM", "1A=2", "-x=1", "A=\n"):
        assert "--define" in refused("contract", "build", tmp_path / "rule.c", "--define", define)


def contract_code(aggregate: str = "(i32.const 0)", pages: int = 1) -> bytes:
    """A contract that picks the first update, with this body of aggregate."""
    i32 = " i32"
    return bytes(
        wasmtime.wat2wasm(
            f"""(module (memory (export "memory") {pages})
            (global (export "__heap_base") i32 (i32.const 1024))
            (func (export "abi_version") (result i32) (i32.const {ABI_VERSION}))
            (func (export "select") (param{5 * i32}) (result i32)
              (i32.store (local.get 4) (i32.const 0)) (i32.const 1))
            (func (export "aggregate") (param{7 * i32}) (result i32) {aggregate}))"""
        )
    )


def test_hostile_code_ends_in_a_clear_line(tmp_path: Path):
    loop, trap, bomb, junk = (tmp_path / f"{name}.wasm" for name in ("loop", "trap", "bomb", "junk"))
    loop.write_bytes(contract_code("(loop (br 0)) (unreachable)"))
    trap.write_bytes(contract_code("(unreachable)"))
    bomb.write_bytes(contract_code(pages=60_000))
    junk.write_bytes(b"junk")
    small = ("--devices", 5, "--parameters", 4, "--fuel", 1_000_000)
    done = bees("contract", "test", loop, *small)
    assert (done.returncode, "out of fuel" in done.stdout, "rest was not tried" in done.stdout) == (1, True, True)
    done = bees("contract", "test", trap, *small)
    assert (done.returncode, "failed: ordinary (seed 0): trap" in done.stdout) == (1, True)
    assert "is no contract" in refused("contract", "test", bomb)
    assert "is no contract" in refused("contract", "test", junk)
    assert "no such file" in refused("contract", "test", tmp_path / "nowhere.wasm")
    assert "did you mean" in refused("contract", "test", "fedavgg")
    junk.write_bytes(b"")
    assert "is empty" in refused("contract", "test", junk)
    assert "no such contract" in refused("contract", "test", tmp_path)


def test_list_tells_name_hash_size_source_and_purpose():
    rows = json_of("contract", "list")
    assert [row["name"] for row in rows] == [known.name for known in packaged_contracts().contracts]
    for row in rows:
        assert row["bytes"] == len(load_contract_code(row["name"]))
        assert (len(row["hash"]), row["source"]) == (64, f"contracts/{row['name']}.c")
        assert row["purpose"]
    text = bees("contract", "list").stdout
    assert all(row["name"] in text and row["hash"][:16] in text for row in rows)


def test_three_of_four_servers_change_the_contract_of_a_real_chain(world: Path, proposal: Path, tmp_path: Path):
    transaction = tmp_path / "deploy.transaction"
    deploy = ("contract", "deploy", proposal, "--key", world / "2.key", "--out", transaction)
    approve(proposal, world, 3, 1)
    assert "2 valid approvals, 3 are needed; missing: servers 0, 2" in refused(*deploy, code=1)
    assert not transaction.exists()
    approve(proposal, world, 0, 0)
    report = json_of(*deploy)
    assert (report["approved_by"], report["needed"], report["servers"]) == ([0, 1, 3], 3, 4)

    signed = decode(transaction.read_bytes(), Signed)
    assert signed.hash.hex() == report["transaction_hash"]
    assert isinstance(signed.body, Deploy)
    assert (signed.body.server, signed.body.code) == (2, load_contract_code("argmax"))
    with ChainReader(world / "run" / "chain.db") as reader:
        genesis = reader.genesis()
    application = Application(genesis, AnyCode())
    application.check_tx(signed)
    application.finalize_block(Batch((signed,)))
    application.commit()
    assert application.state.next_contract == load_contract_code("argmax")
    assert "exists already" in refused(*deploy)


class AnyCode(ContractExecutor):
    """Takes all code for a contract."""

    def __init__(self) -> None:
        pass

    def check(self, code: bytes) -> None: ...


def test_copies_that_were_approved_apart_are_put_together(world: Path, proposal: Path, tmp_path: Path):
    copies = [tmp_path / f"copy{k}.json" for k in (0, 2, 3)]
    for k, copy in zip((0, 2, 3), copies, strict=True):
        json_of("contract", "approve", proposal, "--key", world / f"{k}.key", "--out", copy)
    report = json_of("contract", "deploy", *copies, "--key", world / "0.key", "--out", tmp_path / "transaction")
    assert report["approved_by"] == [0, 2, 3]
    assert read_proposal(proposal).approvals == ()
    other = tmp_path / "other.json"
    json_of("contract", "propose", "fedavg", "--genesis", world / "genesis", "--nonce", 1, "--out", other)
    mixed = ("contract", "deploy", copies[0], other, "--key", world / "0.key", "--out", tmp_path / "no")
    assert "another change" in refused(*mixed)


def test_an_approver_says_what_it_expects(world: Path, proposal: Path):
    hash_ = read_proposal(proposal).code_hash.hex()
    before = proposal.read_bytes()
    assert "nothing was approved" in refused(
        "contract", "approve", proposal, "--key", world / "0.key", "--expect", "00" * 32
    )
    assert proposal.read_bytes() == before
    json_of("contract", "approve", proposal, "--key", world / "0.key", "--expect", hash_.upper())
    assert [approval.server for approval in read_proposal(proposal).approvals] == [0]


def test_the_genesis_is_the_same_from_a_run_a_chain_file_and_a_file(world: Path, tmp_path: Path):
    told = [
        json_of("contract", "propose", "argmax", "--genesis", genesis, "--out", tmp_path / f"{number}.json")["chain_id"]
        for number, genesis in enumerate((world / "run", world / "run" / "chain.db", world / "genesis"))
    ]
    assert len(set(told)) == 1
    assert told[0] == json_of("verify", world / "run")["chain_id"]


def test_an_altered_proposal_is_refused_and_a_forged_approval_dropped(world: Path, proposal: Path, tmp_path: Path):
    approve(proposal, world, 0, 1, 2)
    document = json.loads(proposal.read_text())
    code = document["change"]
    altered = tmp_path / "other.json"

    def alter(**changes: object) -> Path:
        altered.write_text(json.dumps({**document, **changes}))
        return altered

    forged = [{"server": k, "signature": document["approvals"][0]["signature"]} for k in range(-1, 5)]
    assert [one.server for one in read_proposal(alter(approvals=forged)).approvals] == [0]
    assert read_proposal(alter(nonce=1)).approvals == ()
    key = ("--key", world / "0.key")
    for changes, named in (
        ({"chain_id": "00" * 32}, "its chain_id is not that of its genesis: it was altered"),
        ({"change": {**code, "code": ""}}, "its code_hash is not that of its code: it was altered"),
        ({"change": {**code, "code_hash": "00" * 32}}, "its code_hash is not that of its code: it was altered"),
        ({"change": {**code, "kind": "other"}}, "no proposal"),
        ({"genesis": document["genesis"][:-8]}, "genesis"),
        ({"genesis": "AAAA"}, "genesis"),
        ({"committees": ["AAAA"]}, "does not prove who must approve"),
        ({"format": "other"}, "says that it is 'other', not 'bees proposal 2'"),
        ({"nonce": -1}, "nonce"),
        ({"nonce": "0"}, "no proposal"),
        ({"approvals": [{"server": 0, "signature": "xy"}]}, "no proposal"),
        ({"more": 1}, "no proposal"),
    ):
        assert named in refused("contract", "approve", alter(**changes), *key), changes
    altered.write_bytes(b"\xff{")
    assert "no proposal" in refused("contract", "approve", altered, *key)
    assert "no such file" in refused("contract", "approve", tmp_path / "nowhere", *key)
    altered.write_bytes(b"[" * 100_000)
    assert "no proposal" in refused("contract", "approve", altered, *key)


def test_a_wrong_or_open_key_approves_nothing(world: Path, proposal: Path, tmp_path: Path):
    stranger = tmp_path / "stranger.key"
    write_key_file(stranger, bytes(32))
    assert "no server's" in refused("contract", "approve", proposal, "--key", stranger, code=1)
    stranger.chmod(0o644)
    assert "chmod 600" in refused("contract", "approve", proposal, "--key", stranger)
    assert "cannot be read" in refused("contract", "approve", proposal, "--key", tmp_path / "nowhere.key")
    assert read_proposal(proposal).approvals == ()


def test_a_proposal_needs_a_chain_and_a_contract(world: Path, tmp_path: Path):
    target = ("--out", tmp_path / "deploy.json")
    (tmp_path / "junk.wasm").write_bytes(b"junk")
    (tmp_path / "junk").write_bytes(encode((1, 2)))
    propose = ("contract", "propose")
    assert "no such file" in refused(*propose, "argmax", "--genesis", tmp_path / "nowhere", *target)
    assert "no such file" in refused(*propose, "argmax", "--genesis", tmp_path, *target)
    assert "no genesis" in refused(*propose, "argmax", "--genesis", tmp_path / "junk", *target)
    assert "not take it" in refused(*propose, tmp_path / "junk.wasm", "--genesis", world / "genesis", *target)
    assert not (tmp_path / "deploy.json").exists()


def test_help_teaches_with_examples():
    for command in ("new", "build", "test", "list", "propose", "approve", "deploy"):
        done = bees("contract", command, "--help")
        assert done.returncode == 0
        assert "Example: bees" in done.stdout
        assert command in bees("contract", "--help").stdout
