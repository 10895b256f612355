"""A proposal says by itself who must approve, and what two hands added to its copies comes together."""

from __future__ import annotations

import pytest

from bees.contract.library import load_contract_code
from bees.core.errors import ProofError
from bees.engines.standing import standing_of_file
from bees.ledger.membership import Change
from bees.ledger.refusals import AmendError, DeployError
from bees.ledger.transactions import Amend, Deploy
from bees.proposal import AmendProposal, ContractProposal, ProvedChain
from tests.file_chain import FileChain

CODE = load_contract_code("argmax")


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> FileChain:
    """Server 1 was removed, and that is in force."""
    chain = FileChain(tmp_path_factory.mktemp("chain"))
    chain.block(chain.world.amend(0, (0, 1, 2), 0, 1, is_removed=True))
    chain.skip_round()
    return chain


def proposals(chain: FileChain) -> tuple[ContractProposal, AmendProposal]:
    proved = ProvedChain.of(standing_of_file(chain.path))
    change = Change("server", 2, chain.next_keys[2].public_key, None)
    return ContractProposal(proved, 0, (), CODE), AmendProposal(proved, 1, (), change, None)


def test_the_committee_of_the_proofs_approves_either_kind(chain: FileChain):
    keys = chain.world.server_keys
    contract, amend = proposals(chain)
    assert contract.chain.committee == chain.state.members.committee
    for proposal, refusal in ((contract, DeployError), (amend, AmendError)):
        with pytest.raises(refusal, match="no server's, or not any more"):
            proposal.approval(keys[1])
    assert amend.lacks_consent
    consented = amend.consented(chain.next_keys[2])
    assert not consented.lacks_consent
    for proposal, kind in ((contract, Deploy), (consented, Amend)):
        some = proposal.with_approvals([proposal.approval(keys[2])])
        others = proposal.with_approvals([proposal.approval(keys[k]) for k in (3, 0)])
        body = some.joined(others).transaction(keys[3]).body
        assert isinstance(body, kind)
        assert [approval.server for approval in body.approvals] == [0, 2, 3]


def test_a_consent_comes_with_the_copy_that_has_it(chain: FileChain):
    _, amend = proposals(chain)
    consented = amend.consented(chain.next_keys[2])
    assert amend.joined(consented) == consented == consented.joined(amend)
    assert amend.with_consent(bytes(64)) == amend
    with pytest.raises(AmendError, match="its new key is"):
        amend.consented(chain.next_keys[3])


def test_proposals_of_something_else_are_told_apart(chain: FileChain):
    contract, amend = proposals(chain)
    other_key = Change("server", 2, chain.next_keys[3].public_key, None)
    assert amend.is_same_as(amend.consented(chain.next_keys[2]))
    for other in (
        contract,
        AmendProposal(amend.chain, 2, (), amend.change, None),
        AmendProposal(amend.chain, 1, (), other_key, None),
    ):
        assert not amend.is_same_as(other)


def test_a_chain_says_what_it_could_not_take(chain: FileChain):
    contract, amend = proposals(chain)
    standing = standing_of_file(chain.path)
    assert (contract.problem_at(standing), amend.problem_at(standing)) == (None, None)
    late = ContractProposal(contract.chain, 1, (), CODE)
    assert "is change number 1, but the chain has had 0" in str(late.problem_at(standing))
    early = AmendProposal(amend.chain, 0, (), amend.change, None)
    assert "is change number 0, but the chain has had 1" in str(early.problem_at(standing))
    gone = AmendProposal(amend.chain, 1, (), Change("server", 1, None, None), None)
    assert "removed already" in str(gone.problem_at(standing))
    founders = AmendProposal(ProvedChain(chain.world.signed), 1, (), amend.change, None)
    assert "other servers counted" in str(founders.problem_at(standing))


def test_a_proof_that_shows_nothing_makes_no_committee(chain: FileChain):
    proved = proposals(chain)[0].chain
    with pytest.raises(ProofError):
        _ = ProvedChain(proved.signed, (*proved.proofs, *proved.proofs)).committee
