"""What is in a chain file, as plain dictionaries for people and for JSON. Nothing is checked but that it decodes."""

from __future__ import annotations

from collections import Counter
from itertools import islice
from typing import TYPE_CHECKING, Any, cast

import msgspec

from bees.contract.library import packaged_contracts
from bees.engines.audit import iter_chain
from bees.engines.chain_file import ChainReader
from bees.ledger.block import block_id
from bees.ledger.commitments import hash_contract
from bees.ledger.transactions import Amend, Deploy

if TYPE_CHECKING:
    from pathlib import Path

    from bees.engines.audit import ChainEntry
    from bees.ledger.membership import Change
    from bees.ledger.transactions import Signed


def describe_genesis(path: Path) -> dict[str, Any]:
    """The genesis, with its contract named by its hash.

    Raises:
        ChainFileError: the file cannot be read.
    """
    with ChainReader(path) as reader:
        reader.check_schema()
        genesis = reader.genesis().genesis
    fields = _named(genesis)
    fields["contract"] = hash_contract(genesis.contract).hex()
    return {"height": 0, "chain_id": genesis.chain_id.hex(), **fields}


def describe_chain(path: Path) -> list[dict[str, Any]]:
    """A short line per block.

    Raises:
        ChainFileError: the file cannot be read.
    """
    return [_short(entry) for entry in iter_chain(path)]


def describe_block(path: Path, height: int) -> dict[str, Any] | None:
    """A block with its transactions and signatures, or None if the chain is shorter.

    Raises:
        ChainFileError: the file cannot be read.
    """
    entry = next(islice(iter_chain(path), height - 1, None), None)
    if entry is None:
        return None
    return {
        "height": height,
        "block_id": block_id(entry.block.header).hex(),
        "header": _named(entry.block.header),
        "transactions": [_transaction(signed) for signed in entry.block.batch.transactions],
        "commit": _named(entry.commit),
        "read_by_contract": [commitment.hex() for commitment in entry.read],
    }


def _short(entry: ChainEntry) -> dict[str, Any]:
    header = entry.block.header
    kinds = Counter(type(signed.body).__name__ for signed in entry.block.batch.transactions)
    return {
        "height": header.height,
        "block_id": block_id(header).hex(),
        "app_hash": header.app_hash.hex(),
        "transactions": dict(kinds),
        "deploys": [_deployed(s.body.code) for s in entry.block.batch.transactions if isinstance(s.body, Deploy)],
        "amendments": [_amended(s.body.change) for s in entry.block.batch.transactions if isinstance(s.body, Amend)],
        "signatures": len(entry.commit.signatures),
    }


def _transaction(signed: Signed) -> dict[str, Any]:
    fields = _named(signed.body)
    if isinstance(signed.body, Deploy):
        fields["code"] = hash_contract(signed.body.code).hex()
        fields["code_bytes"] = len(signed.body.code)
        fields["contract"] = _contract_name(signed.body.code)
    if isinstance(signed.body, Amend):
        fields["amendment"] = _amended(signed.body.change)
    if isinstance(signed.body, Amend | Deploy):
        fields["approved_by"] = [approval.server for approval in signed.body.approvals]
    return {
        "type": type(signed.body).__name__,
        "hash": signed.hash.hex(),
        **fields,
        "signature": signed.signature.hex(),
    }


def _amended(change: Change) -> str:
    """A change of the members in short."""
    who = f"{change.kind} {change.index}"
    return f"{who} removed" if change.public_key is None else f"{who} has key {change.public_key.hex()[:16]}"


def _deployed(code: bytes) -> str:
    """A contract in short: its name where it is a packaged one, and the beginning of its hash."""
    return f"{_contract_name(code) or 'contract'} {hash_contract(code).hex()[:16]}"


def _contract_name(code: bytes) -> str | None:
    hash_ = hash_contract(code).hex()
    return next((known.name for known in packaged_contracts().contracts if known.hash == hash_), None)


def _named(value: object) -> Any:  # noqa: ANN401  # JSON has no narrower type
    """Records by field name, although they are encoded by position; bytes in hexadecimal."""
    match value:
        case msgspec.Struct():
            return {name: _named(getattr(value, name)) for name in value.__struct_fields__}
        case bytes():
            return value.hex()
        case tuple():
            return [_named(item) for item in cast("tuple[object, ...]", value)]
        case _:
            return value
