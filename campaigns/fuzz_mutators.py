"""Mutations that know the format, so that hostile values get past the decoder to the checks behind it.

Each mutator takes bytes and a seeded generator, and returns other bytes, or None where it cannot read them. Random
bytes are what the fuzzer itself adds.
"""

from __future__ import annotations

import io
import sqlite3
import zipfile
from copy import deepcopy
from typing import TYPE_CHECKING, Any, cast

import msgspec

from bees.core.canonical import decode, encode
from bees.core.errors import CodecError
from bees.engines.messages import Decision, Message, Proposal, Vote, proposal_bytes
from bees.ledger.block import Batch, Block, Commit, CommitSignature, vote_bytes
from bees.ledger.genesis import SignedGenesis, sign_genesis
from bees.ledger.proofs import CommitteeProof, ModelProof
from bees.ledger.transactions import Evidence, Signed, Statement, signing_bytes
from campaigns.fuzz_seeds import seeds
from campaigns.fuzz_targets import RUN_PARTS
from campaigns.fuzz_wasm import mutate_module
from campaigns.fuzz_world import SERVERS, world

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator

    Mutator = Callable[[bytes, random.Random], bytes | None]

_NUMBERS = (0, 1, 2, 3, 4, 5, 127, 128, 255, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**63 - 1, 2**63, 2**64 - 1)
_NEGATIVE = (-1, -2, -32, -33, -(2**31), -(2**63))
_TEXTS = ("", "delegate", "update", "attest", "publish", "deploy", "evidence", "prevote", "precommit", "proposal",
          "vote", "status", "decision", "round_robin", "main_node", "\0", "é" * 40)  # fmt: skip
_TRANSACTION_SHAPE = 2
_MOST_EDITS = 3


def mutate(target: str, data: bytes, rng: random.Random) -> bytes | None:
    """A mutation for this target, or None where the bytes are not in its format."""
    mutator = _MUTATORS.get(target)
    try:
        return mutator(data, rng) if mutator else None
    except Exception:  # noqa: BLE001  # what was mutated before can make any parser fail in any way
        return None


# Canonical MessagePack


def _record(kind: Any) -> Mutator:  # noqa: ANN401  # any record
    """Edits the values of a record, and signs it again half of the time."""

    def mutator(data: bytes, rng: random.Random) -> bytes | None:
        edited = encode(edit_tree(msgspec.msgpack.decode(data), rng))
        return _signed_again(edited, kind) if rng.random() < 0.5 else edited

    return mutator


def _after_first_byte(mutator: Mutator) -> Mutator:
    """Keeps the byte that picks a part or a moment, mostly."""

    def mutated(data: bytes, rng: random.Random) -> bytes | None:
        rest = mutator(data[1:], rng)
        first = bytes([rng.randrange(8)]) if rng.random() < 0.1 else data[:1]
        return None if rest is None else first + rest

    return mutated


def edit_tree(tree: Any, rng: random.Random) -> Any:  # noqa: ANN401  # whatever was decoded
    """The nested lists with one to three values changed."""
    for _ in range(rng.randint(1, _MOST_EDITS)):
        places = list(_places(tree))
        if not places:
            return _other(tree, rng, [tree])
        holder, key = rng.choice(places)
        values = [place[at] for place, at in places]
        action = rng.random()
        if isinstance(holder, list) and action < 0.2:
            _edit_list(cast("list[Any]", holder), key, rng)
        else:
            holder[key] = _other(holder[key], rng, values)
    return tree


def _places(tree: Any) -> Iterator[tuple[Any, Any]]:  # noqa: ANN401  # nested lists and dicts
    """Every holder with each of its indices or keys."""
    holders: list[Any] = [tree]
    while holders:
        holder = holders.pop()
        keys: list[Any] = list(cast("dict[str, Any]", holder)) if isinstance(holder, dict) else []
        if isinstance(holder, list):
            keys = list(range(len(cast("list[Any]", holder))))
        for key in keys:
            yield holder, key
            holders.append(holder[key])


def _edit_list(items: list[Any], at: int, rng: random.Random) -> None:
    match rng.randrange(4):
        case 0:
            del items[at]
        case 1:
            items.insert(at, deepcopy(rng.choice(items)))
        case 2:
            other = rng.randrange(len(items))
            items[at], items[other] = items[other], items[at]
        case _:
            rng.shuffle(items)


def _other(value: Any, rng: random.Random, known: list[Any]) -> Any:  # noqa: ANN401  # a value of a kind like this one
    if rng.random() < 0.05:
        return deepcopy(rng.choice([None, True, 0, -1, 1.5, "", b"", [], rng.choice(known)]))
    alike = [other for other in known if type(other) is type(value)]
    if alike and rng.random() < 0.4:
        return deepcopy(rng.choice(alike))  # a list must not come to hold itself
    if isinstance(value, bool) or value is None:
        return rng.choice([None, True, False, 0, 1])
    if isinstance(value, int):
        return rng.choice([*_NUMBERS, *_NEGATIVE, value + 1, value - 1, value ^ 1 << rng.randrange(40)])
    if isinstance(value, float):
        return rng.choice([0.0, -0.0, 1e308, -1.0, float("inf"), float("nan"), 5e-324, value * 2])
    if isinstance(value, str):
        return rng.choice([*_TEXTS, value + "x", value[:-1]])
    if isinstance(value, bytes):
        return _other_bytes(value, rng)
    if isinstance(value, list):
        items = cast("list[Any]", value)
        return rng.choice([[], items[:-1], items + items[-1:], items * 2, items[::-1]])
    return value


def _other_bytes(value: bytes, rng: random.Random) -> bytes:
    if value and rng.random() < 0.6:
        at = rng.randrange(len(value))
        return value[:at] + bytes([value[at] ^ 1 << rng.randrange(8)]) + value[at + 1 :]
    return rng.choice([b"", value[:-1], value + b"\0", bytes(len(value)), b"\xff" * len(value), rng.randbytes(32)])


def _signed_again(data: bytes, kind: Any) -> bytes:  # noqa: ANN401  # any record
    """The same record with the signatures that its content now needs; as it is, where it is no such record."""
    try:
        record = decode(data, kind)
    except CodecError:
        return data
    return encode(sign_again(record))


def sign_again(record: Any) -> Any:  # noqa: ANN401  # the same kind comes back
    """The record, with signatures by whoever it says that it is from."""
    made = world()
    chain_id = made.genesis.chain_id
    match record:
        case Signed():
            body = record.body
            if isinstance(body, Evidence):
                first, second = (None if t is None else sign_again(t) for t in (body.first, body.second))
                body = msgspec.structs.replace(body, first=first, second=second)
            return made.sign(body)
        case Statement():
            return Statement(record.body, made.key_of(record.body).sign(signing_bytes(record.body)))
        case Block():
            batch = Batch(tuple(map(sign_again, record.batch.transactions)))
            return Block(msgspec.structs.replace(record.header, transactions=batch.root), batch)
        case Commit():
            message = vote_bytes(chain_id, record.height, record.consensus_round, "precommit", record.block_id)
            keys = made.server_keys
            votes = tuple(
                CommitSignature(vote.server, keys[vote.server % SERVERS].sign(message)) for vote in record.signatures
            )
            return msgspec.structs.replace(record, signatures=votes)
        case SignedGenesis():
            return sign_genesis(record.genesis, made.server_keys[: len(record.genesis.servers)])
        case Proposal():
            key = made.server_keys[record.proposer % SERVERS]
            message = proposal_bytes(chain_id, record.height, record.consensus_round, record.valid_round, record.block)
            return msgspec.structs.replace(record, signature=key.sign(message))
        case Vote():
            key = made.server_keys[record.server % SERVERS]
            message = vote_bytes(chain_id, record.height, record.consensus_round, record.kind, record.block)
            return msgspec.structs.replace(record, signature=key.sign(message))
        case tuple():
            return tuple(map(sign_again, cast("tuple[Any, ...]", record)))
        case _:
            return record


def _message(data: bytes, rng: random.Random) -> bytes | None:
    """Like a record; and now and then the block that it carries is mutated in its own turn."""
    if rng.random() < 0.7:
        return _record(Message)(data, rng)
    kind: Any = Message  # a union of records
    carried = decode(data, kind)
    if not isinstance(carried, Proposal | Decision):
        return None
    block = _record(Block)(carried.block, rng)
    return None if block is None else encode(sign_again(msgspec.structs.replace(carried, block=block)))


# Files


def _chain_file(data: bytes, rng: random.Random) -> bytes | None:
    """Changes rows of the database by SQL, so that the file itself stays sound."""
    database = sqlite3.connect(":memory:", isolation_level=None)
    try:
        # A database in memory has no write-ahead log, so the header's two bytes that ask for one are taken out.
        database.deserialize(data[:18] + b"\1\1" + data[20:])
        for _ in range(rng.randint(1, _MOST_EDITS)):
            _edit_rows(database, rng)
        edited = database.serialize()
        return edited[:18] + data[18:20] + edited[20:]
    finally:
        database.close()


def _edit_rows(database: sqlite3.Connection, rng: random.Random) -> None:
    table, column, kind = rng.choice(
        [
            ("genesis", "genesis", SignedGenesis),
            ("block", "block", Block),
            ("block", '"commit"', Commit),
            ("block", "height", None),
            ("blob", "bytes", None),
            ("blob", "commitment", None),
            ("tip", "height", None),
            ("tip", "block_id", None),
        ]
    )
    rows = database.execute(f"SELECT rowid, {column} FROM {table}").fetchall()  # noqa: S608  # names of our own
    rowid, value = rng.choice(rows)
    match rng.randrange(6):
        case 0:
            database.execute(f"DELETE FROM {table} WHERE rowid = ?", (rowid,))  # noqa: S608  # likewise
        case 1 if table == "block":
            database.execute("DELETE FROM block WHERE height = (SELECT max(height) FROM block)")
            last, block = database.execute("SELECT height, block FROM block ORDER BY height DESC").fetchone()
            header = decode(block, Block).header
            name = world().blocks[header.height][0].header.previous_block
            database.execute("UPDATE tip SET height = ?, block_id = ?", (last, name))
        case 2:
            database.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", (rng.choice(rows)[1], rowid))  # noqa: S608
        case 3 if table == "blob":
            database.execute("INSERT INTO blob VALUES(?, ?)", (rng.randbytes(32), rng.randbytes(24)))
        case _:
            changed = _record(kind)(value, rng) if kind and rng.random() < 0.7 else _other(value, rng, [value])
            database.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", (changed, rowid))  # noqa: S608


def _archive(data: bytes, rng: random.Random) -> bytes | None:
    """Changes a member of a .npz file, and packs it again with a right checksum."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {name: archive.read(name)[: 2**16] for name in archive.namelist()[:8]}
    name = rng.choice(list(members))
    content = members[name]
    match rng.randrange(5):
        case 0:
            members[name] = rng.choice(list(members.values()))
        case 1:
            members[name] = _header_edited(content, rng)
        case 2:
            members[name] = content[: rng.randrange(len(content) + 1)]
        case 3:
            del members[name]
        case _:
            members[name] = _other_bytes(content, rng)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", rng.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return packed.getvalue()


def _header_edited(content: bytes, rng: random.Random) -> bytes:
    """A .npy file with another type or shape in its header."""
    kinds = (
        b"'<f4'",
        b"'<f8'",
        b"'|u1'",
        b"'<i8'",
        b"'|O'",
        b"'<c8'",
        b"'<M8[s]'",
        b"'|S9'",
        b"'|b1'",
        b"'>i2'",
        b"'|V3'",
    )
    shapes = (
        b"()",
        b"(0, 2)",
        b"(4,)",
        b"(2, 2)",
        b"(4, 2)",
        b"(2, 2, 2)",
        b"(-1, 2)",
        b"(99999999999, 2)",
        b"(4, 2.5)",
    )
    start, end = content.find(b": ") + 2, content.find(b", 'fortran")
    at, close = content.find(b"'shape': ") + 9, content.find(b")", content.find(b"'shape': ")) + 1
    if min(start, end, at, close) < 10:
        return _other_bytes(content, rng)
    if rng.random() < 0.5:
        return content[:start] + rng.choice(kinds) + content[end:]
    return content[:at] + rng.choice(shapes) + content[close:]


def _json_lines(data: bytes, rng: random.Random) -> bytes | None:
    lines = data.splitlines() if data.count(b"\n{") else [data]
    at = rng.randrange(len(lines))
    lines[at] = msgspec.json.encode(edit_tree(msgspec.json.decode(lines[at]), rng))
    return b"\n".join(lines) + b"\n"


def _toml(data: bytes, rng: random.Random) -> bytes | None:
    """Gives a key another value, or adds a key of another scenario."""
    values = (b"0", b"-1", b"1e308", b"nan", b"-inf", b'""', b"[]", b"{}", b"true", b"9223372036854775808",
              b'"\\u0000"',               b"1979-05-27", b"'paper'", b"0x7f", b"1_0", b"[[[[]]]]")  # fmt: skip
    lines = data.split(b"\n")
    at = rng.randrange(len(lines))
    if b"=" in lines[at] and rng.random() < 0.7:
        lines[at] = lines[at].partition(b"=")[0] + b"= " + rng.choice(values)
    else:
        other = max(seeds()["scenario"], key=len).split(b"\n")
        lines.insert(at, rng.choice(other))
    return b"\n".join(lines)


def _override(data: bytes, rng: random.Random) -> bytes | None:
    key, _, value = rng.choice([data, *seeds()["override"]]).partition(b"=")
    text = _toml(b"x=" + value, rng)
    return None if text is None else key + b"=" + text.split(b"\n")[-1].partition(b"=")[2]


def _run_part(data: bytes, rng: random.Random) -> bytes | None:
    part = RUN_PARTS[data[0] % len(RUN_PARTS)]
    ending = part.rpartition(".")[2]
    mutator: Mutator = {"npz": _archive, "toml": _toml, "db": _chain_file}.get(ending, _json_lines)
    return _after_first_byte(mutator)(data, rng)


_MUTATORS: dict[str, Mutator] = {
    "transaction": _record(Signed),
    "block": _record(Block),
    "commit": _record(Commit),
    "genesis": _record(SignedGenesis),
    "model_proof": _record(ModelProof),
    "light_client_proof": _record(ModelProof),
    "light_client_committees": _record(tuple[CommitteeProof, ...]),
    "light_client_genesis": _record(SignedGenesis),
    "message": _message,
    "replica": _record(tuple[Message, ...]),
    "execute": _after_first_byte(_record(Block)),
    "contract": mutate_module,
    "chain_file": _chain_file,
    "scenario": _toml,
    "override": _override,
    "npz": _archive,
    "run_folder": _run_part,
    "update": _after_first_byte(_other_bytes),
}
