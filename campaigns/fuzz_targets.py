"""What is fuzzed: each target takes hostile bytes, lets nothing but BeesError come out, and checks what must then hold.

A target returns when the bytes were refused, or were taken and did no harm. It raises ``BrokenPropertyError`` when they
did harm; that, like every error outside of BeesError, a hang or a memory bomb, is a finding.
"""

from __future__ import annotations

import contextlib
import io
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from bees import light_client
from bees.contract.description import describe_virtual_machine
from bees.contract.structure import check_structure
from bees.contract.vm import VirtualMachine
from bees.core.canonical import decode, encode
from bees.core.errors import BeesError, ContractError, ContractLoadError
from bees.core.keys import is_signed_by
from bees.core.update_codec import UPDATE_ENCODINGS, decode_update, decode_update_reference, encode_update
from bees.engines.audit import export_chain, iter_chain, verify_chain
from bees.engines.embedded import EmbeddedEngine
from bees.engines.messages import Decision, Message, Proposal
from bees.learning.datasets import load_npz, parse_idx
from bees.ledger.application import Application
from bees.ledger.block import Block, Commit, Header, check_commit
from bees.ledger.genesis import SignedGenesis, check_genesis
from bees.ledger.membership import Members
from bees.ledger.proofs import CommitteeProof, Committees, ModelProof, check_model_proof
from bees.ledger.replay import check_block
from bees.ledger.state import state_tree
from bees.ledger.transactions import Signed, author_key, canonical_order
from bees.report.folder import is_finished, read_run
from bees.run_folder import CHAIN, DEVICES, ENVIRONMENT, ROUNDS, SCENARIO, STATUS
from bees.scenario_file import dump_scenario, load_scenario
from campaigns.fuzz_world import world

if TYPE_CHECKING:
    from collections.abc import Callable

    from bees.contract.vm import Contract

UPDATE_BASE = np.array([0, 1, -1, 2**31 - 1, -(2**31), 12345, -(2**20)], dtype=np.int32)
"""Words of w_g(t-1), to which fuzzed updates are differences."""
AUDIT_FUEL_CAP = 10_000_000
RUN_PARTS = (ROUNDS, STATUS, ENVIRONMENT, DEVICES, SCENARIO, CHAIN)
"""Files of a run's folder; the first byte of an input to ``run_folder`` picks the one that the rest replaces."""

_CONTRACT_FUEL = 100_000
_WORDS = np.array([0, 1, -1, 2**31 - 1, -(2**31), 0x7FA00001, -8388607], dtype=np.int32)


class BrokenPropertyError(Exception):
    """Hostile bytes were taken, and something that must then hold does not."""


def require(holds: bool, problem: str) -> None:
    """Report a finding unless ``holds``.

    Raises:
        BrokenPropertyError: naming the problem.
    """
    if not holds:
        raise BrokenPropertyError(problem)


def transaction(data: bytes) -> None:
    """Signed: re-encodes to the same bytes; where a replica admits it, its author has signed it."""
    signed = _decode_exactly(data, Signed)
    canonical_order(signed)
    for snapshot in world().snapshots:
        with contextlib.suppress(BeesError):
            snapshot.application.check_tx(signed)
            key = author_key(Members.of(world().genesis), signed.body)
            require(is_signed_by(key, signed.message, signed.signature), "an unsigned transaction was admitted")


def block(data: bytes) -> None:
    """Block: re-encodes to the same bytes; only the very next block of the chain follows a state."""
    decoded = _decode_exactly(data, Block)
    known = [made for made, _ in world().blocks]
    for snapshot in world().snapshots:
        height = snapshot.application.state.height
        with contextlib.suppress(BeesError):
            check_block(snapshot.application, snapshot.previous_block, decoded)
            require(decoded.header.height == height + 1, "a block of another height was taken")
            require(decoded == known[height] or _is_sealed(decoded), "a block was taken whose header does not bind it")


def commit(data: bytes) -> None:
    """Commit: re-encodes to the same bytes; a quorum that is taken commits this very header."""
    decoded = _decode_exactly(data, Commit)
    for made, _ in world().blocks:
        with contextlib.suppress(BeesError):
            check_commit(world().genesis.committee, made.header, decoded, is_signed_by)
            require(decoded.height == made.header.height, "a quorum for another height was taken")
            require(len({vote.server for vote in decoded.signatures}) >= world().genesis.committee.quorum, "no quorum")


def genesis(data: bytes) -> None:
    """SignedGenesis: re-encodes to the same bytes; where it passes, its chain starts."""
    decoded = _decode_exactly(data, SignedGenesis)
    check_genesis(decoded)
    light_client.check_genesis(light_client.read_genesis(data))
    if decoded.genesis.virtual_machine == world().genesis.virtual_machine:
        started = Application(decoded, world().new_runner())
        require(started.app_hash == state_tree(started.state).root, "the first state has another root")


def model_proof(data: bytes) -> None:
    """ModelProof: re-encodes to the same bytes; it proves nothing but what the chain says."""
    proof = _decode_exactly(data, ModelProof)
    outcome = check_model_proof(world().genesis, proof, is_signed_by)
    require(outcome == world().proofs[outcome.round].outcome, "a proof was taken for another outcome")


def light_client_proof(data: bytes) -> None:
    """The device's own checker takes exactly the proofs that the ledger takes, and finds the same in them."""
    expected = None
    with contextlib.suppress(BeesError):
        expected = check_model_proof(world().genesis, decode(data, ModelProof), is_signed_by)
    try:
        found = light_client.check_proof(_trusted(), data)
    except light_client.RefusedError as error:
        require(expected is None, f"the light client refuses what the ledger takes: {error}")
        return
    require(expected is not None, "the light client takes what the ledger refuses")
    same = expected is not None and (found.round, found.model, found.selected, found.main_node) == (
        expected.round,
        expected.model,
        expected.selected,
        expected.main_node,
    )
    require(same, "the light client reads another outcome")


def light_client_committees(data: bytes) -> None:
    """The device's own checker follows the servers exactly where the ledger's proofs lead, by the same bytes."""
    expected = None
    with contextlib.suppress(BeesError):
        proofs = decode(data, tuple[CommitteeProof, ...])
        expected = Committees(world().genesis).follow(proofs, is_signed_by)
    try:
        found = light_client.follow_committee(_trusted(), data)
    except light_client.RefusedError as error:
        require(expected is None, f"the light client refuses what the ledger follows: {error}")
        return
    require(
        expected is not None and (found.server_keys, found.height) == (expected.newest.keys, expected.height),
        "the light client comes to other servers",
    )


def light_client_genesis(data: bytes) -> None:
    """Whatever the ledger takes for a genesis, the device reads alike."""
    signed = None
    with contextlib.suppress(BeesError):
        signed = decode(data, SignedGenesis)
    try:
        read = light_client.read_genesis(data)
        light_client.check_genesis(read)
    except light_client.RefusedError as error:
        if signed is not None:
            with contextlib.suppress(BeesError):
                check_genesis(signed)
                require(False, f"the light client refuses a genesis that the ledger takes: {error}")  # noqa: FBT003
        return
    if signed is not None:
        require(read.chain_id == signed.genesis.chain_id, "the light client finds another chain id")
        keys = tuple(server.public_key for server in signed.genesis.servers)
        require(read.server_keys == keys, "the light client finds other servers")


def message(data: bytes) -> None:
    """Message: re-encodes to the same bytes, and so does the block that it carries."""
    decoded = _decode_exactly(data, Message)
    if isinstance(decoded, Proposal | Decision):
        _decode_exactly(decoded.block, Block)


def replica(data: bytes) -> None:
    """Messages, one after another, at a replica of the first height: it commits nothing without a quorum."""
    messages = _decode_exactly(data, tuple[Message, ...])
    engine = EmbeddedEngine(world().signed, world().server_keys, world().new_runner, threads=1)
    node = engine.replicas[0]
    node.start_height()
    for received in messages[:64]:
        node.deliver(received)
    require(node.height <= 1, "it committed more than the height that it was asked for")
    if node.last_decision is not None:
        made, quorum = node.last_decision
        check_commit(world().genesis.committee, made.header, quorum, is_signed_by)
    engine.close()


def execute(data: bytes) -> None:
    """A whole block, executed at one of several moments of the chain; the first byte picks the moment.

    What is refused leaves the state as it was. What is taken leads two replicas to the same app hash, from signed
    transactions only.
    """
    snapshots = world().snapshots
    snapshot = snapshots[data[0] % len(snapshots)] if data else snapshots[0]
    decoded = decode(data[1:], Block)
    application = snapshot.application
    before, root = application.state, application.app_hash
    try:
        application.memo.executions.clear()
        executed = application.execute(decoded.batch)
    except BeesError:
        require(application.state is before, "a refused block changed the state")
        require(state_tree(before).root == root, "a refused block changed the state's content")
        return
    after = executed.state
    require(after.height == before.height + 1, "a block moved the height by something else than 1")
    require(before.round <= after.round <= before.round + 1, "a block moved the round by more than 1")
    require(all(account.battery_mj >= 0 for account in after.servers), "an account fell below 0")
    require(state_tree(after).root == executed.app_hash, "the app hash is not the state's root")
    for signed in decoded.batch.transactions:
        key = author_key(before.members, signed.body)
        require(is_signed_by(key, signed.message, signed.signature), "an unsigned transaction was executed")
    _require_sealed_block_is_taken(snapshot.previous_block, application, decoded, executed.app_hash)


def contract(data: bytes) -> None:
    """A module: refused, or its calls end within their fuel, with a result or ContractError, alike on two machines."""
    first, second = (_run_contract(machine, data) for machine in _machines())
    require(first == second, f"two machines differ: {first} and {second}")


def chain_file(data: bytes) -> None:
    """A chain file: gets a verdict; a valid one has the chain's first blocks, and can be exported.

    Commits may differ: the mutator holds all keys, so that it can sign a block again, in another round of consensus.
    """
    path = _folder() / CHAIN
    path.write_bytes(data)
    with contextlib.suppress(BeesError):
        for _ in iter_chain(path):
            pass
    verdict = verify_chain(
        path, lambda _: world().machine, expected_genesis=world().genesis.chain_id, fuel_cap=AUDIT_FUEL_CAP
    )
    require(verdict.valid == (not verdict.reason), "a verdict without its reason")
    require(verdict.blocks <= len(world().blocks), "more blocks were found right than there are")
    if verdict.valid:
        blocks = [entry.block for entry in iter_chain(path)]
        true = [block for block, _ in world().blocks]
        require(blocks == true[: len(blocks)], "a valid chain file says something else")
        require(export_chain(path, io.BytesIO()) == len(blocks), "a valid chain file is not exported whole")


def scenario(data: bytes) -> None:
    """A scenario's TOML: what loads is written and loaded again without a change."""
    path = _folder() / SCENARIO
    path.write_bytes(data)
    loaded = load_scenario(path)
    path.write_text(dump_scenario(loaded), encoding="utf-8")
    require(load_scenario(path) == loaded, "a scenario changes when it is written and read again")


def override(data: bytes) -> None:
    """``--set key=value``: what is taken survives being written and read."""
    loaded = load_scenario("paper", [data.decode("utf-8", "surrogateescape")])
    path = _folder() / SCENARIO
    path.write_text(dump_scenario(loaded), encoding="utf-8")
    require(load_scenario(path) == loaded, "a scenario changes when it is written and read again")


def idx(data: bytes) -> None:
    """An IDX file: ValueError, which its only caller turns into DatasetError, or all of its elements."""
    try:
        array = parse_idx(data)
    except ValueError:
        return
    require(array.dtype == np.uint8 and array.tobytes() == data[4 + 4 * array.ndim :], "elements were lost or made up")


def npz(data: bytes) -> None:
    """Own data: what loads is finite, and its labels lie below the number of classes."""
    path = _folder() / "own.npz"
    path.write_bytes(data)
    loaded = load_npz(path)
    for samples, labels in ((loaded.x_train, loaded.y_train), (loaded.x_test, loaded.y_test)):
        require(bool(np.isfinite(samples).all()), "a sample is not finite")
        require(samples.ndim == 2 and len(samples) == len(labels) > 0, "samples and labels do not fit")  # noqa: PLR2004
        require(0 <= int(labels.min()) <= int(labels.max()) < loaded.classes, "a label is out of range")


def run_folder(data: bytes) -> None:
    """A part of a run's folder, as ``bees report`` reads it; the first byte picks the part."""
    part = RUN_PARTS[data[0] % len(RUN_PARTS)] if data else ROUNDS
    folder = _run_folder()
    path = folder / part
    good = path.read_bytes()
    path.write_bytes(data[1:])
    try:
        is_finished(folder)
        record = read_run(folder)
        shape = len(record.rounds), record.scenario.topology.devices
        require(record.devices.energy_j.shape == shape, "arrays of another shape")
    finally:
        path.write_bytes(good)


def update(data: bytes) -> None:
    """The bytes of an update; the first one picks the encoding. Read as the slow reference reads them, or refused."""
    encoding = UPDATE_ENCODINGS[data[0] % len(UPDATE_ENCODINGS)] if data else UPDATE_ENCODINGS[0]
    expected = None
    if encoding != "words":
        with contextlib.suppress(BeesError):
            expected = decode_update_reference(data[1:], UPDATE_BASE.tolist(), encoding)
    try:
        words = decode_update(data[1:], UPDATE_BASE, encoding)
    except BeesError:
        require(expected is None, "an update is refused that the reference takes")
        raise
    require(encode_update(words, UPDATE_BASE, encoding) == data[1:], "an update has a second spelling")
    require(encoding == "words" or words.tolist() == expected, "an update is read as another than the reference reads")


TARGETS: dict[str, Callable[[bytes], None]] = {
    target.__name__: target
    for target in (
        transaction,
        block,
        commit,
        genesis,
        model_proof,
        light_client_proof,
        light_client_committees,
        light_client_genesis,
        message,
        replica,
        execute,
        contract,
        chain_file,
        scenario,
        override,
        idx,
        npz,
        run_folder,
        update,
    )
}
"""By name."""


def run_target(name: str, data: bytes) -> bool:
    """Hand bytes to a target; returns whether they were taken rather than refused with a BeesError."""
    try:
        TARGETS[name](data)
    except BeesError as refusal:
        require("\n" not in str(refusal), f"a refusal is not one line: {str(refusal)[:200]!r}")
        return False
    return True


def _decode_exactly(data: bytes, kind: Any) -> Any:  # noqa: ANN401  # any record
    decoded = decode(data, kind)
    require(encode(decoded) == data, "what was decoded encodes to other bytes")
    require(decode(encode(decoded), kind) == decoded, "what was encoded decodes to something else")
    return decoded


def _is_sealed(decoded: Block) -> bool:
    return decoded.header.transactions == decoded.batch.root


def _require_sealed_block_is_taken(previous: bytes, application: Application, decoded: Block, app_hash: bytes) -> None:
    """The header that a right proposer gives passes; one that names another state does not."""
    chain_id, height = world().genesis.chain_id, application.state.height + 1
    header = Header(chain_id, height, previous, decoded.batch.root, app_hash)
    application.memo.executions.clear()  # so that this is a second execution
    check_block(application, previous, Block(header, decoded.batch))
    flipped = bytes([app_hash[0] ^ 1]) + app_hash[1:]
    try:
        check_block(application, previous, Block(msgspec.structs.replace(header, app_hash=flipped), decoded.batch))
    except BeesError:
        return
    require(False, "a header with another app hash was taken")  # noqa: FBT003  # the case that must not come


def _run_contract(machine: VirtualMachine, code: bytes) -> list[object]:
    """What a module does with a few inputs: results, or the errors that all servers find."""
    try:
        loaded = machine.load(code)
    except ContractLoadError as error:
        return [str(error)]
    except ContractError as error:
        check_structure(code)
        return [str(error)]
    selects = [((3, 1, 2), (5, 6, 7), 2), ((9,), (1,), 1), ((2**32 - 1, 0), (1, 2**31), 2)]
    found = [_outcome(loaded, lambda s=s: loaded.select(*s)) for s in selects]
    rows = [_WORDS, _WORDS[::-1].copy()]
    found += [
        _outcome(loaded, lambda n=n: loaded.aggregate([3, 1], n, rows, _WORDS).tobytes()) for n in ([1, 2], [2**31, 5])
    ]
    again = _outcome(loaded, lambda: loaded.select(*selects[0]))
    require(found[0] == again, "a call left something behind for the next one")
    return found


def _outcome(loaded: Contract, call: Callable[[], object]) -> object:
    try:
        result = call()
    except ContractError as error:
        result = f"{type(error).__name__}: {error}"
    require(loaded.fuel_used <= _CONTRACT_FUEL, "a call used more than its fuel")
    return result


@cache
def _machines() -> tuple[VirtualMachine, VirtualMachine]:
    limits = describe_virtual_machine(fuel_limit=_CONTRACT_FUEL, memory_limit_bytes=2**21, contract_limit_bytes=2**14)
    return VirtualMachine(limits), VirtualMachine(limits)


@cache
def _trusted() -> light_client.TrustedGenesis:
    return light_client.read_genesis(encode(world().signed))


@cache
def _folder() -> Path:
    return Path(mkdtemp(prefix="bees-fuzz-"))


@cache
def _run_folder() -> Path:
    from campaigns.fuzz_seeds import write_run_folder  # noqa: PLC0415  # the seeds know the targets

    folder = _folder() / "run"
    write_run_folder(folder)
    return folder
