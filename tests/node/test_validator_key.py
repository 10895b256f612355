"""Keys with which CometBFT votes: whose they are, and who has followed whom."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from bees.core.errors import InputError, KeyFileError
from bees.ledger.membership import ValidatorChange
from bees.node.comet import CometKey
from bees.node.validator_key import founding_validators, named_validator, validator_now, write_validator_key

if TYPE_CHECKING:
    from pathlib import Path

A, B, C, D = (bytes([k]) * 32 for k in range(4))


def test_the_changes_lead_from_the_founder_to_who_votes_now():
    changes = (ValidatorChange(A, B), ValidatorChange(D, None), ValidatorChange(B, C))
    assert [validator_now(key, changes) for key in (A, B, C, D)] == [C, C, C, None]
    assert validator_now(A, ()) == A


def test_a_validator_is_named_by_digits_by_a_file_or_by_its_key(tmp_path: Path):
    key = write_validator_key(tmp_path / "key.json", A)
    assert key == CometKey.from_seed(A)
    (tmp_path / "key.pub").write_text(key.public_key.hex() + "\n")
    for text in (key.public_key.hex(), str(tmp_path / "key.pub"), str(tmp_path / "key.json")):
        assert named_validator("--validator-new", text) == key.public_key
    (tmp_path / "other.json").write_text(json.dumps({"priv_key": {"value": "AAAA"}}))
    (tmp_path / "other.json").chmod(0o600)
    with pytest.raises(KeyFileError, match="holds no Ed25519 key"):
        named_validator("--validator-new", str(tmp_path / "other.json"))
    with pytest.raises(InputError, match="--validator-new: 'xx"):
        named_validator("--validator-new", "x" * 64)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"validators": []}', '{"validators": [{"pub_key": {"value": "AA=="}}]}']
)
def test_what_is_no_genesis_of_cometbft_names_nobody(tmp_path: Path, text: str):
    (tmp_path / "genesis.json").write_text(text)
    with pytest.raises(InputError, match="names no validators"):
        founding_validators(tmp_path / "genesis.json")
