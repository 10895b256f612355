"""A proposal comes back from its file as it was, and a file that was altered is refused."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from bees.contract.library import load_contract_code
from bees.core.errors import InputError
from bees.core.keys import SigningKey
from bees.engines.standing import standing_of_file
from bees.ledger.membership import Change, ValidatorChange
from bees.proposal import AmendProposal, ContractProposal, ProvedChain
from bees.proposal_file import read_amend_proposal, read_contract_proposal, read_proposal, write_proposal
from tests.file_chain import FileChain

if TYPE_CHECKING:
    from pathlib import Path

VALIDATOR = ValidatorChange(bytes(range(32)), bytes(range(1, 33)))


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> FileChain:
    chain = FileChain(tmp_path_factory.mktemp("chain"))
    chain.block(chain.world.amend(0, (0, 1, 2), 0, 1, is_removed=True))
    chain.skip_round()
    return chain


@pytest.fixture
def amend(chain: FileChain) -> AmendProposal:
    """Approved by two, with its consent."""
    proved = ProvedChain.of(standing_of_file(chain.path))
    change = Change("server", 2, chain.next_keys[2].public_key, VALIDATOR)
    bare = AmendProposal(proved, 1, (), change, None).consented(chain.next_keys[2])
    return bare.with_approvals([bare.approval(chain.world.server_keys[k]) for k in (3, 0)])


def test_what_is_written_is_read(tmp_path: Path, chain: FileChain, amend: AmendProposal):
    path = tmp_path / "proposal.json"
    contract = ContractProposal(amend.chain, 0, (), load_contract_code("argmax"))
    device = AmendProposal(amend.chain, 1, (), Change("device", 3, None, None), None)
    last = AmendProposal(amend.chain, 1, (), Change("server", 2, None, ValidatorChange(VALIDATOR.old, None)), None)
    for proposal in (contract, contract.with_approvals([contract.approval(chain.world.server_keys[2])])):
        write_proposal(path, proposal)
        assert read_contract_proposal(path) == read_proposal(path) == proposal
        with pytest.raises(InputError, match="another contract: bees contract"):
            read_amend_proposal(path)
    for proposal in (amend, device, last):
        write_proposal(path, proposal)
        assert read_amend_proposal(path) == read_proposal(path) == proposal
        with pytest.raises(InputError, match="change of the members: bees amend"):
            read_contract_proposal(path)


def test_an_altered_file_is_refused_and_what_is_forged_is_dropped(
    tmp_path: Path, chain: FileChain, amend: AmendProposal
):
    path = tmp_path / "proposal.json"
    write_proposal(path, amend)
    document: dict[str, Any] = json.loads(path.read_text())
    change = document["change"]

    def read(**changes: object) -> AmendProposal:
        path.write_text(json.dumps({**document, **changes}))
        return read_amend_proposal(path)

    stranger = SigningKey.simulated(5, "stranger").public_key.hex()
    for part in ({"index": 0}, {"public_key": stranger}, {"validator": None}, {"participant": "device"}):
        read_again = read(change={**change, **part})
        assert (read_again.approvals, read_again.consent) == ((), None)
    assert read(change={**change, "consent": "00" * 64}).consent is None
    votes = document["approvals"]
    assert [a.server for a in read(approvals=[{**votes[0], "server": k} for k in range(-1, 5)]).approvals] == [0]
    # Without the proof, the servers of the genesis count, and the one that was removed among them.
    assert read(committees=[]).chain.committee == chain.world.genesis.committee
    for changes, told in (
        ({"format": "bees contract proposal 1"}, "not 'bees proposal 2'; propose it again"),
        ({"chain_id": "00" * 32}, "was altered"),
        ({"committees": [*document["committees"], *document["committees"]]}, "does not prove who must approve"),
        ({"committees": ["AAAA"]}, "does not prove who must approve"),
        ({"committees": ["?"]}, "no proposal"),
        ({"nonce": -1}, "nonce"),
        ({"nonce": 2**63}, "nonce"),
        ({"change": {**change, "index": 4}}, "no server 4 in the genesis"),
        ({"change": {**change, "index": -1}}, "no server -1 in the genesis"),
        ({"change": {**change, "public_key": "00"}}, "'00' is no public key"),
        ({"change": {**change, "public_key": "x" * 64}}, "no proposal"),
        ({"change": {**change, "validator": {"old": "00", "new": None}}}, "'00' is no public key"),
        ({"change": {**change, "more": 1}}, "no proposal"),
        ({"approvals": [{"server": 0, "signature": "xy"}]}, "no proposal"),
    ):
        with pytest.raises(InputError) as caught:
            read(**changes)
        assert told in str(caught.value), changes
    for data in (b"", b"\xff{", b"[" * 100_000, b"3", b"{}"):
        path.write_bytes(data)
        with pytest.raises(InputError):
            read_proposal(path)
    with pytest.raises(InputError, match="no such file"):
        read_proposal(tmp_path)
