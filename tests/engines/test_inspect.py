from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from bees.core.errors import ChainFileError
from bees.core.fixed_point import words_to_bytes
from bees.engines.audit import iter_chain
from bees.engines.chain_file import ChainWriter
from bees.engines.inspect import describe_block, describe_chain, describe_genesis
from bees.ledger.block import block_id
from bees.ledger.commitments import hash_contract
from bees.ledger.transactions import Approval, Deploy, approval_bytes, sign

if TYPE_CHECKING:
    from pathlib import Path

    from small_world import World

NEW_CODE = b"another contract, much longer than its hash" * 100


@pytest.fixture
def chain(world: World, tmp_path: Path) -> Path:
    return world.write_chain(tmp_path / "chain.db").path


def deployment(world: World):
    message = approval_bytes(world.genesis.chain_id, 0, hash_contract(NEW_CODE))
    approvals = tuple(Approval(k, key.sign(message)) for k, key in enumerate(world.server_keys))
    return sign(Deploy(world.genesis.chain_id, 0, 0, NEW_CODE, approvals), world.server_keys[0])


def test_the_genesis_is_told_by_field_and_its_contract_by_hash(world: World, chain: Path) -> None:
    told = describe_genesis(chain)
    assert (told["height"], told["chain_id"]) == (0, world.genesis.chain_id.hex())
    assert told["contract"] == hash_contract(world.genesis.contract).hex()
    assert [server["public_key"] for server in told["servers"]] == [k.public_key.hex() for k in world.server_keys]
    assert told["devices"][2] == {
        "public_key": world.device_keys[2].public_key.hex(),
        "server": 2,
        "sample_cap": 600,
    }
    assert told["phases"] == {"collect": 2, "attest": 2, "publish": 2, "publish_ranks": 2}
    assert told["model"]["arrays"] == [{"name": "w", "shape": [5]}]


def test_a_chain_is_told_in_a_line_per_block(world: World, chain: Path) -> None:
    told = describe_chain(chain)
    blocks = [entry.block for entry in iter_chain(chain)]
    assert [line["height"] for line in told] == [1, 2, 3, 4, 5, 6]
    kinds = [{"Update": world.devices}, {"Attest": world.servers}, {"Publish": 1}]
    assert [line["transactions"] for line in told] == 2 * kinds
    assert [line["block_id"] for line in told] == [block_id(block.header).hex() for block in blocks]
    assert [line["app_hash"] for line in told] == [block.header.app_hash.hex() for block in blocks]
    assert all(line["signatures"] >= world.genesis.committee.quorum for line in told)


def test_a_block_is_told_with_all_that_is_in_it(world: World, chain: Path) -> None:
    told, entry = describe_block(chain, 1), next(iter(iter_chain(chain)))
    assert told is not None
    assert (told["height"], told["block_id"]) == (1, block_id(entry.block.header).hex())
    assert told["header"]["previous_block"] == world.genesis.chain_id.hex()
    assert told["read_by_contract"] == []
    assert told["commit"]["block_id"] == told["block_id"]
    assert len(told["commit"]["signatures"]) == len(entry.commit.signatures)
    for device, (transaction, signed) in enumerate(
        zip(told["transactions"], entry.block.batch.transactions, strict=True)
    ):
        assert (transaction["type"], transaction["device"], transaction["samples"]) == ("Update", device, 100 + device)
        assert (transaction["hash"], transaction["signature"]) == (signed.hash.hex(), signed.signature.hex())
        assert transaction["server"] is None


def test_a_publication_is_told_with_the_updates_that_the_contract_read(world: World, chain: Path) -> None:
    updates, publication = describe_block(chain, 4), describe_block(chain, 6)
    assert updates is not None
    assert publication is not None
    (publish,) = publication["transactions"]
    assert (publish["type"], publish["round"], len(publish["selected"])) == ("Publish", 2, world.top_m)
    commitments = {update["device"]: update["commitment"] for update in updates["transactions"]}
    assert publication["read_by_contract"] == [commitments[device] for device in publish["selected"]]


def test_new_code_is_told_by_its_hash(world: World, tmp_path: Path) -> None:
    engine, path = world.engine(), tmp_path / "chain.db"
    with ChainWriter.create(path, world.signed, words_to_bytes(world.initial)) as writer:
        engine.submit(deployment(world))
        made = engine.next_block()
        writer.append(made.block, made.commit, {})
    engine.close()
    told = describe_block(path, 1)
    assert told is not None
    (deploy,) = told["transactions"]
    assert (deploy["type"], deploy["code"]) == ("Deploy", hash_contract(NEW_CODE).hex())
    assert [approval["server"] for approval in deploy["approvals"]] == [0, 1, 2, 3]


def test_there_is_nothing_after_the_last_block(chain: Path) -> None:
    assert describe_block(chain, 6) is not None
    assert describe_block(chain, 7) is None


def test_all_that_is_told_goes_into_json(chain: Path) -> None:
    told = [describe_genesis(chain), describe_chain(chain), *(describe_block(chain, h) for h in range(1, 7))]
    assert json.loads(json.dumps(told, allow_nan=False)) == told


def test_telling_changes_nothing(chain: Path) -> None:
    before = chain.read_bytes()
    describe_genesis(chain)
    describe_chain(chain)
    describe_block(chain, 3)
    assert chain.read_bytes() == before
    assert [path.name for path in chain.parent.iterdir()] == [chain.name]


def test_what_is_no_chain_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "none.db"
    for content in (None, b"", b"junk", bytes(8192)):
        if content is not None:
            path.write_bytes(content)
        for describe in (describe_genesis, describe_chain, lambda p: describe_block(p, 1)):
            with pytest.raises(ChainFileError, match=r"none\.db"):
                describe(path)
