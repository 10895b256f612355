"""``bees contract propose``, ``approve`` and ``deploy``: how the servers of a chain change its contract, by files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bees.cli.console import AsJson, plain, print_json
from bees.core.errors import ContractError, InputError

if TYPE_CHECKING:
    from bees.contract_proposal import Proposal

_ProposalFile = Annotated[Path, typer.Argument(metavar="PROPOSAL", help="What bees contract propose has written.")]
_ServerKey = Annotated[Path, typer.Option("--key", help="The private key file of a server, of mode 0600.")]


def propose(
    name: Annotated[str, typer.Argument(metavar="FILE.wasm|NAME", help="A contract's code, or a packaged one.")],
    genesis: Annotated[Path, typer.Option(help="A run's folder, a chain file, or a signed genesis.")],
    target: Annotated[Path, typer.Option("--out", help="The proposal; must not exist.")],
    nonce: Annotated[int, typer.Option(min=0, max=2**63 - 1, help="How many Deploys the chain has had.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Propose a contract to the servers of a chain: a file that each of them approves.

    Example: bees contract propose rule.wasm --genesis bees.genesis --nonce 0 --out deploy.json
    """
    from bees.contract.vm import VirtualMachine
    from bees.contract_proposal import Proposal, read_genesis_file, write_proposal

    code, signed = load_code(name), read_genesis_file(genesis)
    try:
        VirtualMachine(signed.genesis.virtual_machine, accept_other_version=True).load(code)
    except ContractError as error:
        raise InputError(name, f"the chain would not take it: {error}") from error
    if target.exists():
        raise InputError(str(target), "exists already; choose another --out, or remove it")
    proposal = Proposal(signed, nonce, code)
    write_proposal(target, proposal)
    _tell(proposal, target, as_json=as_json)


def approve(
    file: _ProposalFile,
    key: _ServerKey,
    expect: Annotated[
        str | None, typer.Option(help="The hash that the code must have, such as that of your own build.")
    ] = None,
    target: Annotated[Path | None, typer.Option("--out", help="Where to; by default the same file.")] = None,
    as_json: AsJson = False,
) -> None:
    """Add a server's approval to a proposal.

    Compare first: build the source yourself, and give the hash as --expect. Approvals that were made on several copies
    of the file are put together by bees contract deploy.

    Example: bees contract approve deploy.json --key server-3.key
    """
    from bees.contract_proposal import read_proposal, write_proposal
    from bees.key_file import read_key_file
    from bees.protocol.deployment import approve as approve_code

    proposal = read_proposal(file)
    if expect is not None and expect.lower() != proposal.code_hash.hex():
        raise InputError("--expect", f"the code has the hash {proposal.code_hash.hex()}; nothing was approved")
    approval = approve_code(proposal.genesis, proposal.nonce, proposal.code, read_key_file(key))
    approved = proposal.with_approvals([approval])
    write_proposal(target or file, approved)
    _tell(approved, target or file, as_json=as_json)


def deploy(
    files: Annotated[list[Path], typer.Argument(metavar="PROPOSAL...", help="Approved copies of one proposal.")],
    key: _ServerKey,
    target: Annotated[Path, typer.Option("--out", help="The transaction; must not exist.")],
    as_json: AsJson = False,
) -> None:
    """Make the Deploy transaction, once more than 2N/3 servers have approved; says whose approvals are missing.

    The file holds the canonical bytes of the signed transaction, for submission to any server.

    Example: bees contract deploy deploy.json --key server-0.key --out deploy.transaction
    """
    from bees.contract_proposal import read_proposal
    from bees.key_file import read_key_file
    from bees.protocol.deployment import assemble
    from bees.run_folder import new_file

    first, *others = (read_proposal(file) for file in files)
    for file, other in zip(files[1:], others, strict=True):
        if not first.is_same_as(other):
            raise InputError(str(file), f"proposes another change than {files[0]}")
    whole = first.with_approvals([approval for other in others for approval in other.approvals])
    signed = assemble(whole.genesis, whole.nonce, whole.code, whole.approvals, read_key_file(key))
    with new_file(target) as written:
        written.write(signed.encoding)
    report = {**_summary(whole), "transaction": str(target), "transaction_hash": signed.hash.hex()}
    if as_json:
        print_json(report)
    else:
        plain(
            f"{target}: {len(signed.encoding)} bytes, approved by {len(whole.approvals)} servers, {signed.hash.hex()}"
        )


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


def _summary(proposal: Proposal) -> dict[str, Any]:
    approved = [approval.server for approval in proposal.approvals]
    return {
        "chain_id": proposal.genesis.chain_id.hex(),
        "nonce": proposal.nonce,
        "code_hash": proposal.code_hash.hex(),
        "code_bytes": len(proposal.code),
        "approved_by": approved,
        "needed": proposal.genesis.committee.quorum,
        "servers": len(proposal.genesis.servers),
    }


def _tell(proposal: Proposal, path: Path, *, as_json: bool) -> None:
    summary = _summary(proposal)
    if as_json:
        print_json({"proposal": str(path), **summary})
        return
    plain(f"{path}: contract {summary['code_hash']}, {summary['code_bytes']} bytes")
    plain(f"for chain {summary['chain_id']}, as its change number {proposal.nonce}")
    approved = ", ".join(map(str, summary["approved_by"])) or "none"
    plain(f"approved by servers: {approved} ({summary['needed']} of {summary['servers']} are needed)")
