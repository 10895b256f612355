"""``bees amend`` as operators meet it: from a proposal to the transaction that the chain takes."""

from __future__ import annotations

import json
import signal
import stat
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from typing import TYPE_CHECKING, Any

import pytest

from bees.cli.amend import approve, consent, propose, show, sign
from bees.cli.main import run_command
from bees.core.canonical import decode, encode
from bees.core.errors import InputError
from bees.ledger.transactions import Amend, Signed
from bees.node.validator_key import write_validator_key
from bees.proposal_file import read_amend_proposal
from tests.file_chain import FileChain, write_keys

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def same_signals() -> Iterator[None]:
    handler = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, handler)


def bees(*arguments: object) -> tuple[int, str, str]:
    out, err = StringIO(), StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = run_command([str(argument) for argument in arguments])
    return code, out.getvalue(), err.getvalue()


def json_of(*arguments: object) -> Any:
    code, out, err = bees(*arguments, "--json")
    assert code == 0, err + out
    return json.loads(out)


def refused(*arguments: object, code: int = 2) -> str:
    done, out, err = bees(*arguments)
    assert done == code, (out, err)
    assert len(err.strip().splitlines()) == 1, err
    return err


class Home:
    """A chain in a folder, with all keys, and CometBFT's genesis beside it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.chain = FileChain(folder)
        write_keys(folder)
        (folder / "bees.genesis").write_bytes(encode(self.chain.world.signed))
        keys = [write_validator_key(folder / f"validator{k}.json", bytes([k]) * 32) for k in range(4)]
        self.founders = [key.public_key.hex() for key in keys]
        listed = [json.loads((folder / f"validator{k}.json").read_text())["pub_key"] for k in range(4)]
        self.comet = folder / "genesis.json"
        self.comet.write_text(json.dumps({"validators": [{"pub_key": key, "power": "1"} for key in listed]}))

    def propose(self, *what: object, genesis: str = "chain.db") -> Any:
        self.draft.unlink(missing_ok=True)
        named = self.chain.path if genesis == "chain.db" else self.folder / genesis
        return json_of("amend", "propose", "--genesis", named, "--out", self.draft, *what)

    @property
    def draft(self) -> Path:
        return self.folder / "amend.json"

    def key(self, name: object) -> tuple[str, Path]:
        return "--key", self.folder / f"{name}.key"

    def carry(self, carrier: object, *approvers: object, copies: bool = False) -> Signed:
        """Approve and sign, and have the chain take it."""
        files: list[Path] = [self.draft]
        for name in approvers:
            out = self.folder / f"copy-{name}.json"
            json_of("amend", "approve", self.draft, *self.key(name), *(("--out", out) if copies else ()))
            files += [out] if copies else []
        target = self.folder / "amend.transaction"
        target.unlink(missing_ok=True)
        told = json_of("amend", "sign", *files, *self.key(carrier), "--out", target)
        signed = decode(target.read_bytes(), Signed)
        assert told["transaction_hash"] == signed.hash.hex()
        self.chain.block(signed)
        self.chain.skip_round()
        return signed


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def test_a_chain_whose_servers_replace_and_remove_one_another(home: Home):
    """A key with its validator, then a removal by who is in force now, then a device."""
    public = home.chain.next_keys[3].public_key.hex()
    (home.folder / "3b.pub").write_text(public + "\n")
    new = json_of("keys", "validator", home.folder / "next.json")["public_key"]
    lookup = ("--comet-genesis", home.comet)
    told = home.propose("--server", 3, "--new-key", home.folder / "3b.pub", *lookup, "--validator-new", new)
    assert (told["nonce"], told["public_key"], told["consented"]) == (0, public, False)
    assert told["validator"] == {"old": home.founders[3], "new": new}
    assert json_of("amend", "consent", home.draft, *home.key("next3"))["consented"]
    body = home.carry(0, 0, 2, 3).body
    assert isinstance(body, Amend)
    assert home.chain.state.members.committee.keys[3] == home.chain.next_keys[3].public_key

    told = home.propose("--server", 3, "--remove", *lookup)
    assert (told["nonce"], told["validator"]) == (1, {"old": new, "new": None})
    assert "or not any more" in refused("amend", "approve", home.draft, *home.key(3), code=1)
    home.carry("next3", 0, 1, "next3", copies=True)
    assert home.chain.state.members.committee.members == (0, 1, 2)

    told = home.propose("--device", 2, "--new-key", home.folder / "next1.key")
    assert (told["nonce"], told["needed"], told["servers"]) == (2, 3, 3)
    json_of("amend", "consent", home.draft, *home.key("next1"))
    home.carry(2, 0, 1, 2)
    assert home.chain.state.members.devices[2] == home.chain.next_keys[1].public_key
    changes = [
        (change.old.hex(), change.new and change.new.hex()) for change in home.chain.state.members.validator_changes
    ]
    assert changes == [(home.founders[3], new), (new, None)]
    assert "server 3 has no validator there, or not any more" in refused(
        *("amend", "propose", "--genesis", home.chain.path, "--server", 3, "--remove", *lookup),
        *("--out", home.folder / "x"),
    )


def test_what_is_missing_is_told(home: Home):
    target = ("--out", home.folder / "amend.transaction")
    home.propose("--server", 1, "--new-key", home.chain.next_keys[1].public_key.hex(), genesis="bees.genesis")
    sign = ("amend", "sign", home.draft, *home.key(0), *target)
    assert "has not consented: bees amend consent" in refused(*sign, code=1)
    assert "its new key is" in refused("amend", "consent", home.draft, *home.key("next2"), code=1)
    json_of("amend", "consent", home.draft, *home.key("next1"))
    json_of("amend", "approve", home.draft, *home.key(2))
    assert "1 valid approvals, 3 are needed; missing: servers 0, 1, 3" in refused(*sign, code=1)
    assert not (home.folder / "amend.transaction").exists()
    code, out, _ = bees("amend", "show", home.draft)
    assert code == 0
    for line in ("the new key has consented", "approved by servers: 2 (3 of 4 are needed)", "its CometBFT goes on"):
        assert line in out
    assert "exists already" in refused(
        *("amend", "propose", "--genesis", home.chain.path, "--server", 1, "--remove", "--out", home.draft)
    )


def test_an_approver_compares_with_a_chain_of_its_own(home: Home):
    home.propose("--server", 1, "--remove", genesis="bees.genesis")
    approve = ("amend", "approve", home.draft, *home.key(0), "--genesis", home.chain.path)
    before = home.draft.read_bytes()
    assert json_of(*approve, "--out", home.folder / "copy")["approved_by"] == [0]
    home.propose("--server", 1, "--remove", "--nonce", 1)
    assert "is change number 1, but the chain has had 0; propose it again; nothing was approved" in refused(*approve)
    home.draft.write_bytes(before)
    home.carry(2, 0, 2, 3)
    home.chain.write()
    home.draft.write_bytes(before)
    assert "was made when other servers counted" in refused(*approve)
    assert read_amend_proposal(home.draft).approvals == ()


def test_while_another_committee_is_coming_nothing_is_proposed(home: Home):
    home.chain.block(home.chain.world.amend(0, (0, 1, 2), 0, 1, is_removed=True))
    propose = ("--genesis", home.chain.path, "--out", home.folder / "x")
    for command in (("amend", "propose", "--device", 0, "--remove"), ("contract", "propose", "argmax")):
        assert "other servers count from round 2 on; propose when it has begun" in refused(*command, *propose)
    home.chain.skip_round()
    home.chain.write()
    assert json_of("contract", "propose", "argmax", *propose)["servers"] == 3


def test_copies_of_two_proposals_are_not_put_together(home: Home):
    home.propose("--server", 1, "--remove")
    first = home.draft.rename(home.folder / "first.json")
    home.propose("--server", 2, "--remove")
    told = refused("amend", "sign", first, home.draft, *home.key(0), "--out", home.folder / "x")
    assert "proposes another change than" in told
    json_of("contract", "propose", "argmax", "--genesis", home.chain.path, "--out", home.folder / "deploy.json")
    assert "another contract: bees contract" in refused("amend", "show", home.folder / "deploy.json")
    assert "change of the members: bees amend" in refused("contract", "approve", first, *home.key(0))


def test_bad_options_are_named(home: Home):
    new: dict[str, Any] = {"new_key": home.chain.next_keys[1].public_key.hex()}
    (home.folder / "secret.pub").write_text("no key")
    (home.folder / "open.key").write_text("00" * 32)
    (home.folder / "open.key").chmod(0o644)
    few = json.loads(home.comet.read_text())["validators"][1:]
    (home.folder / "few.json").write_text(json.dumps({"validators": few}))
    old, lookup = {"validator_old": "11" * 32}, {"comet_genesis": home.comet}
    other, gone = {"validator_new": "22" * 32}, {"server": 1, "remove": True}

    def file(name: str) -> dict[str, Any]:
        return {"server": 1, "new_key": str(home.folder / name)}

    cases: list[tuple[dict[str, Any], str]] = [
        ({}, "--server: name one participant"),
        ({**gone, "device": 1}, "--server: name one participant"),
        ({"server": 1}, "--new-key: name the next key, or say --remove"),
        ({**gone, **new}, "--new-key: name the next key, or say --remove"),
        ({"server": 4, **new}, "no server 4 in the genesis"),
        ({"device": 9, "remove": True}, "no device 9 in the genesis"),
        ({"server": 1, "new_key": home.chain.world.server_keys[2].public_key.hex()}, "in use already"),
        ({"server": 1, "new_key": "zz" * 32}, "is no public key"),
        (file("secret.pub"), "is no public key"),
        (file("nowhere.pub"), "cannot be read as a public key"),
        (file("nowhere"), "cannot be read as a key"),
        (file("open.key"), "chmod 600"),
        ({"device": 1, **new, **old}, "a device has no validator"),
        ({"server": 1, **new, **old}, "--validator-new: goes with --new-key"),
        ({**gone, **old, **other}, "--validator-new: goes with --new-key"),
        ({"server": 1, **new, **other}, "--validator-old: name the validator so far once"),
        ({"server": 1, **new, **old, **lookup, **other}, "name the validator so far once"),
        ({"server": 1, **new, **old, "validator_new": "11" * 32}, "contradict an earlier change"),
        ({**gone, "comet_genesis": home.folder / "few.json"}, "3 validators for 4 servers"),
        ({**gone, "comet_genesis": home.folder / "bees.genesis"}, "names no validators"),
        ({**gone, "comet_genesis": home.folder / "none"}, "cannot be read"),
    ]
    for options, told in cases:
        with pytest.raises(InputError) as caught:
            propose(genesis=home.folder / "bees.genesis", target=home.folder / "x.json", **options)
        assert told in str(caught.value), (options, str(caught.value))
        assert caught.value.exit_code == 2
    assert not (home.folder / "x.json").exists()


def test_a_validators_key_is_kept_from_others(home: Home):
    path = home.folder / "next.json"
    told = json_of("keys", "validator", path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert json_of("keys", "show", path)["public_key"] == told["public_key"]
    held = json.loads(path.read_text())
    assert set(held) == {"address", "pub_key", "priv_key"}
    assert held["priv_key"]["value"] not in json.dumps(told)
    assert "never overwritten" in refused("keys", "validator", path)
    path.chmod(0o640)
    assert "chmod 600" in refused("keys", "show", path)


def test_help_teaches_with_examples():
    listed = bees("amend", "--help")[1]
    for function in (propose, show, consent, approve, sign):
        assert function.__name__ in listed
        assert f"Example: bees amend {function.__name__} " in str(function.__doc__)
