"""What ``bees contract`` and ``bees amend`` have in common: a proposal goes from hand to hand, as a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from bees.cli.console import plain, print_json
from bees.core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from bees.engines.standing import Standing
    from bees.ledger.transactions import Signed
    from bees.proposal import Proposal

ServerKey = Annotated[Path, typer.Option("--key", help="The private key file of a server, of mode 0600.")]
Copies = Annotated[list[Path], typer.Argument(metavar="PROPOSAL...", help="Approved copies of one proposal.")]
NewTransaction = Annotated[Path, typer.Option("--out", help="The transaction; must not exist.")]
NewProposal = Annotated[Path, typer.Option("--out", help="The proposal; must not exist.")]
SameOrCopy = Annotated[Path | None, typer.Option("--out", help="Where to; by default the same file.")]
ChainOrGenesis = Annotated[
    Path,
    typer.Option(help="The chain: a run's folder, or a chain.db, which is replayed; or its signed genesis alone."),
]
OwnChain = Annotated[
    Path | None,
    typer.Option("--genesis", help="Refuse what this chain could not take: your own chain.db, which is replayed."),
]

P = TypeVar("P", bound="Proposal")


def refuse_existing(target: Path) -> None:
    """Refuse to write over a file.

    Raises:
        InputError: it exists.
    """
    if target.exists():
        raise InputError(str(target), "exists already; choose another --out, or remove it")


def settled_standing(path: Path) -> Standing:
    """Where a chain stands, with no other committee about to count.

    Raises:
        InputError: there is no chain; or the next round begins with another committee, which would have to approve.
        BeesError: a block in it is not right.
    """
    from bees.chain_source import read_standing

    standing = read_standing(path)
    coming = standing.state.next_members
    if coming is not None and coming.committee != standing.state.members.committee:
        problem = f"other servers count from round {standing.state.round + 1} on; propose when it has begun"
        raise InputError(str(path), problem)
    return standing


def check_against(proposal: Proposal, file: Path, own: Path | None) -> None:
    """Refuse a proposal that one's own chain could not take.

    Raises:
        InputError: why.
    """
    from bees.chain_source import read_standing

    if own is None:
        return
    problem = proposal.problem_at(read_standing(own))
    if problem is not None:
        raise InputError(str(file), f"{problem}; nothing was approved")


def joined(files: list[Path], read: Callable[[Path], P]) -> P:
    """One proposal from its approved copies.

    Raises:
        InputError: they are no copies of one.
    """
    first, *others = (read(file) for file in files)
    whole = first
    for file, other in zip(files[1:], others, strict=True):
        if not first.is_same_as(other):
            raise InputError(str(file), f"proposes another change than {files[0]}")
        whole = whole.joined(other)
    return whole


def write_transaction(
    signed: Signed, target: Path, proposal: Proposal, summary: dict[str, Any], *, as_json: bool
) -> None:
    """Write the signed transaction that a proposal has led to into a new file, and tell of it.

    Raises:
        OutputError: the file exists, or cannot be written.
    """
    from bees.run_folder import new_file

    with new_file(target) as written:
        written.write(signed.encoding)
    if as_json:
        print_json({**summary, "transaction": str(target), "transaction_hash": signed.hash.hex()})
        return
    size, servers = len(signed.encoding), len(proposal.approvals)
    plain(f"{target}: {size} bytes, approved by {servers} servers, {signed.hash.hex()}")
    plain(f"hand it in with: bees submit {target} --wait")


def who_approves(proposal: Proposal) -> dict[str, Any]:
    """Chain, number, and who has approved, for JSON."""
    committee = proposal.chain.committee
    return {
        "chain_id": proposal.chain.genesis.chain_id.hex(),
        "nonce": proposal.nonce,
        "approved_by": [approval.server for approval in proposal.approvals],
        "needed": committee.quorum,
        "servers": len(committee.members),
    }


def tell_approvals(proposal: Proposal) -> None:
    """Print who has approved."""
    told = who_approves(proposal)
    approved = ", ".join(map(str, told["approved_by"])) or "none"
    plain(f"approved by servers: {approved} ({told['needed']} of {told['servers']} are needed)")
