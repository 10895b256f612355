"""``bees contract propose``, ``approve`` and ``deploy``: how the servers of a chain change its contract, by files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bees.cli.console import AsJson, plain, print_json
from bees.cli.proposals import (
    ChainOrGenesis,
    Copies,
    NewProposal,
    NewTransaction,
    OwnChain,
    SameOrCopy,
    ServerKey,
    check_against,
    joined,
    refuse_existing,
    settled_standing,
    tell_approvals,
    who_approves,
    write_transaction,
)
from bees.core.errors import ContractError, InputError

if TYPE_CHECKING:
    from bees.proposal import ContractProposal

_ProposalFile = Annotated[Path, typer.Argument(metavar="PROPOSAL", help="What bees contract propose has written.")]


def propose(
    name: Annotated[str, typer.Argument(metavar="FILE.wasm|NAME", help="A contract's code, or a packaged one.")],
    genesis: ChainOrGenesis,
    target: NewProposal,
    nonce: Annotated[
        int | None, typer.Option(min=0, max=2**63 - 1, help="How many Deploys the chain has had; else as it says.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Propose a contract to the servers of a chain: a file that each of them approves.

    The servers that count, and how many Deploys there were, are read from the chain. A genesis alone says that its own
    servers count, and that there was none.

    Example: bees contract propose rule.wasm --genesis /var/lib/bees/data/chain.db --out deploy.json
    """
    from bees.contract.vm import VirtualMachine
    from bees.proposal import ContractProposal, ProvedChain
    from bees.proposal_file import write_proposal

    refuse_existing(target)
    code, standing = load_code(name), settled_standing(genesis)
    try:
        VirtualMachine(standing.state.genesis.virtual_machine, accept_other_version=True).load(code)
    except ContractError as error:
        raise InputError(name, f"the chain would not take it: {error}") from error
    so_far = standing.state.deploys if nonce is None else nonce
    proposal = ContractProposal(ProvedChain.of(standing), so_far, (), code)
    write_proposal(target, proposal)
    _tell(proposal, target, as_json=as_json)


def approve(
    file: _ProposalFile,
    key: ServerKey,
    expect: Annotated[
        str | None, typer.Option(help="The hash that the code must have, such as that of your own build.")
    ] = None,
    own: OwnChain = None,
    target: SameOrCopy = None,
    as_json: AsJson = False,
) -> None:
    """Add a server's approval to a proposal.

    Compare first: build the source yourself, and give the hash as --expect. Approvals that were made on several copies
    of the file are put together by bees contract deploy.

    Example: bees contract approve deploy.json --key server-3.key
    """
    from bees.key_file import read_key_file
    from bees.proposal_file import read_contract_proposal, write_proposal

    proposal = read_contract_proposal(file)
    if expect is not None and expect.lower() != proposal.code_hash.hex():
        raise InputError("--expect", f"the code has the hash {proposal.code_hash.hex()}; nothing was approved")
    check_against(proposal, file, own)
    approved = proposal.with_approvals([proposal.approval(read_key_file(key))])
    write_proposal(target or file, approved)
    _tell(approved, target or file, as_json=as_json)


def deploy(files: Copies, key: ServerKey, target: NewTransaction, as_json: AsJson = False) -> None:
    """Make the Deploy transaction, once more than 2N/3 servers have approved; says whose approvals are missing.

    The file holds the canonical bytes of the signed transaction. Any server hands it in: bees submit.

    Example: bees contract deploy deploy.json --key server-0.key --out deploy.transaction
    """
    from bees.key_file import read_key_file
    from bees.proposal_file import read_contract_proposal

    whole = joined(files, read_contract_proposal)
    write_transaction(whole.transaction(read_key_file(key)), target, whole, _summary(whole), as_json=as_json)


def load_code(name: str) -> bytes:
    """The code of a packaged contract or of a file.

    Raises:
        InputError: there is none, or it is no code.
    """
    from bees.contract.library import is_contract_file, load_contract_code

    if is_contract_file(name) and not Path(name).is_file():
        raise InputError(name, "there is no such file")
    try:
        return load_contract_code(name)
    except ContractError as error:
        raise InputError(name, f"is no contract: {error}") from error


def _summary(proposal: ContractProposal) -> dict[str, Any]:
    return {
        **who_approves(proposal),
        "code_hash": proposal.code_hash.hex(),
        "code_bytes": len(proposal.code),
    }


def _tell(proposal: ContractProposal, path: Path, *, as_json: bool) -> None:
    summary = _summary(proposal)
    if as_json:
        print_json({"proposal": str(path), **summary})
        return
    plain(f"{path}: contract {summary['code_hash']}, {summary['code_bytes']} bytes")
    plain(f"for chain {summary['chain_id']}, as its change number {proposal.nonce}")
    tell_approvals(proposal)
